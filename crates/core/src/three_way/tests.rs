//! The table line by line, and the effects of paths on one another.

use std::collections::BTreeSet;

use super::*;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_inputs::policy::Edited;
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_releases::ReleaseObject;
use patchadm_rootfs::{Digest, FileType, Timestamp};
use patchadm_svr4::package::ObjectPath;

struct Facts {
    choice: Edited,
    volatile: &'static [&'static str],
    edited: &'static [&'static str],
    needed: &'static [&'static str],
}

impl PathFacts for Facts {
    fn choice(&self, _: &ObjectPath) -> Edited {
        self.choice
    }

    fn is_volatile(&self, path: &ObjectPath) -> bool {
        self.volatile.contains(&path.to_string().as_str())
    }

    fn is_edited(&self, path: &ObjectPath) -> bool {
        self.edited.contains(&path.to_string().as_str())
    }

    fn is_needed(&self, path: &ObjectPath) -> bool {
        self.needed.contains(&path.to_string().as_str())
    }
}

const PLAIN: Facts = Facts { choice: Edited::Stop, volatile: &[], edited: &[], needed: &[] };

fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text.as_bytes()).unwrap()
}

/// Returns an object `PATH CONTENT`: `/` is a directory, `>TARGET` a link, anything else the bytes of a file; `@N` after it
/// is a time, `#N` a group of names, `%MODE` a mode.
fn object(text: &str) -> ReleaseObject {
    let mut words = text.split(' ');
    let at = path(words.next().unwrap());
    let content = words.next().unwrap();
    let (mut mode, mut mtime, mut group) = (0o644, 1, None);
    for word in words {
        match word.split_at(1) {
            ("@", time) => mtime = time.parse().unwrap(),
            ("#", number) => group = Some(number.parse().unwrap()),
            ("%", bits) => mode = u32::from_str_radix(bits, 8).unwrap(),
            _ => panic!("{text}"),
        }
    }
    let kind = match content.as_bytes()[0] {
        b'/' => FileType::Directory,
        b'>' => FileType::Symlink,
        _ => FileType::Regular,
    };
    let is_file = kind == FileType::Regular;
    let state = RecordedState {
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp::whole(mtime),
        size: is_file.then_some(content.len() as u64),
        b3: is_file.then(|| Box::new(Digest::of(content.as_bytes()).into())),
        target: (kind == FileType::Symlink).then(|| content[1..].into()),
        device: None,
        xattrs: BTreeMap::new(),
        group,
    };
    of_recorded(&at, &state, ComparedAttributes { owners: true }).unwrap()
}

fn tree(objects: &[&str]) -> Vec<ReleaseObject> {
    let mut objects: Vec<ReleaseObject> = objects.iter().map(|text| object(text)).collect();
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    objects
}

fn shown(outcomes: &Outcomes) -> Vec<String> {
    let word = |outcome: &PathOutcome| match outcome {
        PathOutcome::Take => "take".to_owned(),
        PathOutcome::TakeTime => "time".to_owned(),
        PathOutcome::Delete => "delete".to_owned(),
        PathOutcome::Keep(because) => format!("keep {}", because.word()),
        PathOutcome::Conflict(Conflict { from, to, decision }) => {
            format!("conflict {} {} {}", from.word(), to.word(), decision.word())
        }
    };
    outcomes.iter().map(|(path, outcome)| format!("{path} {}", word(outcome))).collect()
}

fn three(base: &[&str], from: &[&str], to: &[&str], facts: &Facts) -> Vec<String> {
    let (base, from, to) = (tree(base), tree(from), tree(to));
    let standing = BTreeSet::new();
    let sides = Sides { base: Some(&base), from: &from, to: &to, standing: &standing };
    shown(&TreeDifferences::of(&sides).decide(&sides, TwoWay::default(), facts))
}

fn two(from: &[&str], to: &[&str], two_way: TwoWay, facts: &Facts) -> Vec<String> {
    let (from, to) = (tree(from), tree(to));
    let standing = BTreeSet::new();
    let sides = Sides { base: None, from: &from, to: &to, standing: &standing };
    shown(&TreeDifferences::of(&sides).decide(&sides, two_way, facts))
}

#[test]
fn every_line_of_the_table_with_a_base() {
    let state = |letter: char| (letter != '-').then(|| format!("/f {letter}"));
    for (states, expected) in [
        ("AAA", None),
        ("ABA", Some("take")),
        ("A-A", Some("delete")),
        ("AAB", Some("keep live-only")),
        ("AA-", Some("keep live-only")),
        ("ABB", None),
        ("A--", None),
        ("ABC", Some("conflict changed changed stop")),
        ("AB-", Some("conflict changed gone stop")),
        ("A-B", Some("conflict gone changed stop")),
        ("-A-", Some("take")),
        ("--A", Some("keep live-only")),
        ("-AA", None),
        ("-AB", Some("conflict new new stop")),
        ("---", None),
    ] {
        let sides: Vec<Vec<String>> =
            states.chars().map(|letter| state(letter).into_iter().collect()).collect();
        let sides: Vec<Vec<&str>> =
            sides.iter().map(|side| side.iter().map(String::as_str).collect()).collect();
        let found = three(&sides[0], &sides[1], &sides[2], &PLAIN);
        let expected: Vec<String> = expected.into_iter().map(|word| format!("/f {word}")).collect();
        assert_eq!(found, expected, "{states}");
    }
}

