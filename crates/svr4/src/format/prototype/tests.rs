//! The reader and the writer of prototypes.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<PrototypeItem, PrototypeError> {
    lines(text.as_bytes()).next().expect("a line that says something").map(|line| line.item)
}

fn entry(text: &str) -> PrototypeEntry {
    match read(text) {
        Ok(PrototypeItem::Entry(entry)) => entry,
        other => panic!("{text}: {other:?}"),
    }
}

fn problem(text: &str) -> String {
    read(text).unwrap_err().problem.to_string()
}

fn path(text: &str) -> PackagePath {
    PackagePath::new(text.as_bytes()).unwrap()
}

#[test]
fn every_type_of_entry_is_understood() {
    let file = entry("f none bin/x=src/x 0755 root bin");
    assert_eq!((file.ftype, file.class.as_str(), &file.path), (Ftype::File, "none", &path("bin/x")));
    assert_eq!(file.right.as_deref(), Some(&b"src/x"[..]));
    assert_eq!(file.attributes.mode, AttributeSetting::Value(Mode::of(0o755)));
    assert_eq!(file.attributes.group, AttributeSetting::Value("bin".to_owned()));
    assert_eq!(entry("2 e build etc/x 0644 root sys").part, Some(2));
    assert_eq!(entry("b none blk 8 ? 0600 root sys").device, Some((Some(8), None)));
    assert_eq!(entry("s none lib/x=x.1").right.as_deref(), Some(&b"x.1"[..]));
    assert_eq!(entry("i pkginfo=./pkginfo").right.as_deref(), Some(&b"./pkginfo"[..]));
    assert_eq!(entry("d none lib=src/lib 755 root bin").path, path("lib"));
    assert_eq!(entry("d none /").path, path("/"));
    assert_eq!(entry("x none ./excl ? ? ?").path, path("excl"));
}

#[test]
fn attributes_may_be_missing_unknown_or_variable() {
    let bare = entry("d none a").attributes;
    assert!(bare.is_incomplete() && bare == PrototypeAttributes::default());
    assert!(entry("f none a 0644").attributes.is_incomplete());
    let kept = entry("f none a ? ? ?").attributes;
    assert_eq!((kept.mode, kept.owner), (AttributeSetting::Kept, AttributeSetting::Kept));
    let variable = entry("f none a $mode $owner $GROUP").attributes;
    assert_eq!(variable.mode, AttributeSetting::Variable("mode".to_owned()));
    assert_eq!(variable.owner, AttributeSetting::Variable("owner".to_owned()));
    assert_eq!(variable.group, AttributeSetting::Value("$GROUP".to_owned()));
}

#[test]
fn an_escape_stands_for_a_byte_that_no_field_can_have() {
    let odd = entry("f none a\\040b\\075c=src/a\\040b=c 0644 root sys");
    assert_eq!(odd.path, path("a b=c"));
    assert_eq!(odd.right.as_deref(), Some(&b"src/a b=c"[..]));
    assert_eq!(odd.write(None), b"f none a\\040b\\075c=src/a\\040b\\075c 0644 root sys");
}

