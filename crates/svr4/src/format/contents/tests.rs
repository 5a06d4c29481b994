//! Examples of contents(4): every type of line, every refusal, and round trips.

use super::*;
use crate::format::pkgmap::tests::object;
use proptest::prelude::*;

#[test]
fn every_type_of_line_comes_back_as_it_was_written() {
    for text in [
        "/opt/foo/bin d none 0755 root root ACMEfoo",
        "/opt/foo/bin/hello f none 0755 root root 6 542 1577836800 ACMEfoo ACMEbar",
        "/opt/foo/bin/hello2=hello l none ACMEfoo",
        "/opt/foo/bin/hi=hello s none ACMEfoo",
        "/opt/foo/etc/conf v cfg 0644 root root 4 217 1577836800 ACMEfoo",
        "/opt/foo/new f none 0644 root root ? ? ? +ACMEfoo",
        "/devices/pseudo/arp@0:arp c none 44 0 0666 root sys SUNWcsd",
        "/dev/x b none ? ? ? ? ? *A -B !C %D ~E #F @G",
        "/opt/p 2 p none 0600 root root ACMEfoo.2",
        "/opt/a\\040b\\075=c\\134d s none ACMEfoo",
        "/etc/hosts e preserve 0644 root sys 1 2 3 SUNWcsr\\ +SUNWx\\:build SUNWy:none",
    ] {
        let line = ContentsLine::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(line.write()).unwrap(), text);
    }
    let line = ContentsLine::parse(b"/a\\040b 3 x none 0755 root sys +A\\:build").unwrap();
    assert_eq!((line.path.as_bytes(), line.volume), (&b"/a b"[..], Some(3)));
    let owner = OwningPackage {
        status: Some(OwnerStatus::Pending),
        package: PkgInst::new("A").unwrap(),
        alternate: true,
        class: Some("build".into()),
    };
    assert_eq!(line.owners, [owner]);
}

#[test]
fn each_fault_has_its_text() {
    for (text, error) in [
        ("", "unable to read pathname field"),
        ("/etc/passwd", "unknown ftype"),
        ("/boot/grub Z none 0555 root sys 1 2 3 SUNWgrub", "unknown ftype"),
        ("/x i none A", "unknown ftype"),
        ("/x 99999999999 f none 0555 root sys 1 2 3 A", "bad volume number"),
        ("/x f", "unable to read class token"),
        ("/boot/grub f nonsense", "mode is not numeric."),
        ("/x s none A", "missing or invalid link specification"),
        ("/x=y d none 0755 a b A", "missing or invalid link specification"),
        ("/x f none 0755 a b 1 2 A", "unable to read content info"),
        ("/x d none 0755 a b", "unable to read package name"),
        ("/x d none 0755 a b ../A", "unable to read package name"),
        ("/x d none 0755 a b +", "unable to read package name"),
        ("/x d none 0755 a b A:", "unable to read class token"),
        ("x d none 0755 a b A", "path <x> is not absolute"),
        ("/x/../y d none 0755 a b A", "path </x/../y> has a `..` component"),
    ] {
        assert_eq!(ContentsLine::parse(text.as_bytes()).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn a_reader_numbers_its_lines_and_tells_objects_from_comments() {
    let text = b"# mine\n/a d none 0755 root root A\n\n/b d none\n";
    let mut reader = ContentsReader::new(&text[..]);
    assert_eq!(reader.next().unwrap().unwrap(), ContentsRecord::Comment(b"# mine".to_vec()));
    assert!(matches!(reader.next(), Some(Ok(ContentsRecord::Object(line))) if line.path.as_bytes() == b"/a"));
    assert_eq!(reader.next().unwrap().unwrap(), ContentsRecord::Comment(Vec::new()));
    assert_eq!(reader.next().unwrap().unwrap_err().to_string(), "line 4: mode is not numeric.");
    assert!(reader.next().is_none());
}

#[test]
fn the_key_of_a_line_is_its_path_without_escapes_and_target() {
    for (line, path, key) in [
        (&b"/bin=./usr/bin s none A"[..], &b"/bin"[..], &b"/bin"[..]),
        (b"/a\\040b\t1 d none", b"/a\\040b", b"/a b"),
        (b"/a//b/./c/ d none", b"/a//b/./c/", b"/a/b/c"),
        (b"/ d none", b"/", b"/"),
        (b" \t/a d none", b"/a", b"/a"),
        (b"/.login f none", b"/.login", b"/.login"),
        (b"garbage/ x", b"garbage/", b"garbage/"),
        (b"", b"", b""),
    ] {
        assert_eq!(path_of(line), path);
        assert_eq!(key_of(line), key, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn the_owners_of_a_second_line_are_not_forgotten() {
    let mut first = ContentsLine::parse(b"/x d none 0755 a b A B").unwrap();
    first.adopt_owners(ContentsLine::parse(b"/x d none 0700 c d B C B").unwrap().owners);
    assert_eq!(first.write(), b"/x d none 0755 a b A B C");
}

fn owner() -> impl Strategy<Value = OwningPackage> {
    let status = proptest::option::of(proptest::sample::select(b"+-!%*~#@".to_vec()));
    let class = proptest::option::of("[a-z]{1,8}");
    ("[A-Z][A-Za-z0-9+_.-]{0,10}", status, any::<bool>(), class).prop_map(
        |(name, status, alternate, class)| {
            let status = status.and_then(OwnerStatus::from_letter);
            let class = class.map(Into::into);
            OwningPackage { status, package: PkgInst::new(&name).unwrap(), alternate, class }
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        path in proptest::collection::vec(1u8.., 0..30),
        volume in proptest::option::of(0u32..),
        object in object(),
        owners in proptest::collection::vec(owner(), 1..4),
    ) {
        if let Ok(path) = ObjectPath::root().join(&path) {
            let line = ContentsLine { path, volume, object, owners };
            let written = line.write();
            prop_assert_eq!(&*key_of(&written), line.path.as_bytes());
            prop_assert_eq!(ContentsLine::parse(&written).unwrap(), line);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, line in "/[0-9fevdxpbcsl?=/a .:+\\\\-]{0,60}") {
        let _ = ContentsReader::new(&bytes[..]).count();
        let _ = (ContentsLine::parse(line.as_bytes()), key_of(line.as_bytes()), key_of(&bytes));
    }
}
