//! Backout compared with starting over: for any patches that go, singly or in groups and in any order, the
//! root is the one that the remaining patches would have made alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::regular;
use super::*;
use crate::plan::patch::back_out::may_go_as_one;
use crate::plan::refusal::{HandOnProblem, Reason, Refusal};
use patchadm_changeset::format::manifest::UndoManifest;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{LiveKind, Timestamp};
use patchadm_svr4::package::Mode;

/// A package's statement about a path.
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

/// Returns each path with what is mostly said of it, and what seldom is.
fn plain() -> BoxedStrategy<Vec<(&'static str, Said)>> {
    said(40).boxed()
}

/// Returns the same with more of what is seldom, and another name of one of two files.
fn odd() -> BoxedStrategy<Vec<(&'static str, Said)>> {
    let link = prop_oneof![
        8 => Just(Nothing),
        3 => Just(Link("/opt/web/a")),
        1 => Just(Link("/opt/web/b")),
        1 => Just(File(0, "v 0644 root sys")),
        1 => Just(File(1, "f 0755 root bin")),
        1 => Just(Deleted),
    ];
    (said(8), link).prop_map(|(said, link)| [said, vec![("e", link)]].concat()).boxed()
}

/// Describes the package; `usual` is how often the fourth file is like the others.
fn said(usual: u32) -> impl Strategy<Value = Vec<(&'static str, Said)>> {
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
        usual => plain(),
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

/// An administrator's action on an object.
#[derive(Clone, Debug)]
struct Edit {
    /// How many patches were applied before.
    after: usize,
    path: &'static str,
    what: Done,
}

#[derive(Clone, Debug)]
enum Done {
    /// Writes into the file.
    Written(u8),
    /// Gives it other attributes.
    Attributes,
    /// Gives it another time.
    Touched,
    /// Puts a link in its place.
    Linked,
    /// Removes it.
    Removed,
}

fn written() -> BoxedStrategy<Vec<Edit>> {
    let edit = (0usize..7, prop_oneof![Just("b"), Just("c")], 0u8..3)
        .prop_map(|(after, path, content)| Edit { after, path, what: Done::Written(content) });
    prop::collection::vec(edit, 0..3).boxed()
}

fn done() -> BoxedStrategy<Vec<Edit>> {
    let path = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("e"), Just("dir/x")];
    let what = prop_oneof![
        4 => (0u8..3).prop_map(Done::Written),
        1 => Just(Done::Linked),
        1 => Just(Done::Removed),
    ];
    // All names of a file have its attributes, so only a file with one name gets others.
    let alone = prop_oneof![Just("c"), Just("dir/x")];
    let given = prop_oneof![Just(Done::Attributes), Just(Done::Touched)];
    let done = prop_oneof![3 => (path, what), 1 => (alone, given)];
    let edit = (0usize..7, done).prop_map(|(after, (path, what))| Edit { after, path, what });
    prop::collection::vec(edit, 0..4).boxed()
}

