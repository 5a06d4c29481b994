//! The recovery table, row by row: a run is stopped, target and stage are brought into the state of the row by hand,
//! and recovery does what the row says.

mod more_rows;
mod owned;
mod second_names;

use std::fs;
use std::path::PathBuf;

use rustix::io::Errno;

use super::ground::Ground;
use super::world::{RUN, World, at};
use crate::format::journal::{Journal, Op, OpKind};
use crate::plan::Plan;
use crate::transaction::Recovered;
use patchadm_rootfs::{ChangeCall, Door};

/// A run that was killed right after its journal was published.
pub(super) struct Stopped {
    pub(super) world: World,
    pub(super) journal: Journal,
    ground: Ground,
}

impl Stopped {
    pub(super) fn new() -> Self {
        Self::on(Ground::Usual)
    }

    pub(super) fn on(ground: Ground) -> Self {
        let world = World::new();
        let plan = ground.plan(&world);
        Self::of(world, &plan, ground)
    }

    fn of(world: World, plan: &Plan, ground: Ground) -> Self {
        let published = std::sync::atomic::AtomicBool::new(false);
        let door = ground.door(move |step| {
            if published.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Errno::IO);
            }
            if super::world::publishes(step) {
                published.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        });
        world.run_plan(plan, door, &|| None).unwrap_err();
        let journal = world.journal();
        assert!(journal.head.is_open());
        Self { world, journal, ground }
    }

    fn op(&self, kind: OpKind, path: &str) -> &Op {
        self.journal.ops.iter().find(|op| op.kind == kind && op.path == at(path)).unwrap()
    }

    /// Returns the staged object of an op.
    fn staged(&self, kind: OpKind, path: &str) -> PathBuf {
        self.world.path(&format!("var/sadm/patchadm/stage/{RUN}/{}", self.op(kind, path).stage))
    }

    fn target(&self, path: &str) -> PathBuf {
        self.world.path(path.trim_start_matches('/'))
    }

    /// Does the work of the switch for a replacement.
    fn exchange(&self, path: &str) {
        let staged = self.staged(OpKind::Replace, path);
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            staged.as_path(),
            rustix::fs::CWD,
            self.target(path).as_path(),
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .unwrap();
    }

    fn recover(&self) -> Vec<String> {
        match self.world.recover_with(self.ground.open_door()) {
            Recovered::RolledBack { notes, .. } => notes,
            other => panic!("{other:?}"),
        }
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.target(path)).unwrap_or_else(|error| error.kind().to_string())
    }

    fn edited(&self, path: &str) -> String {
        self.text(&format!("{path}.edited-{RUN}"))
    }
}

const HTTPD: &str = "/opt/web/bin/httpd";
const GONE: &str = "/opt/web/gone";
const TOOL: &str = "/opt/web/new/tool";
const NEW: &str = "/opt/web/new";

/// Puts another file, with another inode, at a path.
fn put_other(path: &std::path::Path) {
    let _ = fs::remove_file(path);
    fs::write(path, "somebody else's").unwrap();
}

#[test]
fn replace_old_and_new_nothing_is_to_be_done() {
    let stopped = Stopped::new();
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
}

#[test]
fn replace_new_and_old_they_are_exchanged_back() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    assert_eq!(stopped.text(HTTPD), "bin/httpd");
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
}

#[test]
fn replace_new_but_edited_and_old_the_edit_is_kept_beside() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    fs::write(stopped.target(HTTPD), "edited in place").unwrap();
    let notes = stopped.recover();
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), ("old httpd".into(), "edited in place".into()));
    assert!(notes.iter().any(|note| note.contains("is kept as")), "{notes:?}");
}

#[test]
fn replace_other_and_old_the_other_is_kept_beside() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    put_other(&stopped.target(HTTPD));
    stopped.recover();
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), ("old httpd".into(), "somebody else's".into()));
}

#[test]
fn replace_old_and_other_what_is_staged_is_kept_beside() {
    // The state that a recovery leaves if it is interrupted between its two steps.
    let stopped = Stopped::new();
    put_other(&stopped.staged(OpKind::Replace, HTTPD));
    stopped.recover();
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), ("old httpd".into(), "somebody else's".into()));
}

