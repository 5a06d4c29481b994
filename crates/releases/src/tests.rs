//! Two lists of objects compared.

use std::collections::BTreeMap;

use super::*;
use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{Mode, checksum};

fn object(path: &str, mode: u32, kind: ReleaseObjectKind) -> ReleaseObject {
    let root = ObjectOwner { name: Some("root".into()), id: Some(0) };
    ReleaseObject {
        path: ObjectPath::new(path.as_bytes()).unwrap(),
        kind,
        mode: Mode::of(mode),
        owner: root.clone(),
        group: root,
        mtime: Timestamp::whole(1_577_836_800),
        xattrs: BTreeMap::new(),
        class: String::new().into(),
    }
}

fn regular(path: &str, bytes: &str, links: Option<LinkGroup>) -> ReleaseObject {
    let bytes = bytes.as_bytes();
    let (size, cksum, digest) = (bytes.len() as u64, checksum::sum(bytes), Digest::of(bytes));
    let content = FileContent { size, cksum, digest };
    object(path, 0o644, ReleaseObjectKind::File { content, upkeep: Upkeep::Delivered, links })
}

fn file(path: &str, bytes: &str) -> ReleaseObject {
    regular(path, bytes, None)
}

fn link(path: &str, bytes: &str, group: u32) -> ReleaseObject {
    regular(path, bytes, Some(LinkGroup(group)))
}

fn directory(path: &str) -> ReleaseObject {
    object(path, 0o755, ReleaseObjectKind::Directory { exclusive: false })
}

fn symlink(path: &str, target: &str) -> ReleaseObject {
    object(path, 0o777, ReleaseObjectKind::Symlink(target.as_bytes().to_vec()))
}

fn said(old: &[ReleaseObject], new: &[ReleaseObject]) -> Vec<String> {
    let (mut old, mut new) = (old.to_vec(), new.to_vec());
    old.sort_by(|a, b| a.path.cmp(&b.path));
    new.sort_by(|a, b| a.path.cmp(&b.path));
    let words = |change: &ObjectChange| match change.kind {
        ChangeKind::Added => format!("{} added", change.path),
        ChangeKind::Deleted => format!("{} deleted", change.path),
        ChangeKind::Replaced(differences) => format!("{} {differences}", change.path),
    };
    compare(&old, &new, CompareOptions::default()).changes.iter().map(words).collect()
}

#[test]
fn what_is_on_one_side_only_was_added_or_deleted() {
    let (a, b, c) = (file("/a", "x"), file("/b", "x"), file("/c", "x"));
    assert_eq!(said(&[a.clone(), b.clone()], &[b, c]), ["/a deleted", "/c added"]);
    assert_eq!(said(&[a], &[]), ["/a deleted"]);
}

#[test]
fn every_respect_in_which_objects_differ_is_named() {
    let old = file("/f", "old");
    let mut new = file("/f", "new");
    assert_eq!(said(std::slice::from_ref(&old), std::slice::from_ref(&new)), ["/f bytes"]);
    new.mode = Mode::of(0o600);
    new.owner.name = Some("bin".into());
    new.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
    assert_eq!(said(std::slice::from_ref(&old), &[new]), ["/f bytes mode owner xattrs"]);
    assert_eq!(said(std::slice::from_ref(&old), &[symlink("/f", "g")]), ["/f type"]);
    assert_eq!(said(&[symlink("/f", "g")], &[symlink("/f", "h")]), ["/f target"]);
    assert_eq!(said(&[directory("/f")], &[old]), ["/f type mode"]);
}

#[test]
fn attributes_alone_are_told_from_other_changes() {
    let old = file("/f", "x");
    let mut new = old.clone();
    new.mode = Mode::of(0o600);
    let found = compare(std::slice::from_ref(&old), &[new], CompareOptions::default());
    let [ObjectChange { kind: ChangeKind::Replaced(differences), .. }] = &found.changes[..] else { panic!() };
    assert!(differences.is_attributes_only());
    assert!(!Differences { bytes: true, mode: true, ..Differences::default() }.is_attributes_only());
    assert!(!Differences::default().is_attributes_only());
}

#[test]
fn a_new_time_alone_is_no_change_unless_it_is_asked_for() {
    let old = file("/f", "x");
    let mut new = old.clone();
    new.mtime.seconds += 1;
    assert!(said(std::slice::from_ref(&old), std::slice::from_ref(&new)).is_empty());
    let found = compare(
        std::slice::from_ref(&old),
        std::slice::from_ref(&new),
        CompareOptions { mtimes: true, ..CompareOptions::default() },
    );
    assert_eq!(found.changes.len(), 1);
    let (mut here, mut later) = (directory("/d"), directory("/d"));
    (here.mtime.seconds, later.mtime.seconds) = (1, 2);
    assert!(
        compare(&[here], &[later], CompareOptions { mtimes: true, ..CompareOptions::default() })
            .changes
            .is_empty()
    );
}

#[test]
fn an_owner_is_compared_by_name_and_by_number_only_where_a_name_is_missing() {
    let mut old = file("/f", "x");
    let mut new = old.clone();
    (old.owner.id, new.owner.id) = (Some(5), Some(6));
    assert!(said(std::slice::from_ref(&old), std::slice::from_ref(&new)).is_empty(), "the same name");
    new.owner.name = None;
    assert_eq!(said(&[old], &[new]), ["/f owner"]);
}

#[test]
fn every_name_of_a_file_changes_when_its_names_do() {
    let two = [link("/a", "x", 1), link("/b", "x", 1)];
    let three = [link("/a", "x", 7), link("/b", "x", 7), link("/c", "x", 7)];
    assert!(said(&two, &[link("/a", "x", 3), link("/b", "x", 3)]).is_empty(), "the number means nothing");
    assert_eq!(said(&two, &three), ["/a links", "/b links", "/c added"]);
    assert_eq!(said(&two, &[file("/a", "x"), file("/b", "x")]), ["/a links", "/b links"]);
    assert_eq!(said(&three, &two), ["/a links", "/b links", "/c deleted"]);
}

#[test]
fn files_with_very_many_names_are_compared_in_no_time() {
    let names = |groups: u32| -> Vec<ReleaseObject> {
        (0..100_000_u32).map(|number| link(&format!("/{number:06}"), "x", number % groups)).collect()
    };
    let options = CompareOptions::default();
    assert!(compare(&names(1), &names(1), options).changes.is_empty());
    assert_eq!(compare(&names(1), &names(2), options).changes.len(), 100_000);
}
