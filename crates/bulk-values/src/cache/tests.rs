//! The scan cache is written and read back, and believed only if nothing has changed.

use proptest::prelude::*;

use super::*;

fn seen(content: &str) -> NotedState {
    let status = FileStatus { inode: 1, size: content.len() as u64, mtime: 5, ctime: 6 };
    NotedState::File { status, digest: Blake3Digest::of(content.as_bytes()), noted: 7 }
}

/// A cache with two locations, made line by line, and its bytes.
fn two_locations() -> (ScanCache, Vec<u8>) {
    let mut cache = ScanCache::default();
    let common = cache.note_file("mk/common.mk", seen("common"));
    let curl = cache.note_file("net/curl/recipe", seen("curl"));
    let absent = cache.note_file("mk/local.mk", NotedState::Absent);
    let records = "PKGNAME=curl-8\nSCAN_DEPENDS=../../mk/common.mk ../../mk/local.mk\nMAINTAINER=a@x\n";
    let mut bytes = cache.set_entry("net/curl", Blake3Digest::of(b"1"), &[common, absent, curl], records);
    let zlib = cache.note_file("devel/zlib/recipe", seen("zlib"));
    assert_eq!(cache.note_file("mk/common.mk", seen("common")), common);
    let records = "PKGNAME=zlib-1\nSCAN_DEPENDS=../../mk/common.mk\n";
    bytes.extend(cache.set_entry("devel/zlib", Blake3Digest::of(b"2"), &[zlib, common], records));
    (cache, bytes)
}

fn assert_same(cache: &ScanCache, other: &ScanCache) {
    assert_eq!(cache.locations().collect::<Vec<_>>(), other.locations().collect::<Vec<_>>());
    for location in cache.locations() {
        let (entry, same) = (cache.entry(location).unwrap(), other.entry(location).unwrap());
        assert_eq!(entry.key(), same.key());
        assert_eq!(cache.records_of(entry), other.records_of(same));
        let files = |cache: &ScanCache, entry: &ScanEntry| {
            let mut files: Vec<_> = entry.files().map(|file| cache.files()[file.index()].clone()).collect();
            files.sort_by(|one, other| one.path.cmp(&other.path));
            files
        };
        assert_eq!(files(cache, entry), files(other, same));
    }
}

#[test]
fn files_and_words_are_written_once_before_the_entry_that_needs_them() {
    let (cache, bytes) = two_locations();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let digits = |content: &str| Blake3Digest::of(content.as_bytes()).hex();
    let expected = format!(
        "{{\"scan_cache\":1}}\n\
         {{\"file\":\"mk/common.mk\",\"state\":[1,6,5,6,7,\"{}\"]}}\n\
         {{\"file\":\"net/curl/recipe\",\"state\":[1,4,5,6,7,\"{}\"]}}\n\
         {{\"file\":\"mk/local.mk\"}}\n\
         {{\"words\":[\"../../mk/common.mk\",\"../../mk/local.mk\"]}}\n\
         {{\"location\":\"net/curl\",\"key\":\"{}\",\"seen\":\"0-2\",\
         \"records\":[\"PKGNAME=curl-8\\nSCAN_DEPENDS=\",\"0-1\",\"\\nMAINTAINER=a@x\\n\"]}}\n\
         {{\"file\":\"devel/zlib/recipe\",\"state\":[1,4,5,6,7,\"{}\"]}}\n\
         {{\"location\":\"devel/zlib\",\"key\":\"{}\",\"seen\":\"0 3\",\
         \"records\":[\"PKGNAME=zlib-1\\nSCAN_DEPENDS=\",\"0\",\"\\n\"]}}\n",
        digits("common"),
        digits("curl"),
        Blake3Digest::of(b"1"),
        digits("zlib"),
        Blake3Digest::of(b"2"),
    );
    assert_eq!(text, expected);
    let (read, whole) = ScanCache::parse(&bytes).unwrap();
    assert_eq!(whole, bytes.len());
    assert_same(&read, &cache);
    assert_same(&ScanCache::parse(&cache.to_bytes()).unwrap().0, &cache);
}