#[test]
fn commands_are_understood() {
    let command = |text: &str| match read(text) {
        Ok(PrototypeItem::Command(command)) => command,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(command("!include ../common"), PrototypeCommand::Include(b"../common".to_vec()));
    assert_eq!(command("! search a b"), PrototypeCommand::Search(vec![b"a".to_vec(), b"b".to_vec()]));
    assert_eq!(command("!rsearch $root"), PrototypeCommand::SearchWhole(vec![b"$root".to_vec()]));
    assert!(matches!(command("!default 0644 root ?"), PrototypeCommand::Default(_)));
    for text in ["!DIR=a b", "! DIR=a b ", "!DIR=\"a b\""] {
        assert_eq!(command(text), PrototypeCommand::Set { name: "DIR".to_owned(), value: b"a b".to_vec() });
    }
}

#[test]
fn comments_and_blank_lines_say_nothing_and_count() {
    let text = b"# a comment\n\n \t\n: 1 20\ni pkginfo\n  # another\nd none a\n";
    let numbers: Vec<u64> = lines(text).map(|line| line.unwrap().number).collect();
    assert_eq!(numbers, [5, 7]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        ("q none a", "unknown ftype"),
        ("f a/b c", "unable to read class token"),
        ("f none", "unable to read pathname field"),
        ("f none sp ace=src/sp ace 0644 root root", "mode is not numeric."),
        ("f none a 10644 root sys", "invalid bits set in mode."),
        ("f none a= 0644 root sys", "unable to read the source behind the `=`"),
        ("f none a $MODE root sys", "<$MODE> cannot be a variable here"),
        ("s none a", "missing or invalid link specification"),
        ("c none a 1", "unable to read major/minor device numbers"),
        ("i a/b", "the name of an information file has a `/` in it"),
        ("f none ../x 0644 root sys", "path <../x> has a `..` component"),
        ("99999999999 f none x", "bad volume number"),
        ("!default 0644 root", "garbled default settings"),
        ("!frobnicate", "unknown command <!frobnicate>"),
        ("!include", "<!include> needs a path that can be used"),
        ("!2x=y", "<2x> is not the name of a variable"),
    ] {
        assert_eq!(problem(text), expected, "{text}");
    }
    let error = lines(b"i pkginfo\n\nf none sp ace 0644 root sys\n").nth(1).unwrap().unwrap_err();
    assert_eq!((error.line, error.pathname.as_deref()), (3, Some("sp")));
}

#[test]
fn lengths_have_limits() {
    let long = |count: usize| "x/".repeat(count);
    assert!(problem(&format!("f none {}", long(2049))).contains("longer than 4095 bytes"));
    assert!(problem(&format!("f none {}", "x".repeat(256))).contains("more than 255 bytes"));
    assert_eq!(problem(&format!("i x={}", long(2049))), PrototypeProblem::Source.to_string());
    assert_eq!(
        problem(&format!("f none {}", "x".repeat(LONGEST_LINE))),
        PrototypeProblem::TooLong.to_string()
    );
}

#[test]
fn fields_behind_the_last_one_are_skipped_and_told_of() {
    assert!(entry("s none a=b 0755 root bin").has_extra_fields);
    assert!(entry("f none a 0644 root sys 5 100 1577836800").has_extra_fields);
    assert!(!entry("i pkginfo ").has_extra_fields);
}

fn settings() -> impl Strategy<Value = PrototypeAttributes> {
    let word = "[a-z][a-z0-9]{0,8}";
    let account = || {
        prop_oneof![
            Just(AttributeSetting::Kept),
            word.prop_map(AttributeSetting::Value),
            word.prop_map(AttributeSetting::Variable),
            "[A-Z]{1,8}".prop_map(|name| AttributeSetting::Value(format!("${name}"))),
        ]
    };
    let mode = prop_oneof![
        Just(AttributeSetting::Kept),
        (0u32..0o10000).prop_map(|bits| AttributeSetting::Value(Mode::of(bits)))
    ];
    (mode, account(), account()).prop_map(|(mode, owner, group)| PrototypeAttributes { mode, owner, group })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8..=255, 1..40)
}

fn entries() -> impl Strategy<Value = PrototypeItem> {
    let ftype = prop::sample::select(&b"fevdxpbcsli"[..]);
    let path = bytes().prop_filter_map("a path", |bytes| PackagePath::new(&bytes).ok());
    let numbers = (any::<Option<u32>>(), any::<Option<u32>>());
    (ftype, path, prop::option::of(bytes()), settings(), numbers, any::<Option<u32>>()).prop_filter_map(
        "an entry",
        |(letter, path, right, attributes, device, part)| {
            let ftype = Ftype::from_letter(letter)?;
            let bare = ftype == Ftype::Information || ftype.is_link();
            if ftype == Ftype::Information && path.as_bytes().contains(&b'/') {
                return None;
            }
            let class = if ftype == Ftype::Information { "" } else { "none" };
            let mut entry = PrototypeEntry::new(ftype, class, path);
            entry.part = part;
            entry.right = if ftype.is_link() { Some(right.unwrap_or(b"x".to_vec())) } else { right };
            entry.device = ftype.is_device().then_some(device);
            entry.attributes = if bare { PrototypeAttributes::default() } else { attributes };
            Some(PrototypeItem::Entry(entry))
        },
    )
}

fn commands() -> impl Strategy<Value = PrototypeItem> {
    let paths = || prop::collection::vec(bytes(), 1..4);
    let value = "[ -~]{0,20}";
    prop_oneof![
        bytes().prop_map(PrototypeCommand::Include),
        paths().prop_map(PrototypeCommand::Search),
        paths().prop_map(PrototypeCommand::SearchWhole),
        settings().prop_map(PrototypeCommand::Default),
        ("[A-Za-z][A-Za-z0-9_]{0,9}", value)
            .prop_map(|(name, value)| PrototypeCommand::Set { name, value: value.into_bytes() }),
    ]
    .prop_map(PrototypeItem::Command)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(item in prop_oneof![entries(), commands()]) {
        let text = item.write();
        let read: Vec<_> = lines(&text).collect();
        prop_assert_eq!(read, vec![Ok(PrototypeLine { number: 1, item })], "{}", text.escape_ascii());
    }

    #[test]
    fn no_line_breaks_the_reader(text: Vec<u8>) {
        for line in lines(&text).flatten() {
            let again = line.item.write();
            prop_assert!(lines(&again).next().is_some());
        }
    }
}
