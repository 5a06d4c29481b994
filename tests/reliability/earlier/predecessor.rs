//! Roots left by the predecessor of this build: their records are read, written again identically, recovered and backed
//! out.
//!
//! Each archive in `testdata/earlier/predecessor` is a root of commit f124b167, the last one before the crates were
//! split and the commands got a single way to run; the README beside `earlier` says how they were made.

use std::path::Path;

use patchadm_changeset::format::journal::{Journal, parse_head};
use patchadm_changeset::format::manifest::UndoManifest;
use patchadm_inputs::database::history;
use patchadm_inputs::format::ledger::Ledger;

use super::{LOCKS, assert_same_text, files_of, manifests_of, unpack};
use crate::scenario::{Run, Scenario};
use crate::tree::{Tree, assert_same};

const INSTALLED: &[u8] = include_bytes!("../../../testdata/earlier/predecessor/installed.tar.gz");
const PATCHED: &[u8] = include_bytes!("../../../testdata/earlier/predecessor/patched.tar.gz");
const APPLY_KILLED: &[u8] = include_bytes!("../../../testdata/earlier/predecessor/apply-killed.tar.gz");
const APPLY_COMMITTED: &[u8] = include_bytes!("../../../testdata/earlier/predecessor/apply-committed.tar.gz");
const BACK_OUT_KILLED: &[u8] = include_bytes!("../../../testdata/earlier/predecessor/back-out-killed.tar.gz");

const ALL: [&[u8]; 5] = [INSTALLED, PATCHED, APPLY_KILLED, APPLY_COMMITTED, BACK_OUT_KILLED];

/// Location of the records; the tree is everything else.
const RECORDS: [&str; 1] = ["var/sadm"];

fn run(stage: &Scenario, root: &Path, line: &str) -> Run {
    stage.run(&line.replace("-R", &format!("-R {}", root.display())))
}

#[test]
fn journals_of_the_predecessor_are_read_whole() {
    for archive in ALL {
        let own = files_of(archive, |path| path.contains("var/sadm/patchadm/"));
        let (_, journal) = own.iter().find(|(path, _)| path.ends_with("/journal")).unwrap();
        let head = parse_head(journal).unwrap();
        let ops = own.iter().find(|(path, _)| path.contains(&format!("/ops-{}", head.header.run)));
        Journal::parse(journal, ops.map(|(_, ops)| &ops[..])).unwrap();
    }
}

#[test]
fn ledgers_and_histories_of_the_predecessor_are_written_again_the_same() {
    for archive in ALL {
        for text in files_of(archive, |path| path.contains("var/sadm/patchadm/ledger/")).values() {
            assert_same_text(&Ledger::parse(text).unwrap().write(), text);
        }
        let (_, text) =
            files_of(archive, |path| path.ends_with("var/sadm/patchadm/history")).pop_first().unwrap();
        let again: Vec<u8> =
            history::parse(&text).unwrap().iter().flat_map(history::HistoryEntry::line).collect();
        assert_same_text(&again, &text);
    }
}

#[test]
fn manifests_of_the_predecessor_are_written_again_the_same() {
    let archives = files_of(PATCHED, |path| path.contains("/save/") && path.contains(".gz"));
    assert!(archives.len() >= 5, "{:?}", archives.keys());
    for manifest in archives.values().flat_map(|archive| manifests_of(archive)) {
        assert_same_text(&UndoManifest::parse(&manifest).unwrap().to_bytes(), &manifest);
    }
}

#[test]
fn runs_that_the_predecessor_was_killed_in_are_taken_back_or_brought_to_their_end() {
    let stage = Scenario::new();
    for (killed, without) in [(APPLY_KILLED, INSTALLED), (BACK_OUT_KILLED, PATCHED)] {
        let (Some((_killed, root)), Some((_without, expected))) = (unpack(killed), unpack(without)) else {
            return;
        };
        let said = run(&stage, &root, "list -R");
        assert!(said.stderr.contains("was interrupted"), "{}", said.stderr);
        run(&stage, &root, "recover -R").ok();
        assert_same(&Tree::of(&root, &RECORDS), &Tree::of(&expected, &RECORDS));
        assert_eq!(run(&stage, &root, "list -R").ok(), run(&stage, &expected, "list -R").ok());
        assert_eq!(run(&stage, &root, "pkgchk -R").ok(), "");
    }
    let Some((_committed, root)) = unpack(APPLY_COMMITTED) else { return };
    run(&stage, &root, "recover -R").ok();
    assert!(run(&stage, &root, "list -R").ok().contains("100001-01  effective"));
    assert_eq!(run(&stage, &root, "pkgchk -R").ok(), "");
    run(&stage, &root, "remove 100001-01 -R").ok();
    let Some((_installed, expected)) = unpack(INSTALLED) else { return };
    assert_same(&Tree::of(&root, &RECORDS), &Tree::of(&expected, &RECORDS));
}

#[test]
fn patches_of_the_predecessor_are_verified_and_backed_out_exactly() {
    let stage = Scenario::new();
    let Some((_patched, root)) = unpack(PATCHED) else { return };
    let Some((_installed, expected)) = unpack(INSTALLED) else { return };
    let before = Tree::of(&root, &LOCKS);
    assert_eq!(run(&stage, &root, "pkgchk -R").ok(), "");
    run(&stage, &root, "check --contents -R").ok();
    assert_same(&Tree::of(&root, &LOCKS), &before);
    for patch in ["100002-01", "100001-02", "100001-01"] {
        run(&stage, &root, &format!("remove {patch} -R")).ok();
    }
    assert_same(&Tree::of(&root, &RECORDS), &Tree::of(&expected, &RECORDS));
}
