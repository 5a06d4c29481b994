//! Registering and giving up objects: the changes that are planned, and what is refused.

use std::collections::BTreeSet;

use super::world::{World, now};
use super::{package, path};
use crate::plan::refusal::{ObjectProblem, Reason, Refusal};
use crate::plan::registration::{Registering, finish_registering, give_up, register};
use crate::plan::{Action, Body};
use patchadm_changeset::format::installf_queue::InstallfEntry;
use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::package::{ContentsLine, Mode};

fn registration(line: &str) -> Registration {
    Registration::parse(line.as_bytes(), None).unwrap()
}

fn registered(world: &World, line: &str) -> Result<Registering, Refusal> {
    register(&package("ACMEa"), &[registration(line)], &world.inventory, &now())
}

fn problem(refused: Result<Registering, Refusal>) -> ObjectProblem {
    match *refused.unwrap_err().reason {
        Reason::Object { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

/// Returns the planned changes, a word for each.
fn changes(registering: &Registering) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Add(new) => match &new.body {
            Body::Directory => format!("directory {:o} {}:{}", new.mode.bits(), new.uid, new.gid),
            Body::Link(source) => format!("another name of {source}"),
            other => format!("{other:?}"),
        },
        Action::Attributes(new) => format!("mode {:o}", new.mode.map_or(0, Mode::bits)),
        other => format!("{other:?}"),
    };
    registering
        .plan
        .changes
        .iter()
        .map(|change| format!("{} {}", change.path, word(&change.action)))
        .collect()
}

#[test]
fn directories_on_the_way_are_registered_first_and_made_root_s() {
    let registering = registered(&World::new(), "/new/a/b d 0750 web sys").unwrap();
    let expected = ["/new directory 755 0:0", "/new/a directory 755 0:0", "/new/a/b directory 750 80:3"];
    assert_eq!(changes(&registering), expected);
    let entries = registering.entries.iter().map(|entry| match entry {
        InstallfEntry::Add(_, registration) => registration.path.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(entries.collect::<Vec<_>>(), ["/new", "/new/a", "/new/a/b"]);
    let lines = registering.plan.contents.values().flatten();
    let lines: Vec<String> = lines.map(|line| String::from_utf8(line.write()).unwrap()).collect();
    assert_eq!(lines[1..], ["/new/a d none 0755 root root +ACMEa", "/new/a/b d none 0750 web sys +ACMEa"]);
}

#[test]
fn what_is_as_it_should_be_is_left_alone_and_what_is_not_gets_its_attributes() {
    let world = World::new();
    assert_eq!(changes(&registered(&world, "/etc d 0755 root root").unwrap()), [""; 0]);
    assert_eq!(changes(&registered(&world, "/etc d ? ? ?").unwrap()), [""; 0]);
    assert_eq!(changes(&registered(&world, "/etc d 0711 root root").unwrap()), ["/etc mode 711"]);
}

#[test]
fn who_has_no_privileges_registers_owners_and_makes_no_devices() {
    let mut world = World::new();
    world.inventory.privileged = false;
    world.inventory.caller = (1000, 1000);
    world.inventory.live.get_mut(&path("/")).unwrap().uid = 1000;
    assert_eq!(
        problem(registered(&world, "/c c 1 3 0666 root sys")),
        ObjectProblem::NotPermitted("a device")
    );
    let made = registered(&world, "/d d 0755 root sys").unwrap();
    assert_eq!(changes(&made), ["/d directory 755 1000:1000"]);
    assert_eq!(made.plan.contents[&path("/d")].as_ref().unwrap().write(), b"/d d none 0755 root sys +ACMEa");
}

#[test]
fn an_owner_that_nobody_knows_is_refused() {
    assert_eq!(
        problem(registered(&World::new(), "/d d 0755 nobody root")),
        ObjectProblem::UnknownUser("nobody".to_owned())
    );
}

#[test]
fn a_link_is_made_to_a_file_whose_attributes_change_in_the_same_run() {
    let mut world = World::new();
    world.write("/f", "f\n");
    for line in ["/f f none 0640 root root ? ? ? +ACMEa", "/l=f l none +ACMEa", "/m=l l none +ACMEa"] {
        let line = ContentsLine::parse(line.as_bytes()).unwrap();
        world.inventory.lines.insert(line.path.clone(), line);
    }
    let finished = finish_registering(&package("ACMEa"), None, &world.inventory, &now()).unwrap();
    assert_eq!(changes(&finished), ["/f mode 640", "/l another name of /f", "/m another name of /f"]);
    assert_eq!(finished.discrepancies, []);
}

#[test]
fn what_somebody_else_owns_may_not_be_removed() {
    let mut world = World::new();
    for line in ["/mine f none ? ? ? ? ? ? ACMEa", "/ours f none ? ? ? ? ? ? ACMEa -ACMEb"] {
        let line = ContentsLine::parse(line.as_bytes()).unwrap();
        world.inventory.lines.insert(line.path.clone(), line);
    }
    let paths = BTreeSet::from(["/unknown", "/ours", "/mine"].map(path));
    let given_up = give_up(&package("ACMEa"), &paths, &world.inventory, &now());
    assert_eq!(given_up.removable, ["/mine", "/unknown"].map(path));
    assert_eq!(given_up.plan.contents.len(), 2);
}
