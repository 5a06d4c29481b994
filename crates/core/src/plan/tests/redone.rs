//! Backout against doing it again: whatever patches go, singly or in groups and in any order, the root is the one that
//! the patches that stay would have made alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::plan::refusal::{HandOnProblem, Reason};
use crate::policy::Edited;

/// What a package says about a path.
#[derive(Clone, Debug)]
enum Said {
    Nothing,
    /// A file with a content and attributes.
    File(u8, &'static str),
    Directory(&'static str),
    Symlink(u8),
    Link(&'static str),
    Deleted,
}

use Said::{Deleted, Directory, File, Link, Nothing, Symlink};

/// Each path with what is mostly said of it, and what seldom is.
fn said() -> impl Strategy<Value = Vec<(&'static str, Said)>> {
    let attributes = prop_oneof![
        12 => Just("f 0755 root bin"),
        3 => Just("f 0644 root sys"),
        1 => Just("f ? ? ?"),
    ];
    let file =
        move || (0u8..3, attributes.clone()).prop_map(|(content, attributes)| File(content, attributes));
    let plain = move || prop_oneof![4 => Just(Nothing), 5 => file(), 1 => Just(Deleted)].boxed();
    let directory = prop_oneof![
        4 => Just(Nothing),
        2 => Just(Directory("d 0755 root bin")),
        1 => Just(Directory("d 0700 root sys")),
    ];
    let seldom = prop_oneof![
        40 => plain(),
        1 => (0u8..2).prop_map(|content| File(content, "e 0644 root sys")),
        1 => (0u8..2).prop_map(Symlink),
        1 => Just(Directory("d 0755 root bin")),
        1 => Just(Link("/opt/web/a")),
    ];
    (plain(), plain(), plain(), seldom, directory.clone(), plain(), directory, plain()).prop_map(
        |(a, b, c, d, dir, in_dir, way, on_way)| {
            vec![
                ("a", a),
                ("b", b),
                ("c", c),
                ("d", d),
                ("dir", dir),
                ("dir/x", in_dir),
                ("way", way),
                ("way/y", on_way),
            ]
        },
    )
}

fn parcel_of(name: &str, lists: &str, all: &[(&str, Said)]) -> Parcel {
    let mut parcel = Parcel::empty(name).package("ACMEweb", lists);
    for (at, said) in all {
        parcel = match said {
            Nothing => parcel,
            File(content, what) => parcel.object(at, what, Some(&format!("content {content}")), None),
            Directory(what) => parcel.object(at, what, None, None),
            Symlink(to) => parcel.symlink(at, &format!("target{to}")),
            Link(to) => parcel.link(at, to),
            Deleted => parcel.deletes(at),
        };
    }
    parcel
}

/// Patches over one package, and in which order they go.
#[derive(Debug)]
struct Story {
    base: Vec<(&'static str, Said)>,
    patches: Vec<Vec<(&'static str, Said)>>,
    choices: Vec<usize>,
}

fn stories() -> impl Strategy<Value = Story> {
    let patches = prop::collection::vec(said(), 2..=6);
    (said(), patches, prop::collection::vec(any::<usize>(), 16)).prop_map(|(base, patches, choices)| Story {
        base,
        patches,
        choices,
    })
}

impl Story {
    fn patches(&self) -> Vec<(String, Parcel)> {
        let named = self.patches.iter().enumerate().map(|(at, said)| {
            let id = format!("90{}-01", at + 1);
            (id.clone(), parcel_of(&id, &format!("SUNW_PATCHID={id} WORD{}={id}", at % 2), said))
        });
        named.collect()
    }
}

/// What counts in a comparison: tree, lines, parameters; and what the undo data says of each object.
fn shown(world: &World) -> Vec<String> {
    let mut lines = world.tree();
    lines.extend(world.contents());
    let params = &world.inventory.packages[&package("ACMEweb")].params;
    let counts = |name: &str| !name.starts_with("PATCH_INFO_") && name != "PATCH_OBSOLETES";
    let mut named: Vec<String> = params
        .iter()
        .filter(|(name, value)| counts(name) && !(value.is_empty() && *name == "PATCHLIST"))
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
        .collect();
    named.sort();
    lines.extend(named);
    lines
}

/// A root with some of the patches; none where one of them cannot be applied without the others.
fn with(story: &Story, ids: &[&str]) -> Option<World> {
    let mut world = World::new().if_installed(&parcel_of("base", "", &story.base))?;
    world.options.edits.general = Edited::Replace;
    for (_, parcel) in story.patches().iter().filter(|(id, _)| ids.contains(&id.as_str())) {
        if world.patchadd(parcel) != 0 {
            return None;
        }
    }
    Some(world)
}

/// How many stories are played.
const STORIES: usize = 400;

/// What was seen in all stories.
#[derive(Debug, Default)]
struct Seen {
    gone: usize,
    refused: BTreeMap<String, usize>,
}

fn play(story: &Story, seen: &mut Seen) -> Result<(), String> {
    let named = story.patches();
    let ids: Vec<&str> = named.iter().map(|(id, _)| id.as_str()).collect();
    let Some(mut world) = with(story, &ids) else { return Ok(()) };
    let mut left = ids;
    let mut choices = story.choices.iter().copied();
    while let (Some(size), Some(first)) = (choices.next(), choices.next()) {
        if left.is_empty() {
            break;
        }
        let size = if size % 3 == 0 { 1 + size / 3 % left.len() } else { 1 };
        let mut going: Vec<&str> = (0..size).map(|at| left[(first + at * 2) % left.len()]).collect();
        going.sort_unstable();
        going.dedup();
        going.reverse();
        let is_middle = left.iter().any(|id| !going.contains(id) && *id > going[going.len() - 1]);
        know_all(&mut world);
        match world.plan_removals(&going) {
            Ok(_) => {
                assert_eq!(world.patchrm_all(&going), 0);
                left.retain(|id| !going.contains(id));
                seen.gone += usize::from(is_middle);
                let Some(alone) = with(story, &left) else { return Ok(()) };
                compare(&world, &alone, &format!("{going:?} went, {left:?} stay"))?;
            }
            Err(refusal) => {
                if refusal.code() != 6 {
                    return Err(format!("{}: {}", refusal.code(), refusal.why()));
                }
                let word = match &*refusal.reason {
                    Reason::NotHandedOn { why, .. } => format!("{why:?}"),
                    other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
                };
                *seen.refused.entry(word).or_default() += 1;
            }
        }
    }
    left.reverse();
    for id in left.clone() {
        know_all(&mut world);
        match world.plan_removal(id) {
            Ok(_) => assert_eq!(world.patchrm(id), 0),
            Err(refusal) => return Err(format!("{id}: {}", refusal.why())),
        }
    }
    let Some(base) = with(story, &[]) else { return Ok(()) };
    compare(&world, &base, "all went")
}

/// Lets the planner read what all patches did.
fn know_all(world: &mut World) {
    let manifests = world.archives.iter().map(|(key, stored)| (key.clone(), stored.manifest.clone()));
    world.removal.later = manifests.collect();
}

fn compare(world: &World, alone: &World, when: &str) -> Result<(), String> {
    let (is, is_to_be) = (shown(world), shown(alone));
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    if is == is_to_be {
        return Ok(());
    }
    Err(format!("{when}\n  has   {:#?}\n  lacks {:#?}", only(&is, &is_to_be), only(&is_to_be, &is)))
}

#[test]
fn the_root_is_the_one_that_the_patches_that_stay_would_have_made() {
    use HandOnProblem::{Attributes, LooksAtFile, OtherNames, Symlink, TypeChange};
    let mut runner = TestRunner::deterministic();
    let (strategy, mut seen) = (stories(), Seen::default());
    for number in 0..STORIES {
        let story = strategy.new_tree(&mut runner).unwrap().current();
        if let Err(reason) = play(&story, &mut seen) {
            panic!("story {number}: {reason}\n{story:?}");
        }
    }
    let refused: usize = seen.refused.values().sum();
    assert!(seen.gone >= refused, "{seen:?}");
    for why in [Attributes, LooksAtFile, OtherNames, Symlink, TypeChange] {
        assert!(seen.refused.contains_key(&format!("{why:?}")), "{why:?} never stood in the way: {seen:?}");
    }
    assert!(seen.refused.contains_key("UsedLater"), "{seen:?}");
    let known = ["LooksAtFile", "Symlink", "TypeChange", "OtherNames", "Attributes", "UsedLater"];
    assert!(seen.refused.keys().all(|word| known.contains(&word.as_str())), "{seen:?}");
}
