//! Undo archives rewritten in another form: the content is the same, the ledger binds it as before, and a backout has
//! the same result.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

fn package() -> Package {
    Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "old\n".repeat(3_000))
        .file("etc/conf", 0o640, "as delivered\n")
        .symlink("bin/link", "httpd")
}

/// Another package, of one symbolic link.
fn link() -> Package {
    Package::new("ACMElink").symlink("bin/link", "httpd")
}

fn patch(id: &str) -> Patch {
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, format!("as of {id}\n").repeat(4_000))
        .file("etc/conf", 0o600, format!("{id}\n"))
        .file(&format!("bin/new-{id}"), 0o755, "new\n");
    Patch::of(id, package)
}

/// A root with 100-01 and 100-02.
fn stage() -> Scenario {
    let stage = Scenario::with(&[package()]);
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd("", &patch("100-02")).ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

fn save(stage: &Scenario, id: &str) -> PathBuf {
    stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{id}"))
}

fn archives(stage: &Scenario, id: &str) -> Vec<String> {
    let names = fs::read_dir(save(stage, id)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let is_archive = |name: &String| {
        let (stem, suffix) = name.split_once('.').unwrap_or((name, ""));
        ["undo", "obsolete"].contains(&stem) && ["", "gz", "Z", "zst", "xz"].contains(&suffix)
    };
    let mut names: Vec<String> = names.filter(is_archive).collect();
    names.sort();
    names
}

#[test]
fn a_backout_from_each_form_is_the_same() {
    let before = Scenario::with(&[package(), link()]).tree();
    for (first, second) in [("none", "Z"), ("Z", "gz"), ("gz", "zst"), ("zst", "xz"), ("xz", "none")] {
        let stage = Scenario::with(&[package(), link()]);
        // The first patch also replaces a link.
        let first_patch = patch("100-01").package(Package::new("ACMElink").symlink("bin/link", "elsewhere"));
        let first_patch = first_patch.directory(&stage);
        stage.run(&format!("add --undo-format none -R @ROOT@ {}", first_patch.display())).ok();
        stage.patchadd("", &patch("100-02")).ok();
        for format in [first, second] {
            let tree = stage.tree();
            let done = stage.run(&format!("undo-data repack -R @ROOT@ --undo-format {format} 100-01 100-02"));
            assert_eq!(done.code, 0, "{}", done.stderr);
            assert!(tree.difference(&stage.tree()).is_empty(), "no object changes");
            let suffix = if format == "none" { String::new() } else { format!(".{format}") };
            // The archive of a superseded patch has the name of an obsolete one.
            for (id, stem) in [("100-01", "obsolete"), ("100-02", "undo")] {
                assert_eq!(archives(&stage, id), [format!("{stem}{suffix}")], "{id} {format}");
                let digest = fs::read_to_string(save(&stage, id).join("undo.b3")).unwrap();
                assert!(digest.contains(&format!("  undo{suffix}  ")), "{digest}");
            }
            stage.run("check --contents -R @ROOT@").ok();
        }
        stage.run("remove -R @ROOT@ 100-02").ok();
        stage.run("remove -R @ROOT@ 100-01").ok();
        let difference = before.difference(&stage.tree());
        assert!(difference.is_empty(), "{first} {second}: {difference:?}");
    }
}

#[test]
fn files_of_other_users_become_an_archive() {
    if !is_root() {
        return crate::skipped("files of other users: only root gives files away");
    }
    let stage = Scenario::with(&[package()]);
    stage.mode("/opt/ACMEweb/bin/httpd", 0o775);
    std::os::unix::fs::chown(stage.at("/opt/ACMEweb/bin/httpd"), None, Some(80)).unwrap();
    std::os::unix::fs::chown(stage.at("/opt/ACMEweb/etc/conf"), Some(80), Some(80)).unwrap();
    let before = stage.tree();
    let patch = patch("100-01").directory(&stage);
    stage.run(&format!("add --edited replace --undo-format files -R @ROOT@ {}", patch.display())).ok();
    for format in ["none", "gz"] {
        stage.run(&format!("undo-data repack -R @ROOT@ --undo-format {format} 100-01")).ok();
        stage.run("check --contents -R @ROOT@").ok();
    }
    stage.run("remove -R @ROOT@ 100-01").ok();
    let difference = before.difference(&stage.tree());
    assert!(difference.is_empty(), "{difference:?}");
}

#[test]
fn the_content_of_an_archive_is_the_same_to_the_byte_when_it_comes_back_to_its_form() {
    let stage = stage();
    let read = |stage: &Scenario| fs::read(save(stage, "100-02").join("undo.gz")).unwrap();
    let before = read(&stage);
    let said = document(&stage, "undo-data repack --json -R @ROOT@ --undo-format none 100-02");
    assert_eq!((&said["result"], &said["archives"][0]["verdict"]), (&"done".into(), &"repacked".into()));
    assert!(said["archives"][0]["after"].as_u64() > said["archives"][0]["before"].as_u64(), "{said}");
    stage.run("undo-data repack -R @ROOT@ --undo-format gz 100-02").ok();
    assert!(read(&stage) == before);
    let ledger = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    let line = ledger.lines().find(|line| line.contains("\"100-02\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["size"].as_u64().unwrap(), before.len() as u64);
    assert!(line["applied"].is_string(), "it still says which run applied the patch: {line}");
    assert!(line.get("adopted").is_none());
    let history = stage.text("/var/sadm/patchadm/history");
    let last: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    assert_eq!(last["command"], "repack");
}

#[test]
fn a_preview_changes_nothing_and_what_has_the_form_stays() {
    let stage = stage();
    let before = stage.everything();
    let said = document(&stage, "undo-data repack --json --dry-run -R @ROOT@ --undo-format Z 100-01");
    assert_eq!((&said["result"], &said["would_change"]), (&"planned".into(), &true.into()));
    assert!(before.difference(&stage.everything()).is_empty());
    let said = document(&stage, "undo-data repack --json -R @ROOT@ --undo-format gz 100-01 100-02");
    assert_eq!((&said["result"], &said["changed"]), (&"nothing-to-do".into(), &false.into()));
    assert_eq!(said["archives"][1]["verdict"], "unchanged");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn all_that_are_cold_are_written_and_those_without_undo_data_passed_over() {
    let stage = stage();
    stage.run("undo-data drop -R @ROOT@ 100-01").ok();
    let said = stage.run("undo-data repack -R @ROOT@ --undo-format Z --older-than 9999y").ok();
    assert_eq!(said, "nothing to do: there is no undo archive to write\n");
    for bad in
        ["--older-than 3", "--older-than -1d", "--older-than 99999999999999999999y", "--undo-format zip", ""]
    {
        stage.run(&format!("undo-data repack -R @ROOT@ {bad} 100-02")).fails(2);
    }
    assert_eq!(archives(&stage, "100-02"), ["undo.gz"]);
    let said = stage.run("undo-data repack -R @ROOT@ --undo-format Z").ok();
    assert!(said.starts_with("100-02 ACMEweb: gz to Z: ") && said.lines().count() == 1, "{said}");
    assert_eq!(archives(&stage, "100-02"), ["undo.Z"]);
}

#[test]
fn an_archive_outside_the_root_is_written_beside_the_old_one_and_the_pointer_follows() {
    let stage = Scenario::with(&[package()]);
    let before = stage.tree();
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    stage.patchadd(&format!("-B {}", elsewhere.display()), &patch("100-01")).ok();
    stage
        .run(&format!(
            "undo-data repack -R @ROOT@ --undo-dir {} --undo-format none 100-01",
            elsewhere.display()
        ))
        .ok();
    let names: Vec<String> = fs::read_dir(elsewhere.join("100-01/ACMEweb"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    assert!(name.starts_with("undo-") && std::path::Path::new(&name).extension().is_none(), "{name}");
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert!(before.difference(&stage.tree()).is_empty());
}

#[test]
fn missing_damaged_and_foreign_archives_have_their_codes_and_nothing_changes() {
    let stage = stage();
    stage.run("undo-data repack -R @ROOT@ --undo-format Z 300-01").fails(4);
    let archive = save(&stage, "100-01").join("obsolete.gz");
    let bytes = fs::read(&archive).unwrap();

    fs::remove_file(&archive).unwrap();
    let before = stage.everything();
    let said = stage.run("undo-data repack -R @ROOT@ --undo-format Z 100-01 100-02").fails(1);
    assert!(said.contains("100-01"), "{said}");
    let refused = stage.run("undo-data repack --json -R @ROOT@ --undo-format Z 100-01");
    let refused: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(refused["cause"], "undo-data");
    assert!(before.difference(&stage.everything()).is_empty());

    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    fs::write(&archive, &damaged).unwrap();
    let before = stage.everything();
    stage.run("undo-data repack -R @ROOT@ --undo-format Z 100-01 100-02").fails(3);
    stage.run("undo-data repack -R @ROOT@ --undo-format Z --dry-run 100-01").fails(3);
    assert!(before.difference(&stage.everything()).is_empty());

    fs::write(&archive, &bytes).unwrap();
    let ledger = stage.at("/var/sadm/patchadm/ledger/ACMEweb");
    let text = fs::read_to_string(&ledger).unwrap();
    fs::write(&ledger, text.replace(&format!("\"size\":{}", bytes.len()), "\"size\":18446744073709551615"))
        .unwrap();
    let run = stage.run("undo-data repack -R @ROOT@ --undo-format Z 100-01");
    assert!(run.code == 0 || run.code == 4, "the digest decides, not the size: {}", run.stderr);

    stage.forget_ledgers();
    let said = document(&stage, "undo-data repack --json -R @ROOT@ --undo-format none 100-01");
    assert_eq!(said["archives"][0]["verdict"], "foreign");
    assert_eq!(said["changed"], false);
}

#[test]
fn the_archives_of_middle_patches_are_still_rewritten_in_their_new_form() {
    let stage = stage();
    stage.run("undo-data repack -R @ROOT@ --undo-format none 100-02").ok();
    stage.run("remove --force -R @ROOT@ 100-01").ok();
    assert_eq!(archives(&stage, "100-02"), ["undo"]);
    stage.run("remove -R @ROOT@ 100-02").ok();
    assert!(Scenario::with(&[package()]).tree().difference(&stage.tree()).is_empty());
}
