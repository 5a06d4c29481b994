//! An old object that was removed from the stage is made again from the undo archive of its run, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::{RUN, World};
use crate::format::journal::OpKind;
use crate::transaction::Recovered;
use crate::transaction::error::Cause;
use crate::transaction::recover;
use patchadm_rootfs::{ChangeCall, Door, Lock};

/// Returns a world whose run was killed in its switch, and whose old `httpd` is gone from the stage.
fn killed() -> World {
    let world = World::new();
    let door = Door::watched(|step| {
        assert!(step.call != ChangeCall::Move || step.path.name() != b"gone", "killed");
        Ok(())
    });
    catch_unwind(AssertUnwindSafe(|| world.run(door))).unwrap_err();
    let journal = world.journal();
    let op = journal.ops.iter().find(|op| op.path.name() == b"httpd" && op.kind == OpKind::Replace).unwrap();
    let staged = world.path(&format!("var/sadm/patchadm/stage/{RUN}/{}", op.stage));
    assert_eq!(fs::read_to_string(&staged).unwrap(), "old httpd");
    fs::remove_file(staged).unwrap();
    world
}

#[test]
fn the_old_object_is_made_again_with_every_attribute() {
    let world = killed();
    let Recovered::RolledBack { notes, .. } = world.recover() else { panic!("not rolled back") };
    assert!(notes.iter().any(|note| note.contains("httpd was restored from the undo archive")), "{notes:?}");
    let httpd = world.path("opt/web/bin/httpd");
    assert_eq!(fs::read_to_string(&httpd).unwrap(), "old httpd");
    assert_eq!(fs::metadata(httpd).unwrap().permissions().mode() & 0o7777, 0o4755);
}

#[test]
fn bytes_that_are_not_those_of_the_journal_are_not_restored() {
    let world = killed();
    world.rewrite(|journal| {
        for op in journal.ops.iter_mut().filter(|op| op.path.name() == b"httpd") {
            let old = op.old.as_mut().unwrap();
            old.b3 = Some("0a".repeat(32).into());
        }
    });

    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", super::world::in_a_moment).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(
        matches!(&error.cause, Cause::Archive { reason, .. } if reason.contains("differ from those")),
        "{error}"
    );
    assert_eq!(fs::read_to_string(world.path("opt/web/bin/httpd")).unwrap(), "bin/httpd");
}

#[test]
fn an_object_of_another_type_than_the_journal_says_is_not_restored() {
    let world = killed();
    let link = world.path("opt/web/libw.so");
    world.rewrite(|journal| {
        let op = journal.ops.iter_mut().find(|op| op.path.name() == b"libw.so").unwrap();
        fs::remove_file(world.path(&format!("var/sadm/patchadm/stage/{RUN}/{}", op.stage))).unwrap();
        op.undo = Some(Box::new((0, "root/opt/web/libw.so".to_owned())));
        op.old.as_mut().unwrap().file_type = 'p';
    });
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", super::world::in_a_moment).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(
        matches!(&error.cause, Cause::Archive { reason, .. } if reason.contains("another type")),
        "{error}"
    );
    assert_eq!(fs::read_link(link).unwrap().to_str(), Some("libw.so.2"));
}
