//! Runs that are asked to end, and what is kept of those that came to nothing.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::world::{RUN, World};
use crate::format::history::{self, HistoryEntry};
use crate::transaction::ProgressEvent;
use crate::transaction::Recovered;
use crate::transaction::RunActivity;
use crate::transaction::RunWatch;
use crate::transaction::error::Cause;
use crate::transaction::{LeftoverStages, leftover_stages};
use patchadm_rootfs::Door;

/// Returns the attempts of a root.
fn attempts(world: &World) -> Vec<HistoryEntry> {
    history::parse(&fs::read(world.path("var/sadm/patchadm/attempts")).unwrap_or_default()).unwrap()
}

/// Returns how the attempts of a root ended.
fn results(world: &World) -> Vec<String> {
    attempts(world).into_iter().map(|one| one.result).collect()
}

/// A door behind which nothing changes any more once the first new object is in the stage: the process was killed.
fn dead_while_staging() -> Door {
    let is_dead = AtomicBool::new(false);
    Door::watched(move |step| {
        let is_object = step.path.to_string().contains(&format!("{RUN}/o/"));
        if is_dead.fetch_or(is_object, Ordering::Relaxed) { Err(Errno::IO) } else { Ok(()) }
    })
}

#[test]
fn a_run_killed_while_it_stages_is_told_with_its_size_and_kept_as_interrupted() {
    let world = World::new();
    let before = world.picture();
    world.run(dead_while_staging()).unwrap_err();
    assert_eq!(attempts(&world), [], "nobody was there to keep it");
    let Recovered::Cleared { runs, bytes, notes } = world.recover() else { panic!("nothing was cleared") };
    assert_eq!((runs, notes), (vec![RUN.to_owned()], Vec::new()));
    assert!(bytes > 0);
    let [one] = &attempts(&world)[..] else { panic!("{:?}", attempts(&world)) };
    assert_eq!((&*one.run, &*one.result, &*one.command), (RUN, "interrupted", "patchadd"));
    assert_eq!(one.patches, ["100-01"]);
    assert_eq!(world.picture(), before);
    assert_eq!(world.recover(), Recovered::Nothing);
}

#[test]
fn the_stage_of_a_run_killed_before_it_tidied_up_is_counted_until_it_is_recovered() {
    let mut counted = 0;
    for dies_at in 0.. {
        let world = World::new();
        let steps = Arc::new(AtomicUsize::new(0));
        let taken = steps.clone();
        let door = Door::watched(move |_| {
            if taken.fetch_add(1, Ordering::Relaxed) < dies_at { Ok(()) } else { Err(Errno::IO) }
        });
        // The outcome does not matter: the process is dead.
        let _ = world.run(door);
        if steps.load(Ordering::Relaxed) < dies_at {
            break;
        }
        let left = leftover_stages(&world.root(Door::default())).unwrap();
        if left.has_last_run {
            counted += 1;
            assert_eq!(left.runs, [RUN], "{dies_at}");
            world.recover();
            let left = leftover_stages(&world.root(Door::default())).unwrap();
            assert_eq!(left, LeftoverStages::default(), "{dies_at}");
        }
    }
    assert!(counted > 0);
}

#[test]
fn a_run_that_gives_itself_up_is_kept_with_the_reason_and_one_that_comes_through_is_not() {
    let world = World::new();
    world.run_plan(&world.plan(), Door::default(), &|| Some(2)).unwrap_err();
    assert_eq!(results(&world), ["interrupted"]);
    assert_eq!(world.recover(), Recovered::Nothing, "it has removed its stage");
    let world = World::new();
    let full =
        Door::watched(|step| if step.path.to_string().contains("/o/") { Err(Errno::NOSPC) } else { Ok(()) });
    world.run(full).unwrap_err();
    assert_eq!(results(&world), ["failed"]);
    let world = World::new();
    world.run(Door::default()).unwrap();
    assert_eq!(results(&world), Vec::<String>::new());
}

#[test]
fn of_many_attempts_the_newer_half_is_kept() {
    let world = World::new();
    fs::create_dir_all(world.path("var/sadm/patchadm")).unwrap();
    let line = "{\"run\":\"1-00000000000000bb\",\"time\":\"\",\"user\":\"\",\"command\":\"x\",\"result\":\"failed\",\"duration\":0}\n";
    let many = line.repeat((256 << 10) / line.len() + 1);
    fs::write(world.path("var/sadm/patchadm/attempts"), &many).unwrap();
    world.run_plan(&world.plan(), Door::default(), &|| Some(2)).unwrap_err();
    let kept = attempts(&world);
    let before = many.lines().count();
    assert!(kept.len() > before / 3 && kept.len() < before * 2 / 3, "{} of {before}", kept.len());
    assert_eq!(kept.last().unwrap().result, "interrupted");
}

#[test]
fn the_last_question_before_the_commit_is_announced_and_none_follows_until_the_run_is_over() {
    let world = World::new();
    let events = Mutex::new(Vec::new());
    let tell = |word: &str| events.lock().unwrap().push(word.to_owned());
    let interrupt = || {
        tell("asked");
        None
    };
    let progress = |event| match event {
        ProgressEvent::Commits => tell("commits"),
        ProgressEvent::Ends => tell("ends"),
        _ => {}
    };
    let watch = RunWatch { interrupt: &interrupt, progress: &progress };
    world.run_watched(&world.plan(), Door::default(), watch).unwrap();
    let events = events.into_inner().unwrap();
    let at = events.iter().position(|event| event == "commits").unwrap();
    assert_eq!(events[at..], ["commits", "asked", "ends"]);
}

#[test]
fn a_large_file_that_is_saved_does_not_keep_a_signal_waiting() {
    let world = World::new();
    world.file("opt/web/gone", &"large\n".repeat(1 << 20));
    let (is_saving, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let progress = |event| {
        if let ProgressEvent::Begins(doing, _) = event {
            is_saving.store(doing == RunActivity::Saving, Ordering::Relaxed);
        }
    };
    // It comes in the middle of the large file: before it there are few questions.
    let interrupt = || {
        let is_there = is_saving.load(Ordering::Relaxed) && asked.fetch_add(1, Ordering::Relaxed) >= 20;
        is_there.then_some(2)
    };
    let watch = RunWatch { interrupt: &interrupt, progress: &progress };
    let error = world.run_watched(&world.plan(), Door::default(), watch).unwrap_err();
    assert!(matches!(error.cause, Cause::Interrupted(2)), "{error}");
    assert_eq!(error.phase, crate::transaction::Phase::Snapshot, "{error}");
}
