//! Number of bytes that an apply and a backout digest: each byte of an object once, plus the bytes of the archive.
//!
//! Debug builds count all bytes that a process digests, so the test plays in a process of its own.

use std::fs;
use std::process::Command as Process;

use patchadm_rootfs::{Door, digested_bytes};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::stories::{Command, Story, Trial};
use crate::scenario::Scenario;

/// Size of each file. The expected numbers of bytes are multiples of it.
const FILE: usize = 300_000;

/// Allowance for records and lists: the database of a package with few objects.
const RECORDS: u64 = 100_000;

/// Text that hardly compresses, different for each seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + u8::try_from(state >> 57).unwrap() / 2) as u8
    };
    (0..FILE).map(|_| next()).collect()
}

/// One file replaced, two added, four deleted, and eight that are delivered as they are.
fn story() -> Story {
    let stage = Scenario::new();
    let (mut package, mut patch) = (Package::new("ACMEweb"), Package::new("ACMEweb"));
    package = package.file("replaced", 0o644, noise(1));
    patch = patch.file("replaced", 0o644, noise(2));
    for at in 0..2 {
        patch = patch.file(&format!("added{at}"), 0o644, noise(10 + at));
    }
    let deleted: Vec<String> = (0..4).map(|at| format!("deleted{at}")).collect();
    for (name, at) in deleted.iter().zip(20..) {
        package = package.file(name, 0o644, noise(at));
    }
    for at in 0..8 {
        let (name, content) = (format!("same{at}"), noise(30 + at));
        package = package.file(&name, 0o644, &content);
        patch = patch.file(&name, 0o644, &content);
    }
    stage.install(&package);
    let deleted: Vec<&str> = deleted.iter().map(String::as_str).collect();
    let patch = Patch::of("100-01", patch.deletes(&deleted)).directory(&stage);
    Story::of("digested", stage, Command::Apply { patches: vec![patch], again: false })
}

#[test]
fn each_byte_of_an_object_is_digested_once_by_an_apply_and_by_a_backout() {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "reliability::digested::the_other_process", "--nocapture", "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{}\n{said}", output.status);
}

#[test]
#[ignore = "played by each_byte_of_an_object_is_digested_once_by_an_apply_and_by_a_backout, in a process of its own"]
fn the_other_process() {
    let story = story();
    let trial = Trial::of(&story);
    let files = |count: u64| count * FILE as u64;
    let digested = |command: &Command| {
        let before = digested_bytes();
        trial.run(command, Door::default()).unwrap();
        digested_bytes() - before
    };
    let applied = digested(&story.whole);
    let save = trial.root().join("var/sadm/pkg/ACMEweb/save/100-01");
    let archive = fs::metadata(save.join("undo.gz")).unwrap().len();
    // Old: one replaced, four deleted, eight that stay. Delivered: one, two, and eight that are compared.
    let objects = files(1 + 4 + 8) + files(1 + 2 + 8);
    let backed_out = digested(&Command::BackOut(vec!["100-01".to_owned()]));
    assert!((objects + archive..objects + archive + RECORDS).contains(&applied), "{applied}");
    // Live: one replaced, two added; what stays is not read. Restored: one and four.
    let objects = files(1 + 2) + files(1 + 4);
    assert!((objects + archive..objects + archive + RECORDS).contains(&backed_out), "{backed_out}");
}
