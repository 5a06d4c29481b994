//! Examples of pkgmap(4): every type, every refusal, and round trips.

use super::*;
use crate::package::{ContentInfo, Mode, ObjectAttributes};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Pkgmap, PkgmapError> {
    Pkgmap::parse(text.as_bytes())
}

#[test]
fn every_type_of_object_comes_back_as_it_was_written() {
    let text = ": 2 40 36\n\
        1 f none bin/hello 0755 root root 6 542 1577836800\n\
        1 e cfg etc/conf 0644 root root ? ? ?\n\
        1 v none /var/log/x ? ? ? 0 0 0\n\
        1 d none $DIR/etc 0755 $OWNER $GROUP\n\
        1 x none lib/own 2755 root bin\n\
        1 p none fifo 0600 root root\n\
        1 c none /dev/x 17 134 0644 root other\n\
        2 b none /dev/y ? ? 0644 root other\n\
        1 l none bin/hello2=hello\n\
        1 s none lib/libw.so=../x/libw.so.2\n\
        1 f none a\\040b\\075 0755 root root 1 1 1\n\
        1 i pkginfo 142 11121 1795156559\n\
        1 i depend\n";
    let map = parse(text).unwrap();
    assert_eq!(String::from_utf8(map.write()).unwrap(), text);
    assert_eq!((map.parts, map.max_blocks, map.compressed_blocks), (2, 40, Some(36)));
    let hello = &map.entries[0];
    assert_eq!(hello.object.attributes.mode, Mode::new(0o755));
    let content = ContentInfo { size: Some(6), cksum: Some(542), mtime: Some(1_577_836_800) };
    assert_eq!(hello.object.content, content);
    assert_eq!(map.entries[2].object.attributes, ObjectAttributes::default());
    assert_eq!(map.entries[6].object.device, Some((Some(17), Some(134))));
    assert_eq!(map.entries[8].object.target.as_deref(), Some(&b"hello"[..]));
    assert_eq!(map.entries[10].path.as_bytes(), b"a b=");
    assert!(map.entries[11].is_information());
}

#[test]
fn part_blanks_and_comments_are_free() {
    let loose = ": 1 2\n# note\n: more\n\n\tf  none\tx 0755 root root 1 1 1 \n0 d none y 755 a b\n1 i z 1 1 1 root sys";
    let tight = ": 1 2\n1 f none x 0755 root root 1 1 1\n1 d none y 0755 a b\n1 i z 1 1 1\n";
    assert_eq!(parse(loose).unwrap().write(), tight.as_bytes());
}

#[test]
fn each_fault_has_its_text_and_its_line() {
    let long = "o".repeat(65);
    for (line, error) in [
        ("2 d none x 0755 a b", "bad volume number"),
        ("99999999999999999999 d none x 0755 a b", "bad volume number"),
        ("1x d none x 0755 a b", "bad volume number"),
        ("1 Z none x 0755 a b", "unknown ftype"),
        ("1 ff none x 0755 a b", "unknown ftype"),
        ("1", "unknown ftype"),
        ("1 f", "unable to read class token"),
        ("1 d ../../x y 0755 a b", "unable to read class token"),
        ("1 f none", "unable to read pathname field"),
        ("1 s none x", "missing or invalid link specification"),
        ("1 s none x=", "missing or invalid link specification"),
        ("1 s none x=a\\000b", "missing or invalid link specification"),
        ("1 d none x=y 0755 a b", "missing or invalid link specification"),
        ("1 f none x 0755 a b 1 2", "unable to read content info"),
        ("1 f none x 0755 a b -1 2 3", "unable to read content info"),
        ("1 f none x 0755 a b 1 65536 3", "unable to read content info"),
        ("1 f none x 0755 a b 1 2 9223372036854775808", "unable to read content info"),
        ("1 i x 1 2", "unable to read content info"),
        ("1 d none x rwx a b", "mode is not numeric."),
        ("1 d none x $MODE a b", "mode is not numeric."),
        ("1 d none x 10000 a b", "invalid bits set in mode."),
        ("1 d none x 77777777777777777777 a b", "invalid bits set in mode."),
        (&format!("1 d none x 0755 {long} b"), "owner string is too long."),
        (&format!("1 d none x 0755 a {long}"), "group string is too long."),
        ("1 d none x 0755", "unable to read owner"),
        ("1 d none x 0755 a", "unable to read group"),
        ("1 d none x 0755 a\u{1b}[m b", "unable to read owner"),
        ("1 c none x 4294967296 1 0755 a b", "unable to read major/minor device numbers"),
        ("1 d none x 0755 a b c", "extra tokens on input line"),
        ("1 s none x=y z", "extra tokens on input line"),
        ("1 i install/x 1 1 1", "the name of an information file has a `/` in it"),
        ("1 d none ../x 0755 a b", "path <../x> has a `..` component"),
        ("1 d none a/\\056\\056/x 0755 a b", "path <a/../x> has a `..` component"),
        ("1 i .. 1 1 1", "path <..> has a `..` component"),
    ] {
        let found = parse(&format!(": 1 2\n{line}\n")).unwrap_err();
        assert_eq!(found.to_string(), format!("line 2: {error}"), "{line}");
    }
}