#[test]
fn every_line_of_the_table_without_a_base() {
    let deletes = TwoWay { deletes: true };
    let edited = Facts { edited: &["/f"], ..PLAIN };
    assert!(two(&["/f A"], &["/f A"], deletes, &PLAIN).is_empty());
    assert_eq!(two(&["/f A"], &["/f B"], deletes, &PLAIN), ["/f take"]);
    assert_eq!(two(&["/f A"], &["/f B"], deletes, &edited), ["/f conflict changed changed stop"]);
    assert_eq!(two(&["/f A"], &[], deletes, &PLAIN), ["/f take"]);
    assert_eq!(two(&[], &["/f A"], TwoWay::default(), &PLAIN), ["/f keep live-only"]);
    assert_eq!(two(&[], &["/f A"], deletes, &PLAIN), ["/f delete"]);
    assert_eq!(two(&[], &["/f A"], deletes, &edited), ["/f conflict gone changed stop"]);
}

#[test]
fn a_time_alone_is_taken_and_never_conflicts() {
    assert_eq!(three(&["/f A @1"], &["/f A @2"], &["/f A @1"], &PLAIN), ["/f time"]);
    assert_eq!(three(&["/f A @1"], &["/f A @2"], &["/f A @3"], &PLAIN), ["/f time"]);
    assert_eq!(three(&["/f A @1"], &["/f A @2"], &["/f B @3"], &PLAIN), ["/f keep live-only"]);
    assert_eq!(three(&["/f A @1"], &["/f A @2"], &[], &PLAIN), ["/f keep live-only"]);
    assert_eq!(three(&["/f A @1"], &["/f B @1"], &["/f A @2"], &PLAIN), ["/f take"]);
    assert!(three(&["/f A @1"], &["/f A @1"], &["/f A @2"], &PLAIN).is_empty());
    assert_eq!(three(&["/l >t @1"], &["/l >t @2"], &["/l >t @1"], &PLAIN), ["/l time"]);
    assert!(three(&["/d / @1"], &["/d / @2"], &["/d / @1"], &PLAIN).is_empty());
    assert_eq!(two(&["/f A @2"], &["/f A @1"], TwoWay::default(), &PLAIN), ["/f time"]);
}

#[test]
fn the_choice_about_edited_files_decides_conflicts() {
    for (choice, word) in [(Edited::Replace, "replace"), (Edited::Keep, "keep"), (Edited::Stop, "stop")] {
        let facts = Facts { choice, ..PLAIN };
        let found = three(&["/f A"], &["/f B"], &["/f C"], &facts);
        assert_eq!(found, [format!("/f conflict changed changed {word}")]);
    }
}

#[test]
fn what_is_volatile_stays_as_it_is_on_the_live_tree() {
    let facts = Facts { volatile: &["/log"], ..PLAIN };
    assert_eq!(three(&["/log A"], &["/log B"], &["/log C"], &facts), ["/log keep volatile"]);
    assert_eq!(three(&["/log A"], &["/log B"], &["/log A"], &facts), ["/log keep volatile"]);
    assert!(three(&["/log A @1"], &["/log A @2"], &["/log A @1"], &facts).is_empty());
    assert_eq!(three(&[], &["/log A"], &[], &facts), ["/log take"], "where nothing is it may come");
    assert_eq!(two(&["/log A"], &["/log B"], TwoWay::default(), &facts), ["/log keep volatile"]);
}

#[test]
fn what_is_needed_stays_although_the_source_deleted_it_and_so_do_the_directories_above() {
    let facts = Facts { choice: Edited::Replace, needed: &["/d/f"], ..PLAIN };
    let base = ["/d /", "/d/f A", "/d/g A"];
    assert_eq!(three(&base, &[], &base, &facts), ["/d keep live-only", "/d/f keep live-only", "/d/g delete"]);
    let changed = ["/d /", "/d/f B", "/d/g A"];
    assert_eq!(
        three(&base, &[], &changed, &facts),
        ["/d keep live-only", "/d/f keep live-only", "/d/g delete"]
    );
    assert_eq!(
        three(&base, &["/d /", "/d/f C", "/d/g A"], &base, &facts),
        ["/d/f take"],
        "what comes instead"
    );
}

#[test]
fn names_of_a_file_are_part_of_its_state() {
    let linked = ["/a x #1", "/b x #1"];
    assert_eq!(three(&linked, &["/a x", "/b x"], &linked, &PLAIN), ["/a take", "/b take"]);
    assert_eq!(three(&linked, &["/a y", "/b x"], &linked, &PLAIN), ["/a take", "/b take"]);
    assert!(three(&linked, &["/a x #7", "/b x #7"], &linked, &PLAIN).is_empty());
}

