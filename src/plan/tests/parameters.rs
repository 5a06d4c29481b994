//! Parameters: what a root shows depends on the patches that are applied, not on the order in which others went.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::apply::acme_web;
use super::*;

/// What a patch says: `WORD`, `Patch_label`, `SUNW_REQUIRES`, and what it obsoletes.
#[derive(Clone, Copy, Debug)]
struct Says {
    word: Option<u8>,
    label: bool,
    requires: bool,
    obsoletes: bool,
}

fn says() -> impl Strategy<Value = Says> {
    (prop::option::of(0u8..3), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(word, label, requires, obsoletes)| Says { word, label, requires, obsoletes })
}

fn id_of(number: usize) -> String {
    format!("9{number:02}-01")
}

fn parcel(number: usize, says: Says) -> Parcel {
    let id = id_of(number);
    let mut words = Vec::new();
    words.extend(says.word.map(|word| format!("WORD={word}")));
    words.extend(says.label.then(|| format!("Patch_label={id}")));
    words.extend(says.requires.then(|| "SUNW_REQUIRES=890-02".to_owned()));
    words.extend(says.obsoletes.then(|| format!("SUNW_OBSOLETES=8{number:02}-01")));
    patch(&id, &words.join(" ")).file(&format!("share/{number}"), "x")
}

/// All parameters but the records of patches.
fn shown(world: &World) -> BTreeMap<String, Vec<u8>> {
    let params = &world.inventory.packages[&package("ACMEweb")].params;
    let is_record =
        |name: &str| matches!(name, "PATCHLIST" | "PATCH_OBSOLETES") || name.starts_with("PATCH_INFO_");
    let others = params.iter().filter(|(name, _)| !is_record(name));
    others.map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// A root with these patches.
fn with(patches: &[(usize, Says)]) -> World {
    let mut world = base();
    for (number, says) in patches {
        assert_eq!(world.patchadd(&parcel(*number, *says)), 0);
    }
    world
}

fn base() -> World {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("890-02", "").file("share/base", "b")), 0);
    world
}

/// Backs a patch out, with what is known of those behind it.
fn remove(world: &mut World, number: usize) {
    world.removal.later.clear();
    let list = world.param("ACMEweb", "PATCHLIST");
    for later in list.split_whitespace().skip_while(|other| **other != id_of(number)).skip(1) {
        world.know_later(later);
    }
    assert_eq!(world.patchrm(&id_of(number)), 0);
}

const ALL: Says = Says { word: Some(1), label: true, requires: true, obsoletes: true };
const SILENT: Says = Says { word: None, label: false, requires: false, obsoletes: false };

#[test]
fn what_the_older_of_two_patches_brought_does_not_come_back_with_the_younger() {
    for younger in [ALL, SILENT] {
        let before = shown(&base());
        let mut world = with(&[(1, ALL), (2, younger)]);
        remove(&mut world, 1);
        assert_eq!(shown(&world), shown(&with(&[(2, younger)])), "{younger:?}");
        remove(&mut world, 2);
        assert_eq!(shown(&world), before, "{younger:?}");
    }
}

#[test]
fn only_what_the_patch_set_is_handed_down_to_it() {
    let mut world = with(&[(1, ALL), (2, ALL)]);
    remove(&mut world, 1);
    let saves = &mut world.inventory.packages.get_mut(&package("ACMEweb")).unwrap().saves;
    let file = saves.get_mut("902-01").unwrap().parameters.as_mut().unwrap();
    file.extend_from_slice(b"BASEDIR=/etc\n");
    let refusal = world.plan_removal("902-01").unwrap_err();
    assert!(refusal.why().contains("BASEDIR is no parameter that the patch set"), "{}", refusal.why());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_parameters_are_a_function_of_the_patches_that_are_applied(
        patches in prop::collection::vec(says(), 2..5),
        order in prop::collection::vec(any::<prop::sample::Index>(), 5),
    ) {
        let mut left: Vec<(usize, Says)> = patches.into_iter().enumerate().collect();
        let mut world = with(&left);
        for index in order.into_iter().take(left.len()) {
            let (number, _) = left.remove(index.index(left.len()));
            remove(&mut world, number);
            prop_assert_eq!(shown(&world), shown(&with(&left)), "after the backout of {}", number);
        }
        prop_assert_eq!(shown(&world), shown(&base()));
    }
}
