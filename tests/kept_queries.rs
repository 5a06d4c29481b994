//! Queries about libraries that stay for programs that still need them: the programs for which a patch is not in force,
//! faults of kept libraries, and kept packages in the commands about packages.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::{Patch, indexed_depot};
use crate::elf_sample::Sample;
use crate::packages::Package;
use crate::scenario::Scenario;

/// A package whose paths begin at the root.
fn package(name: &str) -> Package {
    Package::new(name).param("BASEDIR", "/")
}

/// A library with this SONAME; `fixes` changes its bytes.
fn library(soname: &str, fixes: u64) -> Vec<u8> {
    Sample { soname: Some(soname), flags: fixes << 8, ..Sample::default() }.bytes()
}

/// A program that needs these libraries.
fn program(needed: &[&str]) -> Vec<u8> {
    Sample { needed, interpreter: Some("/lib64/ld-linux-x86-64.so.2"), ..Sample::default() }.bytes()
}

/// A root with a library behind a link, a program that needs it, and such a program without a package.
fn stage() -> Scenario {
    let stage = Scenario::with(&[
        package("ACMEx")
            .file("usr/lib64/libx.so.1.0", 0o755, library("libx.so.1", 0))
            .symlink("usr/lib64/libx.so.1", "libx.so.1.0")
            .file("etc/x.conf", 0o644, "x\n"),
        package("ACMEp").file("usr/bin/p", 0o755, program(&["libx.so.1"])).file("etc/p.conf", 0o644, "p\n"),
    ]);
    stage.file("/usr/local/bin/own", program(&["libx.so.1"]));
    stage
}

/// The patch that replaces version 1 of the library with version 2.
fn renewal() -> Patch {
    let new = package("ACMEx").file("usr/lib64/libx.so.2", 0o755, library("libx.so.2", 0));
    Patch::of("100-01", new.deletes(&["/usr/lib64/libx.so.1", "/usr/lib64/libx.so.1.0"]))
}

/// The root of [`stage`] with the patch applied, and version 1 kept.
fn with_kept() -> Scenario {
    let stage = stage();
    stage.patchadd("--libs keep", &renewal()).ok();
    stage
}

const EXCEPTION: &str =
    "effective, except for 2 programs that still load libx.so.1: /usr/bin/p, /usr/local/bin/own";

/// The document that a command prints. The scenario checks its schema.
#[track_caller]
fn document(stage: &Scenario, line: &str) -> Value {
    let run = stage.run(line);
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"))
}

/// The kept library in documents.
fn told() -> Value {
    let bytes = library("libx.so.1", 0).len();
    let consumer = |path: &str, packages: &[&str]| json!({"path": path, "packages": packages, "how": "needed", "pid": null});
    json!([{
        "package": "ACMEx-SO",
        "library": "libx.so.1",
        "paths": ["/usr/lib64/libx.so.1", "/usr/lib64/libx.so.1.0"],
        "bytes": bytes,
        "consumers": [consumer("/usr/bin/p", &["ACMEp"]), consumer("/usr/local/bin/own", &[])],
        "consumers_total": 2,
    }])
}

