//! A well-formed journal with right checksums that lies: it changes nothing, inside the root or outside.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::table::Stopped;
use super::world::{RUN, World, at};
use crate::format::journal::{
    Identity, Journal, JournalArchive, JournalError, Op, OpKind, RunOutcome, ScriptProcess, ScriptProgress,
    checked_line,
};
use crate::transaction::Recovered;
use crate::transaction::TransactionError;
use crate::transaction::error::Cause;
use crate::transaction::recover;
use crate::transaction::unfinished_script;
use patchadm_rootfs::{CAPABILITY, Door, Lock};

const JOURNAL: &str = "var/sadm/patchadm/journal";
const STAGED: &str = "var/sadm/patchadm/stage/1-00000000000000aa";

fn op<'j>(journal: &'j mut Journal, path: &str) -> &'j mut Op {
    journal.ops.iter_mut().find(|op| op.path == at(path)).unwrap()
}

fn without_archives(journal: &mut Journal) {
    journal.archives = Vec::new();
    journal.ops.iter_mut().for_each(|op| op.undo = None);
}

fn recovered(world: &World) -> Result<Recovered, TransactionError> {
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", super::world::in_a_moment).unwrap();
    unfinished_script(&root)?;
    recover(&root, &lock)
}

/// Returns everything in a directory: name, bytes, owner, mode.
fn all_of(dir: &Path) -> Vec<(String, String, u32, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let bytes = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        found.push((path.display().to_string(), bytes, meta.uid(), meta.mode()));
    }
    found.sort();
    found
}

/// Returns all existing objects, including our own files.
fn everything(world: &World) -> (std::collections::BTreeMap<String, String>, Vec<u8>, Vec<String>) {
    let stage = fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap();
    let mut stages: Vec<String> = stage.map(|entry| entry.unwrap().path().display().to_string()).collect();
    stages.sort();
    (world.picture(), fs::read(world.path(JOURNAL)).unwrap(), stages)
}

/// Returns the name in a stage that leads out of the root to a file of the host.
fn way_out(host: &Path, file: &str) -> String {
    format!("o/../../../../../../../../../../../../../../..{}/{file}", host.display())
}

/// Checks that a recovery refuses a journal in which `field` is a lie, and changes nothing.
fn must_be_refused(world: &World, host: &Path, field: &str) {
    let before = (everything(world), all_of(host));
    let error = recovered(world).unwrap_err();
    let Cause::Journal { reason: JournalError::Field { field: named, .. }, .. } = &error.cause else {
        panic!("{field}: {error}");
    };
    assert_eq!(*named, field, "{error}");
    assert!(before == (everything(world), all_of(host)), "{field}: something was done");
}

fn host() -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("passwd"), "root:x:0:0\n").unwrap();
    host
}

#[test]
fn a_name_in_a_stage_leads_nowhere_else() {
    const HTTPD: &str = "/opt/web/bin/httpd";
    for (path, kind, file) in [
        (HTTPD, OpKind::Replace, "passwd"),
        ("/opt/web/new/tool", OpKind::Add, "stolen"),
        ("/opt/web/gone", OpKind::Delete, "passwd"),
        (HTTPD, OpKind::Protect, "passwd"),
    ] {
        let (stopped, host) = (Stopped::new(), host());
        stopped.world.rewrite(|journal| {
            let op = op(journal, path);
            (op.kind, op.stage) = (kind, way_out(host.path(), file));
            // So that the recovery table exchanges, takes away or puts back.
            std::mem::swap(&mut op.old, &mut op.new);
        });
        must_be_refused(&stopped.world, host.path(), "stage");
    }
}

