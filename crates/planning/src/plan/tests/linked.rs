//! Any patches over any package with links. Links lead to directories, to files, to each other and in
//! circles; directories become links and links directories; files have several names. An administrator edits,
//! removes and puts links between the patches. Every accepted patch can be backed out, and the root is then
//! as it was.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::now;
use super::*;
use crate::plan::patch::backout_proof::{is_plain, plan_backout};
use crate::plan::refusal::Reason;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{Live, LiveKind, never};
use patchadm_svr4::package::Mode;

const PATHS: [&str; 9] = ["a", "b", "d", "d/x", "d/y", "d/sub", "d/sub/z", "e", "e/x"];

/// Targets of links: the paths, and beyond them.
const TARGETS: [&str; 10] =
    ["a", "b", "d", "d/x", "d/sub", "e", "e/x", "../web/d/../e", "/opt/web/d/y", "nowhere/x"];

/// A package's statement about a path.
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

/// Returns what a package says about all paths. Mostly nothing is delivered below an object that is not a
/// directory.
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

/// An administrator's action on a path.
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
                give_attributes(world, &at);
            }
            (Self::Touched, Some(live)) if !world.inventory.privileged && !live.is_directory() => {
                put_device(world, &at);
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

/// Gives an object other attributes. If root does this in the tree of a user, a file becomes a program that runs as
/// another user.
fn give_attributes(world: &mut World, at: &ObjectPath) {
    let is_privileged = world.inventory.privileged;
    let live = world.inventory.live.get_mut(at).unwrap();
    let is_of_another = is_privileged || !live.is_directory();
    live.mode = Mode::of(if is_privileged || !is_of_another { 0o711 } else { 0o4711 });
    live.uid = if is_of_another { 80 } else { live.uid };
}

/// Puts a device in the place of an object, which only root can do.
fn put_device(world: &mut World, at: &ObjectPath) {
    world.replace(at, LiveKind::Device { block: false, major: 1, minor: 3 });
    let live = world.inventory.live.get_mut(at).unwrap();
    (live.uid, live.gid) = (0, 0);
}

/// A package, its patches, and the actions before each of them: number of applied patches, path, action.
#[derive(Debug)]
struct Story {
    base: Vec<Said>,
    patches: Vec<Vec<Said>>,
    done: Vec<(usize, &'static str, Done)>,
    keeps: bool,
    is_privileged: bool,
}

/// Returns manual actions: how many, before which patches, and on which paths.
fn edits(count: std::ops::Range<usize>) -> BoxedStrategy<Vec<(usize, &'static str, Done)>> {
    prop::collection::vec((0usize..5, prop::sample::select(&PATHS[..]), done()), count).boxed()
}

fn stories(done: BoxedStrategy<Vec<(usize, &'static str, Done)>>) -> impl Strategy<Value = Story> {
    let patches = prop::collection::vec(all(), 1..5);
    (all(), patches, done, any::<bool>()).prop_map(|(base, patches, done, keeps)| Story {
        base,
        patches,
        done,
        keeps,
        is_privileged: true,
    })
}

/// The counts over all stories.
#[derive(Debug, Default)]
struct Seen {
    applied: u32,
    planned: u32,
    backed_out: u32,
    refused: BTreeMap<String, u32>,
    in_the_way: BTreeMap<String, u32>,
}

fn word(refusal: &crate::plan::refusal::Refusal) -> String {
    let reason = format!("{:?}", refusal.reason);
    let problem = reason.split("problem: ").nth(1).unwrap_or(&reason);
    let word = problem.split([' ', '(', '{']).next().unwrap_or_default();
    let is_for_backout = matches!(*refusal.reason, Reason::NoWayBack(_));
    if is_for_backout { format!("{word} of the backout") } else { word.to_owned() }
}

/// A patch that was applied, the tree and the lines before it, and the number of manual actions before it.
#[derive(Debug)]
struct AppliedPatch {
    id: String,
    before: (Vec<String>, Vec<String>),
    edits: usize,
}

fn play(story: &Story, seen: &mut Seen) -> Result<(), String> {
    let empty = if story.is_privileged { World::new() } else { World::new().unprivileged() };
    let world = empty.following_links().if_installed(&parcel_of("base", "", &story.base));
    let Some(mut world) = world else { return Ok(()) };
    world.options.edits.general = if story.keeps { Edited::Keep } else { Edited::Replace };
    let (mut applied, mut edits) = (Vec::new(), 0);
    for place in 0..=story.patches.len() {
        for (number, (_, name, done)) in story.done.iter().enumerate().filter(|(_, done)| done.0 == place) {
            done.to(&mut world, name, number);
            edits += 1;
        }
        let Some(said) = story.patches.get(place) else { break };
        let id = format!("900-0{}", place + 1);
        let before = (world.tree(), world.contents());
        if add(&mut world, (&id, said), seen)? {
            applied.push(AppliedPatch { id, before, edits });
        }
    }
    take_back(&mut world, &applied, edits, seen)
}

/// Applies a patch, unless it is refused. Returns true if it is there.
fn add(world: &mut World, (id, said): (&str, &[Said]), seen: &mut Seen) -> Result<bool, String> {
    let parcel = parcel_of(id, &format!("SUNW_PATCHID={id}"), said);
    let plan = match world.plan(&parcel) {
        Ok(plan) => plan,
        Err(refusal) => {
            *seen.refused.entry(word(&refusal)).or_default() += 1;
            return match &*refusal.reason {
                Reason::NoWayBack(why) if !matches!(**why, Reason::Object { .. }) => {
                    Err(format!("{id} has no way back: {}", refusal.why()))
                }
                _ => Ok(false),
            };
        }
    };
    let proof = plan_backout(&plan, &super::id(id), &world.inventory, ("-", &now(), &never));
    if let Err(why) = proof {
        return Err(format!("{id} is let in, plain {}: {why:?}", is_plain(&plan, &world.inventory)));
    }
    seen.planned += u32::from(!is_plain(&plan, &world.inventory));
    seen.applied += 1;
    world.carry_out(&plan, &parcel);
    Ok(true)
}

/// Backs all patches out, the last one first. A patch that a manual change blocks stays, and those before it are
/// tried.
fn take_back(
    world: &mut World,
    applied: &[AppliedPatch],
    edits: usize,
    seen: &mut Seen,
) -> Result<(), String> {
    for AppliedPatch { id, before, edits: edits_before } in applied.iter().rev() {
        world.know_all();
        match world.plan_removal(id) {
            Ok(_) => assert_eq!(world.patchrm(id), 0),
            Err(refusal) if edits > *edits_before => {
                *seen.in_the_way.entry(word(&refusal)).or_default() += 1;
                continue;
            }
            Err(refusal) => return Err(format!("{id}: {}", refusal.why())),
        }
        seen.backed_out += 1;
        let now = (world.tree(), world.contents());
        if edits == *edits_before && now != *before {
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|line| !b.contains(line)).cloned().collect()
            };
            let (has, lacks) = (only(&now.0, &before.0), only(&before.0, &now.0));
            let (lines, lost) = (only(&now.1, &before.1), only(&before.1, &now.1));
            return Err(format!("{id} went\n  has   {has:#?} {lines:#?}\n  lacks {lacks:#?} {lost:#?}"));
        }
    }
    Ok(())
}

/// The number of stories in a sample, and in the whole suite.
const STORIES: (u32, u32) = (400, 100_000);

/// The same for stories without privileges.
const UNPRIVILEGED: (u32, u32) = (200, 20_000);

impl Seen {
    /// Prints how often each action was done. A story that differs has failed before.
    fn tell(&self, about: &str, stories: u32) {
        println!("{self:?}");
        let (applied, backed_out) = (self.applied.into(), self.backed_out.into());
        let counts =
            [("stories", stories.into()), ("patches", applied), ("backouts", backed_out), ("differences", 0)];
        figures(about, &counts);
    }
}

#[test]
fn what_goes_in_comes_out_whatever_links_there_are() {
    let mut seen = Seen::default();
    let count = play_stories(&stories(edits(0..4)), STORIES, |story| play(story, &mut seen));
    let Some(count) = count else { return };
    seen.tell("random-links", count);
    assert!(seen.applied > count / 2 && seen.planned > count / 4, "{seen:?}");
}

#[test]
fn without_privileges_what_goes_in_comes_out_too_and_what_only_root_makes_does_not_go() {
    let stories = stories(edits(4..9)).prop_map(|story| Story { is_privileged: false, ..story });
    let mut seen = Seen::default();
    let count = play_stories(&stories, UNPRIVILEGED, |story| play(story, &mut seen));
    let Some(count) = count else { return };
    seen.tell("random-links-of-a-user", count);
    assert!(seen.applied > count / 2 && seen.refused.contains_key("NotPermitted of the backout"), "{seen:?}");
}