/// The patches that a list marks as not in force for every program.
fn excepted(stage: &Scenario) -> Vec<String> {
    let said = document(stage, "list --json -R @ROOT@");
    let patches = said["patches"].as_array().unwrap().iter().filter(|one| one.get("kept_shlibs").is_some());
    patches.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_verb_says_for_whom_a_patch_is_not_in_force() {
    let stage = stage();
    let depot = indexed_depot(&stage, &[renewal()]);
    let (patch, depot) = (depot.join("100-01.tar"), depot.display());
    let added = stage.run(&format!("add --libs keep -R @ROOT@ {}", patch.display())).ok();
    assert!(added.contains(&format!("\n  {EXCEPTION}\n")), "{added}");
    let list = stage.run("list -R @ROOT@").ok();
    assert_eq!(list.lines().nth(1), Some(format!("        {EXCEPTION}").as_str()), "{list}");
    let show = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(show.contains(&format!("       State: effective\n              {EXCEPTION}\n")), "{show}");
    let verify = stage.run("check --contents -R @ROOT@").ok();
    assert!(verify.contains(&format!("100-01: can be removed\n    {EXCEPTION}\n")), "{verify}");
    let analyze = stage.run(&format!("missing -R @ROOT@ -M {depot} all")).ok();
    assert!(analyze.ends_with(&format!("\n  {EXCEPTION}\n")), "{analyze}");

    for (line, at) in [
        ("list --json -R @ROOT@", "/patches/0"),
        ("show --json -R @ROOT@ 100-01", "/answers/0"),
        ("check --contents --json -R @ROOT@", "/patches/0"),
        (&format!("missing --json -R @ROOT@ -M {depot} all"), "/patches/0"),
    ] {
        let said = document(&stage, line);
        assert_eq!(said.pointer(at).unwrap()["kept_shlibs"], told(), "{line}");
    }
    let page = stage.beside("page.html");
    fs::write(stage.beside("all.json"), stage.run(&format!("missing --json -R @ROOT@ -M {depot} all")).ok())
        .unwrap();
    stage.run(&format!("report page all.json -o {}", page.display())).ok();
    assert!(fs::read_to_string(page).unwrap().contains(&format!("100-01: {EXCEPTION}")));
}

#[test]
fn the_document_of_add_says_it_and_nothing_where_nothing_is_kept() {
    let stage = stage();
    let patch = renewal().directory(&stage);
    let line = format!("add --json --libs keep -R @ROOT@ {}", patch.display());
    assert_eq!(document(&stage, &line)["patches"][0]["kept_shlibs"], told());
    stage.run("remove -R @ROOT@ 100-01").ok();
    let said = document(&stage, &format!("add --json -R @ROOT@ {}", patch.display()));
    assert!(said["patches"][0].get("kept_shlibs").is_none(), "{said}");
    assert_eq!(excepted(&stage), [""; 0]);
    assert!(!stage.run("check --contents -R @ROOT@").ok().contains("except"));
}

#[test]
fn it_is_said_of_every_effective_patch_of_the_package_that_changed_a_library_and_is_not_in_the_kept_one() {
    let stage = stage();
    let of = |id: &str, package: Package| stage.patchadd("--libs keep", &Patch::of(id, package)).ok();
    of("050-01", package("ACMEx").file("usr/lib64/libx.so.1.0", 0o755, library("libx.so.1", 1)));
    stage.patchadd("--libs keep", &renewal()).ok();
    assert_eq!(excepted(&stage), ["100-01"], "the kept library has the first patch");
    of("200-01", package("ACMEx").file("usr/lib64/libx.so.2", 0o755, library("libx.so.2", 1)));
    of("300-01", package("ACMEx").file("etc/x.conf", 0o644, "y\n"));
    of("400-01", package("ACMEp").file("etc/p.conf", 0o644, "q\n"));
    assert_eq!(excepted(&stage), ["100-01", "200-01"], "neither a text nor another package");
    of("200-02", package("ACMEx").file("usr/lib64/libx.so.2", 0o755, library("libx.so.2", 2)));
    assert_eq!(excepted(&stage), ["100-01", "200-02"], "what is superseded is not in force anyway");
    stage.run("undo-data drop -R @ROOT@ 300-01").ok();
    assert_eq!(excepted(&stage), ["100-01", "200-02"], "its manifest tells without undo data");
    let said = document(&stage, "check --contents --json -R @ROOT@");
    let patches = said["patches"].as_array().unwrap().iter().filter(|one| one.get("kept_shlibs").is_some());
    assert_eq!(patches.map(|one| one["id"].clone()).collect::<Vec<_>>(), ["100-01", "200-02"]);
}

#[test]
fn a_patch_whose_undo_data_tells_nothing_counts_as_one_that_changed_a_library() {
    let stage = with_kept();
    stage.patchadd("", &Patch::of("300-01", package("ACMEx").file("etc/x.conf", 0o644, "y\n"))).ok();
    assert_eq!(excepted(&stage), ["100-01"]);
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEx/save/300-01")).unwrap();
    assert_eq!(excepted(&stage), ["100-01", "300-01"]);
}

#[test]
fn a_list_tells_what_was_recorded_and_verify_what_is_there() {
    let stage = with_kept();
    fs::remove_file(stage.at("/usr/local/bin/own")).unwrap();
    assert!(stage.run("list -R @ROOT@").ok().contains(EXCEPTION));
    let one = "effective, except for 1 program that still loads libx.so.1: /usr/bin/p";
    assert!(stage.run("check --contents -R @ROOT@").ok().contains(one));
    stage.file("/opt/new", program(&["libx.so.1"]));
    let two = "effective, except for 2 programs that still load libx.so.1: /opt/new, /usr/bin/p";
    assert!(stage.run("check --contents -R @ROOT@").ok().contains(two));
    // The next run that looks for consumers records the new one.
    stage.patchadd("", &Patch::of("400-01", package("ACMEp").file("usr/bin/p2", 0o755, program(&[])))).ok();
    assert!(stage.run("list -R @ROOT@").ok().contains(two));
}

#[test]
fn records_of_consumers_that_make_no_sense_are_passed_over() {
    let stage = with_kept();
    let consumers = "/var/sadm/pkg/ACMEx-SO/install/consumers";
    let text = "needed /opt/a%20b\nneeded\nloves /opt/c\nneeded relative\nneeded /opt/d\n\n";
    stage.file(consumers, text);
    let list = stage.run("list -R @ROOT@").ok();
    assert!(list.contains("except for 2 programs that still load libx.so.1: /opt/a b, /opt/d\n"), "{list}");
    fs::remove_file(stage.at(consumers)).unwrap();
    assert!(!stage.run("list -R @ROOT@").ok().contains("except"));
    assert_eq!(excepted(&stage), ["100-01"], "that it is kept is known all the same");
}

/// The output of `check --contents` if something is wrong.
#[track_caller]
fn wrong(stage: &Scenario) -> String {
    let run = stage.run("check --contents -R @ROOT@");
    assert_eq!((run.code, run.stderr.as_str()), (4, ""), "{}", run.stdout);
    run.stdout
}

/// The faults of kept libraries that `check --contents` finds: finding, package, library, and misled programs.
fn findings(stage: &Scenario) -> Vec<Value> {
    let said = document(stage, "check --contents --json -R @ROOT@");
    assert_eq!((&said["exit_code"], &said["cause"]), (&json!(4), &json!("edited")));
    assert_eq!(said["sound"], false);
    let all = said["kept_libraries"].as_array().unwrap().iter();
    all.map(|one| json!([one["finding"], one["package"], one["library"], one["misled"]])).collect()
}

#[test]
fn verify_finds_a_kept_library_that_nobody_needs() {
    let stage = with_kept();
    fs::remove_file(stage.at("/usr/local/bin/own")).unwrap();
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEp").code, 0);
    assert!(!stage.at("/usr/lib64/libx.so.1").exists(), "the run took it away with its last need");

    let stage = with_kept();
    fs::write(stage.at("/usr/bin/p"), program(&[])).unwrap();
    fs::remove_file(stage.at("/usr/local/bin/own")).unwrap();
    let said = wrong(&stage);
    let sentence = "kept library libx.so.1 (ACMEx-SO: /usr/lib64/libx.so.1, /usr/lib64/libx.so.1.0) is no longer \
                    needed; `patchadm -R @ROOT@ libs prune` removes it\n";
    assert!(said.contains(sentence), "{said}");
    assert_eq!(findings(&stage), [json!(["unneeded", "ACMEx-SO", "libx.so.1", null])]);
    assert!(!said.contains("except"), "{said}");
    // A check of another package does not mention it.
    assert!(!stage.run("check --contents -R @ROOT@ ACMEx").ok().contains("kept library"));
}

#[test]
fn verify_finds_a_kept_library_that_has_changed_or_is_gone() {
    let stage = with_kept();
    fs::write(stage.at("/usr/lib64/libx.so.1.0"), library("libx.so.1", 7)).unwrap();
    let said = wrong(&stage);
    assert!(said.contains("libx.so.1.0) changed since it was kept\n"), "{said}");
    assert_eq!(findings(&stage), [json!(["changed", "ACMEx-SO", "libx.so.1", null])]);
    fs::remove_file(stage.at("/usr/lib64/libx.so.1.0")).unwrap();
    let said = wrong(&stage);
    assert!(said.contains("libx.so.1.0) no longer exists\n"), "{said}");
    assert_eq!(findings(&stage)[0][0], "missing");
}

#[test]
fn verify_finds_a_kept_library_that_shadows_a_newer_one() {
    let stage = with_kept();
    stage.file("/usr/lib/libx.so.1", library("libx.so.1", 3));
    let said = wrong(&stage);
    let sentence = "libx.so.1.0) is loaded instead of a newer one by /usr/bin/p, /usr/local/bin/own\n";
    assert!(said.contains(sentence), "{said}");
    let misled = json!(["/usr/bin/p", "/usr/local/bin/own"]);
    assert_eq!(findings(&stage), [json!(["shadows", "ACMEx-SO", "libx.so.1", misled])]);
}

#[test]
fn shlibs_shows_what_is_kept_and_prunes_what_nobody_needs() {
    let stage = with_kept();
    let bytes = library("libx.so.1", 0).len();
    let shown = format!(
        "ACMEx-SO: from ACMEx 1.0, since 2026-11-20 07:00, by 100-01
  libx.so.1  needed, {bytes} bytes
    /usr/bin/p (needed, ACMEp)
    /usr/local/bin/own (needed)
"
    );
    assert_eq!(stage.run("libs list -R @ROOT@").ok(), shown);
    assert_eq!(stage.run("libs list -R @ROOT@ ACMEx-SO").ok(), shown);
    let said = document(&stage, "libs list --json -R @ROOT@");
    assert_eq!(said["kept"][0]["by"], "100-01");
    assert_eq!(said["kept"][0]["libraries"][0]["state"], "needed");
    assert!(said.get("changed").is_none() && said.get("pruned").is_none(), "{said}");
    stage.run("libs prune -R @ROOT@").ok();
    assert_eq!(stage.run("libs list -R @ROOT@").ok(), shown, "it is needed");

    fs::write(stage.at("/usr/bin/p"), program(&[])).unwrap();
    fs::remove_file(stage.at("/usr/local/bin/own")).unwrap();
    let before = stage.everything();
    let would = stage.run("libs prune --dry-run -R @ROOT@").ok();
    assert!(would.starts_with("libx.so.1: would be removed (ACMEx-SO)\n"), "{would}");
    assert_eq!(stage.everything(), before);
    assert_eq!(document(&stage, "libs prune --dry-run --json -R @ROOT@")["pruned"][0]["name"], "libx.so.1");
    let said = document(&stage, "libs prune --json -R @ROOT@ ACMEx-SO");
    assert_eq!((&said["changed"], &said["pruned"][0]["package"]), (&json!(true), &json!("ACMEx-SO")));
    assert!(!stage.at("/usr/lib64/libx.so.1").exists() && !stage.at("/var/sadm/pkg/ACMEx-SO").exists());
    assert_eq!(stage.run("libs list -R @ROOT@").ok(), "no libraries are kept\n");
    assert!(stage.run("history -R @ROOT@").ok().contains("  libs prune "));
    assert_eq!(excepted(&stage), [""; 0]);
}

#[test]
fn a_kept_library_that_a_package_of_dpkg_has_now_is_given_up_and_stays() {
    let stage = with_kept();
    fs::write(stage.at("/usr/bin/p"), program(&[])).unwrap();
    fs::remove_file(stage.at("/usr/local/bin/own")).unwrap();
    stage.file("/var/lib/dpkg/info/libx1.list", "/.\n/usr\n/usr/lib64\n/usr/lib64/libx.so.1.0\n");
    let status = "Package: libx1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n";
    stage.file("/var/lib/dpkg/status", status);
    let run = stage.run("libs prune -R @ROOT@");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let note = "@ROOT@/usr/lib64/libx.so.1.0 stays: it belongs to libx1 2 (dpkg)";
    assert!(run.stderr.contains(note), "{}{}", run.stdout, run.stderr);
    assert!(stage.at("/usr/lib64/libx.so.1.0").exists(), "that is no longer ours");
    assert!(!stage.at("/usr/lib64/libx.so.1").exists(), "and this is nobody else's");
    assert!(!stage.at("/var/sadm/pkg/ACMEx-SO").exists());
}

#[test]
fn shlibs_knows_only_packages_of_kept_libraries() {
    let stage = with_kept();
    for action in ["list", "prune", "prune --dry-run"] {
        let run = stage.run(&format!("libs {action} -R @ROOT@ ACMEx-SO ACMEx ACMEnone"));
        let said = run.fails(4);
        assert!(said.contains("ACMEx, ACMEnone: no package of kept libraries\n"), "{said}");
    }
    let said = document(&stage, "libs list --json -R @ROOT@ ACMEx");
    assert_eq!((&said["exit_code"], &said["cause"]), (&json!(4), &json!("unknown")));
    stage.run("libs list --dry-run -R @ROOT@").fails(2);
    Scenario::bare().run("libs list -R @ROOT@").fails(1);
    let completed = stage.run("-R @ROOT@ __complete bash 5 patchadm -R @ROOT@ libs list ACME");
    assert_eq!(completed.code, 0);
}

#[test]
fn a_kept_package_is_a_package_like_any_other() {
    let stage = with_kept();
    let listed = stage.run("pkginfo -R @ROOT@ ACMEx-SO").ok();
    assert!(listed.contains("ACMEx-SO") && listed.contains("kept libraries of ACMEx"), "{listed}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEx-SO KEPT_FROM KEPT_BY").ok(), "ACMEx\n100-01\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEx-SO").ok(), "");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let paths = stage.run("pkgchk -R @ROOT@ -l -p /usr/lib64/libx.so.1.0").ok();
    assert!(paths.contains("ACMEx-SO"), "{paths}");
    let owner = document(&stage, "show --json -R @ROOT@ /usr/lib64/libx.so.1");
    assert!(owner.to_string().contains("ACMEx-SO"), "{owner}");
    fs::write(stage.at("/usr/lib64/libx.so.1.0"), "other\n").unwrap();
    stage.run("pkgchk -R @ROOT@ ACMEx-SO").fails(1);
}

