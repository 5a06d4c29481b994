//! Records of an earlier build, which have other digests, are reported as such: never as damage, and never as an edit.
//!
//! Each archive in `testdata/earlier` is a root on which commit 0ce9ae3 was killed by SIGKILL in the middle of a run of
//! one of the [stories](crate::reliability::stories). The README beside them says how they were made.

mod predecessor;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use flate2::read::GzDecoder;
use patchadm_changeset::format::journal::{JournalError, SECTOR, done_sector, parse_head};
use patchadm_changeset::format::manifest::{MANIFEST, UndoManifest, UndoManifestError};
use patchadm_container as container;
use patchadm_inputs::database::history;
use patchadm_inputs::format::ledger::Ledger;
use patchadm_svr4::format::datastream;
use tempfile::TempDir;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::stories::{SCRIPTED, STORIES, Told};
use crate::scenario::{Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// A root of an earlier build.
struct Earlier {
    /// The archive of the root.
    archive: &'static [u8],
    /// The story that was killed.
    story: Told,
}

const APPLY: Earlier =
    Earlier { archive: include_bytes!("../../testdata/earlier/apply-killed.tar.gz"), story: STORIES[0] };
const COMMITTED: Earlier =
    Earlier { archive: include_bytes!("../../testdata/earlier/apply-committed.tar.gz"), story: STORIES[0] };
const BACK_OUT: Earlier =
    Earlier { archive: include_bytes!("../../testdata/earlier/back-out-killed.tar.gz"), story: STORIES[1] };
const SCRIPTS: Earlier =
    Earlier { archive: include_bytes!("../../testdata/earlier/scripts-killed.tar.gz"), story: SCRIPTED[0] };

const ALL: [Earlier; 4] = [APPLY, COMMITTED, BACK_OUT, SCRIPTS];

impl Earlier {
    /// Reads the files of the archive whose paths have this end.
    fn files(&self, end: &str) -> BTreeMap<String, Vec<u8>> {
        files_of(self.archive, |path| path.ends_with(end))
    }

    /// Unpacks the root.
    fn unpack(&self) -> Option<(TempDir, PathBuf)> {
        unpack(self.archive)
    }
}

/// Reads the files of an archive whose paths are wanted.
fn files_of(archive: &[u8], is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        if is_wanted(&path) && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Unpacks a root with tar(1), which restores the times of symbolic links as well. `None`, with a message, without
/// superuser rights or without tar(1).
fn unpack(archive: &[u8]) -> Option<(TempDir, PathBuf)> {
    if !is_root() {
        crate::skipped("roots of an earlier build: they take the superuser");
        return None;
    }
    if !crate::has("tar", "roots of an earlier build") {
        return None;
    }
    let dir = crate::scenario::directory();
    let mut tar = Process::new("tar");
    tar.args(["--numeric-owner", "-xpzf", "-", "-C"]).arg(dir.path());
    let mut tar = tar.stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(tar.wait().unwrap().success());
    let root = dir.path().join("root");
    Some((dir, root))
}

/// The files that a command makes to lock a root.
const LOCKS: [&str; 2] = ["var/sadm/install/.lockfile", "var/sadm/patchadm/script.lock"];

/// The root on which an earlier build applied a patch, as that build leaves it if it is not killed.
fn tidied_up() -> Option<(TempDir, PathBuf)> {
    let (dir, root) = COMMITTED.unpack()?;
    let own = root.join("var/sadm/patchadm");
    let mut journal = fs::read(own.join("journal")).unwrap();
    let (sector, place) = done_sector(false);
    let place = usize::try_from(place).unwrap();
    journal[place..place + SECTOR].copy_from_slice(&sector);
    fs::write(own.join("journal"), journal).unwrap();
    fs::remove_dir_all(own.join("stage")).unwrap();
    Some((dir, root))
}

/// Asserts that two texts are the same, and names the first line that differs.
#[track_caller]
fn assert_same_text(found: &[u8], expected: &[u8]) {
    let [found_lines, expected_lines] = [found, expected].map(|text| text.split(|&byte| byte == b'\n'));
    for (found, expected) in found_lines.zip(expected_lines) {
        assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
    }
    assert_eq!(found.len(), expected.len());
}

/// The manifests of the packages of an undo archive.
fn manifests_of(archive: &[u8]) -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    container::open_container(archive).unwrap().reader.read_to_end(&mut stream).unwrap();
    let mut reader = datastream::DatastreamReader::new(&stream[..]).unwrap();
    let mut manifests = Vec::new();
    while reader.next_part().unwrap().is_some() {
        while let Some(member) = reader.next_member().unwrap() {
            if member.path.to_string() == format!("install/{MANIFEST}") {
                let mut content = Vec::new();
                reader.read_to_end(&mut content).unwrap();
                manifests.push(content);
            }
        }
    }
    manifests
}

#[test]
fn a_journal_of_an_earlier_build_is_told_by_its_version() {
    for earlier in ALL {
        let (_, journal) = earlier.files("var/sadm/patchadm/journal").pop_first().unwrap();
        assert_eq!(parse_head(&journal), Err(JournalError::Earlier(3)));
        let done = [&journal[..4 * SECTOR], &done_sector(false).0, &journal[5 * SECTOR..]].concat();
        assert!(parse_head(&done).unwrap().done);
    }
}

#[test]
fn a_ledger_of_an_earlier_build_is_written_again_the_same_and_binds_nothing() {
    let (_, text) = BACK_OUT.files("var/sadm/patchadm/ledger/ACMEweb").pop_first().unwrap();
    let ledger = Ledger::parse(&text).unwrap();
    assert!(ledger.lines().is_empty() && ledger.earlier("100-01").unwrap().has_undo);
    assert_same_text(&ledger.write(), &text);
}

#[test]
fn a_history_of_an_earlier_build_is_written_again_the_same() {
    for earlier in ALL {
        let (_, text) = earlier.files("var/sadm/patchadm/history").pop_first().unwrap();
        let entries = history::parse(&text).unwrap();
        assert!(!entries.is_empty());
        let again: Vec<u8> = entries.iter().flat_map(history::HistoryEntry::line).collect();
        assert_same_text(&again, &text);
    }
}

#[test]
fn an_undo_archive_of_an_earlier_build_is_told_as_that() {
    let (_, archive) = COMMITTED.files("save/100-01/undo.gz").pop_first().unwrap();
    let manifests: Vec<_> =
        manifests_of(&archive).iter().map(|manifest| UndoManifest::parse(manifest)).collect();
    assert_eq!(manifests, [Err(UndoManifestError::Earlier)]);
}

#[test]
fn a_run_that_an_earlier_build_was_killed_in_is_left_to_that_build() {
    for earlier in ALL {
        let story = (earlier.story)();
        let Some((_dir, root)) = earlier.unpack() else { return };
        let picture = || Tree::of(&root, &LOCKS);
        let before = picture();
        for line in [
            "recover -R",
            "recover --discard-journal -R",
            "list -R",
            "check --contents -R",
            "remove 100-01 -R",
        ] {
            let run = story.stage.run(&format!("{line} {}", root.display()));
            assert_eq!(run.code, 9, "{line}: {run:?}");
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(
                said.contains("an unfinished run of an earlier version of this program"),
                "{line}: {said}"
            );
            let way_on = match line {
                "check --contents -R" => {
                    &format!("`patchadm -R {} recover --keep-stage DIR`", root.display())
                }
                _ => "ecover the run with the version of patchadm that wrote it",
            };
            assert!(said.contains(way_on), "{line}: {said}");
            assert_same(&picture(), &before);
        }
    }
}

#[test]
fn undo_data_of_an_earlier_build_is_told_as_that_and_neither_believed_nor_called_damaged() {
    let Some((_dir, root)) = tidied_up() else { return };
    let stage = Scenario::new();
    let run = |line: &str| stage.run(&line.replace("-R", &format!("-R {}", root.display())));
    let form = "was made by an earlier version of this program";
    run("recover -R").ok();
    let picture = || Tree::of(&root, &LOCKS);
    let before = picture();
    assert_eq!(run("pkgchk -R ACMEweb").ok(), "");
    assert!(run("list -R").ok().contains("100-01  effective"));
    assert!(run("show -R 100-01").ok().contains(form));
    let said = run("check --contents -R");
    assert!(said.stdout.contains("undo data of 1 patch has an earlier format"), "{}", said.stdout);
    for line in [
        "check --contents -R",
        "patchrm -R 100-01",
        "remove -R 100-01",
        "remove -R --dry-run 100-01",
        "recover -R --adopt-undo",
    ] {
        let said = run(line);
        let all = format!("{}{}", said.stdout, said.stderr);
        let code = match line.split(' ').next() {
            Some("check" | "patchrm") => 4,
            Some("recover") => 3,
            _ => 1,
        };
        assert_eq!(said.code, code, "{line}: {all}");
        assert!(all.contains(form) && !all.contains("is damaged;"), "{line}: {all}");
        assert_same(&picture(), &before);
    }
    let said = run("patchrm -R 100-01").fails(4);
    assert!(said.contains("Remove the patch with the version of patchadm that applied it"), "{said}");
}

#[test]
fn a_root_of_an_earlier_build_is_patched_and_that_patch_is_backed_out() {
    let Some((_dir, root)) = tidied_up() else { return };
    let stage = Scenario::new();
    let run = |line: &str| stage.run(&line.replace("-R", &format!("-R {}", root.display())));
    let ledger = || fs::read_to_string(root.join("var/sadm/patchadm/ledger/ACMEweb")).unwrap();
    run("recover -R").ok();
    let (before, earlier) = (Tree::of(&root, &["var"]), ledger());
    let later =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "second httpd\n").file("bin/new", 0o755, "new\n");
    let later = Patch::of("200-01", later).directory(&stage);
    run(&format!("patchadd -R {}", later.display())).ok();
    assert_eq!(fs::read_to_string(root.join("opt/ACMEweb/bin/httpd")).unwrap(), "second httpd\n");
    assert!(ledger().starts_with(&earlier) && ledger().contains("\"patch\":\"200-01\",\"info\":\"b3:"));
    assert_eq!(run("pkgchk -R ACMEweb").ok(), "");
    run("patchrm -R 100-01").fails(4);
    run("patchrm -R 200-01").ok();
    assert_same(&Tree::of(&root, &["var"]), &before);
    assert_eq!(ledger(), earlier);
}