#[test]
fn replace_other_or_none_and_new_it_was_changed_before_the_switch_reached_it() {
    let stopped = Stopped::new();
    put_other(&stopped.target(HTTPD));
    let notes = stopped.recover();
    assert_eq!(stopped.text(HTTPD), "somebody else's");
    assert!(notes.iter().any(|note| note.contains("left unchanged")), "{notes:?}");

    let stopped = Stopped::new();
    fs::remove_file(stopped.target(HTTPD)).unwrap();
    stopped.recover();
    assert!(!stopped.target(HTTPD).exists());
}

#[test]
fn replace_none_and_old_the_old_object_goes_back() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    fs::remove_file(stopped.target(HTTPD)).unwrap();
    let notes = stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
    assert!(notes.iter().any(|note| note.contains("was removed by another process")), "{notes:?}");
}

#[test]
fn replace_anything_but_old_and_none_the_old_object_is_rebuilt_from_the_undo_archive() {
    let stopped = Stopped::new();
    let before = stopped.world.live(HTTPD).unwrap();
    stopped.exchange(HTTPD);
    fs::remove_file(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    let notes = stopped.recover();
    let rebuilt = stopped.world.live(HTTPD).unwrap();
    assert_eq!((rebuilt.kind, rebuilt.mode, rebuilt.mtime), (before.kind, before.mode, before.mtime));
    assert!(notes.iter().any(|note| note.contains("from the undo archive")), "{notes:?}");
}

#[test]
fn add_none_and_new_or_none_nothing_is_to_be_done() {
    let stopped = Stopped::new();
    fs::remove_file(stopped.staged(OpKind::Add, TOOL)).unwrap();
    stopped.recover();
    assert!(!stopped.target(NEW).exists());
}

#[test]
fn add_new_and_none_it_is_taken_away() {
    let stopped = Stopped::new();
    fs::rename(stopped.staged(OpKind::Add, NEW), stopped.target(NEW)).unwrap();
    fs::rename(stopped.staged(OpKind::Add, TOOL), stopped.target(TOOL)).unwrap();
    stopped.recover();
    assert!(!stopped.target(NEW).exists(), "the new directory is empty again and goes too");
}

#[test]
fn add_new_but_edited_it_is_kept_beside() {
    let stopped = Stopped::new();
    fs::rename(stopped.staged(OpKind::Add, NEW), stopped.target(NEW)).unwrap();
    fs::rename(stopped.staged(OpKind::Add, TOOL), stopped.target(TOOL)).unwrap();
    fs::write(stopped.target(TOOL), "edited in place").unwrap();
    let notes = stopped.recover();
    assert!(!stopped.target(TOOL).exists());
    assert_eq!(stopped.edited(TOOL), "edited in place");
    assert!(notes.iter().any(|note| note.contains("is not empty and was kept")), "{notes:?}");
}

#[test]
fn add_other_it_is_left() {
    let stopped = Stopped::new();
    fs::rename(stopped.staged(OpKind::Add, NEW), stopped.target(NEW)).unwrap();
    put_other(&stopped.target(TOOL));
    stopped.recover();
    assert_eq!(stopped.text(TOOL), "somebody else's");
}

#[test]
fn add_of_a_directory_with_its_contents_goes_back_as_a_whole() {
    let stopped = Stopped::new();
    let patch = "/var/sadm/patch/100-01";
    fs::rename(stopped.staged(OpKind::Add, "/var/sadm/patch"), stopped.target("/var/sadm/patch")).unwrap();
    fs::rename(stopped.staged(OpKind::Add, patch), stopped.target(patch)).unwrap();
    stopped.recover();
    assert!(!stopped.target("/var/sadm/patch").exists());
}

#[test]
fn delete_old_and_none_nothing_is_to_be_done() {
    let stopped = Stopped::new();
    stopped.recover();
    assert_eq!(stopped.text(GONE), "gone\n");
}

#[test]
fn delete_none_and_old_it_goes_back() {
    let stopped = Stopped::new();
    fs::rename(stopped.target(GONE), stopped.staged(OpKind::Delete, GONE)).unwrap();
    stopped.recover();
    assert_eq!(stopped.text(GONE), "gone\n");
}

#[test]
fn delete_other_and_old_the_other_is_kept_beside() {
    let stopped = Stopped::new();
    fs::rename(stopped.target(GONE), stopped.staged(OpKind::Delete, GONE)).unwrap();
    put_other(&stopped.target(GONE));
    stopped.recover();
    assert_eq!((stopped.text(GONE), stopped.edited(GONE)), ("gone\n".into(), "somebody else's".into()));
}

#[test]
fn delete_none_and_none_it_is_restored_from_the_undo_archive() {
    let stopped = Stopped::new();
    let before = stopped.world.live(GONE).unwrap();
    fs::remove_file(stopped.target(GONE)).unwrap();
    stopped.recover();
    let rebuilt = stopped.world.live(GONE).unwrap();
    assert_eq!((rebuilt.kind, rebuilt.mtime), (before.kind, before.mtime));
}

#[test]
fn delete_other_and_none_it_is_left() {
    let stopped = Stopped::new();
    put_other(&stopped.target(GONE));
    stopped.recover();
    assert_eq!(stopped.text(GONE), "somebody else's");
}

#[test]
fn attributes_as_after_become_as_before_and_any_other_value_is_left() {
    use std::os::unix::fs::PermissionsExt;
    for (found, expected) in [(0o700, 0o755), (0o755, 0o755), (0o511, 0o511)] {
        let stopped = Stopped::new();
        let bin = stopped.target("/opt/web/bin");
        fs::set_permissions(&bin, fs::Permissions::from_mode(found)).unwrap();
        stopped.recover();
        let mode = fs::metadata(&bin).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{found:o}");
    }
}

#[test]
fn a_copied_root_is_told_by_content_because_no_inode_fits() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    for path in [stopped.target(HTTPD), stopped.staged(OpKind::Replace, HTTPD)] {
        let copy = path.with_extension("copy");
        let made = std::process::Command::new("cp").arg("-p").arg(&path).arg(&copy).status().unwrap();
        assert!(made.success());
        fs::rename(&copy, &path).unwrap();
    }
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
}