#[test]
fn what_is_appended_after_reading_has_no_first_line_again() {
    let (_, bytes) = two_locations();
    let (mut cache, _) = ScanCache::parse(&bytes).unwrap();
    let file = cache.note_file("mk/common.mk", seen("changed"));
    let more = cache.set_entry("net/curl", Blake3Digest::of(b"3"), &[file], "PKGNAME=curl-9\n");
    assert!(more.starts_with(b"{\"file\":\"mk/common.mk\""));
    let (read, _) = ScanCache::parse(&[bytes, more].concat()).unwrap();
    assert_same(&read, &cache);
    assert_eq!(read.records_of(read.entry("net/curl").unwrap()), "PKGNAME=curl-9\n");
    let (mut empty, _) = ScanCache::parse(b"{\"scan_cache\":1}\n").unwrap();
    assert!(empty.set_entry("a", Blake3Digest::of(b""), &[], "").starts_with(b"{\"location\""));
    assert_eq!(read.files().len(), 5, "the old state is still noted for the other location");
}

#[test]
fn a_torn_last_line_is_dropped_and_the_entries_before_it_stay() {
    let (cache, bytes) = two_locations();
    for cut in 0..=bytes.len() {
        let (read, whole) = ScanCache::parse(&bytes[..cut]).unwrap();
        assert!(whole <= cut && bytes[..whole].last().is_none_or(|last| *last == b'\n'));
        for location in read.locations() {
            let entry = cache.entry(location).unwrap();
            assert_eq!(read.records_of(read.entry(location).unwrap()), cache.records_of(entry));
        }
    }
}

#[test]
fn any_other_damage_drops_the_whole_cache_and_is_told_with_its_line() {
    let (_, bytes) = two_locations();
    let text = String::from_utf8(bytes).unwrap();
    let damage = |was: &str, is: &str| {
        assert!(text.contains(was), "{was}");
        ScanCache::parse(text.replacen(was, is, 1).as_bytes()).unwrap_err().to_string()
    };
    let reasons = [
        ("\"scan_cache\":1", "\"scan_cache\":2", "line 1: it is not the first line of this version"),
        ("{\"file\":\"mk/local.mk\"}\n", "", "line 5: it names files that are not listed"),
        ("\"0-1\"", "\"0-2\"", "line 6: its records name words that are not listed"),
        ("\"../../mk/local.mk\"", "\"../../mk/common.mk\"", "line 5: a word is listed twice"),
        ("{\"words\"", "{\"wards\"", "line 5: it is not a line of this file"),
    ];
    for (was, is, reason) in reasons {
        assert_eq!(damage(was, is), format!("scan cache: {reason}"));
    }
    assert!(damage("[1,6,5,6,7", "[1,6,5,6").starts_with("scan cache: line 2: "));
    assert!(damage("\"key\":\"b3:", "\"key\":\"b3:x").starts_with("scan cache: line 6: "));
}

#[test]
fn an_entry_is_as_it_was_if_each_of_its_files_is() {
    let (cache, _) = two_locations();
    let changed = |path: &str| -> Vec<bool> { cache.files().iter().map(|file| file.path != path).collect() };
    let is_unchanged =
        |location: &str, path: &str| cache.entry(location).unwrap().is_unchanged(&changed(path));
    assert!(is_unchanged("net/curl", "devel/zlib/recipe"));
    assert!(!is_unchanged("net/curl", "mk/local.mk"));
    assert!(!is_unchanged("net/curl", "mk/common.mk"));
    assert!(!is_unchanged("devel/zlib", "mk/common.mk"));
    assert!(!cache.entry("net/curl").unwrap().is_unchanged(&[true]), "nothing is known of the others");
}

#[test]
fn a_location_that_is_gone_takes_its_files_and_words_with_it() {
    let (mut cache, _) = two_locations();
    cache.retain(|location| location != "net/curl");
    let text = String::from_utf8(cache.to_bytes()).unwrap();
    assert!(!text.contains("curl") && !text.contains("local.mk"), "{text}");
    assert!(text.contains("common.mk"));
}

#[test]
fn a_renewed_note_is_believed_by_its_status() {
    let (mut cache, _) = two_locations();
    let status = FileStatus { inode: 9, size: 6, mtime: 5, ctime: 100 };
    cache.renew_file(FileNumber(0), status, 1_000_000_000);
    let (read, _) = ScanCache::parse(&cache.to_bytes()).unwrap();
    let file = read.files().iter().find(|file| file.path == "mk/common.mk").unwrap();
    assert!(file.seen.is_unchanged(Some(&status), || None));
}

