//! Rows that take more than one file: runs without undo data, moves, attributes, objects of another type, missing
//! directories, copied roots.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::plan::RecordChange;
use crate::transaction::{RootCondition, recover};

const SAVED: &str = "/var/sadm/pkg/ACMEweb/save/090-01/undo.gz";
const OBSOLETE: &str = "/var/sadm/pkg/ACMEweb/save/090-01/obsolete.gz";

/// Returns a run that keeps no undo data, as a backout, pkgadd and pkgrm.
fn without_undo() -> Stopped {
    let world = World::new();
    let mut plan = world.plan();
    plan.undo.clear();
    plan.records.retain(|record| !record.path().to_string().contains("/save/"));
    Stopped::of(world, &plan, Ground::Usual)
}

/// Returns a run that gives a record another name.
fn moving() -> Stopped {
    let world = World::new();
    fs::create_dir_all(world.path("var/sadm/pkg/ACMEweb/save/090-01")).unwrap();
    world.file(SAVED.trim_start_matches('/'), "undo data");
    let mut plan = world.plan();
    plan.records.push(RecordChange::Move { from: at(SAVED), to: at(OBSOLETE) });
    Stopped::of(world, &plan, Ground::Usual)
}

/// Returns the remaining work that recovery reports when it cannot complete.
fn refused(stopped: &Stopped) -> Vec<String> {
    let root = stopped.world.root(Door::default());
    let lock = patchadm_rootfs::Lock::take(&root, "recover", |_| false).unwrap();
    match recover(&root, &lock).unwrap_err().left {
        RootCondition::Unfinished(what) => what,
        left => panic!("{left:?}"),
    }
}

#[test]
fn replace_old_and_none_nothing_is_to_be_done() {
    let stopped = Stopped::new();
    fs::remove_file(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    assert_eq!(stopped.recover(), Vec::<String>::new());
    assert_eq!(stopped.text(HTTPD), "old httpd");
}

#[test]
fn replace_old_and_new_but_edited_what_is_staged_is_kept_beside() {
    let stopped = Stopped::new();
    fs::write(stopped.staged(OpKind::Replace, HTTPD), "edited in place").unwrap();
    stopped.recover();
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), ("old httpd".into(), "edited in place".into()));
}

