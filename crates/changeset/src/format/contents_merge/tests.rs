//! Examples of the merge: the places of lines, the parts that stay byte for byte, and a comparison with a simple
//! implementation.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use proptest::prelude::*;

const TRAILER: &str = "# Last modified by pkgadd for ACMEfoo package\n# Fri Nov 20 06:37:39 2026\n";

fn trailer() -> ContentsTrailer {
    let when = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).unwrap().and_hms_opt(6, 37, 39).unwrap();
    ContentsTrailer { program: "pkgadd".to_owned(), package: PkgInst::new("ACMEfoo").unwrap(), when }
}

fn edits(list: &[(&str, Option<&str>)]) -> ContentsEdits {
    let edit = |(path, line): &(&str, Option<&str>)| {
        let line = line.map(|line| Box::new(ContentsLine::parse(line.as_bytes()).unwrap()));
        (ObjectPath::new(path.as_bytes()).unwrap(), line)
    };
    list.iter().map(edit).collect()
}

#[track_caller]
fn merged(old: &str, edits: &ContentsEdits) -> (String, MergeReport) {
    let mut out = Vec::new();
    let report = merge(old.as_bytes(), &mut out, edits, &trailer()).unwrap().report;
    (String::from_utf8(out).unwrap(), report)
}

#[test]
fn edits_find_their_places_and_the_rest_is_copied() {
    let old = "# a comment of mine\n\
        /bin=./usr/bin s  none   A\n\
        /bin.old d none 0755 root root A\n\
        /etc d none 0755 root sys A B\n\
        # another\n\
        /gone p none 0600 a b A\n\
        # Last modified by pkgrm for B package\n\
        # Thu Jan  1 00:00:00 1970\n\
        # the end";
    let edits = edits(&[
        ("/a", Some("/a d none 0755 root root C")),
        ("/bin", Some("/bin d none 0755 root root C")),
        ("/etc/x", Some("/etc/x=y s none C")),
        ("/gone", None),
        ("/never", None),
        ("/z", Some("/z d none 0755 root root C")),
    ]);
    let (new, report) = merged(old, &edits);
    let expected = "# a comment of mine\n\
        /a d none 0755 root root C\n\
        /bin d none 0755 root root C\n\
        /bin.old d none 0755 root root A\n\
        /etc d none 0755 root sys A B\n\
        # another\n\
        /etc/x=y s none C\n\
        # the end\n\
        /z d none 0755 root root C\n";
    assert_eq!(new, format!("{expected}{TRAILER}"));
    let expected = MergeReport { kept: 2, replaced: 1, inserted: 3, deleted: 1, absent: 1, duplicates: 0 };
    assert_eq!(report, expected);
}

#[test]
fn the_order_is_that_of_the_paths_and_not_of_the_lines() {
    // As lines, `/a!` comes before `/a=`, and `/a\040b` after both; as paths, `/a` and `/a b` come first.
    let old = "/a=x s none A\n/a\\040b d none 0755 r r A\n/a! d none 0755 r r A\n";
    assert_eq!(merged(old, &ContentsEdits::new()).0, format!("{old}{TRAILER}"));
    let (new, _) = merged(old, &edits(&[("/a b", None)]));
    assert_eq!(new, format!("/a=x s none A\n/a! d none 0755 r r A\n{TRAILER}"));
}

#[test]
fn an_empty_database_gets_lines_and_a_trailer() {
    let (new, _) = merged("", &edits(&[("/a", Some("/a d none 0755 root root C"))]));
    assert_eq!(new, format!("/a d none 0755 root root C\n{TRAILER}"));
}

#[test]
fn every_old_trailer_goes_and_comments_that_only_look_like_one_stay() {
    let old = "# Last modified by a for b package\n# ven 20 nov 2026 06:37:39\n\
        # Last modified by a for b package\n# no date\n# 10:00 is no trailer\n";
    assert_eq!(merged(old, &ContentsEdits::new()).0, format!("# no date\n# 10:00 is no trailer\n{TRAILER}"));
}

#[test]
fn two_lines_of_one_path_become_one_with_all_owners() {
    let old = "/x d none 0755 a b A\n# between\n/x d none 0700 c d B\n//x d none 0700 c d C\n";
    let (new, report) = merged(old, &ContentsEdits::new());
    assert_eq!(new, format!("/x d none 0755 a b A B C\n# between\n{TRAILER}"));
    assert_eq!((report.kept, report.duplicates), (1, 2));
    let (new, _) = merged(old, &edits(&[("/x", None)]));
    assert_eq!(new, format!("# between\n{TRAILER}"));
}

#[test]
fn an_unsorted_database_is_refused_by_the_stream_and_sorted_by_the_other() {
    let old = "# on c\n/c d none 0755 a b A\n# on a\n/a d none 0755 a b A\n/c d none 0755 a b B\n# end\n";
    let edits = edits(&[("/b", Some("/b d none 0755 a b A"))]);
    let refused = merge(old.as_bytes(), Vec::new(), &edits, &trailer()).unwrap_err();
    assert_eq!(refused.to_string(), "line 4: the database is not sorted by path");

    let mut out = Vec::new();
    merge_unsorted(old.as_bytes(), &mut out, &edits, &trailer()).unwrap();
    let expected =
        "# on a\n/a d none 0755 a b A\n# on c\n/b d none 0755 a b A\n/c d none 0755 a b A B\n# end\n";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}{TRAILER}"));
}

