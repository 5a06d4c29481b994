//! Someone else changes the root during a run: after its checks, in the middle of the switch, before it commits. The
//! run is given up, everything is as before, and the foreign changes remain.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::world::World;
use crate::transaction::RootCondition;
use crate::transaction::error::Cause;
use patchadm_rootfs::{ChangeCall, Door, RootChange};
use patchadm_svr4::package::ObjectPath;

/// A foreign change to a root.
type Meddle = fn(&Path);

/// Tells whether the change happens before this step.
type Moment = fn(&RootChange<'_>) -> bool;

/// Changes a file, but keeps the time of the survey, so that only the change itself can be detected.
fn write(path: &Path, text: &str) {
    let was = fs::metadata(path).and_then(|seen| seen.modified());
    fs::write(path, text).unwrap();
    if let Ok(time) = was {
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
}

const MEDDLES: [(&str, Meddle); 8] = [
    ("a file is edited", |root| write(&root.join("opt/web/bin/httpd"), "by the administrator")),
    ("a file that goes is edited", |root| write(&root.join("opt/web/gone"), "by the administrator")),
    ("a file is replaced by another of its size", |root| {
        let path = root.join("opt/web/bin/httpd");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "new httpd").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }),
    ("a file is removed", |root| fs::remove_file(root.join("opt/web/bin/httpd")).unwrap()),
    ("a file becomes a directory", |root| {
        let path = root.join("opt/web/bin/httpd");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        write(&path.join("mine"), "by the administrator");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        fs::File::open(path.join("mine")).unwrap().set_modified(time).unwrap();
    }),
    ("a file becomes a link", |root| {
        let path = root.join("opt/web/bin/httpd");
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", path).unwrap();
    }),
    ("a link leads elsewhere", |root| {
        fs::remove_file(root.join("opt/web/libw.so")).unwrap();
        symlink("libw.so.9", root.join("opt/web/libw.so")).unwrap();
    }),
    ("a file appears where a new one goes", |root| {
        fs::write(root.join("opt/web/new"), "by the administrator").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        fs::File::open(root.join("opt/web/new")).unwrap().set_modified(time).unwrap();
    }),
];

/// Returns a door at which someone meddles once, before the first step selected by `when`.
fn meddling(world: &World, when: Moment, meddle: impl Fn(&Path) + Send + Sync + 'static) -> Door {
    let (root, done) = (world.path("."), AtomicBool::new(false));
    Door::watched(move |step| {
        if when(step) && !done.swap(true, Ordering::Relaxed) {
            meddle(&root);
        }
        Ok(())
    })
}

/// The moments of a run at which a target may be changed: the journal gets its name, the first name changes.
const MOMENTS: [(&str, Moment); 2] = [
    ("before the journal is published", super::world::publishes),
    ("before the first switch", |step| {
        let is_live = |path: &ObjectPath| path.to_string().starts_with("/opt/web/");
        matches!(step.call, ChangeCall::Exchange | ChangeCall::Move | ChangeCall::SetMode)
            && (is_live(step.path) || step.other.is_some_and(is_live))
    }),
];

#[test]
fn what_somebody_else_does_between_the_survey_and_the_switch_is_kept_and_the_run_is_given_up() {
    for (when, moment) in MOMENTS {
        for (what, meddle) in MEDDLES {
            let expected = World::new();
            meddle(&expected.path("."));
            let world = World::new();
            let door = meddling(&world, moment, meddle);
            let error = world.run(door).unwrap_err();
            assert!(matches!(error.cause, Cause::Changed(_) | Cause::Appeared(_)), "{when}: {what}: {error}");
            assert_eq!(error.left, RootCondition::RolledBack, "{when}: {what}: {error}");
            assert_eq!(world.picture(), expected.picture(), "{when}: {what}");
            assert_eq!(world.recover(), crate::transaction::Recovered::Nothing);
        }
    }
}

/// A directory that is moved away, with a link in its place; and back.
const MOVES: [[&str; 2]; 2] = [["opt/web/bin", "opt/web/bin.old"], ["opt/web", "opt/old"]];

#[test]
fn a_directory_that_is_moved_away_before_the_switch_is_not_followed() {
    for paths in MOVES {
        let move_away = move |root: &Path| {
            let [from, to] = paths.map(|path| root.join(path));
            fs::rename(&from, &to).unwrap();
            symlink(to.file_name().unwrap(), from).unwrap();
        };
        let (world, expected) = (World::new(), World::new());
        move_away(&expected.path("."));
        let error = world.run(meddling(&world, MOMENTS[0].1, move_away)).unwrap_err();
        assert!(matches!(error.cause, Cause::Changed(_)), "{paths:?}: {error}");
        assert_eq!(world.picture(), expected.picture(), "{paths:?}");
        // An object that cannot be examined may have been changed: this is not guessed, but left until the object is
        // back.
        if matches!(error.left, RootCondition::Unfinished(_)) {
            let [from, to] = paths.map(|path| world.path(path));
            fs::remove_file(&from).unwrap();
            fs::rename(&to, &from).unwrap();
            world.recover();
            assert_eq!(world.picture(), World::new().picture(), "{paths:?}");
        }
    }
}

#[test]
fn what_a_directory_that_is_moved_away_during_the_switch_had_waits_until_it_is_back() {
    for paths in MOVES {
        let world = World::new();
        let before = world.picture();
        let move_away = move |root: &Path| {
            let [from, to] = paths.map(|path| root.join(path));
            fs::rename(&from, &to).unwrap();
            symlink(to.file_name().unwrap(), from).unwrap();
        };
        let of_httpd = |step: &RootChange<'_>| {
            let is_it = |path: &ObjectPath| path.to_string() == "/opt/web/bin/httpd";
            step.call == ChangeCall::Exchange && (is_it(step.path) || step.other.is_some_and(is_it))
        };
        let error = world.run(meddling(&world, of_httpd, move_away)).unwrap_err();
        let RootCondition::Unfinished(what) = &error.left else {
            panic!("{paths:?}: {error}: {:?}", error.left)
        };
        assert!(
            what.iter().any(|what| what.contains("opt/web/bin/httpd") && what.contains("its old object is")),
            "{what:?}"
        );
        assert_ne!(world.picture(), before);
        let [from, to] = paths.map(|path| world.path(path));
        fs::remove_file(&from).unwrap();
        fs::rename(&to, &from).unwrap();
        assert!(matches!(world.recover(), crate::transaction::Recovered::RolledBack { .. }));
        assert_eq!(world.picture(), before, "{paths:?}");
    }
}