#[test]
fn a_file_without_its_first_line_is_no_pkgmap() {
    for text in ["", "1 d none x 0755 a b\n", ":\n", ": 1\n", ": x 1\n", ": 1 2 3 4\n", ": -1 2\n"] {
        assert_eq!(parse(text), Err(PkgmapError::FirstLine), "{text:?}");
    }
}

#[test]
fn one_path_is_one_entry_however_it_is_spelled() {
    let twice = parse(": 1 2\n1 d none a/b 0755 x x\n1 d none a//./b 0755 x x\n").unwrap_err();
    assert_eq!(twice.to_string(), "line 3: path <a/b> is already on line 2");
    assert!(parse(": 1 2\n1 i pkginfo 1 1 1\n1 f none pkginfo 0644 a b 1 1 1\n").is_ok());
    assert!(parse(": 1 2\n1 d none a/b 0755 x x\n1 d none /a/b 0755 x x\n").is_ok());
}

/// Any object that a line can carry, without its path.
pub(in crate::format) fn object() -> impl Strategy<Value = Object> {
    let word = || proptest::option::of("[a-z$][a-zA-Z0-9_]{0,15}");
    let ftype = proptest::sample::select(b"fevdxpbcsl".to_vec());
    let attributes = (proptest::option::of(0u32..0o10000), word(), word());
    let content: (_, _, _) = (any::<Option<u64>>(), any::<Option<u16>>(), proptest::option::of(0..i64::MAX));
    let target = proptest::collection::vec(1u8.., 1..20);
    let device = any::<(Option<u32>, Option<u32>)>();
    (ftype, "[a-z0-9_.+-]{1,12}", attributes, content, target, device).prop_map(
        |(letter, class, (mode, owner, group), (size, cksum, mtime), target, device)| {
            let mut object = Object::new(Ftype::from_letter(letter).unwrap(), &class);
            if object.ftype.is_link() {
                object.target = Some(target);
                return object;
            }
            let [owner, group] = [owner, group].map(|name: Option<String>| name.map(Into::into));
            object.attributes = ObjectAttributes { mode: mode.and_then(Mode::new), owner, group };
            object.device = object.ftype.is_device().then_some(device);
            if object.ftype.is_regular() {
                object.content = ContentInfo { size, cksum, mtime };
            }
            object
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        objects in proptest::collection::vec((1u32..4, object(), proptest::collection::vec(1u8.., 1..30)), 0..8),
    ) {
        let mut map = Pkgmap { parts: 3, max_blocks: 9, compressed_blocks: None, entries: Vec::new() };
        for (part, object, path) in objects {
            let new = |path: &PackagePath| map.entries.iter().all(|entry| entry.path != *path);
            if let Some(path) = PackagePath::new(&path).ok().filter(new) {
                map.entries.push(PkgmapEntry { part, path, object });
            }
        }
        prop_assert_eq!(Pkgmap::parse(&map.write()).unwrap(), map);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, line in "[0-9fevdxpbcsli?=/a \\\\$-]{0,60}") {
        let _ = Pkgmap::parse(&bytes);
        let _ = Pkgmap::parse(format!(": 1 2\n{line}").as_bytes());
    }
}

#[test]
fn the_first_entry_that_comes_again_is_told_by_the_lines_of_the_file() {
    let text = b": 1 1\n1 d none z 0755 a b\n# none\n\n1 d none a 0755 a b\n1 i z\n1 s none z=a\n1 d none a 0755 a b\n";
    let found = Pkgmap::parse(text).unwrap_err();
    assert_eq!(found.to_string(), "line 7: path <z> is already on line 2");
}