#[test]
fn a_flood_of_comments_is_not_held() {
    let comments = "# x\n".repeat(MOST_COMMENTS_HELD / 4 + 1);
    let old = format!("/x d none 0755 a b A\n{comments}/x d none 0755 a b B\n");
    let refused = merge(old.as_bytes(), Vec::new(), &ContentsEdits::new(), &trailer());
    assert!(matches!(refused, Err(ContentsError::Unsorted { .. })));
    let mut out = Vec::new();
    merge_unsorted(old.as_bytes(), &mut out, &ContentsEdits::new(), &trailer()).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("/x d none 0755 a b A B\n"));
}

fn path() -> impl Strategy<Value = ObjectPath> {
    "/[ab!=\\\\ /]{1,4}".prop_filter_map("not a path", |path| ObjectPath::new(path.as_bytes()).ok())
}

fn line(path: &ObjectPath, package: &str) -> ContentsLine {
    let mut line = ContentsLine::parse(format!("/x=y s none {package}").as_bytes()).unwrap();
    line.path = path.clone();
    line
}

proptest! {
    #[test]
    fn the_result_is_that_of_a_sorted_map(
        old in proptest::collection::btree_set(path(), 0..12),
        edits in proptest::collection::btree_map(path(), any::<bool>(), 0..8),
        shuffled in any::<bool>(),
    ) {
        let edits: ContentsEdits =
            edits.into_iter().map(|(path, set)| (path.clone(), set.then(|| Box::new(line(&path, "NEW"))))).collect();
        let mut expected: BTreeMap<_, _> = old.iter().map(|path| (path.clone(), line(path, "OLD"))).collect();
        for (path, edit) in &edits {
            match edit {
                Some(line) => expected.insert(path.clone(), (**line).clone()),
                None => expected.remove(path),
            };
        }
        let mut text: Vec<Vec<u8>> = old.iter().map(|path| [line(path, "OLD").write(), b"\n".to_vec()].concat()).collect();
        let mut out = Vec::new();
        if shuffled {
            text.reverse();
            merge_unsorted(&text.concat()[..], &mut out, &edits, &trailer()).unwrap();
        } else {
            merge(&text.concat()[..], &mut out, &edits, &trailer()).unwrap();
        }
        let mut whole: Vec<u8> = expected.values().flat_map(|line| [line.write(), b"\n".to_vec()].concat()).collect();
        whole.extend_from_slice(TRAILER.as_bytes());
        prop_assert_eq!(String::from_utf8(out), String::from_utf8(whole));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "([/#=a \\\\][ -~]{0,5}\n){0,10}") {
        for old in [&bytes[..], text.as_bytes()] {
            let _ = merge(old, Vec::new(), &ContentsEdits::new(), &trailer());
            let _ = merge_unsorted(old, Vec::new(), &ContentsEdits::new(), &trailer());
        }
    }
}

#[test]
fn every_database_of_the_classic_tools_is_sorted_and_only_its_trailer_changes() {
    let wanted = |_: &str, name: &str| name == "contents" || name.ends_with(".contents");
    let when = chrono::NaiveDate::from_ymd_opt(2026, 11, 2).unwrap().and_hms_opt(1, 2, 3).unwrap();
    let trailer = ContentsTrailer { program: "pkgadd".to_owned(), package: PkgInst::new("X").unwrap(), when };
    for (below, text) in files("contents merge", &["realdata/contents", "goldens"], wanted) {
        let mut out = Vec::new();
        let report = merge(&text[..], &mut out, &ContentsEdits::new(), &trailer);
        let report = report.unwrap_or_else(|error| panic!("{below}: {error}")).report;
        assert_eq!(report.duplicates, 0, "{below}");
        let objects: Vec<&[u8]> =
            text.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#")).collect();
        assert_eq!(report.kept, objects.len() as u64, "{below}");
        let end = b"# Last modified by pkgadd for X package\n# Mon Nov  2 01:02:03 2026\n";
        assert_eq!(out, [objects.concat(), end.to_vec()].concat(), "{below}");
    }
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared")
}

