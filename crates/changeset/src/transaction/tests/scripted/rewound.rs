//! Runs whose scripts have no effect: their changes are taken back within the run, and the plan is carried out as if
//! they had not run. Wherever such a run is stopped, everything is as before or as after.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use patchadm_svr4::package::ObjectPath;

/// Carries out a run with a script whose work is taken back, and the plan; `rude` holds the actions of the script.
fn run(ground: Ground, world: &World, door: Door, rude: [Script; 2]) -> Result<Receipt, TransactionError> {
    begun(world, door, "", |mut run| match steps(ground, world, &mut run, rude) {
        Ok(()) => run.commit(),
        Err(cause) => Err(run.roll_back(Phase::Switch, cause)),
    })
}

fn steps(ground: Ground, world: &World, run: &mut ScriptedRun<'_>, rude: [Script; 2]) -> Result<(), Cause> {
    super::steps(ground, world, run, rude)?;
    rewind(run)?;
    run.switch(&ground.plan(world), &mut Files)
}

fn rewind(run: &mut ScriptedRun<'_>) -> Result<(), Cause> {
    let held = held("");
    let objects: BTreeSet<ObjectPath> = held.objects.into_iter().map(|object| object.path).collect();
    run.rewind(&objects, &held.trees)
}

fn counted(ground: Ground, rude: [Script; 2]) -> usize {
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let door = ground.door(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    run(ground, &World::new(), door, rude).unwrap();
    counter.load(Ordering::Relaxed)
}

fn dying(ground: Ground, number: usize) -> Door {
    let counter = AtomicUsize::new(0);
    ground
        .door(move |_| if counter.fetch_add(1, Ordering::Relaxed) < number { Ok(()) } else { Err(Errno::IO) })
}

/// Does everything that scripts may do to objects that are taken back. The records of installed objects are not among
/// these.
fn after_the_objects(world: &World) {
    fs::remove_dir_all(world.path("opt/web/bin")).unwrap();
    world.file("opt/web/new/tool", "edited by the script");
    world.file("opt/web/gone", "it is back\n");
    // It is a directory by now, if the file system could turn it into one.
    let flat = world.path("opt/web/flat");
    if flat.is_dir() { fs::remove_dir_all(flat) } else { fs::remove_file(flat) }.unwrap();
    symlink("tree", world.path("opt/web/flat")).unwrap();
    fs::remove_dir_all(world.path("var/sadm/pkg/ACMEweb")).unwrap();
}

const RUDE: [Script; 2] = [before_the_objects, after_the_objects];

#[test]
fn what_scripts_did_is_taken_back_within_the_run_and_the_run_can_still_be_rolled_back() {
    let world = World::new();
    let before = world.picture();
    begun(&world, Door::default(), "", |mut run| {
        super::steps(Ground::Usual, &world, &mut run, RUDE).unwrap();
        rewind(&mut run).unwrap();
        // The plan has the lines of these objects, and a rollback removes empty directories above records.
        let without = |mut picture: BTreeMap<String, String>| {
            let others = ["var/sadm/install/contents", "var/sadm/install/contents.stamp", "var/sadm/patch"];
            picture.retain(|path, _| !others.contains(&path.as_str()));
            picture
        };
        assert_eq!(without(world.picture()), without(before.clone()));
        let error = run.roll_back(Phase::Switch, Cause::Changed("the next script failed".to_owned()));
        assert_eq!(error.left, RootCondition::RolledBack, "{error}");
        assert_eq!(world.picture(), before);
        Ok(())
    })
    .unwrap();
    assert_eq!(world.recover(), Recovered::Nothing);
}

#[test]
fn stopped_before_any_of_its_changes_a_run_that_takes_scripts_back_is_all_or_nothing_after_recovery() {
    for (ground, stride) in [(Ground::Usual, 1)].into_iter().chain(Ground::POOR.map(|ground| (ground, 17))) {
        let total = counted(ground, RUDE);
        let committed = World::new();
        run(ground, &committed, ground.open_door(), RUDE).unwrap();
        let after = committed.picture();
        let mut seen = [0, 0];
        for number in (0..total).step_by(stride).chain(total - 12..total) {
            let world = World::new();
            let before = world.picture();
            let _ = run(ground, &world, dying(ground, number), RUDE);
            let recovered = world.recover_with(ground.open_door());
            let now = world.picture();
            let is_after = now == after;
            let how = format!("{ground:?}: stopped at {number} of {total}");
            assert!(is_after || now == before, "{how}: {recovered:?}: {now:#?}");
            seen[usize::from(is_after)] += 1;
            assert_eq!(world.recover_with(ground.open_door()), Recovered::Nothing, "recovered twice, {how}");
        }
        assert!(seen[0] > 15 && seen[1] > 0, "{ground:?}: {seen:?}");
    }
}

#[test]
fn a_change_that_fails_in_a_run_that_takes_scripts_back_leaves_what_the_error_says() {
    for number in (0..counted(Ground::Usual, RUDE)).step_by(3) {
        let world = World::new();
        let before = world.picture();
        let door = failing_from(number, true, Errno::NOSPC);
        match run(Ground::Usual, &world, door, RUDE).map_err(|error| error.left) {
            Ok(_) | Err(RootCondition::InDoubt) => {}
            Err(RootCondition::Unchanged | RootCondition::RolledBack) => {
                assert_eq!(world.picture(), before, "at {number}");
            }
            Err(RootCondition::Unfinished(what)) => panic!("at {number}: {what:?}"),
        }
        world.recover();
    }
}

/// The commit is the same as that of a run whose scripts did nothing.
#[test]
fn a_run_that_takes_scripts_back_ends_as_if_they_had_done_nothing() {
    let [rude, polite] = [RUDE, [harmless as Script; 2]].map(|scripts| {
        let world = World::new();
        run(Ground::Usual, &world, Door::default(), scripts).unwrap();
        world.picture()
    });
    assert_eq!(rude, polite);
}

/// Carries out a run whose script turns two names of one file into two files; its changes are taken back.
fn two_names(door: Door) -> (World, Result<Receipt, TransactionError>) {
    let world = World::new();
    fs::hard_link(world.path("opt/web/bin/httpd"), world.path("opt/web/bin/httpd2")).unwrap();
    let done = begun(&world, door, "", |mut run| {
        let steps = |run: &mut ScriptedRun<'_>| {
            run.script_begins(&process())?;
            fs::remove_file(world.path("opt/web/bin/httpd")).unwrap();
            world.file("opt/web/bin/httpd", "new httpd");
            fs::write(world.path("opt/web/bin/httpd2"), "through the other name").unwrap();
            run.script_ended()?;
            rewind(run)
        };
        match steps(&mut run) {
            Ok(()) => run.commit(),
            Err(cause) => Err(run.roll_back(Phase::Switch, cause)),
        }
    });
    (world, done)
}

