//! The identity of a root, which is stored twice, and journals that are damaged or gone: messages and repairs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use patchadm_changeset::format::journal::{RunOutcome, outcome_sector, parse_head, with_marker};
use serde_json::Value;

use crate::reliability::hostile_roots::{can_trace, killed_at_rename};
use crate::scenario::{Scenario, code_of};
use crate::undo_data::{patch, stage};

const JOURNAL: &str = "/var/sadm/patchadm/journal";
const ROOT_ID: &str = "/var/sadm/patchadm/root-id";
const STAGE: &str = "/var/sadm/patchadm/stage/9-00000000000000aa";

/// A root on which patch 100-01 is applied.
fn patched() -> Scenario {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    stage
}

/// The marker in the header of the journal.
fn header(stage: &Scenario) -> String {
    parse_head(&fs::read(stage.at(JOURNAL)).unwrap()).unwrap().header.root
}

/// The number of the last run.
fn number(stage: &Scenario) -> u64 {
    parse_head(&fs::read(stage.at(JOURNAL)).unwrap()).unwrap().run().unwrap().number
}

/// Overwrites a byte of the header of the journal.
fn damage(stage: &Scenario) {
    let mut bytes = fs::read(stage.at(JOURNAL)).unwrap();
    bytes[100] ^= 1;
    fs::write(stage.at(JOURNAL), bytes).unwrap();
}

fn remove(stage: &Scenario, path: &str) {
    fs::remove_file(stage.at(path)).unwrap();
}

/// Backs the patch out, which requires that its undo archive belongs to this root.
fn is_backed_out(stage: &Scenario) {
    let said = stage.run("check --contents --json -R @ROOT@").ok();
    assert!(!said.contains("another root"), "{said}");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn the_identity_of_a_root_is_in_a_file_of_its_own_and_the_journal_repeats_it() {
    let stage = stage();
    let marker = stage.text(ROOT_ID);
    assert_eq!(marker, format!("{}\n", header(&stage)));
    stage.patchadd("", &patch("100-01")).ok();
    assert_eq!((stage.text(ROOT_ID), format!("{}\n", header(&stage))), (marker.clone(), marker));
    let names = ["journal.new", "root-id.new"].map(|name| stage.at("/var/sadm/patchadm").join(name));
    assert!(names.iter().all(|name| !name.exists()));
}

#[test]
fn a_lost_or_damaged_root_id_is_made_again_from_the_journal_by_the_next_change() {
    for damage in [None, Some(""), Some("00112233445566ff"), Some("x\n")] {
        let stage = patched();
        let marker = stage.text(ROOT_ID);
        match damage {
            None => remove(&stage, ROOT_ID),
            Some(text) => fs::write(stage.at(ROOT_ID), text).unwrap(),
        }
        stage.run("list -R @ROOT@").ok();
        let run = stage.patchadd("", &patch("200-01"));
        assert!(run.code == 0 && run.stderr.contains("@ROOT@/var/sadm/patchadm/root-id was"), "{run:?}");
        assert_eq!(stage.text(ROOT_ID), marker);
        stage.run("patchrm -R @ROOT@ 200-01").ok();
        is_backed_out(&stage);
    }
}

#[test]
fn a_directory_in_the_place_of_root_id_is_moved_aside() {
    let stage = patched();
    let marker = stage.text(ROOT_ID);
    remove(&stage, ROOT_ID);
    fs::create_dir(stage.at(ROOT_ID)).unwrap();
    let said = stage.run("recover -R @ROOT@").ok();
    assert!(said.contains("root-id was damaged: it is restored from the journal"), "{said}");
    assert_eq!(stage.text(ROOT_ID), marker);
    assert!(stage.at("/var/sadm/patchadm/root-id.damaged-1").is_dir());
}

#[test]
fn a_journal_that_is_removed_takes_nothing_with_it() {
    let stage = patched();
    let (marker, last) = (stage.text(ROOT_ID), number(&stage));
    remove(&stage, JOURNAL);
    let verified = stage.run("check --contents -R @ROOT@").ok();
    assert!(verified.contains("intact"), "{verified}");
    stage.patchadd("", &patch("200-01")).ok();
    assert_eq!((format!("{}\n", header(&stage)), number(&stage)), (marker, last + 1));
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    is_backed_out(&stage);
}

#[test]
fn a_root_that_lost_both_answers_queries_and_is_changed_after_it_got_a_new_identity() {
    let stage = patched();
    let (marker, last) = (stage.text(ROOT_ID), number(&stage));
    remove(&stage, JOURNAL);
    remove(&stage, ROOT_ID);
    for line in ["list -R @ROOT@", "patchadd -p -R @ROOT@", "pkgparam -R @ROOT@ ACMEweb PATCHLIST"] {
        stage.run(line).ok();
    }
    let checked = stage.run("check --contents -R @ROOT@");
    assert_eq!(checked.code, 4);
    assert!(
        checked.stdout.contains("identity         attention  the identity of this root is lost"),
        "{checked:?}"
    );
    let before = stage.everything();
    for line in [
        "patchrm -R @ROOT@ 100-01",
        "remove -R @ROOT@ 100-01",
        "remove --dry-run -R @ROOT@ 100-01",
        "pkgrm -n -R @ROOT@ ACMEweb",
        "recover -R @ROOT@",
    ] {
        let said = stage.run(line).fails(code_of(line, 65, 1));
        assert!(said.contains("identity of this root is lost"), "{line}: {said}");
        assert!(said.contains("recover --new-identity"), "{line}: {said}");
        crate::tree::assert_same(&stage.everything(), &before);
    }
    let said = stage.run("recover --new-identity -R @ROOT@").ok();
    assert!(said.contains("The root has the new identity "), "{said}");
    assert_ne!(stage.text(ROOT_ID), marker);
    is_backed_out(&stage);
    assert!(number(&stage) > last, "numbers go on above those of history and ledgers");
    assert_eq!(format!("{}\n", header(&stage)), stage.text(ROOT_ID));
}

#[test]
fn a_journal_and_a_root_id_that_name_two_roots_stop_changes_and_both_are_named() {
    let stage = patched();
    let marker = header(&stage);
    fs::write(stage.at(ROOT_ID), "00112233445566ff\n").unwrap();
    stage.run("list -R @ROOT@").ok();
    let said = stage.run("remove -R @ROOT@ 100-01").fails(1);
    assert!(said.contains(&marker) && said.contains("00112233445566ff"), "{said}");
    assert!(said.contains("recover --new-identity"), "{said}");
    let said = stage.run("recover --json --new-identity -R @ROOT@").ok();
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["result"], &told["changed"]), (&"done".into(), &true.into()));
    assert_eq!(format!("{}\n", header(&stage)), stage.text(ROOT_ID));
    is_backed_out(&stage);
}

