//! Readers beside runs in every state: records as before or as after, never a mixture.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::format::journal::{
    Domain, JournalEntry, JournalError, JournalHeader, RunOutcome, VERSION, done_sector, outcome_sector,
};
use crate::records::marker;

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

const PKGINFO: &str = "/var/sadm/pkg/ACMEweb/pkginfo";
const STAGE: &str = "/var/sadm/patchadm/stage/7-00000000000000aa";

/// A root in the middle of a run, made by hand: the live objects, the staged ones, and the journal.
struct Scene {
    dir: TempDir,
    root: Root,
    ops: Vec<JournalEntry>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(&STAGE[1..]).join("db")).unwrap();
        fs::write(dir.path().join("var/sadm/patchadm/journal.new"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut scene = Self { dir, root, ops: Vec::new() };
        scene.write(PKGINFO, "PATCHLIST=\n");
        scene.ops.push(JournalEntry::Domain(Domain { top: at("/"), stage: at(STAGE), lacks: Vec::new() }));
        scene
    }

    fn host(&self, path: &str) -> PathBuf {
        self.dir.path().join(&path[1..])
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.host(path).parent().unwrap()).unwrap();
        fs::write(self.host(path), text).unwrap();
    }

    fn identity(&self, path: &str) -> Box<Identity> {
        let path = at(path);
        let dir = self.root.dir(&path.parent().unwrap()).unwrap();
        let seen = dir.look(path.name()).unwrap().unwrap();
        let file_type = if seen.file_type == FileType::Directory { 'd' } else { 'f' };
        Box::new(Identity {
            file_type,
            mode: seen.mode.bits(),
            uid: seen.uid,
            gid: seen.gid,
            size: seen.size,
            mtime: seen.mtime,
            inode: seen.inode,
            b3: None,
            target: None,
            xattrs: None,
        })
    }

    /// Adds an op whose new object, if it has one, is now in the stage.
    fn op(&mut self, kind: OpKind, path: &str, stage: &str) {
        let staged = format!("{STAGE}/{stage}");
        let new = matches!(kind, OpKind::Add | OpKind::Replace).then(|| self.identity(&staged));
        let line = json!({"kind": kind, "path": path, "domain": 0, "stage": stage, "db": true});
        let op = Op { new, ..serde_json::from_value(line).unwrap() };
        self.ops.push(JournalEntry::Op(Box::new(op)));
    }

    fn publish(&self, run: &str) {
        let header = JournalHeader {
            version: VERSION,
            run: run.to_owned(),
            command: "patchadd".to_owned(),
            root: "00112233445566ff".to_owned(),
            ..JournalHeader::default()
        };
        let bytes = Journal::to_files(header, &self.ops).unwrap().journal;
        fs::write(self.host("/var/sadm/patchadm/journal.new"), bytes).unwrap();
        let journal = self.host("/var/sadm/patchadm/journal");
        fs::rename(self.host("/var/sadm/patchadm/journal.new"), journal).unwrap();
    }

    fn put(&self, (sector, offset): (Vec<u8>, u64)) {
        let journal = fs::OpenOptions::new().write(true).open(self.host("/var/sadm/patchadm/journal"));
        journal.unwrap().write_all_at(&sector, offset).unwrap();
    }

    /// Exchanges a live object with a staged one, as the switch and its rollback do.
    fn exchange(&self, path: &str, stage: &str) {
        let (path, staged) = (at(path), at(&format!("{STAGE}/{stage}")));
        let open = |path: &ObjectPath| self.root.dir(&path.parent().unwrap()).unwrap();
        open(&path).exchange(path.name(), &open(&staged), staged.name()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.host(from), self.host(to)).unwrap();
    }

    /// Returns what a reader sees at a path.
    fn seen(&self, path: &str) -> Option<String> {
        let read = read_consistently(&self.root, |view| view.read(&at(path), 100)).unwrap();
        read.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Returns what a command started by a script of `run` sees.
    fn seen_within(&self, run: &str, path: &str) -> Option<String> {
        let reader = RecordReader::within(&self.root, Some(run));
        let read = read_consistently(reader, |view| view.read(&at(path), 100)).unwrap();
        read.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn listed(&self, path: &str) -> Vec<String> {
        let names = read_consistently(&self.root, |view| view.list(&at(path))).unwrap().unwrap_or_default();
        names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect()
    }

    /// Makes a run that replaces pkginfo, published but not yet begun.
    fn replacing() -> Self {
        let mut scene = Self::new();
        scene.write(&format!("{STAGE}/db/0"), "PATCHLIST=100-01\n");
        scene.op(OpKind::Replace, PKGINFO, "db/0");
        scene.publish("7-00000000000000aa");
        scene
    }
}

#[test]
fn without_a_journal_and_without_a_directory_of_ours_the_live_files_count() {
    let scene = Scene::new();
    assert_eq!(scene.seen(PKGINFO).as_deref(), Some("PATCHLIST=\n"));
    assert_eq!(scene.seen("/var/sadm/install/contents"), None);
    assert_eq!(marker(&scene.root).unwrap(), None);
}

#[test]
fn a_journal_that_is_gone_beside_a_stage_is_damage_for_readers_as_well() {
    let scene = Scene::replacing();
    fs::remove_file(scene.host("/var/sadm/patchadm/journal")).unwrap();
    let read = read_consistently(&scene.root, |view| view.read(&at(PKGINFO), 100));
    let gone = JournalError::Gone("7-00000000000000aa".to_owned());
    assert!(matches!(&read, Err(ViewError::Journal { reason, .. }) if *reason == gone), "{read:?}");
    scene.write("/var/sadm/patchadm/journal.new", "");
    assert_eq!(scene.seen(PKGINFO).as_deref(), Some("PATCHLIST=\n"), "not published yet");
    fs::remove_file(scene.host("/var/sadm/patchadm/journal.new")).unwrap();
    fs::remove_dir_all(scene.host(STAGE)).unwrap();
    assert_eq!(scene.seen(PKGINFO).as_deref(), Some("PATCHLIST=\n"), "nothing in progress");
}

#[test]
fn a_replaced_record_is_read_as_before_until_the_commit() {
    let scene = Scene::replacing();
    let old = Some("PATCHLIST=\n".to_owned());
    assert_eq!(scene.seen(PKGINFO), old, "published, not switched");
    scene.exchange(PKGINFO, "db/0");
    assert_eq!(scene.seen(PKGINFO), old, "switched: read from the stage");
    scene.exchange(PKGINFO, "db/0");
    assert_eq!(scene.seen(PKGINFO), old, "a rollback has put it back");
    scene.exchange(PKGINFO, "db/0");
    scene.put(outcome_sector(RunOutcome::Commit));
    let new = Some("PATCHLIST=100-01\n".to_owned());
    assert_eq!(scene.seen(PKGINFO), new, "committed");
    scene.put(done_sector(false));
    fs::remove_dir_all(scene.host(STAGE)).unwrap();
    assert_eq!(scene.seen(PKGINFO), new, "tidied up");
    assert_eq!(marker(&scene.root).unwrap().as_deref(), Some("00112233445566ff"));
}

#[test]
fn after_a_rollback_the_live_files_count() {
    let scene = Scene::replacing();
    scene.put(outcome_sector(RunOutcome::RolledBack));
    scene.write(PKGINFO, "PATCHLIST=200-01\n");
    assert_eq!(scene.seen(PKGINFO).as_deref(), Some("PATCHLIST=200-01\n"));
}

#[test]
fn what_a_run_adds_is_hidden_with_everything_below_it() {
    let mut scene = Scene::new();
    let save = "/var/sadm/pkg/ACMEweb/save";
    fs::create_dir_all(scene.host(&format!("{save}/90-01"))).unwrap();
    scene.write(&format!("{STAGE}/db/1/undo.gz"), "archive");
    scene.op(OpKind::Add, &format!("{save}/100-01"), "db/1");
    scene.publish("7-00000000000000aa");
    assert_eq!(scene.listed(save), ["90-01"]);
    scene.rename(&format!("{STAGE}/db/1"), &format!("{save}/100-01"));
    assert_eq!(scene.listed(save), ["90-01"]);
    assert_eq!(scene.listed(&format!("{save}/100-01")), [""; 0]);
    assert_eq!(scene.seen(&format!("{save}/100-01/undo.gz")), None);
    scene.put(outcome_sector(RunOutcome::Commit));
    assert_eq!(scene.listed(save), ["100-01", "90-01"]);
    assert_eq!(scene.seen(&format!("{save}/100-01/undo.gz")).as_deref(), Some("archive"));
}

#[test]
fn what_a_run_deletes_is_read_from_the_stage() {
    let mut scene = Scene::new();
    let save = "/var/sadm/pkg/ACMEweb/save";
    scene.write(&format!("{save}/100-01/deep/undo.gz"), "archive");
    scene.op(OpKind::Delete, &format!("{save}/100-01"), "db/1");
    scene.publish("7-00000000000000aa");
    for step in ["not yet", "already"] {
        assert_eq!(scene.listed(save), ["100-01"], "{step}");
        assert_eq!(scene.listed(&format!("{save}/100-01")), ["deep"], "{step}");
        let archive = scene.seen(&format!("{save}/100-01/deep/undo.gz"));
        assert_eq!(archive.as_deref(), Some("archive"), "{step}");
        assert_eq!(scene.seen(&format!("{save}/100-01/undo.gz")), None, "{step}");
        if step == "not yet" {
            scene.rename(&format!("{save}/100-01"), &format!("{STAGE}/db/1"));
        }
    }
    scene.put(outcome_sector(RunOutcome::Commit));
    assert_eq!(scene.listed(save), [""; 0]);
}

#[test]
fn a_moved_record_has_its_old_name_until_the_commit() {
    let mut scene = Scene::new();
    let (old, new) =
        ("/var/sadm/pkg/ACMEweb/save/90-01/undo.gz", "/var/sadm/pkg/ACMEweb/save/90-01/obsolete.gz");
    scene.write(old, "archive");
    scene.op(OpKind::Move, old, "db/1");
    if let Some(JournalEntry::Op(op)) = scene.ops.last_mut() {
        op.to = Some(at(new));
    }
    scene.publish("7-00000000000000aa");
    for step in ["not yet", "already"] {
        assert_eq!(scene.listed("/var/sadm/pkg/ACMEweb/save/90-01"), ["undo.gz"], "{step}");
        assert_eq!((scene.seen(old).as_deref(), scene.seen(new)), (Some("archive"), None), "{step}");
        if step == "not yet" {
            scene.rename(old, new);
        }
    }
    scene.put(outcome_sector(RunOutcome::Commit));
    assert_eq!((scene.seen(old), scene.seen(new).as_deref()), (None, Some("archive")));
}

#[test]
fn a_script_of_the_run_sees_live_records_and_the_old_parameters() {
    const RUN: &str = "7-00000000000000aa";
    let contents = "/var/sadm/install/contents";
    let gone = "/var/sadm/pkg/ACMEgone";
    let mut scene = Scene::new();
    scene.write(contents, "old\n");
    scene.write(&format!("{gone}/pkginfo"), "PKG=ACMEgone\n");
    scene.write(&format!("{STAGE}/db/0"), "PATCHLIST=100-01\n");
    scene.op(OpKind::Replace, PKGINFO, "db/0");
    scene.write(&format!("{STAGE}/db/1"), "new\n");
    scene.op(OpKind::Replace, contents, "db/1");
    scene.write(&format!("{STAGE}/db/2/pkginfo"), "PKG=ACMEnew\n");
    scene.op(OpKind::Add, "/var/sadm/pkg/ACMEnew", "db/2");
    scene.op(OpKind::Delete, gone, "db/3");
    scene.publish(RUN);
    scene.exchange(PKGINFO, "db/0");
    scene.exchange(contents, "db/1");
    scene.rename(&format!("{STAGE}/db/2"), "/var/sadm/pkg/ACMEnew");
    scene.rename(gone, &format!("{STAGE}/db/3"));

    let within = |path: &str| scene.seen_within(RUN, path);
    assert_eq!(within(PKGINFO).as_deref(), Some("PATCHLIST=\n"), "what the run updates is shown as before");
    assert_eq!(within(contents).as_deref(), Some("new\n"), "any other record as it is");
    assert_eq!(within("/var/sadm/pkg/ACMEnew/pkginfo").as_deref(), Some("PKG=ACMEnew\n"));
    assert_eq!(within(&format!("{gone}/pkginfo")).as_deref(), Some("PKG=ACMEgone\n"));
    let packages =
        |view: &RecordView<'_>| Ok::<_, ViewError>((view.list(&places::packages())?, view.is_during_run()));
    let seen = read_consistently(RecordReader::within(&scene.root, Some(RUN)), packages).unwrap();
    let names = [b"ACMEgone".to_vec(), b"ACMEnew".to_vec(), b"ACMEweb".to_vec()];
    assert_eq!(seen, (Some(names.to_vec()), false));

    assert_eq!(scene.seen(contents).as_deref(), Some("old\n"), "beside the run everything is as before");
    let other = scene.seen_within("6-00000000000000aa", contents);
    assert_eq!(other.as_deref(), Some("old\n"), "and so it is for what another run started");
    scene.put(outcome_sector(RunOutcome::Commit));
    assert_eq!(scene.seen_within(RUN, PKGINFO).as_deref(), Some("PATCHLIST=100-01\n"));
}

#[test]
fn a_script_sees_the_held_parameters_of_its_package_and_everything_else_as_it_is() {
    const RUN: &str = "7-00000000000000aa";
    let package = "/var/sadm/pkg/ACMEweb";
    let mut scene = Scene::new();
    scene.write(&format!("{STAGE}/db/held.0/pkginfo"), "PATCHLIST=\n");
    let copy = Some(scene.identity(&format!("{STAGE}/db/held.0")));
    let old = Some(scene.identity(package));
    for (path, stage, old, new) in
        [(package, "db/held.0", old, copy), ("/var/sadm/pkg/ACMEnew", "db/held.1", None, None)]
    {
        let line = json!({"kind": OpKind::Protect, "path": path, "domain": 0, "stage": stage, "db": true});
        let op = Op { old, new, ..serde_json::from_value(line).unwrap() };
        scene.ops.push(JournalEntry::Op(Box::new(op)));
    }
    scene.publish(RUN);
    scene.write(PKGINFO, "PATCHLIST=100-01\n");
    scene.write(&format!("{package}/install/depend"), "P ACMElib\n");
    scene.write("/var/sadm/pkg/ACMEnew/pkginfo", "PKG=ACMEnew\n");
    let within = |path: &str| scene.seen_within(RUN, path);
    assert_eq!(within(PKGINFO).as_deref(), Some("PATCHLIST=\n"));
    assert_eq!(within(&format!("{package}/install/depend")).as_deref(), Some("P ACMElib\n"));
    assert_eq!(within("/var/sadm/pkg/ACMEnew/pkginfo").as_deref(), Some("PKG=ACMEnew\n"));
    assert_eq!(scene.seen(&format!("{package}/install/depend")), None, "beside the run the copy counts");
    assert_eq!(scene.listed("/var/sadm/pkg"), ["ACMEweb"]);
}

#[test]
fn a_record_whose_old_image_is_nowhere_is_an_error_that_names_it() {
    let scene = Scene::replacing();
    scene.rename(&format!("{STAGE}/db/0"), PKGINFO);
    let error = read_consistently(&scene.root, |view| view.read(&at(PKGINFO), 100)).unwrap_err();
    assert!(matches!(&error, ViewError::Lost { path, .. } if path.ends_with(PKGINFO)), "{error}");
}

#[test]
fn a_damaged_journal_is_reported_and_never_read_past() {
    let scene = Scene::replacing();
    scene.exchange(PKGINFO, "db/0");
    let journal = scene.host("/var/sadm/patchadm/journal");
    let whole = fs::read(&journal).unwrap();
    for place in [30, HEAD + 20] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&journal, &damaged).unwrap();
        let error = read_consistently(&scene.root, |view| view.read(&at(PKGINFO), 100)).unwrap_err();
        assert!(matches!(error, ViewError::Journal { .. }), "byte {place}: {error}");
    }
}