#[test]
fn a_needed_kept_package_goes_only_when_the_loss_is_accepted() {
    let stage = with_kept();
    let said = stage.run("pkgrm -n -R @ROOT@ ACMEx-SO").fails(4);
    assert!(said.contains("libx.so.1") && said.contains("/usr/bin/p"), "{said}");
    assert!(stage.at("/usr/lib64/libx.so.1.0").exists());
    let said = document(&stage, "pkgrm --json -n --libs report -R @ROOT@ ACMEx-SO");
    assert_eq!(said["exit_code"], 0, "{said}");
    assert!(!stage.at("/usr/lib64/libx.so.1.0").exists());
    assert_eq!(excepted(&stage), [""; 0]);

    let stage = with_kept();
    fs::write(stage.at("/usr/bin/p"), program(&[])).unwrap();
    fs::remove_file(stage.at("/usr/local/bin/own")).unwrap();
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEx-SO").code, 0);
    assert!(!stage.at("/usr/lib64/libx.so.1.0").exists());
}

#[test]
fn documents_of_commands_about_packages_tell_of_libraries() {
    let stage = stage();
    let said = document(&stage, "pkgrm --json -n --libs keep -R @ROOT@ ACMEx");
    let kept = &said["shlibs"]["kept"][0];
    assert_eq!((&kept["package"], &kept["library"]), (&json!("ACMEx-SO"), &json!("libx.so.1")), "{said}");
    assert_eq!(said["packages"][0]["shlibs"], said["shlibs"]);

    package("ACMEx")
        .file("usr/lib64/libx.so.1", 0o755, library("libx.so.1", 5))
        .write(&stage.beside("spool"));
    package("ACMEy").file("usr/bin/y", 0o755, program(&[])).write(&stage.beside("spool"));
    let said = document(&stage, "pkgadd --json -n -R @ROOT@ -d spool ACMEx ACMEy");
    assert_eq!(said["exit_code"], 0, "{said}");
    assert!(said.get("shlibs").is_none(), "of several packages each has its own: {said}");
    let dropped = &said["packages"][0]["shlibs"]["dropped"][0]["package"];
    assert_eq!(dropped, "ACMEx-SO", "{said}");
}