#[test]
fn a_stage_of_another_place_run_or_root_is_neither_used_nor_removed() {
    for stage in ["/opt/web", "/var/sadm/patchadm/stage/9-00000000000000aa", "/opt/stage/1-00000000000000aa"]
    {
        for outcome in [None, Some(RunOutcome::Commit), Some(RunOutcome::RolledBack)] {
            let (stopped, host) = (Stopped::new(), host());
            stopped.world.rewrite(|journal| {
                journal.domains[0].stage = at(stage);
                journal.head.outcome = outcome;
                // An object in the directory that would then be our own is another lie.
                journal.ops.retain(|op| op.db);
                without_archives(journal);
            });
            must_be_refused(&stopped.world, host.path(), "stage");
        }
    }
    let stopped = Stopped::new();
    fs::write(stopped.world.path(STAGED).join("marker"), "9-00000000000000aa 0\n").unwrap();
    let before = everything(&stopped.world);
    let error = recovered(&stopped.world).unwrap_err();
    assert!(matches!(error.cause, Cause::DomainMissing { .. }), "{error}");
    assert_eq!(everything(&stopped.world), before);
}

#[test]
fn a_stage_that_others_may_write_to_is_neither_used_nor_removed() {
    for outcome in [None, Some(RunOutcome::Commit), Some(RunOutcome::RolledBack)] {
        let stopped = Stopped::new();
        stopped.world.rewrite(|journal| journal.head.outcome = outcome);
        let stage = stopped.world.path(STAGED);
        fs::set_permissions(&stage, fs::Permissions::from_mode(0o777)).unwrap();
        let before = everything(&stopped.world);
        let error = recovered(&stopped.world).unwrap_err();
        assert!(matches!(error.cause, Cause::NotOurs { .. }), "{outcome:?}: {error}");
        assert_eq!(everything(&stopped.world), before, "{outcome:?}");
    }
}

#[test]
fn what_is_outside_of_the_root_is_no_archive_by_the_word_of_a_journal() {
    for (field, outcome) in [("outside", None), ("discard", Some(RunOutcome::Commit))] {
        let (stopped, host) = (Stopped::new(), host());
        let meta = fs::metadata(host.path().join("passwd")).unwrap();
        let inode = Some(patchadm_rootfs::Inode { number: meta.ino(), born: None });
        let victim = Some(host.path().join("passwd").display().to_string());
        stopped.world.rewrite(|journal| {
            without_archives(journal);
            let archive = JournalArchive { inode, ..JournalArchive::default() };
            journal.archives = vec![match outcome {
                None => JournalArchive { outside: victim, ..archive },
                Some(_) => JournalArchive { discard: victim, ..archive },
            }];
            journal.head.outcome = outcome;
        });
        must_be_refused(&stopped.world, host.path(), field);
    }
}

#[test]
fn no_other_field_of_a_journal_is_believed_that_the_engine_could_not_have_written() {
    type Lie = fn(&mut Journal);
    let lies: [(&str, Lie); 8] = [
        ("run", |journal| journal.head.header.run = "1-00000000000000AA".to_owned()),
        ("root", |journal| journal.head.header.root = "../../../etc".to_owned()),
        ("domain", |journal| op(journal, "/opt/web/gone").domain = 7),
        ("path", |journal| op(journal, "/opt/web/gone").path = at("/var/sadm/patchadm/history")),
        ("uid", |journal| op(journal, "/opt/web/gone").old.as_mut().unwrap().uid = u32::MAX),
        ("log", |journal| journal.run_record.log = Some(at("/etc/cron.d/mine"))),
        ("group", |journal| set_script(journal, 1)),
        ("group", |journal| {
            set_script(journal, rustix::process::getpgrp().as_raw_nonzero().get());
        }),
    ];
    for (field, lie) in lies {
        let (stopped, host) = (Stopped::new(), host());
        stopped.world.rewrite(lie);
        must_be_refused(&stopped.world, host.path(), field);
    }
}

fn set_script(journal: &mut Journal, group: i32) {
    let boot_id = "0b7b6a05-43b3-4a2c-8f3b-9a1d5f1c2e60".to_owned();
    let script = ScriptProcess { name: "postinstall".to_owned(), group, boot_id, start_time: 7 };
    journal.head.progress = Some(ScriptProgress { number: 1, script: Some(script) });
}

