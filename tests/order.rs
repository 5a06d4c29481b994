//! `patchadm order`: packages and patches in the order in which they are renewed.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::delivery::{Patch, indexed_depot};
use crate::elf_sample::Sample;
use crate::packages::{Package, datastream};
use crate::scenario::Scenario;

/// A package whose paths begin at the root.
fn package(name: &str) -> Package {
    Package::new(name).param("BASEDIR", "/")
}

/// A root with packages of one file each, and these `depend` files.
fn with_depend(files: &[(&str, &str)]) -> Scenario {
    let stage = Scenario::new();
    for (name, lines) in files {
        stage.install(&package(name).file(&format!("opt/{name}"), 0o644, "x\n"));
        stage.file(&format!("/var/sadm/pkg/{name}/install/depend"), lines);
    }
    stage
}

/// A library with its SONAME and what it needs.
fn library(soname: &str, needed: &[&str]) -> Vec<u8> {
    Sample { soname: Some(soname), needed, ..Sample::default() }.bytes()
}

fn program(needed: &[&str]) -> Vec<u8> {
    Sample { needed, interpreter: Some("/lib64/ld-linux-x86-64.so.2"), ..Sample::default() }.bytes()
}

/// Three packages by `depend` files, one of them by a reverse line.
fn depending() -> Scenario {
    with_depend(&[
        ("ACMElib", "R ACMEgui The gui\n"),
        ("ACMEgui", "I ACMEold Old\n"),
        ("ACMEtool", "P ACMEgui The gui\n\t(i386) 1.0\n"),
        ("ACMEother", "P ACMEnone Not there\n"),
    ])
}

/// A library, a library that needs it, a program that needs that one, and a program of no package.
fn libraries() -> Scenario {
    let stage = Scenario::with(&[
        package("ACMEzlib").file("usr/lib/libz.so.1.2", 0o755, library("libz.so.1", &[])),
        package("ACMEmid").file("usr/lib/libmid.so.1", 0o755, library("libmid.so.1", &["libz.so.1"])),
        package("ACMEapp").file("usr/bin/app", 0o755, program(&["libmid.so.1"])),
        package("ACMEtext").file("usr/share/text", 0o644, "text\n"),
    ]);
    stage.symlink("/usr/lib/libz.so.1", "libz.so.1.2");
    stage.file("/usr/local/bin/own", program(&["libz.so.1"]));
    stage
}

/// The JSON document of the verb; the scenario has checked it against the schema.
fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

#[test]
fn each_package_comes_after_what_its_depend_file_names() {
    let stage = depending();
    assert_eq!(stage.run("order -R @ROOT@").ok(), "ACMElib\nACMEgui\nACMEother\nACMEtool\n");
    assert_eq!(stage.run("order -R @ROOT@ ACMEgui").ok(), "ACMEgui\nACMEtool\n");
    assert_eq!(stage.run("order -R @ROOT@ ACMEgui --dependencies").ok(), "ACMElib\nACMEgui\n");
    assert_eq!(stage.run("order -R @ROOT@ ACMEgui --reverse").ok(), "ACMEtool\nACMEgui\n");
    assert_eq!(stage.run("order -R @ROOT@ /opt/ACMEgui ACMEother").ok(), "ACMEgui\nACMEother\nACMEtool\n");
    assert_eq!(
        stage.run("order -R @ROOT@ ACMEgui --why --dependencies").ok(),
        "ACMElib\nACMEgui\n  ACMEgui needs ACMElib: /var/sadm/pkg/ACMElib/install/depend has R ACMEgui\n"
    );
}

#[test]
fn packages_that_need_each_other_are_one_group() {
    let stage = with_depend(&[
        ("ACMEa", "P ACMEb\n"),
        ("ACMEb", "P ACMEc\n"),
        ("ACMEc", "P ACMEa\n"),
        ("ACMEd", "P ACMEb\n"),
    ]);
    assert_eq!(stage.run("order -R @ROOT@ ACMEc").ok(), "ACMEa ACMEb ACMEc\nACMEd\n");
    let said = document(&stage, "order --json -R @ROOT@ ACMEc");
    assert_eq!(said["groups"], json!([["ACMEa", "ACMEb", "ACMEc"], ["ACMEd"]]));
    let dot = stage.run("order --dot -R @ROOT@").ok();
    assert!(dot.contains("subgraph cluster_0 { \"ACMEa\"; \"ACMEb\"; \"ACMEc\"; }\n"), "{dot}");
}