#[test]
fn a_copied_root_gets_an_identity_of_its_own() {
    let stage = patched();
    let marker = stage.text(ROOT_ID);
    stage.run("recover --new-identity -R @ROOT@").ok();
    assert_ne!(stage.text(ROOT_ID), marker);
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    is_backed_out(&stage);
}

#[test]
fn recover_says_what_is_wrong_with_a_damaged_journal_and_what_to_type() {
    let stage = patched();
    damage(&stage);
    let said = stage.run("recover -R @ROOT@").fails(9);
    assert!(said.contains("the journal @ROOT@/var/sadm/patchadm/journal is damaged: its header"), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert!(said.contains("`patchadm -R @ROOT@ recover --discard-journal`"), "{said}");
    assert!(!said.contains("an unfinished run could not"), "it is not known to be one: {said}");
    let said = stage.run("recover --discard-journal -R @ROOT@").ok();
    assert!(said.contains("set aside as @ROOT@/var/sadm/patchadm/journal.damaged-1"), "{said}");
    is_backed_out(&stage);
    damage(&stage);
    let said = stage.run("recover --json --discard-journal -R @ROOT@").ok();
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["result"], &told["changed"]), (&"done".into(), &true.into()));
    assert!(told["notes"][0].as_str().unwrap().contains("journal.damaged-2"), "{said}");
    assert!(stage.at("/var/sadm/patchadm/journal.damaged-2").is_file());
    stage.patchadd("", &patch("100-01")).ok();
}

#[test]
fn a_journal_that_is_whole_is_not_given_up() {
    let stage = patched();
    let journal = fs::read(stage.at(JOURNAL)).unwrap();
    for line in ["recover --discard-journal -R @ROOT@", "recover --keep-stage @ROOT@/kept -R @ROOT@"] {
        assert_eq!(stage.run(line).ok(), "No run was interrupted.\n", "{line}");
        assert_eq!(fs::read(stage.at(JOURNAL)).unwrap(), journal);
    }
}

#[test]
fn what_is_no_file_in_the_place_of_the_journal_is_given_up_as_well() {
    let stage = patched();
    remove(&stage, JOURNAL);
    fs::create_dir(stage.at(JOURNAL)).unwrap();
    for line in ["list -R @ROOT@", "remove -R @ROOT@ 100-01"] {
        let said = stage.run(line).fails(9);
        assert!(
            said.contains("@ROOT@/var/sadm/patchadm/journal") && said.contains("it is not a file"),
            "{said}"
        );
    }
    stage.run("recover --discard-journal -R @ROOT@").ok();
    is_backed_out(&stage);
}