#[test]
fn what_lies_beside_the_journal_is_believed_no_more_than_the_journal() {
    let made = |path: &str| serde_json::json!({"made": {"path": path, "identity": identity()}});
    let archive =
        |path: &str| serde_json::json!({"archive": {"path": null, "staged": null, "outside": path}});
    for (file, line, field) in [
        ("notes", made("/opt/../etc"), "path"),
        ("notes", made("/"), "path"),
        ("notes", archive("/etc/passwd"), "outside"),
        ("alone", serde_json::json!("/opt/web"), "path"),
        ("alone", serde_json::json!("/opt/.patchadm-9-00000000000000aa"), "path"),
    ] {
        let (stopped, host) = (Stopped::new(), host());
        fs::write(stopped.world.path(STAGED).join(file), checked_line(&line)).unwrap();
        must_be_refused(&stopped.world, host.path(), field);
    }
    let stopped = Stopped::new();
    let stage = stopped.world.path(STAGED);
    fs::write(stage.join("notes"), checked_line(&made("/opt/web/a%20b"))).unwrap();
    fs::write(stage.join("alone"), checked_line(&format!("/opt/web/.patchadm-{RUN}"))).unwrap();
    assert!(matches!(recovered(&stopped.world).unwrap(), Recovered::RolledBack { .. }));
}

fn identity() -> Identity {
    let line = serde_json::json!({
        "file_type": "f", "mode": 420, "uid": 0, "gid": 0, "size": 0,
        "mtime": {"seconds": 0, "nanoseconds": 0}, "inode": {"number": 1, "born": null},
    });
    serde_json::from_value(line).unwrap()
}

#[test]
fn set_id_bits_and_owners_come_back_only_to_the_same_object_with_the_same_bytes() {
    let stopped = Stopped::new();
    let place = stopped.world.path("opt/web/staying");
    stopped.world.rewrite(|journal| {
        let op = op(journal, "/opt/web/staying");
        assert_eq!(op.kind, OpKind::Attr);
        for identity in [&mut op.old, &mut op.new].into_iter().flatten() {
            identity.b3 = Some("0".repeat(64).into());
        }
        op.new.as_mut().unwrap().mode = 0o711;
    });
    fs::set_permissions(&place, fs::Permissions::from_mode(0o711)).unwrap();
    let Ok(Recovered::RolledBack { notes, .. }) = recovered(&stopped.world) else { panic!() };
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o7777, 0o755, "without its set-id bit");
    assert!(notes.iter().any(|note| note.contains("staying has different content than before")), "{notes:?}");
}

#[test]
fn file_capabilities_come_back_only_to_the_same_object_with_the_same_bytes() {
    for (b3, comes_back) in [(None, true), (Some("0".repeat(64)), false)] {
        let stopped = Stopped::new();
        let place = stopped.world.path("opt/web/staying");
        // Nothing else is given back, so that nothing else is asked of the object.
        if rustix::fs::removexattr(&place, CAPABILITY).is_err() {
            return crate::skipped("file capabilities: this caller or file system cannot set any");
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(0o750)).unwrap();
        let gid = fs::metadata(&place).unwrap().gid();
        stopped.world.rewrite(|journal| {
            let op = op(journal, "/opt/web/staying");
            for identity in [&mut op.old, &mut op.new].into_iter().flatten() {
                (identity.mode, identity.gid) = (0o750, gid);
                identity.b3 = b3.clone().map_or(identity.b3.clone(), |b3| Some(b3.into()));
            }
        });
        let Ok(Recovered::RolledBack { .. }) = recovered(&stopped.world) else { panic!() };
        let has = rustix::fs::getxattr(&place, CAPABILITY, &mut [0u8; 64][..]).is_ok();
        assert_eq!(has, comes_back, "{b3:?}");
    }
}
