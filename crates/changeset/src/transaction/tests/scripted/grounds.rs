//! Runs with scripts on less capable file systems.

use super::*;

/// Removes, replaces by another type, edits, overwrites records.
fn after_the_objects(world: &World) {
    fs::remove_dir_all(world.path("opt/web/bin")).unwrap();
    world.file("opt/web/bin", "a file where a directory was");
    world.file("opt/web/new/tool", "edited by the script");
    world.file("opt/web/gone", "it is back\n");
    // It is a directory by now, if the file system could turn it into one.
    let flat = world.path("opt/web/flat");
    if flat.is_dir() { fs::remove_dir_all(flat) } else { fs::remove_file(flat) }.unwrap();
    fs::create_dir_all(world.path("opt/web/flat/deep")).unwrap();
    fs::remove_dir_all(world.path("var/sadm/pkg/ACMEweb")).unwrap();
    world.file("var/sadm/pkg/ACMEweb", "no directory");
    world.file("var/sadm/install/contents", "nothing\n");
}

fn before_the_objects(world: &World) {
    world.file("opt/web/bin/httpd", "written in place");
    fs::remove_file(world.path("opt/web/libw.so")).unwrap();
    symlink("elsewhere", world.path("opt/web/libw.so")).unwrap();
    world.file("var/sadm/pkg/ACMEweb/save/100-01/more", "more");
}

const RUDE: [Script; 2] = [before_the_objects, after_the_objects];
const POLITE: [Script; 2] = [before_the_objects, harmless];

fn dying(ground: Ground, number: usize) -> Door {
    let counter = AtomicUsize::new(0);
    ground
        .door(move |_| if counter.fetch_add(1, Ordering::Relaxed) < number { Ok(()) } else { Err(Errno::IO) })
}

fn counted(ground: Ground, rude: [Script; 2]) -> usize {
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let door = ground.door(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    run_on(ground, &World::new(), door, rude).unwrap();
    counter.load(Ordering::Relaxed)
}

#[test]
fn whatever_scripts_did_a_failure_puts_everything_back() {
    for ground in Ground::POOR {
        let world = World::new();
        let before = world.picture();
        begun(&world, ground.open_door(), "", |mut run| {
            steps(ground, &world, &mut run, RUDE).unwrap();
            let error = run.roll_back(Phase::Switch, Cause::Changed("the script failed".to_owned()));
            assert_eq!(error.left, RootCondition::RolledBack, "{ground:?}: {error}");
            assert_eq!(world.picture(), before, "{ground:?}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn stopped_before_any_of_its_changes_a_run_with_scripts_is_all_or_nothing_after_recovery() {
    for ground in Ground::POOR {
        let total = counted(ground, POLITE);
        let committed = World::new();
        run_on(ground, &committed, ground.open_door(), POLITE).unwrap();
        let after = committed.picture();
        let mut seen = [0, 0];
        for number in (0..total).step_by(7).chain(total - 12..total) {
            let world = World::new();
            let before = world.picture();
            let _ = run_on(ground, &world, dying(ground, number), POLITE);
            let recovered = world.recover_with(ground.open_door());
            let now = world.picture();
            let is_after = now == after;
            assert!(
                is_after || now == before,
                "{ground:?}: stopped at {number} of {total}: {recovered:?}: {now:#?}"
            );
            seen[usize::from(is_after)] += 1;
        }
        assert!(seen[0] > 20 && seen[1] > 0, "{ground:?}: {seen:?}");
    }
}

#[test]
fn recovery_of_a_run_with_scripts_may_be_stopped_anywhere_and_begun_again() {
    for ground in Ground::POOR {
        let total = counted(ground, RUDE);
        let world = World::new();
        let before = world.picture();
        let _ = run_on(ground, &world, dying(ground, total - 60), RUDE);
        for number in 0..60 {
            let root = world.root(dying(ground, number));
            let lock = Lock::take(&root, "recover", in_a_moment).unwrap();
            let _ = recover(&root, &lock);
        }
        world.recover_with(ground.open_door());
        assert_eq!(world.picture(), before, "{ground:?}");
    }
}