#[test]
fn attributes_that_somebody_else_sets_on_a_directory_of_the_plan_stay() {
    let mode =
        |world: &World, path: &str| fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o7777;
    let world = World::new();
    let chmod = |root: &Path| {
        fs::set_permissions(root.join("opt/web/bin"), fs::Permissions::from_mode(0o711)).unwrap();
    };
    world.run(meddling(&world, super::world::publishes, chmod)).unwrap();
    assert_eq!(mode(&world, "opt/web/bin"), 0o711, "also where the run goes on");
}

#[test]
fn what_is_written_through_an_old_descriptor_before_the_commit_ends_the_run_and_stays() {
    for path in ["opt/web/bin/httpd", "opt/web/gone"] {
        let world = World::new();
        let open = fs::OpenOptions::new().append(true).open(world.path(path)).unwrap();
        let expected = World::new();
        let text = fs::read_to_string(expected.path(path)).unwrap() + " and more";
        // The switch is over when the records have their names.
        let records = |step: &RootChange<'_>| {
            step.call == ChangeCall::Exchange
                && [Some(step.path), step.other].into_iter().flatten().any(|path| path.name() == b"contents")
        };
        let error = world.run(meddling(&world, records, move |_| (&open).write_all(b" and more").unwrap()));
        let error = error.unwrap_err();
        assert!(matches!(&error.cause, Cause::Changed(changed) if changed.ends_with(path)), "{error}");
        assert_eq!(error.left, RootCondition::RolledBack);
        assert_eq!(fs::read_to_string(world.path(path)).unwrap(), text);
    }
}