#[test]
fn a_version_that_no_longer_fits_is_no_reason_to_forget_the_need() {
    let stage = with_depend(&[("ACMEa", "P ACMEz\n\t9.9\n"), ("ACMEz", "")]);
    assert_eq!(stage.run("order -R @ROOT@").ok(), "ACMEz\nACMEa\n");
}

#[test]
fn programs_come_after_the_libraries_that_their_loader_finds() {
    let stage = libraries();
    assert_eq!(
        stage.run("order -R @ROOT@").ok(),
        "ACMEtext\nACMEzlib\n/usr/local/bin/own\nACMEmid\nACMEapp\n"
    );
    assert_eq!(
        stage.run("order -R @ROOT@ ACMEzlib").ok(),
        "ACMEzlib\n/usr/local/bin/own\nACMEmid\nACMEapp\n"
    );
    assert_eq!(stage.run("order -R @ROOT@ ACMEapp --dependencies").ok(), "ACMEzlib\nACMEmid\nACMEapp\n");
    assert_eq!(
        stage.run("order -R @ROOT@ ACMEapp --dependencies --why").ok(),
        "ACMEzlib
ACMEmid
  ACMEmid needs ACMEzlib: /usr/lib/libmid.so.1 loads libz.so.1
ACMEapp
  ACMEapp needs ACMEmid: /usr/bin/app loads libmid.so.1
"
    );
}

#[test]
fn a_path_means_its_packages_or_the_object_itself() {
    let stage = libraries();
    let of_zlib = stage.run("order -R @ROOT@ ACMEzlib").ok();
    for path in ["/usr/lib/libz.so.1.2", "/usr/lib/libz.so.1", "@ROOT@/usr/lib/libz.so.1"] {
        assert_eq!(stage.run(&format!("order -R @ROOT@ {path}")).ok(), of_zlib, "{path}");
    }
    assert_eq!(stage.run("order -R @ROOT@ /usr/local/bin/own").ok(), "/usr/local/bin/own\n");
    assert_eq!(
        stage.run("order -R @ROOT@ /usr/local/bin/own --dependencies").ok(),
        "ACMEzlib\n/usr/local/bin/own\n"
    );
    stage.symlink("/lib", "usr/lib");
    assert_eq!(stage.run("order -R @ROOT@ /lib/libz.so.1").ok(), of_zlib);
}

#[test]
fn patches_come_after_those_that_they_require() {
    let stage = Scenario::with(&[package("ACMEweb").file("opt/web", 0o644, "0\n")]);
    let patch = |id: &str, requires: &str| {
        let web = package("ACMEweb").file(&format!("opt/{id}"), 0o644, "new\n");
        Patch::of(id, web).says("SUNW_REQUIRES", requires)
    };
    for (id, requires) in [("300-01", ""), ("200-02", "300-01"), ("100-01", "200-01")] {
        stage.patchadd("", &patch(id, requires)).ok();
    }
    assert_eq!(stage.run("order -R @ROOT@ 300-01").ok(), "300-01\n200-02\n100-01\n");
    assert_eq!(stage.run("order -R @ROOT@ 200-2 --reverse").ok(), "100-01\n200-02\n");
    let said = document(&stage, "order --json --why --dependencies -R @ROOT@ 100-01");
    assert_eq!((&said["of"], &said["direction"]), (&json!("patches"), &json!("dependencies")));
    let edge = json!({"from": "100-01", "to": "200-02", "kind": "patch", "object": null, "need": "200-01"});
    assert_eq!(said["edges"][0], edge);
    assert_eq!(said["edges"].as_array().unwrap().len(), 2);

    let said = stage.run("order -R @ROOT@ 100-01 ACMEweb").fails(2);
    assert!(said.contains("packages and patches cannot be ordered together"), "{said}");
    let said = stage.run("order -R @ROOT@ 100-01 --stale").fails(2);
    assert!(said.contains("patches have no stale libraries"), "{said}");
}