#[test]
fn damaged_lines_of_a_journal_are_read_at_most_twice() {
    let scene = Scene::replacing();
    let journal = scene.host("/var/sadm/patchadm/journal");
    let whole = fs::read(&journal).unwrap();
    let mut damaged = whole.clone();
    damaged[HEAD + 20] ^= 1;
    for bytes in [&damaged[..], &whole[..HEAD + 20]] {
        fs::write(&journal, bytes).unwrap();
        let (before, mut readings) = (head(&scene.root).unwrap(), 0);
        let error = RecordView::at((&scene.root).into(), &mut readings, before.as_ref()).unwrap_err();
        assert!(matches!(error, ViewError::Journal { .. }), "{error}");
        assert_eq!(readings, 1, "of two that read_consistently() allows");
        let error = read_consistently(&scene.root, |view| view.read(&at(PKGINFO), 100)).unwrap_err();
        assert!(matches!(error, ViewError::Journal { .. }), "{error}");
    }
}

#[test]
fn an_answer_that_a_commit_overtook_is_made_anew() {
    let scene = Scene::replacing();
    scene.exchange(PKGINFO, "db/0");
    let tries = Cell::new(0);
    let answer = read_consistently(&scene.root, |view| {
        let answer = view.read(&at(PKGINFO), 100)?;
        tries.set(tries.get() + 1);
        if tries.get() == 1 {
            scene.put(outcome_sector(RunOutcome::Commit));
        }
        Ok::<_, ViewError>((answer, view.is_during_run()))
    });
    assert_eq!((answer.unwrap(), tries.get()), ((Some(b"PATCHLIST=100-01\n".to_vec()), false), 2));
}

