//! An old object that somebody removed from the stage is made again from the undo archive of its run, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::{RUN, World};
use crate::format::journal::{Entry, Journal, OpKind};
use crate::package::Digest;
use crate::root::{Call, Door, Lock};
use crate::transaction::{Cause, Recovered, recover};

/// A world whose run was killed in its switch, and whose old `httpd` is gone from the stage.
fn killed() -> World {
    let world = World::new();
    let door = Door::watched(|step| {
        assert!(step.call != Call::Move || step.path.name() != b"gone", "killed");
        Ok(())
    });
    catch_unwind(AssertUnwindSafe(|| world.run(door))).unwrap_err();
    let journal = journal(&world);
    let op = journal.ops.iter().find(|op| op.path.name() == b"httpd" && op.kind == OpKind::Replace).unwrap();
    let staged = world.path(&format!("var/sadm/patchadm/stage/{RUN}/{}", op.stage));
    assert_eq!(fs::read_to_string(&staged).unwrap(), "old httpd");
    fs::remove_file(staged).unwrap();
    world
}

fn journal(world: &World) -> Journal {
    Journal::parse(&fs::read(world.path("var/sadm/patchadm/journal")).unwrap()).unwrap()
}

#[test]
fn the_old_object_is_made_again_with_every_attribute() {
    let world = killed();
    let Recovered::RolledBack { notes, .. } = world.recover() else { panic!("not rolled back") };
    assert!(
        notes.iter().any(|note| note.contains("httpd was made again from the undo archive")),
        "{notes:?}"
    );
    let httpd = world.path("opt/web/bin/httpd");
    assert_eq!(fs::read_to_string(&httpd).unwrap(), "old httpd");
    assert_eq!(fs::metadata(httpd).unwrap().permissions().mode() & 0o7777, 0o4755);
}

#[test]
fn bytes_that_are_not_those_of_the_journal_are_not_restored() {
    let world = killed();
    let Journal { head, domains, archives, story, mut ops, .. } = journal(&world);
    for op in ops.iter_mut().filter(|op| op.path.name() == b"httpd") {
        let old = op.old.as_mut().unwrap();
        old.sha256 = Some(Digest::from_hex(&"0a".repeat(32)).unwrap().to_string());
    }
    let entries = domains.into_iter().map(Entry::Domain);
    let entries = entries.chain(archives.into_iter().map(Entry::Archive)).chain([Entry::Story(story)]);
    let entries = entries.chain(ops.into_iter().map(|op| Entry::Op(Box::new(op))));
    let bytes = Journal::to_bytes(head.header, &entries.collect::<Vec<_>>());
    fs::write(world.path("var/sadm/patchadm/journal"), bytes).unwrap();

    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", super::world::in_a_moment).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(matches!(&error.cause, Cause::Archive { reason, .. } if reason.contains("not those")), "{error}");
    assert_eq!(fs::read_to_string(world.path("opt/web/bin/httpd")).unwrap(), "bin/httpd");
}
