//! The list `delivered` never names a file that someone has edited during the run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::world::{MANY, World, at, member, new_object, one_of_many, package};
use crate::format::undo_sidecars::DeliveredObjects;
use crate::plan::{Action, Change, Plan};
use patchadm_rootfs::{Door, RootChange, Timestamp};

/// Tells whether a file is edited right after this change.
type Moment = fn(&RootChange<'_>) -> bool;

const LIST: &str = "var/sadm/pkg/ACMEweb/save/100-01/delivered";

fn name(number: usize) -> String {
    format!("opt/web/{}", one_of_many(number))
}

/// Returns the plan of the world with many new files added.
fn plan(world: &World) -> Plan {
    let mut plan = world.plan();
    let added = (0..MANY).map(|number| {
        let action = Action::Add(new_object(member(&one_of_many(number)), 0o644));
        Box::new(Change { package: package(), path: at(&format!("/{}", name(number))), action, old: None })
    });
    plan.changes.extend(added);
    plan.changes.sort_by(|one, other| one.path.cmp(&other.path));
    plan
}

fn changed(path: &Path) -> Timestamp {
    let seen = fs::symlink_metadata(path).unwrap();
    Timestamp { seconds: seen.ctime(), nanoseconds: seen.ctime_nsec().try_into().unwrap() }
}

/// Waits until the clock of the file system is well past the last change of a file.
fn let_time_pass(path: &Path) {
    let before = since_epoch(changed(path));
    let probe = path.with_file_name("probe");
    loop {
        fs::write(&probe, "").unwrap();
        if since_epoch(changed(&probe)) > before + Duration::from_millis(25) {
            return fs::remove_file(probe).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::new(time.seconds.try_into().unwrap(), time.nanoseconds)
}

/// Writes other bytes into a file but keeps its appearance: its size and its modification time are those of the
/// package.
fn edit(path: &Path) {
    let seen = fs::metadata(path).unwrap();
    fs::write(path, "x".repeat(seen.len().try_into().unwrap())).unwrap();
    fs::File::open(path).unwrap().set_modified(seen.modified().unwrap()).unwrap();
}

/// Tells whether a change puts an object at a path.
fn puts(step: &RootChange<'_>, path: &str) -> bool {
    step.other.is_some_and(|other| *other == at(path)) || *step.path == at(path)
}

#[test]
fn an_edit_between_the_switch_of_a_file_and_the_commit_is_not_taken_for_what_was_delivered() {
    let moments: [(&str, Moment); 2] = [
        ("right behind its own switch", |step| puts(step, &format!("/{}", name(7)))),
        ("behind the last switch", |step| puts(step, "/var/sadm/install/contents")),
    ];
    for (what, is_moment) in moments {
        let world = World::new();
        let edited = world.path(&name(7));
        let place = edited.clone();
        let door = Door::watched(|_| Ok(())).witnessed(move |step, done| {
            if done.is_ok() && is_moment(step) && place.exists() {
                let_time_pass(&place);
                edit(&place);
                let_time_pass(&place);
            }
        });
        world.run_plan(&plan(&world), door, &|| None).unwrap();
        let Ok(list) = fs::read(world.path(LIST)) else {
            // The file system of the tests does not keep such times by itself.
            return;
        };
        let listed = DeliveredObjects::parse(&list).unwrap().0;
        let is_shown = |number: usize| {
            let object = listed.get(&at(&format!("/{}", name(number))));
            object.is_some_and(|object| object.changed == changed(&world.path(&name(number))))
        };
        assert!(!is_shown(7), "{what}");
        assert!((0..7).any(is_shown), "{what}: of those that nobody has edited none is listed");
    }
}