#[test]
fn a_journal_of_a_later_version_is_not_given_up() {
    let stage = patched();
    let mut bytes = fs::read(stage.at(JOURNAL)).unwrap();
    let head = String::from_utf8(bytes[..512].to_vec()).unwrap();
    let json = head[9..].trim_end().replace("\"version\":4", "\"version\":9");
    let line = format!("{:08x} {json}", crc32c::crc32c(json.as_bytes()));
    bytes[..line.len()].copy_from_slice(line.as_bytes());
    fs::write(stage.at(JOURNAL), &bytes).unwrap();
    for line in ["recover -R @ROOT@", "recover --discard-journal -R @ROOT@"] {
        let said = stage.run(line).fails(9);
        assert!(said.contains("it is of version 9") && said.contains("use the version"), "{said}");
        assert!(!said.contains("--discard-journal"), "{said}");
        assert_eq!(fs::read(stage.at(JOURNAL)).unwrap(), bytes);
    }
}

#[test]
fn a_journal_that_is_gone_beside_a_stage_is_damage_and_not_nothing_in_progress() {
    let stage = patched();
    stage.directory(STAGE);
    remove(&stage, JOURNAL);
    let before = stage.everything();
    for line in [
        "patchrm -R @ROOT@ 100-01",
        "recover -R @ROOT@",
        "add -R @ROOT@ delivered/100-01",
        "list -R @ROOT@",
        "patchadd -p -R @ROOT@",
        "recover --new-identity -R @ROOT@",
    ] {
        let said = stage.run(line).fails(code_of(line, 65, 9));
        assert!(said.contains("@ROOT@/var/sadm/patchadm/journal"), "{line}: {said}");
        assert!(said.contains("it is missing, and stage/9-00000000000000aa may belong"), "{line}: {said}");
        crate::tree::assert_same(&stage.everything(), &before);
    }
    let said = stage.run("recover -R @ROOT@").fails(9);
    assert!(said.contains("`patchadm -R @ROOT@ recover --discard-journal`"), "{said}");
}

