//! Any patches over any package: taking a plan back restores the tree and the lines.

use proptest::prelude::*;

use super::world::now;
use super::*;
use crate::plan::patch::backout_proof::plan_backout;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::never;

const PATHS: [&str; 8] = ["a", "b", "d", "d/x", "d/y", "d/sub", "d/sub/z", "e"];

/// A package's statement about a path.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Nothing,
    File(u8),
    Editable(u8),
    Directory(bool),
    Symlink(u8),
    Link(usize),
    Pipe,
    Deleted,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => Just(Said::Nothing),
        3 => (0u8..3).prop_map(Said::File),
        1 => (0u8..3).prop_map(Said::Editable),
        4 => any::<bool>().prop_map(Said::Directory),
        1 => (0u8..2).prop_map(Said::Symlink),
        1 => (0usize..PATHS.len()).prop_map(Said::Link),
        1 => Just(Said::Pipe),
        2 => Just(Said::Deleted),
    ]
}

/// Returns what a package says about all paths. Mostly it makes sense: nothing is delivered below an object
/// that is not a directory.
pub(super) fn all() -> impl Strategy<Value = Vec<Said>> {
    let said = prop::collection::vec(said(), PATHS.len());
    (said, 0u8..10).prop_map(|(mut all, wild)| {
        for at in 0..PATHS.len() {
            let above =
                PATHS.iter().position(|above| PATHS[at].rsplit_once('/').is_some_and(|(up, _)| up == *above));
            let holds = above.is_none_or(|above| matches!(all[above], Said::Nothing | Said::Directory(_)));
            if !holds && wild > 0 && !matches!(all[at], Said::Nothing) {
                all[at] = Said::Deleted;
            }
        }
        all
    })
}

/// Returns what a second package says beside a first one: the same, or something about the other paths.
fn beside(one: &[Said], other: &[Said]) -> Vec<Said> {
    let pairs = one.iter().zip(other);
    pairs
        .map(|(one, other)| match (one, other) {
            (Said::Nothing | Said::Deleted, _) | (_, Said::Nothing | Said::Deleted) => other.clone(),
            _ => one.clone(),
        })
        .collect()
}

pub(super) fn parcel_of(name: &str, lists: &str, all: &[Said]) -> Parcel {
    say(Parcel::empty(name).package("ACMEweb", lists), all)
}

/// Lets the last package of a parcel say this about the paths.
fn say(mut parcel: Parcel, all: &[Said]) -> Parcel {
    for (at, said) in PATHS.iter().zip(all) {
        parcel = match said {
            Said::Nothing => parcel,
            Said::File(content) => parcel.file(at, &format!("content {content}")),
            Said::Editable(content) => {
                parcel.object(at, "e 0644 root sys", Some(&format!("setting {content}")), None)
            }
            Said::Directory(narrow) => {
                parcel.object(at, if *narrow { "d 0700 root sys" } else { "d 0755 root bin" }, None, None)
            }
            Said::Symlink(to) => parcel.symlink(at, &format!("target{to}")),
            Said::Link(to) => parcel.link(at, &format!("/opt/web/{}", PATHS[*to])),
            Said::Pipe => parcel.pipe(at),
            Said::Deleted => parcel.deletes(at),
        };
    }
    parcel
}

/// Applies the patches that can be applied, and takes them back in reverse.
fn there_and_back(mut world: World, patches: &[(String, Parcel)]) -> Result<(), TestCaseError> {
    let mut before = Vec::new();
    for (id, parcel) in patches {
        let state = (world.tree(), world.contents());
        if let Ok(plan) = world.plan(parcel) {
            let proof = plan_backout(&plan, &super::id(id), &world.inventory, ("-", &now(), &never));
            prop_assert!(proof.is_ok(), "{:?}", proof.err());
            prop_assert!(plan.changes.windows(2).all(|two| two[0].path < two[1].path));
            world.carry_out(&plan, parcel);
            before.push((id, state));
        }
    }
    for (id, (tree, contents)) in before.into_iter().rev() {
        prop_assert_eq!(world.patchrm(id), 0);
        prop_assert_eq!(world.tree(), tree, "tree after the backout of {}", id);
        prop_assert_eq!(world.contents(), contents);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_can_be_taken_back(
        base in all(),
        patches in prop::collection::vec(all(), 1..4),
        edits in prop::collection::vec((0usize..PATHS.len(), 0u8..2), 0..3),
        keep in any::<bool>(),
        is_privileged in any::<bool>(),
    ) {
        let empty = if is_privileged { World::new() } else { World::new().unprivileged() };
        let Some(mut world) = empty.if_installed(&parcel_of("base", "", &base)) else { return Ok(()) };
        world.options.edits.general = if keep { Edited::Keep } else { Edited::Replace };
        for (at, content) in edits {
            let at = format!("/opt/web/{}", PATHS[at]);
            if world.bytes.contains_key(&path(&at)) {
                world.write(&at, &format!("edited {content}"));
            }
        }
        let patches: Vec<(String, Parcel)> = patches
            .iter()
            .enumerate()
            .map(|(revision, said)| {
                let id = format!("900-0{}", revision + 1);
                (id.clone(), parcel_of(&id, &format!("SUNW_PATCHID={id}"), said))
            })
            .collect();
        there_and_back(world, &patches)?;
    }

    #[test]
    fn so_can_those_for_two_packages_that_share_paths(
        one in all(),
        other in all(),
        patches in prop::collection::vec((all(), all()), 1..3),
    ) {
        let other = say(Parcel::empty("base").package("ACMEshr", "BASEDIR=/opt/web"), &beside(&one, &other));
        let world = World::new().if_installed(&parcel_of("base", "", &one));
        let Some(mut world) = world.and_then(|world| world.if_installed(&other)) else { return Ok(()) };
        world.options.edits.general = Edited::Replace;
        let patches: Vec<(String, Parcel)> = patches
            .iter()
            .enumerate()
            .map(|(revision, (one, other))| {
                let id = format!("900-0{}", revision + 1);
                let first = parcel_of(&id, &format!("SUNW_PATCHID={id}"), one);
                let second = first.package("ACMEshr", &format!("SUNW_PATCHID={id} BASEDIR=/opt/web"));
                (id, say(second, &beside(one, other)))
            })
            .collect();
        there_and_back(world, &patches)?;
    }
}
