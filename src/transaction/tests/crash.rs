//! The program is stopped before each of its changes, and each of them fails once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::super::{Left, Recovered};
use super::world::World;
use crate::root::Door;

/// Counts the changes of a whole run.
fn count() -> usize {
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let door = Door::watched(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    World::new().run(door).unwrap();
    counter.load(Ordering::Relaxed)
}

/// A door that lets `number` changes through and then no more: what a killed process leaves.
fn dead_after(number: usize) -> Door {
    let counter = AtomicUsize::new(0);
    Door::watched(
        move |_| if counter.fetch_add(1, Ordering::Relaxed) < number { Ok(()) } else { Err(Errno::IO) },
    )
}

/// A door at which one change fails.
fn failing_at(number: usize, errno: Errno) -> Door {
    let counter = AtomicUsize::new(0);
    Door::watched(
        move |_| if counter.fetch_add(1, Ordering::Relaxed) == number { Err(errno) } else { Ok(()) },
    )
}

#[test]
fn stopped_before_any_of_its_changes_a_run_is_all_or_nothing_after_recovery() {
    let total = count();
    assert!(total > 100, "only {total} changes: is the door passed?");
    let committed = World::new();
    committed.run(Door::default()).unwrap();
    let after = without_log(committed.picture());
    let mut seen = [0, 0];
    for number in 0..total {
        let world = World::new();
        let before = without_log(world.picture());
        let _ = world.run(dead_after(number));
        let recovered = world.recover();
        let now = without_log(world.picture());
        assert!(now == before || now == after, "stopped at {number} of {total}: {recovered:?}: {now:#?}");
        seen[usize::from(now == after)] += 1;
        assert_eq!(world.recover(), Recovered::Nothing, "recovered twice, stopped at {number}");
    }
    assert!(seen[0] > 50 && seen[1] > 0, "{seen:?}");
}

#[test]
fn a_change_that_fails_leaves_what_the_error_says() {
    let total = count();
    let committed = World::new();
    committed.run(Door::default()).unwrap();
    let after = without_log(committed.picture());
    for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS] {
        for number in 0..total {
            let world = World::new();
            let before = without_log(world.picture());
            let result = world.run(failing_at(number, errno));
            let now = without_log(world.picture());
            match result.map_err(|error| error.left) {
                Ok(receipt) if receipt.notes.is_empty() => assert_eq!(now, after, "{errno:?} at {number}"),
                // After the commit a failure is a note: an empty directory may stay.
                Ok(_) => continue,
                Err(Left::Unchanged | Left::RolledBack) => assert_eq!(now, before, "{errno:?} at {number}"),
                // A sync that failed says nothing about the outcome. Anything else is undone at once.
                Err(Left::InDoubt) => {}
                Err(Left::Unfinished(what)) => panic!("{errno:?} at {number}: {what:?}"),
            }
            world.recover();
            let now = without_log(world.picture());
            assert!(now == before || now == after, "{errno:?} at {number}: {now:#?}");
        }
    }
}

#[test]
fn recovery_may_be_stopped_anywhere_and_begun_again() {
    let total = count();
    // Stopped late in the switch, so that there is much to undo.
    let world = World::new();
    let before = without_log(world.picture());
    let _ = world.run(dead_after(total - 30));
    for number in 0..60 {
        let root = world.root(dead_after(number));
        let lock = crate::root::Lock::take(&root, "recover", |_| false).unwrap();
        let _ = super::super::recover(&root, &lock);
    }
    world.recover();
    assert_eq!(without_log(world.picture()), before);
}

/// The log is written after the outcome: whether it is there says nothing about before and after.
fn without_log(mut picture: std::collections::BTreeMap<String, String>) -> impl PartialEq + std::fmt::Debug {
    picture.remove("var/sadm/patch/100-01/log");
    picture
}
