//! Requests and the resulting lines: one after the other, and all at once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::{Accounts, Mode};

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn lines(text: &str) -> BTreeMap<ObjectPath, ContentsLine> {
    let lines = text.lines().map(|line| ContentsLine::parse(line.as_bytes()).unwrap());
    lines.map(|line| (line.path.clone(), line)).collect()
}

fn live(kind: LiveKind, inode: u64) -> Live {
    Live {
        kind,
        mode: Mode::of(0o640),
        uid: 3,
        gid: 2,
        mtime: Timestamp::whole(981_173_106),
        ctime: Timestamp::default(),
        inode: Inode { number: inode, born: None },
        links: 1,
        xattrs: patchadm_rootfs::Xattrs::new(),
        obstacle: None,
    }
}

/// Returns the objects in the root of these tests.
fn objects() -> BTreeMap<ObjectPath, Live> {
    let file = || LiveKind::Regular { size: 5, b3: Digest([0; 32]), cksum: 417 };
    let objects = [
        ("/d", LiveKind::Directory, 1),
        ("/f", file(), 2),
        ("/h", file(), 2),
        ("/other", file(), 3),
        ("/s", LiveKind::Symlink(b"f".to_vec()), 4),
        ("/p", LiveKind::Pipe, 5),
        ("/c", LiveKind::Device { block: false, major: 1, minor: 3 }, 6),
    ];
    objects.into_iter().map(|(path, kind, inode)| (at(path), live(kind, inode))).collect()
}

fn accounts() -> Accounts {
    Accounts::parse(b"root:x:0:\nadm:x:3:\n", b"root:x:0:\nbin:x:2:\n")
}

/// Returns the lines after some requests, all at once.
fn after(before: &str, requests: &str) -> String {
    let before = lines(before);
    let queue = InstallfRequests::parse(requests.as_bytes()).unwrap();
    let inventory =
        Inventory { lines: before, live: objects(), accounts: accounts(), ..Inventory::default() };
    let edits = merged(&inventory, &queue);
    let before = inventory.lines;
    written(applied(before, edits))
}

fn applied(
    mut lines: BTreeMap<ObjectPath, ContentsLine>,
    edits: ContentsEdits,
) -> BTreeMap<ObjectPath, ContentsLine> {
    for (path, line) in edits {
        assert_ne!(lines.get(&path), line.as_deref(), "an edit is a change");
        match line {
            Some(line) => drop(lines.insert(path, *line)),
            None => drop(lines.remove(&path)),
        }
    }
    lines
}

fn written(lines: BTreeMap<ObjectPath, ContentsLine>) -> String {
    lines.into_values().map(|line| String::from_utf8(line.write()).unwrap() + "\n").collect()
}

#[test]
fn what_is_open_is_filled_in_when_it_is_final() {
    let requests = "add A ? /f f ? ? ?\nadd A ? /d d ? root ?\nadd A ? /c c ? ? 0666 root root\n";
    assert_eq!(
        after("", requests),
        "/c c none ? ? 0666 root root +A\n/d d none ? root ? +A\n/f f none ? ? ? 5 417 981173106 +A\n"
    );
    assert_eq!(
        after("", &format!("{requests}finish-add A ?\n")),
        "/c c none 1 3 0666 root root A\n/d d none 0640 root bin A\n/f f none 0640 adm bin 5 417 981173106 A\n"
    );
}

#[test]
fn what_cannot_be_put_right_is_marked() {
    let requests = "add A ? /gone f 0644 root root\nadd A ? /f d 0755 root root\nadd A ? /c c 1 5 0666 root root\n\
                    add A ? /new c ? ? 0666 root root\nadd A ? /other=f l\nadd A ? /h=f l\nadd A ? /x=gone l\n\
                    add A ? /made d ? ? ?\nadd A ? /s=elsewhere s\nfinish-add A ?\n";
    assert_eq!(
        after("", requests),
        "/c c none 1 5 0666 root root !A\n/f d none 0755 root root !A\n/gone f none 0644 root root ? ? ? !A\n\
         /h=f l none A\n/made d none 0755 root root A\n/new c none ? ? 0666 root root !A\n/other=f l none !A\n\
         /s=elsewhere s none A\n/x=gone l none !A\n"
    );
}

