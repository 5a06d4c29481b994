//! The program is stopped before each of its changes, and each of them fails once, on every kind of file system.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::super::{Receipt, Recovered, RootCondition, TransactionError};
use super::ground::Ground;
use super::world::{World, at};
use patchadm_rootfs::{ChangeCall, Door};

type Picture = std::collections::BTreeMap<String, String>;

/// Counts the changes of a whole run.
fn count(ground: Ground) -> usize {
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let door = ground.door(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    run(ground, &World::new(), door).unwrap();
    counter.load(Ordering::Relaxed)
}

/// Counts the changes until the outcome is written.
fn until_outcome(ground: Ground) -> usize {
    let (counter, outcomes) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
    let seen = outcomes.clone();
    let door = ground.door(move |step| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        if step.call == ChangeCall::Write && *step.path == at("/var/sadm/patchadm/journal") {
            seen.lock().unwrap().push(number);
        }
        Ok(())
    });
    run(ground, &World::new(), door).unwrap();
    // The last one says that the run is done; a first attempt that was rolled back has two of its own.
    let outcomes = outcomes.lock().unwrap();
    outcomes[outcomes.len() - 2]
}

fn run(ground: Ground, world: &World, door: Door) -> Result<Receipt, TransactionError> {
    world.run_plan(&ground.plan(world), door, &|| None)
}

/// Returns a world after an undisturbed run.
fn after(ground: Ground) -> Picture {
    let committed = World::new();
    run(ground, &committed, ground.open_door()).unwrap();
    without_log(committed.picture())
}

/// Returns a door that lets `number` changes through and then no more: the state that a killed process leaves.
fn dead_after(ground: Ground, number: usize) -> Door {
    let counter = AtomicUsize::new(0);
    ground
        .door(move |_| if counter.fetch_add(1, Ordering::Relaxed) < number { Ok(()) } else { Err(Errno::IO) })
}

/// Returns a door at which one change fails.
fn failing_at(ground: Ground, number: usize, errno: Errno) -> Door {
    let counter = AtomicUsize::new(0);
    ground.door(move |_| if counter.fetch_add(1, Ordering::Relaxed) == number { Err(errno) } else { Ok(()) })
}

#[test]
fn stopped_before_any_of_its_changes_a_run_is_all_or_nothing_after_recovery() {
    for ground in Ground::ALL {
        let total = count(ground);
        assert!(total > 100, "only {total} changes: is the door passed?");
        let after = after(ground);
        let mut seen = [0, 0];
        for number in 0..total {
            let world = World::new();
            let before = without_log(world.picture());
            let _ = run(ground, &world, dead_after(ground, number));
            let recovered = world.recover_with(ground.open_door());
            let now = without_log(world.picture());
            let how = format!("{ground:?}: stopped at {number} of {total}");
            assert!(now == before || now == after, "{how}: {recovered:?}: {now:#?}");
            seen[usize::from(now == after)] += 1;
            let again = world.recover_with(ground.open_door());
            assert_eq!(again, Recovered::Nothing, "recovered twice, {how}");
        }
        assert!(seen[0] > 50 && seen[1] > 0, "{ground:?}: {seen:?}");
    }
}

#[test]
fn a_change_that_fails_leaves_what_the_error_says() {
    for ground in Ground::ALL {
        let total = count(ground);
        let after = after(ground);
        for (turn, errno) in [Errno::NOSPC, Errno::IO, Errno::ROFS].into_iter().enumerate() {
            // On a less capable file system, the three errors take turns and skip every other change.
            let every = if ground == Ground::Usual { 1 } else { 6 };
            for number in (0..total).filter(|number| number % every == 2 * turn % every) {
                let how = format!("{ground:?}: {errno:?} at {number}");
                let world = World::new();
                let before = without_log(world.picture());
                let result = run(ground, &world, failing_at(ground, number, errno));
                let now = without_log(world.picture());
                match result.map_err(|error| error.left) {
                    Ok(receipt) if receipt.notes.is_empty() => assert_eq!(now, after, "{how}"),
                    // After the commit a failure is a note: an empty directory may stay.
                    Ok(_) => continue,
                    Err(RootCondition::Unchanged | RootCondition::RolledBack) => {
                        assert_eq!(now, before, "{how}");
                    }
                    // A sync that failed says nothing about the outcome. Anything else is undone at once.
                    Err(RootCondition::InDoubt) => {}
                    // The first attempt is always rolled back there, and that may fail, too.
                    Err(RootCondition::Unfinished(_)) if ground == Ground::Apart => {}
                    Err(RootCondition::Unfinished(what)) => panic!("{how}: {what:?}"),
                }
                world.recover_with(ground.open_door());
                let now = without_log(world.picture());
                assert!(now == before || now == after, "{how}: {now:#?}");
            }
        }
    }
}

#[test]
fn recovery_may_be_stopped_anywhere_and_begun_again() {
    for ground in Ground::ALL {
        // Stopped late in the switch, so that there is much to undo.
        let world = World::new();
        let before = without_log(world.picture());
        let _ = run(ground, &world, dead_after(ground, until_outcome(ground) - 6));
        for number in 0..60 {
            let root = world.root(dead_after(ground, number));
            let lock = patchadm_rootfs::Lock::take(&root, "recover", |_| false).unwrap();
            let _ = super::super::recover(&root, &lock);
        }
        world.recover_with(ground.open_door());
        assert_eq!(without_log(world.picture()), before, "{ground:?}");
    }
}

/// Returns a picture without the log, which is written after the outcome: its presence says nothing about before and
/// after.
fn without_log(mut picture: Picture) -> Picture {
    picture.remove("var/sadm/patch/100-01/log");
    picture
}

/// Several threads make the changes in any order, so the last change differs from run to run.
#[test]
fn stopped_anywhere_a_run_of_several_threads_is_all_or_nothing_after_recovery() {
    let ground = Ground::ALL[0];
    let after = after(ground);
    let mut seen = [0, 0];
    for number in 0..count(ground) {
        let world = World::new();
        let before = without_log(world.picture());
        let _ = run(ground, &world, dead_after(ground, number).for_many());
        let recovered = world.recover_with(ground.open_door().for_many());
        let now = without_log(world.picture());
        let is_after = now == after;
        assert!(is_after || now == before, "stopped at {number}: {recovered:?}: {now:#?}");
        seen[usize::from(is_after)] += 1;
    }
    assert!(seen[0] > 50 && seen[1] > 0, "{seen:?}");
}
