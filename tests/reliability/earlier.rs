//! What an earlier build left: its records are read and written again byte for byte, its killed runs are recovered.
//!
//! Each archive in `testdata/earlier` is a root on which commit 0ce9ae3 was killed by SIGKILL in the middle of a run of
//! one of the [stories](crate::reliability::stories). The README beside them says how they were made.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use flate2::read::GzDecoder;
use patchadm_changeset::format::journal::{
    HEAD, Journal, JournalEntry, JournalHead, Op, ScriptProgress, checked_values, done_sector,
    outcome_sector, parse_head, progress_sector,
};
use patchadm_changeset::format::manifest::{MANIFEST, Manifest};
use patchadm_changeset::format::undo_digest::UndoDigest;
use patchadm_container::{self as container, gzip};
use patchadm_core::database::history;
use patchadm_core::format::ledger::Ledger;
use patchadm_rootfs::Door;
use patchadm_svr4::format::{cpio, datastream};
use tempfile::TempDir;

use crate::reliability::picture::strays;
use crate::reliability::stories::{SCRIPTED, STORIES, Told, Trial};
use crate::scenario::{Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// A root of an earlier build.
struct Earlier {
    /// The archive of the root.
    archive: &'static [u8],
    /// The story that was killed.
    story: Told,
    /// Whether the run had been committed.
    is_committed: bool,
}

const APPLY: Earlier = Earlier {
    archive: include_bytes!("../../testdata/earlier/apply-killed.tar.gz"),
    story: STORIES[0],
    is_committed: false,
};
const COMMITTED: Earlier = Earlier {
    archive: include_bytes!("../../testdata/earlier/apply-committed.tar.gz"),
    story: STORIES[0],
    is_committed: true,
};
const BACK_OUT: Earlier = Earlier {
    archive: include_bytes!("../../testdata/earlier/back-out-killed.tar.gz"),
    story: STORIES[1],
    is_committed: false,
};
const SCRIPTS: Earlier = Earlier {
    archive: include_bytes!("../../testdata/earlier/scripts-killed.tar.gz"),
    story: SCRIPTED[0],
    is_committed: false,
};

const ALL: [Earlier; 4] = [APPLY, COMMITTED, BACK_OUT, SCRIPTS];

impl Earlier {
    /// Reads the files of the archive whose path ends so.
    fn files(&self, end: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut archive = tar::Archive::new(GzDecoder::new(self.archive));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            if path.ends_with(end) && entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                found.insert(path, bytes);
            }
        }
        found
    }

    /// Reads the journal and the file of ops that belongs to it.
    fn journal(&self) -> (Vec<u8>, Vec<u8>) {
        let journal = self.files("var/sadm/patchadm/journal").into_values().next().unwrap();
        let ops = format!("var/sadm/patchadm/ops-{}", parse_head(&journal).unwrap().header.run);
        let ops = self.files(&ops).into_values().next().unwrap();
        (journal, ops)
    }

    /// Unpacks the root by tar(1), which restores the times of symbolic links as well. `None` for who is not root, or
    /// where there is no tar(1); says so.
    fn unpack(&self) -> Option<(TempDir, PathBuf)> {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut tar = Process::new("tar")
            .args(["--numeric-owner", "-xpzf", "-", "-C"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .ok();
        match &mut tar {
            Some(tar) if is_root() => {
                tar.stdin.take().unwrap().write_all(self.archive).unwrap();
                assert!(tar.wait().unwrap().success());
            }
            _ => {
                crate::skipped("roots of an earlier build: they take the superuser and tar(1)");
                return None;
            }
        }
        let root = dir.path().join("root");
        Some((dir, root))
    }
}

/// Writes both files of a journal as a run writes them: the lines in the order in which its ops are made, then the sectors
/// of what has happened since.
fn written(read: &Journal, journal: &[u8], ops: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let op = |op: &Op| JournalEntry::Op(Box::new(op.clone()));
    let mut entries: Vec<JournalEntry> = read.domains.iter().cloned().map(JournalEntry::Domain).collect();
    let mut records = read.ops.iter().filter(|op| op.db);
    for entry in checked_values(ops) {
        match entry {
            // Those before it are in the journal alone.
            JournalEntry::Op(hidden) if hidden.db => loop {
                let record = records.next().unwrap();
                entries.push(op(record));
                if *record == *hidden {
                    break;
                }
            },
            entry => entries.push(entry),
        }
    }
    entries.extend(records.map(op));
    let JournalHead { header, outcome, done, .. } = read.head.clone();
    let mut files = Journal::to_files(header, &entries);
    // The sector of the progress before the last is still there.
    let lines = journal[..HEAD].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let progress: Vec<ScriptProgress> = lines.flat_map(checked_values).collect();
    let sectors = outcome.map(outcome_sector).into_iter().chain(done.then(|| done_sector(false)));
    for (sector, place) in sectors.chain(progress.iter().map(progress_sector)) {
        let place = usize::try_from(place).unwrap();
        files.journal[place..place + sector.len()].copy_from_slice(&sector);
    }
    (files.journal, files.ops)
}

/// Asserts that two texts are the same, and names the first line that is not.
#[track_caller]
fn assert_same_text(found: &[u8], expected: &[u8]) {
    let [found_lines, expected_lines] = [found, expected].map(|text| text.split(|&byte| byte == b'\n'));
    for (found, expected) in found_lines.zip(expected_lines) {
        assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_journal_of_an_earlier_build_is_written_again_the_same() {
    for earlier in ALL {
        let (journal, ops) = earlier.journal();
        let read = Journal::parse(&journal, Some(&ops)).unwrap();
        assert!(read.is_whole && !read.ops.is_empty());
        let (journal_again, ops_again) = written(&read, &journal, &ops);
        assert_same_text(&journal_again, &journal);
        assert_same_text(&ops_again, &ops);
    }
}

#[test]
fn a_ledger_of_an_earlier_build_is_written_again_the_same() {
    let ledgers = BACK_OUT.files("var/sadm/patchadm/ledger/ACMEweb");
    assert_eq!(ledgers.len(), 1);
    for text in ledgers.values() {
        let ledger = Ledger::parse(text).unwrap();
        assert_eq!(ledger.lines().len(), 1);
        assert_same_text(&ledger.write(), text);
    }
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
fn an_undo_archive_of_an_earlier_build_is_written_again_the_same() {
    let (_, archive) = COMMITTED.files("save/100-01/undo.gz").pop_first().unwrap();
    let (_, digest) = COMMITTED.files("save/100-01/undo.sha256").pop_first().unwrap();
    assert_eq!(UndoDigest::parse(&digest).unwrap().write(), digest);

    let mut stream = Vec::new();
    container::open_container(&archive[..]).unwrap().reader.read_to_end(&mut stream).unwrap();
    let mut reader = datastream::DatastreamReader::open(&stream[..]).unwrap();
    let mut writer =
        datastream::DatastreamWriter::with_times(Vec::new(), reader.packages(), reader.times()).unwrap();
    let mut manifests = 0;
    while reader.next_part().unwrap().is_some() {
        let mut part = writer.begin_part(cpio::CpioFormat::Newc).unwrap();
        while let Some(member) = reader.next_member().unwrap() {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            if member.path.to_string() == format!("install/{MANIFEST}") {
                manifests += 1;
                content = Manifest::parse(&content).unwrap().to_bytes();
            }
            part.write_member(&member.header, &content[..]).unwrap();
        }
        writer = part.finish().unwrap();
    }
    assert_eq!(manifests, 1);
    let stream_again = writer.finish().unwrap();
    assert!(stream_again == stream, "the datastream differs");

    let mut archive_again = Vec::new();
    let take = |verified: gzip::VerifiedMember| archive_again.write_all(&verified.member);
    let mut encoder = gzip::GzipEncoder::new(take, 1, stream.len() as u64);
    encoder.write_all(&stream_again).unwrap();
    let _ = encoder.finish().unwrap();
    assert!(archive_again == archive, "the compressed bytes differ");
}

/// Reads what a patch changes of a root: the software, the lines of `contents`, the patches of the package.
fn state(stage: &Scenario, root: &Path) -> (Tree, Vec<String>, String) {
    let contents = fs::read_to_string(root.join("var/sadm/install/contents")).unwrap();
    let lines = contents.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let patches = stage.run(&format!("pkgparam -R {} ACMEweb PATCHLIST", root.display())).ok();
    (Tree::of(root, &["var"]), lines, patches.trim().to_owned())
}

#[test]
fn a_run_that_an_earlier_build_was_killed_in_is_recovered() {
    for earlier in ALL {
        let story = (earlier.story)();
        let trial = Trial::of(&story);
        if earlier.is_committed {
            trial.run(&story.whole, Door::default()).unwrap();
        }
        let Some((_dir, root)) = earlier.unpack() else { return };
        let recovered = story.stage.run(&format!("recover -R {}", root.display())).ok();
        let [found, expected] = [&root, &trial.root()].map(|root| state(&story.stage, root));
        assert_same(&found.0, &expected.0);
        assert_eq!((found.1, found.2), (expected.1, expected.2), "{}: {recovered}", story.name);
        assert_eq!(strays(&root), Vec::<String>::new(), "{}", story.name);
    }
}

#[test]
fn a_patch_that_an_earlier_build_applied_is_backed_out() {
    let Some((_dir, root)) = COMMITTED.unpack() else { return };
    let story = (COMMITTED.story)();
    for line in [format!("recover -R {}", root.display()), format!("patchrm -R {} 100-01", root.display())] {
        story.stage.run(&line).ok();
    }
    assert_same(&Tree::of(&root, &["var"]), &story.stage.tree());
}