#[test]
fn a_directory_that_is_gone_comes_again_for_what_is_taken_below_it() {
    let base = ["/d /", "/d/a A", "/d/e /", "/d/e/f F"];
    let from = ["/d /", "/d/a A", "/d/e /", "/d/e/f G"];
    assert_eq!(
        three(&base, &from, &[], &PLAIN),
        [
            "/d keep live-only",
            "/d/a keep live-only",
            "/d/e keep live-only",
            "/d/e/f conflict changed gone stop"
        ]
    );
    let facts = Facts { choice: Edited::Replace, ..PLAIN };
    assert_eq!(
        three(&base, &from, &[], &facts),
        ["/d take", "/d/a keep live-only", "/d/e take", "/d/e/f conflict changed gone replace"]
    );
    let new = ["/d /", "/d/a A", "/d/new N"];
    assert_eq!(
        three(&["/d /", "/d/a A"], &new, &[], &PLAIN),
        ["/d take", "/d/a keep live-only", "/d/new take"]
    );
}

#[test]
fn what_is_taken_below_something_else_than_a_directory_stops() {
    let new = ["/d /", "/d/new N"];
    assert_eq!(
        three(&["/d /"], &new, &["/d >e"], &PLAIN),
        ["/d keep live-only", "/d/new conflict changed gone stop"]
    );
    let both = three(&["/d /"], &new, &["/d F"], &Facts { choice: Edited::Keep, ..PLAIN });
    assert_eq!(both, ["/d keep live-only", "/d/new conflict changed gone stop"]);
}

#[test]
fn a_directory_with_something_that_stays_neither_goes_nor_turns() {
    let base = ["/d /", "/d/a A"];
    assert_eq!(three(&base, &[], &base, &PLAIN), ["/d delete", "/d/a delete"]);
    let live = ["/d /", "/d/a A", "/d/mine M"];
    assert_eq!(
        three(&base, &[], &live, &PLAIN),
        ["/d keep live-only", "/d/a delete", "/d/mine keep live-only"]
    );
    assert_eq!(three(&base, &["/d F"], &base, &PLAIN), ["/d take", "/d/a delete"]);
    assert_eq!(
        three(&base, &["/d F"], &live, &Facts { choice: Edited::Replace, ..PLAIN }),
        ["/d conflict changed changed stop", "/d/a delete", "/d/mine keep live-only"]
    );
}

#[test]
fn a_directory_with_a_socket_or_a_mount_point_stays() {
    let (base, from, to) = (tree(&["/d /", "/d/a A"]), tree(&[]), tree(&["/d /", "/d/a A"]));
    let standing = BTreeSet::from([path("/d/socket")]);
    let sides = Sides { base: Some(&base), from: &from, to: &to, standing: &standing };
    let outcomes = TreeDifferences::of(&sides).decide(&sides, TwoWay::default(), &PLAIN);
    assert_eq!(shown(&outcomes), ["/d keep live-only", "/d/a delete"]);
}

#[test]
fn without_a_base_directories_keep_their_attributes_and_links_in_their_place_stop() {
    assert!(two(&["/d / %755"], &["/d / %700"], TwoWay::default(), &PLAIN).is_empty());
    assert_eq!(
        two(&["/d /", "/d/a A"], &["/d >e"], TwoWay::default(), &PLAIN),
        ["/d conflict changed changed stop", "/d/a conflict changed gone stop"]
    );
    assert_eq!(two(&["/d /"], &["/d F"], TwoWay::default(), &PLAIN), ["/d take"]);
}

#[test]
fn what_a_copy_without_privileges_could_not_have_is_no_difference() {
    let state = |mode, uid| RecordedState {
        kind: FileType::Regular,
        mode,
        uid,
        gid: uid,
        mtime: Timestamp::whole(1),
        size: Some(1),
        b3: Some(Box::new(Digest::of(b"x").into())),
        target: None,
        device: None,
        xattrs: [("security.capability".to_owned(), "00".to_owned())]
            .into_iter()
            .take(uid as usize)
            .collect(),
        group: None,
    };
    let object = |mode, uid, owners| {
        vec![of_recorded(&path("/f"), &state(mode, uid), ComparedAttributes { owners }).unwrap()]
    };
    let standing = BTreeSet::new();
    for (owners, count) in [(true, 1), (false, 0)] {
        let (base, to) = (object(0o4755, 0, owners), object(0o4755, 0, owners));
        let from = object(0o755, 1, owners);
        let sides = Sides { base: Some(&base), from: &from, to: &to, standing: &standing };
        assert_eq!(
            TreeDifferences::of(&sides).decide(&sides, TwoWay::default(), &PLAIN).len(),
            count,
            "{owners}"
        );
    }
}
