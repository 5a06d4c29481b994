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