#[test]
fn a_stage_that_proves_nothing_is_moved_away_with_its_journal_and_nothing_is_deleted() {
    let stage = patched();
    stage.directory(&format!("{STAGE}/o"));
    stage.file(&format!("{STAGE}/o/0"), "what was there\n");
    damage(&stage);
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "half of it\n").unwrap();
    let before = stage.everything();
    let said = stage.run("recover --discard-journal -R @ROOT@").fails(9);
    assert!(said.contains("@ROOT@/var/sadm/patchadm/stage/9-00000000000000aa"), "{said}");
    assert!(said.contains("nothing was changed") && said.contains("--keep-stage DIR"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
    let (journal, kept) = (fs::read(stage.at(JOURNAL)).unwrap(), stage.beside("kept"));
    let line = format!("recover --keep-stage {} -R @ROOT@", kept.display());
    let said = stage.run(&line).ok();
    assert!(said.contains("9-00000000000000aa") && said.contains("journal"), "{said}");
    assert!(said.contains("@ROOT@/opt/ACMEweb/bin/httpd differs from its record"), "{said}");
    assert_eq!(fs::read(kept.join("journal")).unwrap(), journal);
    let staged: PathBuf = kept.join("9-00000000000000aa/o/0");
    assert_eq!(fs::read_to_string(staged).unwrap(), "what was there\n");
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    // The kept files are not overwritten.
    stage.directory(STAGE);
    let said = stage.run(&line).fails(3);
    assert!(said.contains("is not empty"), "{said}");
}

#[test]
fn a_directory_of_others_or_for_others_to_write_keeps_no_stage() {
    let stage = patched();
    stage.directory(STAGE);
    damage(&stage);
    let (kept, before) = (stage.beside("kept"), stage.everything());
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
    let said = stage.run(&format!("recover --keep-stage {} -R @ROOT@", kept.display())).fails(3);
    assert!(said.contains("belongs to another user or is writable by others"), "{said}");
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    crate::tree::assert_same(&stage.everything(), &before);
    if !crate::scenario::is_root() {
        return;
    }
    let below = stage.beside("theirs/kept");
    fs::create_dir_all(&below).unwrap();
    std::os::unix::fs::chown(stage.beside("theirs"), Some(1234), Some(1234)).unwrap();
    let said = stage.run(&format!("recover --keep-stage {} -R @ROOT@", below.display())).fails(3);
    assert!(said.contains("lies below a directory that another user can change"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
}

#[test]
fn a_first_run_that_was_never_published_is_no_damage() {
    let stage = Scenario::new();
    stage.directory(STAGE);
    stage.file("/var/sadm/patchadm/journal.new", "");
    assert_eq!(stage.run("list -R @ROOT@").code, 0);
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    assert!(!stage.at(STAGE).exists() && !stage.at("/var/sadm/patchadm/journal.new").exists());
}

#[test]
fn a_root_gets_no_new_identity_while_a_run_is_unfinished() {
    let stage = patched();
    let mut bytes = fs::read(stage.at(JOURNAL)).unwrap();
    let (commit, at) = outcome_sector(RunOutcome::Commit);
    let (at, done) = (usize::try_from(at).unwrap(), usize::try_from(at).unwrap() + 512);
    bytes[at..at + 512].copy_from_slice(&commit);
    bytes[done..done + 511].fill(b' ');
    fs::write(stage.at(JOURNAL), bytes).unwrap();
    let marker = stage.text(ROOT_ID);
    let said = stage.run("recover --new-identity -R @ROOT@").fails(9);
    assert!(
        said.contains("is not finished") && said.contains("run `patchadm -R @ROOT@ recover` first"),
        "{said}"
    );
    assert_eq!(stage.text(ROOT_ID), marker);
    stage.run("recover -R @ROOT@").ok();
    stage.run("recover --new-identity -R @ROOT@").ok();
}

#[test]
fn an_archive_that_the_ledger_names_is_this_roots_whatever_marker_is_in_it() {
    let stage = patched();
    let bytes = with_marker(&fs::read(stage.at(JOURNAL)).unwrap(), "00112233445566ff").unwrap();
    fs::write(stage.at(JOURNAL), bytes).unwrap();
    fs::write(stage.at(ROOT_ID), "00112233445566ff\n").unwrap();
    let said = stage.run("check --contents --json -R @ROOT@").ok();
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["sound"], &told["patches"][0]["undo"][0]["state"]), (&true.into(), &"saved".into()));
    assert!(!said.contains("damaged") && !said.contains("another root"), "{said}");
    is_backed_out(&stage);
}

/// An unfinished run cannot be recovered without its stage. The message names a way out that deletes nothing.
#[test]
fn an_unfinished_run_whose_stage_is_gone_is_given_up_and_its_journal_kept() {
    if !can_trace() {
        return crate::missing("strace", "identity");
    }
    let stage = patched();
    let line = format!("patchadd -R @ROOT@ {}", patch("200-01").directory(&stage).display());
    assert!(killed_at_rename(&stage, &line, 4));
    fs::remove_dir_all(stage.at("/var/sadm/patchadm/stage")).unwrap();
    let said = stage.run("recover -R @ROOT@").fails(9);
    assert!(said.contains("recover --keep-stage DIR`"), "{said}");
    let kept = stage.beside("kept");
    let said = stage.run(&format!("recover --keep-stage {} -R @ROOT@", kept.display())).ok();
    assert!(said.contains("journal"), "{said}");
    assert!(kept.join("journal").exists());
    stage.run("recover -R @ROOT@").ok();
    let checked = stage.run("check --contents -R @ROOT@");
    assert!(checked.code == 4 && checked.stdout.contains("no unfinished run"), "{}", checked.stdout);
}

/// All of our own files are gone. The command that the refusal names binds the archives again.
#[test]
fn a_root_that_lost_all_our_files_binds_its_archives_again() {
    let stage = patched();
    fs::remove_dir_all(stage.at("/var/sadm/patchadm")).unwrap();
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains("`patchadm -R @ROOT@ recover --adopt-undo ID --foreign`"), "{said}");
    stage.run("recover --adopt-undo --foreign -R @ROOT@ 100-01").ok();
    is_backed_out(&stage);
}

/// Archives of another root may come from a backup, or from a directory of undo data that several roots share.
#[test]
fn an_archive_that_names_another_root_is_bound_only_if_that_is_said() {
    let stage = patched();
    fs::remove_dir_all(stage.at("/var/sadm/patchadm")).unwrap();
    stage.run("recover -R @ROOT@ --new-identity").ok();
    for ids in ["", "100-01"] {
        let run = stage.run(&format!("recover --adopt-undo -R @ROOT@ {ids}"));
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stdout.contains("it belongs to another root (its marker is "), "{run:?}");
        assert!(run.stdout.contains("specify 100-01 and --foreign to register it"), "{run:?}");
        stage.run("remove -R @ROOT@ 100-01").fails(3);
    }
    stage.run("recover --adopt-undo --foreign -R @ROOT@ 100-01").ok();
    is_backed_out(&stage);
}