#[test]
fn what_is_not_there_cannot_be_put_in_order() {
    let stage = depending();
    for word in ["ACMEnone", "100-01", "/opt/none", "@ROOT@/opt/none"] {
        let run = stage.run(&format!("order -R @ROOT@ ACMElib {word}"));
        let shown = word.strip_prefix("@ROOT@").unwrap_or(word);
        let said = run.fails(4);
        assert!(said.contains(&format!("{shown} is not an existing package, patch or object")), "{said}");
    }
    let document: Value = serde_json::from_str(&stage.run("order --json -R @ROOT@ ACMEnone").stdout).unwrap();
    assert_eq!((&document["exit_code"], &document["cause"]), (&json!(4), &json!("unknown")));
    stage.run("order -R @ROOT@ --dot --json").fails(2);
    stage.run("order -R @ROOT@ --no-such-option").fails(2);
    let said = Scenario::bare().run("order -R @ROOT@").fails(1);
    assert!(said.contains("no package database"), "{said}");
}

#[test]
fn a_document_and_a_graph_say_what_the_lines_say() {
    let stage = libraries();
    let said = document(&stage, "order --json --why -R @ROOT@ ACMEmid");
    assert_eq!(said["of"], "packages");
    assert_eq!(said["direction"], "dependents");
    assert_eq!(said["groups"], json!([["ACMEmid"], ["ACMEapp"]]));
    let edge = json!({
        "from": "ACMEapp", "to": "ACMEmid", "kind": "elf", "object": "/usr/bin/app", "need": "libmid.so.1",
    });
    assert_eq!(said["edges"], json!([edge]));
    let plain = document(&stage, "order --json -R @ROOT@ ACMEmid");
    assert!(plain.get("edges").is_none() && plain.get("stale").is_none(), "{plain}");
    assert_eq!(
        stage.run("order --dot -R @ROOT@ ACMEmid").ok(),
        "digraph order {\n  \"ACMEmid\";\n  \"ACMEapp\";\n  \"ACMEapp\" -> \"ACMEmid\";\n}\n"
    );
    let dot = stage.run("order --dot --why -R @ROOT@ ACMEmid").ok();
    assert!(dot.contains("\"ACMEapp\" -> \"ACMEmid\" [label=\"/usr/bin/app loads libmid.so.1\"];"), "{dot}");
}

/// A root on which a library was renewed and the old one is kept: `p` and a program of no package still load it, `q` was
/// renewed, and `r` loads the new one itself and the old one through a library of `p`.
fn with_kept() -> Scenario {
    let stage = Scenario::with(&[
        package("ACMEx").file("usr/lib/libx.so.2", 0o755, library("libx.so.2", &[])),
        package("ACMEx-SO").file("usr/lib/libx.so.1", 0o755, library("libx.so.1", &[])),
        package("ACMEp").file("usr/bin/p", 0o755, program(&["libx.so.1"])).file(
            "usr/lib/libp.so.1",
            0o755,
            library("libp.so.1", &["libx.so.1"]),
        ),
        package("ACMEq").file("usr/bin/q", 0o755, program(&["libx.so.2"])),
        package("ACMEr").file("usr/bin/r", 0o755, program(&["libx.so.2", "libp.so.1"])),
    ]);
    let pkginfo = stage.text("/var/sadm/pkg/ACMEx-SO/pkginfo");
    stage.file("/var/sadm/pkg/ACMEx-SO/pkginfo", pkginfo + "KEPT_FROM=ACMEx\n");
    stage.file("/usr/local/bin/own", program(&["libx.so.1"]));
    stage
}

