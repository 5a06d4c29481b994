//! Any patches over any package where links lead to directories, to files, to each other and in circles, directories become
//! links and links directories, files have several names, and an administrator edits, removes and puts links between the
//! patches: every patch that is let in can be backed out, and the root is then as it was.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::world::now;
use super::*;
use crate::plan::patch::backout_proof::{is_plain, plan_backout};
use crate::policy::Edited;
use patchadm_rootfs::{Live, LiveKind};

const PATHS: [&str; 9] = ["a", "b", "d", "d/x", "d/y", "d/sub", "d/sub/z", "e", "e/x"];

/// Where links lead: to the paths, and beyond them.
const TARGETS: [&str; 10] =
    ["a", "b", "d", "d/x", "d/sub", "e", "e/x", "../web/d/../e", "/opt/web/d/y", "nowhere/x"];

/// What a package says about a path.
#[derive(Clone, Debug)]
enum Said {
    Nothing,
    File(u8, &'static str),
    Directory(&'static str),
    Symlink(&'static str),
    Link(&'static str),
    Deleted,
}

fn said() -> impl Strategy<Value = Said> {
    let attributes = prop_oneof![
        6 => Just("f 0755 root bin"),
        2 => Just("f 0600 web sys"),
        1 => Just("e 0644 root sys"),
        1 => Just("f ? ? ?"),
    ];
    prop_oneof![
        4 => Just(Said::Nothing),
        4 => (0u8..3, attributes).prop_map(|(content, what)| Said::File(content, what)),
        4 => prop_oneof![Just("d 0755 root bin"), Just("d 0700 root sys"), Just("d ? ? ?")].prop_map(Said::Directory),
        3 => prop::sample::select(&TARGETS[..]).prop_map(Said::Symlink),
        1 => prop::sample::select(&PATHS[..]).prop_map(Said::Link),
        3 => Just(Said::Deleted),
    ]
}

/// What a package says about all paths. Mostly nothing is delivered below what is no directory.
fn all() -> impl Strategy<Value = Vec<Said>> {
    let said = prop::collection::vec(said(), PATHS.len());
    (said, 0u8..8).prop_map(|(mut all, wild)| {
        for at in 0..PATHS.len() {
            let is_above = |above: &&str| PATHS[at].rsplit_once('/').is_some_and(|(up, _)| up == *above);
            let above = PATHS.iter().position(is_above);
            let holds = above.is_none_or(|above| matches!(all[above], Said::Nothing | Said::Directory(_)));
            if !holds && wild > 0 && !matches!(all[at], Said::Nothing) {
                all[at] = Said::Deleted;
            }
        }
        all
    })
}

fn parcel_of(name: &str, lists: &str, all: &[Said]) -> Parcel {
    let mut parcel = Parcel::empty(name).package("ACMEweb", lists);
    for (at, said) in PATHS.iter().zip(all) {
        parcel = match said {
            Said::Nothing => parcel,
            Said::File(content, what) => parcel.object(at, what, Some(&format!("content {content}")), None),
            Said::Directory(what) => parcel.object(at, what, None, None),
            Said::Symlink(to) => parcel.symlink(at, to),
            Said::Link(to) => parcel.link(at, &format!("/opt/web/{to}")),
            Said::Deleted => parcel.deletes(at),
        };
    }
    parcel
}

/// What an administrator does to a path.
#[derive(Clone, Debug)]
enum Done {
    Written(u8),
    Attributes,
    Touched,
    /// Puts a link in the place of anything but a full directory, or of nothing.
    Linked(&'static str),
    /// Moves a directory elsewhere and leaves a link to it.
    MovedAway,
    Removed,
}

fn done() -> impl Strategy<Value = Done> {
    prop_oneof![
        2 => (0u8..3).prop_map(Done::Written),
        1 => Just(Done::Attributes),
        1 => Just(Done::Touched),
        2 => prop::sample::select(&TARGETS[..]).prop_map(Done::Linked),
        2 => Just(Done::MovedAway),
        1 => Just(Done::Removed),
    ]
}

impl Done {
    fn to(&self, world: &mut World, name: &str, number: usize) {
        let at = path(&format!("/opt/web/{name}"));
        let live = world.inventory.live.get(&at).cloned();
        let holds = world.inventory.live.keys().any(|other| other.is_below(&at));
        let is_in_directory =
            at.parent().is_some_and(|up| world.inventory.live.get(&up).is_some_and(Live::is_directory));
        match (self, live) {
            (Self::Written(content), Some(live)) if matches!(live.kind, LiveKind::Regular { .. }) => {
                world.write(&at.to_string(), &format!("edited {content}"));
            }
            (Self::Attributes, Some(live))
                if live.links == 1 && !matches!(live.kind, LiveKind::Symlink(_)) =>
            {
                let live = world.inventory.live.get_mut(&at).unwrap();
                live.mode = patchadm_svr4::package::Mode::of(0o711);
                live.uid = 80;
            }
            (Self::Touched, Some(live)) if live.links == 1 => {
                world.inventory.live.get_mut(&at).unwrap().mtime.seconds += 7;
            }
            (Self::Linked(to), _) if is_in_directory && !holds => {
                world.replace(&at, LiveKind::Symlink(to.as_bytes().to_vec()));
            }
            (Self::MovedAway, Some(live)) if live.is_directory() => {
                world.move_away(&at, &path(&format!("/opt/moved{number}")));
            }
            (Self::Removed, Some(_)) if !holds => world.take(&at),
            _ => {}
        }
        world.count_links();
    }
}

/// A package, its patches, and what is done before each of them: how many were applied, which path, what.
#[derive(Debug)]
struct Story {
    base: Vec<Said>,
    patches: Vec<Vec<Said>>,
    done: Vec<(usize, &'static str, Done)>,
    keeps: bool,
}

fn stories() -> impl Strategy<Value = Story> {
    let done = prop::collection::vec((0usize..5, prop::sample::select(&PATHS[..]), done()), 0..4);
    let patches = prop::collection::vec(all(), 1..5);
    (all(), patches, done, any::<bool>()).prop_map(|(base, patches, done, keeps)| Story {
        base,
        patches,
        done,
        keeps,
    })
}

/// What was seen in all stories.
#[derive(Debug, Default)]
struct Seen {
    applied: u32,
    planned: u32,
    refused: BTreeMap<String, u32>,
    in_the_way: BTreeMap<String, u32>,
}

fn word(refusal: &crate::plan::refusal::Refusal) -> String {
    let reason = format!("{:?}", refusal.reason);
    let problem = reason.split("problem: ").nth(1).unwrap_or(&reason);
    problem.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn play(story: &Story, seen: &mut Seen) -> Result<(), String> {
    let world = World::new().following_links().if_installed(&parcel_of("base", "", &story.base));
    let Some(mut world) = world else { return Ok(()) };
    world.options.edits.general = if story.keeps { Edited::Keep } else { Edited::Replace };
    // Each patch that is applied, the root before it, and how often somebody did something before it.
    let (mut applied, mut edits) = (Vec::new(), 0);
    for place in 0..=story.patches.len() {
        for (number, (_, name, done)) in story.done.iter().enumerate().filter(|(_, done)| done.0 == place) {
            done.to(&mut world, name, number);
            edits += 1;
        }
        let Some(said) = story.patches.get(place) else { break };
        let id = format!("900-0{}", place + 1);
        let parcel = parcel_of(&id, &format!("SUNW_PATCHID={id}"), said);
        let before = (world.tree(), world.contents(), edits);
        let plan = match world.plan(&parcel) {
            Ok(plan) => plan,
            Err(refusal) => {
                *seen.refused.entry(word(&refusal)).or_default() += 1;
                if word(&refusal).contains("NoWayBack") {
                    return Err(format!("{id} has no way back: {}", refusal.why()));
                }
                continue;
            }
        };
        let proof = plan_backout(&plan, &super::id(&id), &world.inventory, ("-", &now()));
        if let Err(why) = proof {
            return Err(format!("{id} is let in, plain {}: {why:?}", is_plain(&plan, &world.inventory)));
        }
        seen.planned += u32::from(!is_plain(&plan, &world.inventory));
        seen.applied += 1;
        world.carry_out(&plan, &parcel);
        applied.push((id, before));
    }
    for (id, (tree, contents, edits_before)) in applied.into_iter().rev() {
        match world.plan_removal(&id) {
            Ok(_) => assert_eq!(world.patchrm(&id), 0),
            // Somebody has put something in the way meanwhile.
            Err(refusal) if edits > edits_before => {
                *seen.in_the_way.entry(word(&refusal)).or_default() += 1;
                return Ok(());
            }
            Err(refusal) => return Err(format!("{id}: {}", refusal.why())),
        }
        if edits == edits_before && (world.tree() != tree || world.contents() != contents) {
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|line| !b.contains(line)).cloned().collect()
            };
            let (now, lines) = (world.tree(), world.contents());
            return Err(format!(
                "{id} went\n  has   {:#?} {:#?}\n  lacks {:#?} {:#?}",
                only(&now, &tree),
                only(&lines, &contents),
                only(&tree, &now),
                only(&contents, &lines)
            ));
        }
    }
    Ok(())
}

/// How many stories are played, and how many in the whole suite.
const STORIES: (u32, u32) = (400, 100_000);

#[test]
fn what_goes_in_comes_out_whatever_links_there_are() {
    let (mut runner, mut seen, mut wrong) = (TestRunner::deterministic(), Seen::default(), Vec::new());
    let played = stories_of(STORIES);
    let stories = stories();
    for number in 0..played.end {
        let story = stories.new_tree(&mut runner).unwrap().current();
        if played.contains(&number)
            && let Err(reason) = play(&story, &mut seen)
        {
            wrong.push(format!("story {number}: {reason}\n{story:?}"));
        }
    }
    println!("{seen:?}");
    assert!(wrong.is_empty(), "{} stories\n{}", wrong.len(), wrong.join("\n\n"));
    let count = u32::try_from(played.len()).unwrap();
    assert!(seen.applied > count / 2 && seen.planned > count / 4, "{seen:?}");
}
