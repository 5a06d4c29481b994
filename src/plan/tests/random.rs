//! Any patches over any package: whatever a plan does, taking it back gives the tree and the lines of before.

use proptest::prelude::*;

use super::*;
use crate::package::Edited;

const PATHS: [&str; 8] = ["a", "b", "d", "d/x", "d/y", "d/sub", "d/sub/z", "e"];

/// What a package says about a path.
#[derive(Clone, Debug)]
enum Said {
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
        3 => Just(Said::Nothing),
        3 => (0u8..3).prop_map(Said::File),
        1 => (0u8..3).prop_map(Said::Editable),
        2 => any::<bool>().prop_map(Said::Directory),
        1 => (0u8..2).prop_map(Said::Symlink),
        1 => (0usize..PATHS.len()).prop_map(Said::Link),
        1 => Just(Said::Pipe),
        2 => Just(Said::Deleted),
    ]
}

fn parcel(name: &str, lists: &str, all: &[Said]) -> Parcel {
    let mut parcel = Parcel::empty(name).package("ACMEweb", lists);
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

/// A root with the package installed, where that is possible.
fn installed(base: &Parcel) -> Option<World> {
    let world = World::new();
    let options = crate::plan::install::InstallOptions::default();
    let plan = crate::plan::install::install(&base.image, 0, &world.inventory, &options, &world::occasion());
    plan.is_ok().then(|| world.with(base))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_can_be_taken_back(
        base in prop::collection::vec(said(), PATHS.len()),
        patches in prop::collection::vec(prop::collection::vec(said(), PATHS.len()), 1..4),
        edits in prop::collection::vec((0usize..PATHS.len(), 0u8..2), 0..3),
        keep in any::<bool>(),
    ) {
        let Some(mut world) = installed(&parcel("base", "", &base)) else { return Ok(()) };
        world.options.edits.general = if keep { Edited::Keep } else { Edited::Replace };
        for (at, content) in edits {
            let at = format!("/opt/web/{}", PATHS[at]);
            if world.bytes.contains_key(&path(&at)) {
                world.write(&at, &format!("edited {content}"));
            }
        }
        let mut before = Vec::new();
        for (revision, said) in patches.iter().enumerate() {
            let id = format!("900-0{}", revision + 1);
            let parcel = parcel(&id, &format!("SUNW_PATCHID={id}"), said);
            let state = (world.tree(), world.contents());
            if let Ok(plan) = world.plan(&parcel) {
                prop_assert!(plan.changes.windows(2).all(|two| two[0].path < two[1].path));
                world.carry_out(&plan, &parcel);
                before.push((id, state));
            }
        }
        for (id, (tree, contents)) in before.into_iter().rev() {
            prop_assert_eq!(world.patchrm(&id), 0);
            prop_assert_eq!(world.tree(), tree, "tree after the backout of {}", id);
            prop_assert_eq!(world.contents(), contents);
        }
    }
}