#[test]
fn a_switch_between_two_reads_of_one_answer_is_not_seen() {
    let scene = Scene::replacing();
    let answer = read_consistently(&scene.root, |view| {
        let first = view.read(&at(PKGINFO), 100)?;
        scene.exchange(PKGINFO, "db/0");
        let second = view.read(&at(PKGINFO), 100)?;
        scene.exchange(PKGINFO, "db/0");
        Ok::<_, ViewError>((first, second, view.read(&at(PKGINFO), 100)?))
    });
    let old = Some(b"PATCHLIST=\n".to_vec());
    assert_eq!(answer.unwrap(), (old.clone(), old.clone(), old));
}

#[test]
fn a_record_that_is_no_regular_file_or_too_large_is_told_apart() {
    let scene = Scene::new();
    let view = RecordView::live(&scene.root);
    assert!(view.read(&at("/var/sadm/pkg/ACMEweb"), 100).unwrap().is_none());
    let error = view.read(&at(PKGINFO), 5).unwrap_err();
    assert!(matches!(error, ViewError::Root(RootError::TooLarge { limit: 5, .. })), "{error}");
}

#[test]
fn a_record_or_journal_that_is_mostly_holes_is_refused_by_name() {
    let scene = Scene::replacing();
    let hollow = |path: &str| {
        let file = File::options().write(true).open(scene.host(path)).unwrap();
        file.set_len(8 << 20).unwrap();
    };
    let refused = |read: Result<Option<Vec<u8>>, ViewError>, name: &str| {
        let error = read.unwrap_err();
        assert!(
            matches!(&error, ViewError::Root(RootError::Hollow(path)) if path.ends_with(name)),
            "{error}"
        );
    };
    hollow(PKGINFO);
    refused(RecordView::live(&scene.root).read(&at(PKGINFO), 1 << 30), PKGINFO);
    scene.write("/var/sadm/install/contents", "");
    hollow("/var/sadm/install/contents");
    let error = crate::records::contents::open(&RecordView::live(&scene.root)).unwrap_err();
    let crate::records::RecordError::View(error) = error else { panic!("{error}") };
    refused(Err(error), "/install/contents");
    hollow("/var/sadm/patchadm/journal");
    refused(read_consistently(&scene.root, |view| view.read(&at(PKGINFO), 100)), "/patchadm/journal");
}

#[test]
fn a_reader_beside_a_switch_that_goes_to_and_fro_sees_the_old_record_only() {
    let scene = Scene::replacing();
    let ended = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                scene.exchange(PKGINFO, "db/0");
            }
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(scene.seen(PKGINFO).as_deref(), Some("PATCHLIST=\n"));
        }
    });
}
