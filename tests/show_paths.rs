//! `patchadm show PATH` and `show --files`: the owner of a path, its current version, and what patches did.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::packages::Package;
use crate::scenario::Scenario;

/// A root with a package and two patches of it, of which the second replaces, adds and deletes.
fn stage() -> Scenario {
    let web = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "h0\n")
        .file("bin/mode", 0o644, "m\n")
        .file("bin/old", 0o755, "old\n")
        .file("bin/same", 0o755, "same\n");
    let stage = Scenario::with(&[web]);
    stage.patchadd("", &Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "h1\n"))).ok();
    let second = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "h2\n")
        .file("bin/mode", 0o755, "m\n")
        .file("bin/new", 0o755, "new\n")
        .file("bin/same", 0o755, "same\n")
        .deletes(&["bin/old"]);
    stage.patchadd("", &Patch::of("200-01", second)).ok();
    stage
}

/// The objects that are listed below the summary.
fn files(stage: &Scenario, id: &str) -> String {
    let text = stage.run(&format!("show --files -R @ROOT@ {id}")).ok();
    let (summary, files) = text.split_once("ACMEweb:\n").unwrap();
    assert!(summary.contains("       Patch: "), "{text}");
    format!("ACMEweb:\n{files}")
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).stdout).unwrap()
}