#[test]
fn replace_other_or_none_and_none_the_old_object_is_rebuilt_and_the_other_kept_beside() {
    let stopped = Stopped::new();
    fs::remove_file(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    put_other(&stopped.target(HTTPD));
    stopped.recover();
    assert_eq!((stopped.text(HTTPD), stopped.edited(HTTPD)), ("old httpd".into(), "somebody else's".into()));

    let stopped = Stopped::new();
    fs::remove_file(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    fs::remove_file(stopped.target(HTTPD)).unwrap();
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
}

#[test]
fn without_undo_data_an_object_that_is_lost_stops_recovery_which_names_it_and_goes_on_with_the_others() {
    let stopped = without_undo();
    stopped.exchange(HTTPD);
    fs::rename(stopped.target(GONE), stopped.staged(OpKind::Delete, GONE)).unwrap();
    let old = fs::read(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    fs::remove_file(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    for _ in 0..2 {
        let what = refused(&stopped);
        assert!(what.len() == 1 && what[0].contains("/opt/web/bin/httpd "), "{what:?}");
        assert_eq!(stopped.text(GONE), "gone\n", "the others are back");
    }
    // The object is found elsewhere: now recovery can succeed.
    fs::write(stopped.staged(OpKind::Replace, HTTPD), old).unwrap();
    let journaled = stopped.op(OpKind::Replace, HTTPD).old.clone().unwrap();
    let file = fs::File::open(stopped.staged(OpKind::Replace, HTTPD)).unwrap();
    let nanoseconds = journaled.mtime.nanoseconds;
    let mtime = std::time::Duration::new(u64::try_from(journaled.mtime.seconds).unwrap(), nanoseconds);
    file.set_permissions(fs::Permissions::from_mode(journaled.mode)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + mtime).unwrap();
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");

    let stopped = without_undo();
    fs::remove_file(stopped.target(GONE)).unwrap();
    let what = refused(&stopped);
    assert!(what.len() == 1 && what[0].contains("/opt/web/gone "), "{what:?}");
}

#[test]
fn move_gone_and_there_it_moves_back_and_nothing_happens_in_any_other_state() {
    let rename = |stopped: &Stopped| fs::rename(stopped.target(SAVED), stopped.target(OBSOLETE)).unwrap();
    let stopped = moving();
    rename(&stopped);
    stopped.recover();
    assert_eq!((stopped.text(SAVED), stopped.target(OBSOLETE).exists()), ("undo data".into(), false));

    let stopped = moving();
    stopped.recover();
    assert_eq!((stopped.text(SAVED), stopped.target(OBSOLETE).exists()), ("undo data".into(), false));

    let stopped = moving();
    rename(&stopped);
    put_other(&stopped.target(SAVED));
    stopped.recover();
    assert_eq!((stopped.text(SAVED), stopped.text(OBSOLETE)), ("somebody else's".into(), "undo data".into()));

    let stopped = moving();
    fs::remove_file(stopped.target(SAVED)).unwrap();
    put_other(&stopped.target(OBSOLETE));
    stopped.recover();
    assert_eq!((stopped.target(SAVED).exists(), stopped.text(OBSOLETE)), (false, "somebody else's".into()));
}

#[test]
fn each_attribute_is_put_back_by_itself() {
    if !rustix::process::geteuid().is_root() {
        crate::skipped("each_attribute_is_put_back_by_itself: only root sets groups");
        return;
    }
    let staying = |stopped: &Stopped| {
        let seen = fs::metadata(stopped.target("/opt/web/staying")).unwrap();
        (seen.gid(), seen.mode() & 0o7777)
    };
    let before = staying(&Stopped::new());
    for (gid, mode, expected) in [
        (Some(54321), 0o4750, before),
        (Some(54321), before.1, before),
        (None, 0o4750, before),
        (Some(4), 0o4750, (4, before.1)),
        (Some(54321), 0o711, (before.0, 0o711)),
    ] {
        let stopped = Stopped::new();
        let target = stopped.target("/opt/web/staying");
        std::os::unix::fs::chown(&target, None, gid).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
        stopped.recover();
        assert_eq!(staying(&stopped), expected, "{gid:?} {mode:o}");
    }
}

#[test]
fn a_directory_or_link_that_was_put_in_place_of_a_new_file_is_kept_beside() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    fs::remove_file(stopped.target(HTTPD)).unwrap();
    fs::create_dir(stopped.target(HTTPD)).unwrap();
    fs::write(stopped.target(HTTPD).join("mine"), "somebody else's").unwrap();
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
    assert_eq!(stopped.text(&format!("{HTTPD}.edited-{RUN}/mine")), "somebody else's");

    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    fs::remove_file(stopped.target(HTTPD)).unwrap();
    symlink("/etc/passwd", stopped.target(HTTPD)).unwrap();
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd");
    let kept = fs::read_link(stopped.target(&format!("{HTTPD}.edited-{RUN}"))).unwrap();
    assert_eq!(kept, Path::new("/etc/passwd"));
}

#[test]
fn what_is_kept_twice_has_two_names() {
    let stopped = Stopped::new();
    stopped.exchange(HTTPD);
    fs::write(stopped.target(&format!("{HTTPD}.edited-{RUN}")), "from before").unwrap();
    put_other(&stopped.target(HTTPD));
    stopped.recover();
    assert_eq!(stopped.edited(HTTPD), "from before");
    assert_eq!(stopped.text(&format!("{HTTPD}.edited-{RUN}.2")), "somebody else's");
}

#[test]
fn what_is_written_to_the_old_object_through_an_old_descriptor_is_in_its_place_again() {
    use std::io::Write as _;
    let stopped = Stopped::new();
    let mut open = fs::OpenOptions::new().append(true).open(stopped.target(HTTPD)).unwrap();
    stopped.exchange(HTTPD);
    open.write_all(b" and more").unwrap();
    stopped.recover();
    assert_eq!(stopped.text(HTTPD), "old httpd and more");
}

#[test]
fn a_directory_that_became_a_link_is_not_followed_and_stops_nothing() {
    let stopped = Stopped::new();
    let elsewhere = stopped.world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(stopped.target(GONE), stopped.staged(OpKind::Delete, GONE)).unwrap();
    fs::rename(stopped.target("/opt/web/bin"), elsewhere.join("bin")).unwrap();
    symlink("../../elsewhere/bin", stopped.target("/opt/web/bin")).unwrap();
    stopped.recover();
    assert_eq!(stopped.text(GONE), "gone\n");
    assert!(stopped.target("/opt/web/bin").is_symlink());
    assert_eq!(fs::read_to_string(elsewhere.join("bin/httpd")).unwrap(), "old httpd");
}

#[test]
fn a_root_that_was_copied_in_the_middle_of_a_run_is_as_before_after_its_recovery() {
    let stopped = Stopped::new();
    let before = stopped.world.picture();
    for path in [HTTPD, "/opt/web/libw.so", "/opt/web/tree", "/var/sadm/install/contents"] {
        stopped.exchange(path);
    }
    fs::rename(stopped.target(GONE), stopped.staged(OpKind::Delete, GONE)).unwrap();
    fs::rename(stopped.staged(OpKind::Add, NEW), stopped.target(NEW)).unwrap();
    fs::rename(stopped.staged(OpKind::Add, TOOL), stopped.target(TOOL)).unwrap();
    fs::set_permissions(stopped.target("/opt/web/bin"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_ne!(stopped.world.picture(), before);
    let copy = World::new();
    fs::remove_dir_all(copy.path("opt")).unwrap();
    fs::remove_dir_all(copy.path("var")).unwrap();
    let copied = Command::new("cp").arg("-a").arg(stopped.world.path(".")).arg(copy.path(".")).status();
    assert!(copied.unwrap().success());
    copy.recover();
    assert_eq!(copy.picture(), before);
}