/// Returns all files below these directories for which `wanted` holds, with their paths below `../shared`.
fn files(test: &str, directories: &[&str], wanted: impl Fn(&str, &str) -> bool) -> Vec<(String, Vec<u8>)> {
    if !shared().is_dir() {
        crate::skipped(&format!("{test}: ../shared is not here"));
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = directories.iter().map(|name| shared().join(name)).collect();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let below = path.strip_prefix(shared()).unwrap().to_str().unwrap().to_owned();
            let name = path.file_name().unwrap().to_str().unwrap();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && wanted(&below, name) {
                found.push((below, fs::read(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{test}: no files");
    found
}

/// Splices compared with merges.
mod splices {
    use std::io::Cursor;

    use super::super::*;
    use patchadm_rootfs::Digest;
    use patchadm_rootfs::Inode;
    use patchadm_rootfs::Timestamp;
    use patchadm_svr4::package::ContentsLine;
    use patchadm_svr4::package::ObjectPath;
    use patchadm_svr4::package::PkgInst;
    use proptest::prelude::*;

    fn trailer(program: &str) -> ContentsTrailer {
        let package = PkgInst::new("X").unwrap();
        ContentsTrailer { program: program.to_owned(), package, when: NaiveDateTime::default() }
    }

    /// Returns a database as a run leaves it, with its stamp and the list of its links.
    fn merged(old: &[u8], edits: &ContentsEdits) -> (Vec<u8>, ContentsStamp, (Vec<u8>, Vec<u8>)) {
        let mut out = Vec::new();
        let MergeResult { body, links, owners, .. } =
            merge(old, &mut out, edits, &trailer("pkgadd")).unwrap();
        let inode = Inode { number: 1, born: None };
        let (size, links) = (out.len() as u64, links.into_bytes().unwrap());
        let packages = owners.into_bytes().unwrap();
        let owners = packages.len() as u64;
        let mtime = Timestamp::default();
        let stamp = ContentsStamp {
            inode,
            size,
            mtime,
            body,
            b3: Digest([0; 32]),
            links: links.len() as u64,
            owners,
            packages: 0,
            run: 1,
            by: 1,
            is_listed: true,
            lines: Digest([0; 32]),
        };
        (out, stamp, (links, packages))
    }

    #[test]
    fn a_file_in_no_order_is_left_to_the_merge() {
        let lines: Vec<u8> =
            (0..2000).rev().flat_map(|n| format!("/{n:06} p none 0600 a b X\n").into_bytes()).collect();
        let (_, mut stamp, _) = merged(b"", &ContentsEdits::new());
        stamp.body = lines.len() as u64;
        let edits = ContentsEdits::from([(ObjectPath::new(b"/001234").unwrap(), None)]);
        let mut out = Vec::new();
        let lists = (&b""[..], &b""[..]);
        assert_eq!(
            splice(Cursor::new(&lines), &stamp, lists, &mut out, &edits, &trailer("a")).unwrap(),
            None
        );
        assert!(out.is_empty());
    }

    #[test]
    fn a_file_that_is_shorter_than_its_stamp_says_is_an_error() {
        let (text, stamp, (links, owners)) = merged(b"/a p none 0600 a b X\n", &ContentsEdits::new());
        let short = Cursor::new(&text[..5]);
        let error =
            splice(short, &stamp, (&links, &owners), io::sink(), &ContentsEdits::new(), &trailer("a"))
                .unwrap_err();
        assert!(matches!(error, ContentsError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
    }

    fn line(path: &str, kind: u8) -> ContentsLine {
        let text = match kind {
            0 => format!("{path} p none 0600 a b X"),
            1 => format!("{path}=../a l none X"),
            2 => format!("{path}=b l none X Y"),
            _ => format!("{path}=b s none X"),
        };
        ContentsLine::parse(text.as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn a_splice_is_what_a_merge_would_be(
            paths in prop::collection::btree_map("/[a-c]{1,2}(/[a-c ]{1,12}){0,2}", 0u8..4, 0..300),
            comments in prop::collection::vec(0usize..300, 0..5),
            edits in prop::collection::btree_map("/[a-c]{1,2}(/[a-c ]{1,12}){0,2}", prop::option::of(0u8..4), 0..30),
            gone in prop::collection::vec(0usize..300, 0..5),
        ) {
            let escaped = |path: &str| path.replace(' ', "\\040");
            let sorted: BTreeMap<ObjectPath, u8> =
                paths.iter().map(|(path, kind)| (ObjectPath::new(path.as_bytes()).unwrap(), *kind)).collect();
            let mut text = Vec::new();
            for (index, (path, kind)) in sorted.iter().enumerate() {
                if comments.contains(&index) {
                    text.extend_from_slice(b"# of mine\n\n");
                }
                text.extend_from_slice(&line(&escaped(&path.to_string()), *kind).write());
                text.push(b'\n');
            }
            let mut changes: ContentsEdits = edits
                .iter()
                .map(|(path, kind)| (ObjectPath::new(path.as_bytes()).unwrap(), kind.map(|kind| Box::new(line(&escaped(path), kind)))))
                .collect();
            changes.extend(sorted.keys().enumerate().filter(|(n, _)| gone.contains(n)).map(|(_, path)| (path.clone(), None)));

            let (old, stamp, (links, owners)) = merged(&text, &ContentsEdits::new());
            let mut expected = Vec::new();
            let merged = merge(&old[..], &mut expected, &changes, &trailer("pkgrm")).unwrap();
            let mut out = Vec::new();
            let made = splice(Cursor::new(&old), &stamp, (&links, &owners), &mut out, &changes, &trailer("pkgrm")).unwrap();
            prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
            let made = made.unwrap();
            prop_assert_eq!(made.body, merged.body);
            prop_assert_eq!(made.links, merged.links.into_bytes().unwrap());
            prop_assert_eq!(made.owners, merged.owners.into_bytes());
        }
    }
}