/// The id and the action of each patch of the first path.
fn patches(document: &Value) -> Vec<(String, Option<String>)> {
    let patches = document["answers"][0]["patches"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    patches.iter().map(|patch| (text(&patch["id"]).unwrap(), text(&patch["action"]))).collect()
}

#[test]
fn the_patches_of_a_path_are_told_newest_first() {
    let stage = stage();
    assert_eq!(
        stage.run("show -R @ROOT@ /opt/ACMEweb/bin/httpd").ok(),
        "@ROOT@/opt/ACMEweb/bin/httpd: owned by ACMEweb
  current version: as patch 200-01 left it
  200-01  effective    2026-11-20 07:00  replaced; the previous version is saved
  100-01  effective    2026-11-20 07:00  replaced; the previous version is saved
"
    );
    let said = document(&stage, "show --json -R @ROOT@ /opt/ACMEweb/bin/httpd");
    let path = &said["answers"][0];
    assert_eq!((&path["type"], &path["packages"]), (&json!("f"), &json!(["ACMEweb"])));
    assert_eq!(path["known"], true);
    let first = &path["patches"][0];
    assert_eq!((&first["id"], &first["state"]), (&json!("200-01"), &json!(["effective"])));
    assert_eq!(first["date"], "2026-11-20T07:00:00+00:00");
    assert_eq!((&first["was"]["size"], &first["saved"]), (&json!(3), &json!(true)));
    assert_ne!(first["was"]["b3"], first["became"]["b3"]);
    assert_eq!(first["was"]["b3"], path["patches"][1]["became"]["b3"]);
    let run = first["run"].as_str().unwrap();
    assert!(stage.text("/var/sadm/patchadm/history").contains(run), "{run}");
    let more = stage.run("show -v -R @ROOT@ /opt/ACMEweb/bin/httpd").ok();
    assert!(more.contains("    was:    file, 3 bytes, 0755 "), "{more}");
}

#[test]
fn each_way_in_which_a_patch_can_have_a_path_has_its_word() {
    let stage = stage();
    for (path, expected) in
        [("bin/new", "added"), ("bin/old", "deleted"), ("bin/mode", "attributes"), ("bin/same", "unchanged")]
    {
        let said = document(&stage, &format!("show --json -R @ROOT@ /opt/ACMEweb/{path}"));
        assert_eq!(patches(&said), [("200-01".to_owned(), Some(expected.to_owned()))], "{path}");
    }
    let gone = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/old").ok();
    assert!(
        gone.starts_with("@ROOT@/opt/ACMEweb/bin/old: no package owns it\n  200-01  effective "),
        "{gone}"
    );
}

#[test]
fn a_path_is_named_as_somebody_sees_it() {
    let stage = stage();
    stage.symlink("/web", "opt/ACMEweb");
    let expected = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/new").ok();
    for path in ["@ROOT@/opt/ACMEweb/bin/new", "opt/ACMEweb//bin/new", "/web/bin/new", "@ROOT@/web/bin/new"] {
        assert_eq!(stage.run(&format!("show -R @ROOT@ {path}")).ok(), expected, "{path}");
    }
    let mut here = stage.command("show -R @ROOT@ bin/new");
    let output = here.current_dir(stage.at("/opt/ACMEweb")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.replace(stage.root().to_str().unwrap(), "@ROOT@"), expected);
    let dots = stage.run("show -R @ROOT@ /opt/other/../ACMEweb/lib/../bin/new").ok();
    assert_eq!(dots, expected);
}

#[test]
fn the_files_of_a_patch_are_listed_with_what_it_did() {
    let stage = stage();
    assert_eq!(
        files(&stage, "200-01"),
        "ACMEweb:
  replaced   @ROOT@/opt/ACMEweb/bin/httpd
  changed    @ROOT@/opt/ACMEweb/bin/mode: mode 0644 → 0755
  added      @ROOT@/opt/ACMEweb/bin/new
  deleted    @ROOT@/opt/ACMEweb/bin/old
  unchanged  @ROOT@/opt/ACMEweb/bin/same
"
    );
    let said = document(&stage, "show --files --json -R @ROOT@ 200-01");
    let package = &said["answers"][0]["objects"][0];
    assert_eq!((&package["package"], &package["known"]), (&json!("ACMEweb"), &json!(true)));
    let old = &package["objects"][3];
    assert_eq!((&old["path"], &old["became"]), (&json!("/opt/ACMEweb/bin/old"), &Value::Null));
    assert_eq!(old["was"]["kind"], "file");
    let said = stage.run("show --files -R @ROOT@ 200-02").fails(4);
    assert!(
        said.contains("patch 200-02 is not applied, and there is no file")
            && said.contains("did you mean `200-01`?"),
        "{said}"
    );
}

#[test]
fn a_patch_without_undo_data_is_told_by_its_manifest() {
    let stage = stage();
    let before = files(&stage, "200-01");
    stage.run("undo-data drop -R @ROOT@ 200-01").ok();
    assert_eq!(files(&stage, "200-01"), before);
    let said = document(&stage, "show --json -R @ROOT@ /opt/ACMEweb/bin/httpd");
    let saved: Vec<&Value> =
        said["answers"][0]["patches"].as_array().unwrap().iter().map(|patch| &patch["saved"]).collect();
    assert_eq!(saved, [&json!(false), &json!(true)]);
}

#[test]
fn what_cannot_be_known_is_said() {
    let stage = stage();
    let save = stage.at("/var/sadm/pkg/ACMEweb/save/200-01");
    fs::remove_file(save.join("undo.gz")).unwrap();
    let said = document(&stage, "show --files --json -R @ROOT@ 200-01");
    let package = &said["answers"][0]["objects"][0];
    assert_eq!(package["known"], false);
    let names: Vec<&str> =
        package["objects"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    let expected = ["httpd", "mode", "new", "same"].map(|name| format!("/opt/ACMEweb/bin/{name}"));
    assert_eq!(names, expected, "the deleted one is nowhere else");
    assert!(package["objects"].as_array().unwrap().iter().all(|one| one["action"].is_null()));
    let run = stage.run("show --files -R @ROOT@ 200-01");
    assert_eq!(run.code, 0);
    assert!(
        run.stderr
            .starts_with("note: the changes of 200-01 to ACMEweb are unknown; only these names are known: "),
        "{}",
        run.stderr
    );
    let said = document(&stage, "show --json -R @ROOT@ /opt/ACMEweb/bin/httpd");
    assert_eq!(
        patches(&said),
        [("200-01".to_owned(), None), ("100-01".to_owned(), Some("replaced".to_owned()))]
    );
    assert_eq!(said["answers"][0]["known"], false);
}

#[test]
fn who_may_not_read_undo_data_is_told_names() {
    let stage = stage();
    if !crate::scenario::is_root() {
        crate::skipped("who_may_not_read_undo_data_is_told_names: it needs root");
        return;
    }
    let ask = |line: &str| {
        let output = as_ordinary_user(&stage, line, &[]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let said = ask("show --json -R @ROOT@ /opt/ACMEweb/bin/httpd");
    assert_eq!(patches(&said), [("200-01".to_owned(), None), ("100-01".to_owned(), None)]);
    assert_eq!(said["answers"][0]["packages"], json!(["ACMEweb"]));
    let said = ask("show --files --json -R @ROOT@ 200-01");
    assert_eq!(said["answers"][0]["objects"][0]["known"], false);
}

#[test]
fn control_characters_in_names_are_escaped() {
    let name = "bin/a\u{1b}[31mb";
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/x", 0o755, "x\n")]);
    stage.patchadd("", &Patch::of("100-01", Package::new("ACMEweb").file(name, 0o755, "x\n"))).ok();
    let said = stage.run("show --files -R @ROOT@ 100-01").ok();
    assert!(said.contains("bin/a\\u{1b}[31mb") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn the_current_version_of_a_path_is_compared_with_the_one_that_was_left() {
    let stage = stage();
    let current = |path: &str| {
        let said = document(&stage, &format!("show --json -R @ROOT@ /opt/ACMEweb/bin/{path}"));
        let current = &said["answers"][0]["current"];
        (current["state"].as_str().unwrap().to_owned(), current["by"].as_str().map(str::to_owned))
    };
    let by = |id: &str| Some(id.to_owned());
    assert_eq!(current("httpd"), ("unchanged".to_owned(), by("200-01")));
    assert_eq!(current("same"), ("unchanged".to_owned(), by("ACMEweb")));
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "h3\n").unwrap();
    assert_eq!(current("httpd"), ("modified".to_owned(), by("200-01")));
    let text = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/httpd").ok();
    assert!(text.contains("\n  modified locally since patch 200-01 left it:\n  checksum "), "{text}");
    stage.mode("/opt/ACMEweb/bin/same", 0o700);
    let text = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/same").ok();
    assert!(text.contains("modified locally since package ACMEweb left it:\n  mode 0755 → 0700\n"), "{text}");
    fs::remove_file(stage.at("/opt/ACMEweb/bin/new")).unwrap();
    assert_eq!(current("new"), ("missing".to_owned(), by("200-01")));
    let text = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/new").ok();
    assert!(text.contains("  missing, although patch 200-01 left it here\n"), "{text}");
}

#[test]
fn a_root_and_a_path_may_be_named_with_double_dots_and_through_links() {
    let stage = stage();
    let root = stage.root();
    let name = root.file_name().unwrap().to_str().unwrap();
    let above = root.parent().unwrap();
    fs::create_dir(above.join("beside")).unwrap();
    std::os::unix::fs::symlink(&root, above.join("link")).unwrap();
    let expected = stage.run("show -R @ROOT@ /opt/ACMEweb/bin/httpd").ok();
    let at = above.display();
    for line in [
        format!("show -R {at}/beside/../{name} /opt/ACMEweb/bin/httpd"),
        format!("show -R {at}/beside/../{name} @ROOT@/opt/ACMEweb/bin/httpd"),
        format!("show -R {at}/beside/../{name} {at}/beside/../{name}/opt/ACMEweb/bin/httpd"),
        format!("show -R @ROOT@ {at}/link/opt/ACMEweb/bin/httpd"),
    ] {
        assert_eq!(stage.run(&line).ok(), expected, "{line}");
    }
}
