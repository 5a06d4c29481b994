//! Parameters and record files: they depend on the patches that are applied, not on the order in which others
//! went.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::apply::acme_web;
use super::*;

/// Parameters of a patch: `WORD`, `Patch_label`, `SUNW_REQUIRES`, the patches that it obsoletes, a class of its own
/// and the text of an information file.
#[derive(Clone, Copy, Debug)]
struct Says {
    word: Option<u8>,
    label: bool,
    requires: bool,
    obsoletes: bool,
    class: Option<u8>,
    text: Option<u8>,
}

fn says() -> impl Strategy<Value = Says> {
    let few = || prop::option::of(0u8..3);
    (few(), any::<bool>(), any::<bool>(), any::<bool>(), few(), few()).prop_map(
        |(word, label, requires, obsoletes, class, text)| Says {
            word,
            label,
            requires,
            obsoletes,
            class,
            text,
        },
    )
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
    words.extend(says.class.map(|class| format!("CLASSES=none,class{class}")));
    let parcel = patch(&id, &words.join(" ")).file(&format!("share/{number}"), "x");
    match says.text {
        Some(text) => parcel.install("copyright", &text.to_string()).install(&format!("depend{text}"), "x"),
        None => parcel,
    }
}

/// Returns all parameters but the records of patches, and all record files but the one with the parameters;
/// directories have no content.
fn shown(world: &World) -> BTreeMap<String, Option<Vec<u8>>> {
    let installed = &world.inventory.packages[&package("ACMEweb")];
    let is_record =
        |name: &str| matches!(name, "PATCHLIST" | "PATCH_OBSOLETES") || name.starts_with("PATCH_INFO_");
    let params = installed.params.iter().filter(|(name, _)| !is_record(name));
    let params = params.map(|(name, value)| (name.to_owned(), Some(value.to_vec())));
    let path = |name: &[u8]| format!("/{}", String::from_utf8_lossy(name));
    let files = installed.records.iter().filter(|(name, _)| name.as_slice() != b"pkginfo");
    let files = files.map(|(name, file)| (path(name), Some(file.bytes.to_vec())));
    let directories = installed.directories.iter().map(|name| (path(name), None));
    params.chain(files).chain(directories).collect()
}

/// Returns a root with these patches.
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

/// Backs a patch out, with the known facts about later ones.
fn remove(world: &mut World, number: usize) {
    world.removal.later.clear();
    let list = world.param("ACMEweb", "PATCHLIST");
    for later in list.split_whitespace().skip_while(|other| **other != id_of(number)).skip(1) {
        world.know_later(later);
    }
    assert_eq!(world.patchrm(&id_of(number)), 0);
}

const ALL: Says =
    Says { word: Some(1), label: true, requires: true, obsoletes: true, class: Some(1), text: Some(1) };
const SILENT: Says =
    Says { word: None, label: false, requires: false, obsoletes: false, class: None, text: None };

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
