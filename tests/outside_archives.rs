//! Undo archives outside the root (`-B`): which paths of the host a root may lead to, and what is removed there.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::hostile_roots::{can_trace, killed_at_rename};
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    fs::create_dir(stage.beside("undo")).unwrap();
    stage
}

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
}

fn keep_outside(stage: &Scenario) -> crate::scenario::Run {
    stage.patchadd(&format!("-B {}", stage.beside("undo").display()), &patch())
}

#[test]
fn an_archive_that_the_ledger_binds_is_used_and_removed_with_its_directories() {
    let stage = stage();
    keep_outside(&stage).ok();
    let archive = stage.beside("undo/100-01/ACMEweb/undo.gz");
    assert!(archive.exists());
    let ledger = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    assert!(ledger.contains(&format!("\"where\":\"{}\"", archive.display())), "{ledger}");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
    assert_eq!(fs::read_dir(stage.beside("undo")).unwrap().count(), 0);
}

#[test]
fn a_pointer_to_a_file_that_is_no_archive_is_not_followed() {
    let stage = stage();
    keep_outside(&stage).ok();
    let remote = "/var/sadm/pkg/ACMEweb/save/100-01/remote";
    let text = stage.text(remote);
    let archive = stage.beside("undo/100-01/ACMEweb/undo.gz");
    let places =
        ["/etc/passwd", "/etc/100-01/ACMEweb/passwd", "/etc/100-02/ACMEweb/undo.gz", "/etc/100-01/X/undo"];
    for place in places {
        stage.file(remote, text.replace(archive.to_str().unwrap(), place));
        let before = stage.everything();
        let said = stage.run("patchrm -R @ROOT@ 100-01").fails(12);
        assert!(said.contains("-B"), "{place}: {said}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn an_archive_elsewhere_that_no_line_binds_needs_its_directory_named() {
    let stage = stage();
    keep_outside(&stage).ok();
    let (old, moved) = (stage.beside("undo"), stage.beside("moved"));
    fs::rename(&old, &moved).unwrap();
    let remote = "/var/sadm/pkg/ACMEweb/save/100-01/remote";
    stage.file(remote, stage.text(remote).replace("/undo/", "/moved/"));
    if is_root() {
        stage.run("patchrm -R @ROOT@ 100-01").fails(12);
        stage.run("check --contents -R @ROOT@").fails(4);
    }
    stage.run(&format!("check --contents -R @ROOT@ --undo-dir {}", moved.display())).ok();
    stage.run(&format!("patchrm -B {} -R @ROOT@ 100-01", moved.display())).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn a_directory_that_others_may_write_to_is_refused_before_anything() {
    let stage = stage();
    for mode in [0o777, 0o1777, 0o702] {
        fs::set_permissions(stage.beside("undo"), fs::Permissions::from_mode(mode)).unwrap();
        let before = stage.everything();
        let said = keep_outside(&stage).fails(37);
        assert!(said.contains("is writable by others"), "{said}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_directory_that_somebody_else_could_move_away_gets_no_undo_data() {
    if !is_root() {
        crate::skipped("a directory that somebody else could move away: only root works in those of others");
        return;
    }
    let stage = stage();
    patch().directory(&stage);
    let undo = stage.beside("theirs/undo");
    fs::create_dir_all(&undo).unwrap();
    std::os::unix::fs::chown(stage.beside("theirs"), Some(1234), Some(1234)).unwrap();
    let before = stage.everything();
    let line = format!("patchadd -B {} -R @ROOT@ delivered/100-01", undo.display());
    let said = stage.run(&line).fails(37);
    assert!(said.contains("lies below a directory that another user can change"), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_link_in_the_place_of_the_directory_of_a_patch_is_not_followed() {
    let stage = stage();
    fs::create_dir(stage.beside("elsewhere")).unwrap();
    symlink(stage.beside("elsewhere"), stage.beside("undo/100-01")).unwrap();
    let before = stage.everything();
    let said = keep_outside(&stage);
    assert_ne!(said.code, 0, "{}", said.stdout);
    assert_same(&stage.everything(), &before);
    assert_eq!(fs::read_dir(stage.beside("elsewhere")).unwrap().count(), 0);
}

#[test]
fn what_an_interrupted_run_left_outside_is_named_where_it_stays_and_removed_where_its_directory_is_named() {
    for is_named in [false, true] {
        let stage = stage();
        patch().directory(&stage);
        let undo = stage.beside("undo");
        let line = format!("patchadd -B {} -R @ROOT@ delivered/100-01", undo.display());
        if !can_trace() {
            crate::missing("strace", "what an interrupted run left outside");
            return;
        }
        let below = undo.join("100-01/ACMEweb");
        let is_unpublished = |name: &str| name.strip_suffix(".tmp").is_some();
        let left =
            || fs::read_dir(&below).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!((1..9).any(|number| killed_at_rename(&stage, &line, number)), "no run was published");
        let name = left().find(|name| is_unpublished(name)).unwrap();
        let option = if is_named { format!("--undo-dir {}", undo.display()) } else { String::new() };
        let said = stage.run(&format!("recover -R @ROOT@ {option}")).ok();
        if is_root() && !is_named {
            assert!(said.contains(&name) && said.contains(&below.display().to_string()), "{said}");
            assert_eq!(left().collect::<Vec<_>>(), [name]);
        } else {
            assert!(!undo.join("100-01").exists(), "{said}");
        }
    }
}

#[test]
fn what_stands_in_the_place_of_an_archive_that_was_used_stays() {
    let stage = stage();
    keep_outside(&stage).ok();
    let archive = stage.beside("undo/100-01/ACMEweb/undo.gz");
    let bytes = fs::read(&archive).unwrap();
    fs::write(stage.beside("undo/100-01/ACMEweb/undo"), "somebody else's").unwrap();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert!(!archive.exists());
    assert!(stage.beside("undo/100-01/ACMEweb/undo").exists());
    assert!(!bytes.is_empty());
}

#[test]
fn an_archive_at_a_place_that_the_ledger_does_not_name_stays_though_its_bytes_are_right() {
    let stage = stage();
    keep_outside(&stage).ok();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([stage.beside("undo"), stage.beside("copy")])
        .status()
        .unwrap();
    assert!(copied.success());
    let remote = "/var/sadm/pkg/ACMEweb/save/100-01/remote";
    stage.file(remote, stage.text(remote).replace("/undo/", "/copy/"));
    let trust = if is_root() { "--trust-root" } else { "" };
    let ran = stage.run(&format!("patchrm {trust} -R @ROOT@ 100-01"));
    assert_eq!((ran.code, stage.text("/opt/ACMEweb/bin/httpd").as_str()), (0, "one\n"), "{}", ran.stderr);
    assert!(ran.stdout.contains("copy/100-01/ACMEweb/undo.gz stays"), "{}{}", ran.stdout, ran.stderr);
    assert!(stage.beside("copy/100-01/ACMEweb/undo.gz").exists());
}