#[test]
fn two_names_of_one_file_are_that_again_wherever_scripts_are_taken_back() {
    for number in 0.. {
        let (world, done) = two_names(failing_from(number, false, Errno::IO));
        world.recover();
        let [one, two] = ["/opt/web/bin/httpd", "/opt/web/bin/httpd2"].map(|path| world.live(path).unwrap());
        assert_eq!(one.inode, two.inode, "stopped at {number}");
        assert_eq!(fs::read_to_string(world.path("opt/web/bin/httpd")).unwrap(), "old httpd");
        if done.is_ok() {
            assert!(number > 30, "only {number} changes: is the door passed?");
            return;
        }
    }
}

#[test]
fn attributes_that_a_script_gave_a_file_go_with_a_rollback() {
    let world = World::new();
    let name = "user.of-a-script";
    let file = world.path("opt/web/gone");
    if rustix::fs::setxattr(&file, name, b"1", rustix::fs::XattrFlags::empty()).is_err() {
        return;
    }
    rustix::fs::removexattr(&file, name).unwrap();
    begun(&world, Door::default(), "", |mut run| {
        run.script_begins(&process()).unwrap();
        rustix::fs::setxattr(&file, name, b"1", rustix::fs::XattrFlags::empty()).unwrap();
        run.script_ended().unwrap();
        let error = run.roll_back(Phase::Switch, Cause::Interrupted(15));
        assert_eq!(error.left, RootCondition::RolledBack, "{error}");
        Ok(())
    })
    .unwrap();
    assert!(rustix::fs::getxattr(&file, name, &mut [0_u8; 8]).is_err());
}