#[test]
fn what_needs_a_kept_library_or_would_load_two_versions_is_stale() {
    let stage = with_kept();
    assert_eq!(
        stage.run("order --stale -R @ROOT@").ok(),
        "/usr/local/bin/own: needs libx.so.1, which is kept
  /usr/local/bin/own -> /usr/lib/libx.so.1
ACMEp: needs libx.so.1, which is kept
  /usr/bin/p -> /usr/lib/libx.so.1
  /usr/lib/libp.so.1 -> /usr/lib/libx.so.1
ACMEr: would load libx.so.1 and libx.so.2 together
  /usr/bin/r -> /usr/lib/libp.so.1 -> /usr/lib/libx.so.1
  /usr/bin/r -> /usr/lib/libx.so.2
"
    );
    let said = document(&stage, "order --stale --json -R @ROOT@");
    assert_eq!(said["groups"], json!([["/usr/local/bin/own"], ["ACMEp"], ["ACMEr"]]));
    let own = &said["stale"][0];
    assert_eq!((&own["name"], &own["path"]), (&Value::Null, &json!("/usr/local/bin/own")));
    assert_eq!((&own["reason"], &own["libraries"]), (&json!("kept"), &json!(["libx.so.1"])));
    let double = &said["stale"][2];
    assert_eq!((&double["name"], &double["path"]), (&json!("ACMEr"), &Value::Null));
    assert_eq!(
        (&double["reason"], &double["libraries"]),
        (&json!("two-versions"), &json!(["libx.so.1", "libx.so.2"]))
    );
    assert_eq!(
        double["ways"],
        json!([
            ["/usr/bin/r", "/usr/lib/libp.so.1", "/usr/lib/libx.so.1"],
            ["/usr/bin/r", "/usr/lib/libx.so.2"]
        ])
    );
    let said = stage.run("order --stale -R @ROOT@ ACMEr").ok();
    assert!(said.starts_with("ACMEr: would load") && said.lines().count() == 3, "{said}");
}

#[test]
fn what_was_renewed_is_stale_no_longer() {
    let stage = with_kept();
    fs::write(stage.at("/usr/local/bin/own"), program(&["libx.so.2"])).unwrap();
    fs::write(stage.at("/usr/bin/p"), program(&["libx.so.2"])).unwrap();
    let said = stage.run("order --stale -R @ROOT@").ok();
    let subjects: Vec<&str> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        subjects,
        ["ACMEp: needs libx.so.1, which is kept", "ACMEr: would load libx.so.1 and libx.so.2 together"]
    );
    fs::write(stage.at("/usr/lib/libp.so.1"), library("libp.so.1", &["libx.so.2"])).unwrap();
    assert_eq!(stage.run("order --stale -R @ROOT@").ok(), "");
    assert_eq!(document(&stage, "order --stale --json -R @ROOT@")["stale"], json!([]));
}

#[test]
fn two_programs_of_no_package_are_told_by_path() {
    let stage = Scenario::with(&[package("ACMEtext").file("usr/share/text", 0o644, "text\n")]);
    stage.file("/usr/lib/libx.so.1", library("libx.so.1", &[]));
    stage.file("/usr/lib/libx.so.2", library("libx.so.2", &[]));
    stage.file("/usr/lib/libp.so", library("libp.so", &["libx.so.1"]));
    stage.file("/usr/bin/own", program(&["libx.so.2", "libp.so"]));
    let said = stage.run("order --stale -R @ROOT@").ok();
    assert!(said.starts_with("/usr/bin/own: would load libx.so.1 and libx.so.2 together\n"), "{said}");
    assert_eq!(stage.run("order -R @ROOT@").ok(), "ACMEtext\n", "what hangs together with no package");
}

#[test]
fn packages_of_a_directory_are_put_in_order_by_depend_files_and_sonames() {
    let stage = Scenario::new();
    let spool = stage.beside("spool");
    package("ACMEapp").file("usr/bin/app", 0o755, program(&["libz.so.1"])).write(&spool);
    package("ACMEzlib").file("srv/strange/libz.so.1", 0o755, library("libz.so.1", &[])).write(&spool);
    let doc = package("ACMEdoc").file("opt/doc", 0o644, "x\n").information("depend", "P ACMEapp\n");
    doc.write(&spool);
    assert_eq!(stage.run("order -M spool").ok(), "ACMEzlib\nACMEapp\nACMEdoc\n");
    assert_eq!(stage.run("order -M spool ACMEapp").ok(), "ACMEapp\nACMEdoc\n");
    assert_eq!(stage.run("order -M spool /usr/bin/app --dependencies").ok(), "ACMEzlib\nACMEapp\n");
    let said = document(&stage, "order --json --why -M spool");
    assert_eq!(said["edges"][0]["object"], "/usr/bin/app");
    assert_eq!(said["edges"][1]["object"], "ACMEdoc/install/depend");
    stage.run("order -M spool ACMEnone").fails(4);
    stage.run("order -M spool --stale").fails(2);
    stage.run("order -M nowhere").fails(1);

    let streams = stage.beside("streams");
    fs::create_dir(&streams).unwrap();
    for name in ["ACMEapp", "ACMEzlib"] {
        datastream(&[spool.join(name)], &streams.join(format!("{name}.pkg")));
    }
    fs::write(streams.join("README"), "what is this\n").unwrap();
    assert_eq!(stage.run("order -M streams").ok(), "ACMEzlib\nACMEapp\n");
}

