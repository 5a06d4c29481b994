//! A signal while a patch is planned.

use super::apply::{acme_web, patch_900};
use super::*;
use crate::plan::Plan;
use crate::plan::refusal::{Reason, Refusal};

/// Lets a signal come at each question in turn until there is a plan. Returns the number of questions that it
/// takes.
fn questions(world: &mut World, plan: impl Fn(&mut World) -> Result<Plan, Refusal>) -> usize {
    for patience in 0.. {
        world.patience = patience;
        match plan(world) {
            Err(refusal) => assert_eq!(*refusal.reason, Reason::Signal(15), "after {patience} questions"),
            Ok(_) => return patience,
        }
    }
    unreachable!("there is always a next number")
}

/// A root with the patches that the one to be planned needs and supersedes.
fn world() -> World {
    let mut world = acme_web();
    for id in ["850-01", "890-02"] {
        assert_eq!(world.patchadd(&patch(id, "").file(&format!("share/{id}"), id)), 0);
    }
    world
}

#[test]
fn a_signal_ends_the_planning_of_a_patch_between_any_two_objects() {
    let (mut world, parcel) = (world(), patch_900());
    let objects = world.plan(&parcel).unwrap().changes.len();
    let questions = questions(&mut world, |world| world.plan(&parcel));
    assert!(questions > 2 * objects, "{questions} questions for {objects} objects");
}

#[test]
fn a_signal_ends_the_planning_of_a_backout_between_any_two_objects() {
    let (mut world, parcel) = (world(), patch_900());
    assert_eq!(world.patchadd(&parcel), 0);
    let objects = world.plan_removal("900-01").unwrap().changes.len();
    let questions = questions(&mut world, |world| world.plan_removal("900-01"));
    assert!(questions > objects, "{questions} questions for {objects} objects");
}