#[test]
fn classes_stay_with_the_line_and_a_mismatch_with_its_owner() {
    let before = "/f f conf 0644 root root 5 417 981173106 B\n";
    let line = |owners: &str| format!("/f f conf 0644 root root 5 417 981173106 {owners}\n");
    assert_eq!(after(before, "add A conf /f\n"), line("B +A"));
    assert_eq!(after(before, "add A ? /f\n"), line("B +A:none"));
    assert_eq!(after(before, "add A other /f\nfinish-add A none\n"), line("B +A:other"));
    assert_eq!(after(before, "add A other /f\nfinish-add A other\n"), line("B A:other"));
    assert_eq!(after(before, "add B ? /f\nfinish-add B ?\n"), before, "its own class is no mismatch");
}

#[test]
fn who_gives_up_goes_and_a_line_without_owners_with_them() {
    let before = "/d d none 0755 root root A\n/f f none 0644 root root 5 417 981173106 A B\n";
    let marked = "/d d none 0755 root root -A\n/f f none 0644 root root 5 417 981173106 B -A\n";
    assert_eq!(after(before, "remove A /d\nremove A /f\nremove A /none\n"), marked);
    assert_eq!(
        after(marked, "remove C /f\nfinish-remove C\nfinish-remove A\n"),
        "/f f none 0644 root root 5 417 981173106 B\n"
    );
    assert_eq!(
        after(marked, "add A ? /d\nfinish-remove A\nfinish-add A ?\n"),
        "/d d none 0755 root root A\n/f f none 0644 root root 5 417 981173106 B\n"
    );
}

#[test]
fn another_type_leaves_nothing_of_the_old_one() {
    let before = "/s=f s none A\n";
    assert_eq!(after(before, "add A ? /s f 0644 root root\n"), "/s f none 0644 root root ? ? ? +A\n");
    assert_eq!(after(before, "add A ? /s\n"), "/s=f s none +A\n");
    assert_eq!(after("", "add A ? /s\n"), "/s=f s none +A\n", "the live object says what it is");
}

fn any_request() -> impl Strategy<Value = String> {
    let package = || prop_oneof![Just("A"), Just("B")];
    let object = prop_oneof![
        Just("/f"),
        Just("/f f 0644 root sys"),
        Just("/f e ? ? ?"),
        Just("/d d 0755 root root"),
        Just("/h=f l"),
        Just("/other=h l"),
        Just("/s=d s"),
        Just("/gone f ? ? ?"),
        Just("/made p 0600 root root"),
        Just("/s"),
    ];
    let path = prop_oneof![Just("/f"), Just("/d"), Just("/h"), Just("/s"), Just("/gone")];
    let class = || prop_oneof![Just("?"), Just("none"), Just("conf")];
    prop_oneof![
        (package(), class(), object)
            .prop_map(|(package, class, object)| format!("add {package} {class} {object}\n")),
        (package(), path).prop_map(|(package, path)| format!("remove {package} {path}\n")),
        (package(), class()).prop_map(|(package, class)| format!("finish-add {package} {class}\n")),
        package().prop_map(|package| format!("finish-remove {package}\n")),
    ]
}

proptest! {
    #[test]
    fn requests_of_a_run_leave_the_lines_of_calls_outside_of_one(
        requests in proptest::collection::vec(any_request(), 0..12)
    ) {
        let before = "/d d none 0755 root root A\n/f f conf 0644 root root 5 417 981173106 A B\n";
        let one_by_one = requests.iter().fold(before.to_owned(), |lines, request| after(&lines, request));
        prop_assert_eq!(after(before, &requests.concat()), one_by_one);
    }
}