#[test]
fn patches_of_a_depot_are_put_in_order_with_and_without_an_index() {
    let stage = Scenario::new();
    let patch = |id: &str, requires: &str| {
        let web = package("ACMEweb").file("opt/web", 0o644, format!("{id}\n"));
        Patch::of(id, web).says("SUNW_REQUIRES", requires)
    };
    let patches = [patch("100-01", "200-01"), patch("200-01", "300-01"), patch("300-02", "")];
    for patch in &patches {
        patch.write(&stage.beside("loose"));
    }
    let depot = indexed_depot(&stage, &patches);
    for directory in ["loose", depot.to_str().unwrap()] {
        assert_eq!(stage.run(&format!("order -M {directory}")).ok(), "300-02\n200-01\n100-01\n");
        let line = format!("order -M {directory} 200-01 --dependencies --reverse");
        assert_eq!(stage.run(&line).ok(), "200-01\n300-02\n");
        stage.run(&format!("order -M {directory} 999-01")).fails(4);
        stage.run(&format!("order -M {directory} ACMEweb")).fails(4);
    }
    fs::create_dir(stage.beside("empty")).unwrap();
    let said = stage.run("order -M empty").fails(1);
    assert!(said.contains("empty"), "{said}");
}

#[test]
fn a_file_that_is_not_understood_is_named_and_stops_nothing() {
    let stage = libraries();
    stage.file("/usr/lib/libcut.so.1", &library("libcut.so.1", &[])[..100]);
    let run = stage.run("order -R @ROOT@ ACMEmid");
    assert_eq!((run.code, run.stdout.as_str()), (0, "ACMEmid\nACMEapp\n"));
    assert!(run.stderr.starts_with("note: @ROOT@/usr/lib/libcut.so.1 cannot be parsed: "), "{}", run.stderr);
}

#[test]
fn a_root_inside_the_root_is_not_looked_into() {
    let stage = libraries();
    stage.file("/srv/inner/etc/ld.so.cache", "");
    stage.file("/srv/inner/usr/lib/libcut.so.1", &library("libcut.so.1", &["libz.so.1"])[..100]);
    let run = stage.run("order -v -R @ROOT@ ACMEmid");
    assert_eq!((run.code, run.stdout.as_str()), (0, "ACMEmid\nACMEapp\n"));
    assert!(run.stderr.contains("note: @ROOT@/srv/inner was not examined\n"), "{}", run.stderr);
    assert_eq!(stage.run("order -R @ROOT@ ACMEmid").ok(), "ACMEmid\nACMEapp\n");
}

#[test]
fn what_a_compiler_made_is_put_in_order() {
    if Command::new("cc").arg("--version").output().is_err() {
        crate::missing("cc", "what_a_compiler_made_is_put_in_order");
        return;
    }
    let stage = Scenario::new();
    let made = stage.beside("made");
    fs::create_dir(&made).unwrap();
    let compile = |line: &str| {
        let done = Command::new("cc").args(line.split(' ')).current_dir(&made).status().unwrap();
        assert!(done.success(), "{line}");
    };
    fs::write(made.join("lib.c"), "int answer(void) { return 42; }\n").unwrap();
    fs::write(made.join("main.c"), "int answer(void);\nint main(void) { return answer(); }\n").unwrap();
    compile("-shared -fPIC -Wl,-soname,libanswer.so.1 -o libanswer.so.1 lib.c");
    compile("-Wl,-rpath,$ORIGIN/../lib -o ask main.c libanswer.so.1");
    let read = |name: &str| fs::read(made.join(name)).unwrap();
    stage.install(&package("ACMEz").file("opt/a/lib/libanswer.so.1", 0o755, read("libanswer.so.1")));
    stage.install(&package("ACMEask").file("opt/a/bin/ask", 0o755, read("ask")));
    assert_eq!(
        stage.run("order --why -R @ROOT@").ok(),
        "ACMEz\nACMEask\n  ACMEask needs ACMEz: /opt/a/bin/ask loads libanswer.so.1\n"
    );
}