const STATUS: FileStatus = FileStatus { inode: 7, size: 3, mtime: 1_000, ctime: 1_000 };

fn noted_after(age: i64) -> NotedState {
    NotedState::File { status: STATUS, digest: Blake3Digest::of(b"abc"), noted: STATUS.ctime + age }
}

fn never() -> Option<Blake3Digest> {
    panic!("it is read")
}

#[test]
fn a_settled_file_with_the_same_status_is_not_read() {
    assert!(noted_after(SETTLED).is_unchanged(Some(&STATUS), never));
}

#[test]
fn a_file_that_changed_just_before_it_was_noted_is_read() {
    assert!(noted_after(SETTLED - 1).is_unchanged(Some(&STATUS), || Some(Blake3Digest::of(b"abc"))));
    assert!(!noted_after(SETTLED - 1).is_unchanged(Some(&STATUS), || Some(Blake3Digest::of(b"abd"))));
    assert!(!noted_after(SETTLED - 1).is_unchanged(Some(&STATUS), || None), "it cannot be read");
}

#[test]
fn another_status_is_decided_by_the_digest_and_another_size_at_once() {
    let changes = [
        FileStatus { inode: 8, ..STATUS },
        FileStatus { mtime: 2_000, ..STATUS },
        FileStatus { ctime: 2_000, ..STATUS },
    ];
    for now in changes {
        assert!(noted_after(SETTLED).is_unchanged(Some(&now), || Some(Blake3Digest::of(b"abc"))));
        assert!(!noted_after(SETTLED).is_unchanged(Some(&now), || Some(Blake3Digest::of(b"abd"))));
    }
    assert!(!noted_after(SETTLED).is_unchanged(Some(&FileStatus { size: 4, ..STATUS }), never));
}

#[test]
fn a_file_that_was_absent_has_to_stay_so() {
    assert!(NotedState::Absent.is_unchanged(None, never));
    assert!(!NotedState::Absent.is_unchanged(Some(&STATUS), never));
    assert!(!noted_after(SETTLED).is_unchanged(None, never));
}

proptest! {
    #[test]
    fn what_scan_printed_comes_back_byte_by_byte(
        lines in prop::collection::vec("(SCAN_DEPENDS=[ab /.]{0,12}|[A-Z]{1,3}=.{0,5}|SCAN_DEPENDS)", 0..8),
        end in "\n?",
    ) {
        let text = lines.join("\n") + &end;
        let mut words = InternedTexts::default();
        let packed = PackedRecords::pack(&text, &mut words);
        prop_assert_eq!(packed.text(&words), text.clone());
        prop_assert_eq!(PackedRecords::parse(&packed.parts(), words.len()), Some(packed.clone()));
        let mut other = InternedTexts::default();
        other.number("z");
        prop_assert_eq!(packed.renumbered(&words, &mut other).text(&other), text);
    }
}

#[test]
fn a_common_list_of_files_is_one_run() {
    let mut words = InternedTexts::default();
    PackedRecords::pack("PKGNAME=a-1\nSCAN_DEPENDS=mk/a mk/b mk/c\n", &mut words);
    let packed = PackedRecords::pack("PKGNAME=b-1\nSCAN_DEPENDS=mk/a mk/b mk/c Makefile\nX=y\n", &mut words);
    assert_eq!(packed.parts(), ["PKGNAME=b-1\nSCAN_DEPENDS=", "0-3", "\nX=y\n"]);
}

#[test]
fn runs_are_written_short() {
    assert_eq!(NumberRuns::of([0, 1, 2, 7, 6, 7, u32::MAX]).text(), "0-2 7 6-7 4294967295");
    assert_eq!(NumberRuns::of([]).text(), "");
}

#[test]
fn a_number_that_is_not_there_and_a_run_backwards_are_refused() {
    assert!(NumberRuns::parse("0-9", 10).is_some());
    for wrong in ["0-10", "3-2", "-1", "1-", "x", "1-2-3"] {
        assert!(NumberRuns::parse(wrong, 10).is_none(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn a_list_comes_back_in_its_order(numbers in prop::collection::vec(0_u32..40, 0..60)) {
        let list = NumberRuns::of(numbers.iter().copied());
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), numbers);
        prop_assert_eq!(NumberRuns::parse(&list.text(), 40), Some(list));
    }
}