#[test]
fn a_damaged_journal_stops_everything_and_nothing_is_touched() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    let journal = stopped.target("/var/sadm/patchadm/journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[4200] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let root = stopped.world.root(Door::default());
    let lock = patchadm_rootfs::Lock::take(&root, "recover", |_| false).unwrap();
    let error = crate::transaction::recover(&root, &lock).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(stopped.text(HTTPD), "bin/httpd");
}

#[test]
fn a_committed_run_is_done_forward_again_where_the_disk_lost_something() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let after = world.picture();
    drop(world);
    // Stopped right after the outcome was written: `done` is still blank.
    let world = World::new();
    let commits = std::sync::atomic::AtomicBool::new(false);
    let door = Door::watched(move |step| {
        use std::sync::atomic::Ordering::Relaxed;
        if commits.load(Relaxed) && step.call != ChangeCall::Sync {
            return Err(Errno::IO);
        }
        let is_journal = step.path.name() == b"journal";
        if is_journal && step.call == ChangeCall::Write {
            commits.store(true, Relaxed);
        }
        Ok(())
    });
    world.run(door).unwrap();
    let journal = world.journal();
    let op = journal.ops.iter().find(|op| op.path == at(HTTPD)).unwrap();
    let staged = world.path(&format!("var/sadm/patchadm/stage/{RUN}/{}", op.stage));
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        staged.as_path(),
        rustix::fs::CWD,
        world.path("opt/web/bin/httpd").as_path(),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    let Recovered::Finished { notes, .. } = world.recover() else { panic!("not finished") };
    assert!(notes.iter().any(|note| note.contains("a committed change was lost")), "{notes:?}");
    assert_eq!(world.picture(), after);
}