/// Patches over one package, the edits between them, and the order in which the patches are removed.
#[derive(Debug)]
struct Story {
    edits: Vec<Edit>,
    base: Vec<(&'static str, Said)>,
    patches: Vec<Vec<(&'static str, Said)>>,
    choices: Vec<usize>,
    is_privileged: bool,
}

fn stories(
    said: fn() -> BoxedStrategy<Vec<(&'static str, Said)>>,
    edits: BoxedStrategy<Vec<Edit>>,
) -> impl Strategy<Value = Story> {
    let patches = prop::collection::vec(said(), 2..=6);
    let choices = prop::collection::vec(any::<usize>(), 16);
    (said(), patches, choices, edits).prop_map(|(base, patches, choices, edits)| Story {
        edits,
        base,
        patches,
        choices,
        is_privileged: true,
    })
}

impl Story {
    fn patches(&self) -> Vec<(String, Parcel)> {
        let named = self.patches.iter().enumerate().map(|(at, said)| {
            let id = id_of(at);
            (id.clone(), parcel_of(&id, &format!("SUNW_PATCHID={id} WORD{}={id}", at % 2), said))
        });
        named.collect()
    }

    /// Makes the edits that come before the patch with this place, as far as they stay if only `ids` are applied.
    fn edit(&self, world: &mut World, place: usize, (ids, makers): (&[&str], &[Makers])) {
        for (number, edit) in self.edits.iter().enumerate() {
            let stays = makers.get(number).is_none_or(|makers| makers.are_among(ids));
            let at = path(&format!("/opt/web/{}", edit.path));
            if stays && edit.after.min(self.patches.len()) == place {
                edit.what.to(world, &at);
            }
        }
    }

    /// Returns the makers of the edited files, edit by edit, in a root with the patches `ids`; `before` are
    /// those of the root before the last of the others went.
    fn makers(&self, world: &World, ids: &[&str], before: &[Makers]) -> Vec<Makers> {
        let of = |(number, edit): (usize, &Edit)| {
            let mut makers = Makers { ids: Vec::new(), is_base: true };
            if before.get(number).is_some_and(|before| !before.are_among(ids)) {
                return Makers { is_base: false, ..makers };
            }
            let applied = (0..edit.after.min(self.patches.len())).rev().map(id_of);
            for id in applied.filter(|id| ids.contains(&id.as_str())) {
                let objects = &world.archives[&(package("ACMEweb"), id.clone())].manifest.objects;
                let object = format!("/opt/web/{}", edit.path);
                let Some(record) = objects.iter().find(|record| record.path == object) else { continue };
                makers.ids.push(id);
                if !record.is_untouched() {
                    makers.is_base = false;
                    break;
                }
            }
            makers
        };
        self.edits.iter().enumerate().map(of).collect()
    }
}

impl Done {
    /// Edits the existing object, if it is a file. An edit makes a new file: other names keep the old one.
    fn to(&self, world: &mut World, at: &ObjectPath) {
        let live = world.inventory.live.get_mut(at);
        let Some(live) = live.filter(|live| matches!(live.kind, LiveKind::Regular { .. })) else { return };
        match self {
            Self::Written(content) => {
                let text = format!("edited {at} {content}").into_bytes();
                let old = live.clone();
                world.replace(at, regular(&text));
                world.bytes.insert(at.clone(), text);
                let Some(live) = world.inventory.live.get_mut(at) else { return };
                (live.mode, live.uid, live.gid) = (old.mode, old.uid, old.gid);
                live.mtime = Timestamp { seconds: old.mtime.seconds + 1, ..old.mtime };
            }
            Self::Attributes => live.mode = Mode::of(0o700),
            Self::Touched => live.mtime.seconds += 7,
            Self::Linked => world.replace(at, LiveKind::Symlink(b"elsewhere".to_vec())),
            Self::Removed => world.take(at),
        }
    }
}

/// The makers of an edited file: the patch that changed it last, and the later ones that found it as they
/// deliver it. The edit stays while one of them does.
struct Makers {
    ids: Vec<String>,
    /// True if the package has it so.
    is_base: bool,
}

impl Makers {
    fn are_among(&self, ids: &[&str]) -> bool {
        self.is_base || self.ids.iter().any(|id| ids.contains(&id.as_str()))
    }
}

fn id_of(at: usize) -> String {
    format!("90{}-01", at + 1)
}

/// Returns the administrator's edits, live or in undo archives, with their places. `own` leaves out edits
/// that exist only under other names: patches made those names, and they go with the patches.
fn written_by_hand(world: &World, own: bool) -> BTreeSet<Vec<u8>> {
    let live = world.bytes.iter().map(|(at, bytes)| (at.to_string(), bytes));
    let saved = world.archives.values().flat_map(|stored| &stored.bytes);
    let saved = saved.map(|(at, bytes)| (at.to_string(), bytes));
    let is_wanted = |(at, bytes): &(String, &Vec<u8>)| {
        let text = String::from_utf8_lossy(bytes);
        let written = text.strip_prefix("edited ").and_then(|rest| rest.split(' ').next());
        written.is_some_and(|path| !own || path.ends_with(at.as_str()))
    };
    live.chain(saved).filter(is_wanted).map(|(_, bytes)| bytes.clone()).collect()
}

/// Returns the compared parts: tree, lines, parameters.
fn shown(world: &World, tree: &[String]) -> Vec<String> {
    let mut lines = without_kept(tree);
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

/// Returns a tree without the files that were kept beside others, whose lines end with numbers of files.
fn without_kept(tree: &[String]) -> Vec<String> {
    let mut numbers = BTreeMap::new();
    let lines = tree.iter().filter(|line| !line.contains(".edited-")).map(|line| {
        let (line, number) = line.rsplit_once(' ').unwrap();
        let next = numbers.len();
        format!("{line} {}", numbers.entry(number.to_owned()).or_insert(next))
    });
    lines.collect()
}

/// Returns a tree without the directories that are there for kept files alone, and are not in the other tree.
fn without_their_directories(tree: &[String], other: &[String]) -> Vec<String> {
    let path = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let others: Vec<String> = other.iter().map(|line| path(line)).collect();
    let is_for_kept = |line: &&String| {
        let below = format!("{}/", path(line));
        let inside = || tree.iter().filter(|other| other.starts_with(&below));
        let is_kept = |one: &String| one.contains(".edited-") || one.contains(" Directory Mode(");
        inside().any(|one| one.contains(".edited-")) && !others.contains(&path(line)) && inside().all(is_kept)
    };
    tree.iter().filter(|line| !is_for_kept(line)).cloned().collect()
}

/// Returns a root with some of the patches; none if one of them cannot be applied without the others. An edit
/// stays as long as one of its `makers`.
fn with(story: &Story, ids: &[&str], makers: &[Makers]) -> Option<World> {
    let empty = if story.is_privileged { World::new() } else { World::new().unprivileged() };
    let mut world = empty.if_installed(&parcel_of("base", "", &story.base))?;
    world.options.edits.general = Edited::Replace;
    for (place, (id, parcel)) in story.patches().iter().enumerate() {
        story.edit(&mut world, place, (ids, makers));
        if ids.contains(&id.as_str()) && world.patchadd(parcel) != 0 {
            return None;
        }
    }
    story.edit(&mut world, story.patches.len(), (ids, makers));
    Some(world)
}

/// The number of stories of each kind in a sample, and in the whole suite.
const STORIES: (u32, u32) = (400, 100_000);

/// The same for stories without privileges.
const UNPRIVILEGED: (u32, u32) = (100, 20_000);

/// The counts over all stories.
#[derive(Debug, Default)]
struct Seen {
    /// Stories whose patches could all be applied.
    played: u32,
    gone: usize,
    refused: BTreeMap<String, usize>,
}

impl Seen {
    /// Prints how often each action was done. A story that differs has failed before.
    fn tell(&self, about: &str, stories: u32) {
        println!("{self:?}");
        let of_the_middle = self.gone as u64;
        let counts =
            [("stories", stories.into()), ("backouts in the middle", of_the_middle), ("differences", 0)];
        figures(about, &counts);
    }
}

fn play(story: &Story, seen: &mut Seen) -> Result<(), String> {
    let named = story.patches();
    let ids: Vec<&str> = named.iter().map(|(id, _)| id.as_str()).collect();
    let Some(mut world) = with(story, &ids, &[]) else { return Ok(()) };
    seen.played += 1;
    let by_hand = written_by_hand(&world, true);
    let mut makers = story.makers(&world, &ids, &[]);
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
        for going in in_runs(&world, going) {
            let is_middle = left.iter().any(|id| !going.contains(id) && *id > going[going.len() - 1]);
            world.know_all();
            match world.plan_removals(&going) {
                Ok(_) => {
                    assert_eq!(world.patchrm_all(&going), 0);
                    left.retain(|id| !going.contains(id));
                    seen.gone += usize::from(is_middle);
                    let Some(alone) = with(story, &left, &makers) else { return Ok(()) };
                    compare(&world, &alone, &format!("{going:?} went, {left:?} stay"))?;
                    makers = story.makers(&alone, &left, &makers);
                }
                Err(refusal) => {
                    *seen.refused.entry(word_of(&refusal)?).or_default() += 1;
                    break;
                }
            }
        }
    }
    left.reverse();
    for id in left.clone() {
        world.know_all();
        match world.plan_removal(id) {
            Ok(_) => assert_eq!(world.patchrm(id), 0),
            Err(refusal) => return Err(format!("{id}: {}", refusal.why())),
        }
    }
    let still = written_by_hand(&world, false);
    if let Some(lost) = by_hand.difference(&still).next() {
        return Err(format!("lost: {}", String::from_utf8_lossy(lost)));
    }
    let Some(base) = with(story, &[], &makers) else { return Ok(()) };
    compare(&world, &base, "all went")
}

/// Returns the patches in the runs in which they go: all in one, or one by one.
fn in_runs<'i>(world: &World, going: Vec<&'i str>) -> Vec<Vec<&'i str>> {
    let manifest = |id: &&str| &world.archives[&(package("ACMEweb"), (*id).to_owned())].manifest;
    let manifests: Vec<&UndoManifest> = going.iter().map(manifest).collect();
    if may_go_as_one(&manifests) { vec![going] } else { going.into_iter().map(|id| vec![id]).collect() }
}

/// Returns why patches stay, in a word.
fn word_of(refusal: &Refusal) -> Result<String, String> {
    if refusal.code() != 6 {
        return Err(format!("{}: {}", refusal.code(), refusal.why()));
    }
    Ok(match &*refusal.reason {
        Reason::NotHandedOn { why, .. } => format!("{why:?}"),
        other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
    })
}

fn compare(world: &World, alone: &World, when: &str) -> Result<(), String> {
    let (tree, tree_to_be) = (world.tree(), alone.tree());
    let (is, is_to_be) =
        (shown(world, &without_their_directories(&tree, &tree_to_be)), shown(alone, &tree_to_be));
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
    let mut seen = Seen::default();
    let count = play_stories(&stories(plain, written()), STORIES, |story| play(story, &mut seen));
    let Some(count) = count else { return };
    seen.tell("random-patches", count);
    let refused: usize = seen.refused.values().sum();
    assert!(seen.gone >= refused, "{seen:?}");
    for why in [Attributes, LooksAtFile, OtherNames, Symlink, TypeChange] {
        assert!(seen.refused.contains_key(&format!("{why:?}")), "{why:?} never stood in the way: {seen:?}");
    }
    assert!(seen.refused.contains_key("UsedLater"), "{seen:?}");
    let known = ["LooksAtFile", "Symlink", "TypeChange", "OtherNames", "Attributes", "UsedLater"];
    assert!(seen.refused.keys().all(|word| known.contains(&word.as_str())), "{seen:?}");
}

#[test]
fn the_same_of_files_with_several_names_and_of_whatever_an_administrator_does() {
    let mut seen = Seen::default();
    let count = play_stories(&stories(odd, done()), STORIES, |story| play(story, &mut seen));
    let Some(count) = count else { return };
    seen.tell("random-patches-and-edits", count);
    assert!(seen.played > count / 8, "{seen:?}");
}

#[test]
fn the_same_without_privileges() {
    let stories = stories(odd, done()).prop_map(|story| Story { is_privileged: false, ..story });
    let mut seen = Seen::default();
    let count = play_stories(&stories, UNPRIVILEGED, |story| play(story, &mut seen));
    let Some(count) = count else { return };
    seen.tell("random-patches-of-a-user", count);
    assert!(seen.played > count / 8, "{seen:?}");
}
