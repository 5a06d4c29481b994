//! Examples of the parameter syntax: the rules one by one, odd input, and round trips.

use super::*;
use proptest::prelude::*;

fn only(text: &str) -> (String, String) {
    let params = ParamFile::parse(text.as_bytes()).unwrap().params();
    let all: Vec<_> = params.iter().map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into())).collect();
    assert_eq!(all.len(), 1, "{text:?}: {all:?}");
    all[0].clone()
}

#[track_caller]
fn reads(text: &str, name: &str, value: &str) {
    assert_eq!(only(text), (name.to_owned(), value.to_owned()), "{text:?}");
}

#[test]
fn each_rule_of_the_reader_has_its_example() {
    reads("NAME=Foo tools   \n", "NAME", "Foo tools");
    reads("NAME=\"Foo tools\"\n", "NAME", "Foo tools");
    reads("NAME='it's'\n", "NAME", "its'");
    reads("DESC=say \"hi\"\n", "DESC", "say \"hi\"");
    reads("LIST=a \\\n   b\n", "LIST", "a \nb");
    reads("PATCH_INFO_1-01=Installed: Fri ... From: h\n", "PATCH_INFO_1-01", "Installed: Fri ... From: h");
    reads("FOO: bar\n", "FOO", "bar");
    assert!(ParamFile::parse(b"#X=1\nJUST TEXT\n").unwrap().params().is_empty());
    assert_eq!(
        ParamFile::parse(b"A=1\nX=\"abc\nB=2\n"),
        Err(ParamsError::UnclosedQuote { line: 2, name: "X".to_owned() })
    );
}

#[test]
fn architectures_and_categories_are_read_without_white_space() {
    assert_eq!(compact(only("ARCH=sparc, i386\n").1.as_bytes()), b"sparc,i386");
    assert_eq!(compact(b" a\x0b,\n\tb "), b"a,b");
}

#[test]
fn odd_entries_are_read_as_the_classic_reader_reads_them() {
    reads("X=\\\n\\\n  y\n", "X", "\n\ny");
    reads("X=\"a\\\"b\"\n", "X", "a\\\"b");
    reads("X=a\\\\\nb\n", "X", "a\\\nb");
    reads("X=a\\ \nJUST TEXT\n", "X", "a\\");
    reads("X=\" y \"\n", "X", " y");
    reads("X=\"a\\\n\"b\"\n", "X", "a\nb");
    reads("X=cr\r\n", "X", "cr");
    reads(" X =1\n", " X ", "1");
    reads("X==1\n", "X", "=1");
    reads("X=1", "X", "1");
    reads("=1\n", "", "1");
    reads("# a comment: \"quoted\nX=1\n", "X", "1");
    reads("# with = a continuation \\\nA=0\nX=1\n", "X", "1");
    reads("# without a separator \\\nX=1\n", "X", "1");
    reads(&format!("{}=1\n", "N".repeat(200)), &"N".repeat(127), "1");
}

#[test]
fn the_first_definition_counts_and_all_are_listed() {
    let params = ParamFile::parse(b"A=1\nB=2\nA=3\n").unwrap().params();
    assert_eq!(params.get("A"), Some(&b"1"[..]));
    assert_eq!(params.iter().count(), 3);
}

#[test]
fn values_that_would_change_are_quoted() {
    let written = |value: &str| String::from_utf8(write(&[("X", value)].into_iter().collect())).unwrap();
    assert_eq!(written("plain text"), "X=plain text\n");
    assert_eq!(written("a\nb"), "X=a\\\nb\n");
    assert_eq!(written(" x"), "X=\" x\"\n");
    assert_eq!(written("'x"), "X=\"\"'x\n");
    assert_eq!(written(" say \"x\""), "X=\"\" say \"x\"\n");
    assert_eq!(written("a\\"), "X=a\\ \n");
    assert_eq!(written(""), "X=\n");
}

#[test]
fn a_change_leaves_the_rest_of_the_file_as_it_was() {
    let mut file = ParamFile::parse(b"# mine\nA: \"1\"\n\nB=2\nA=3\nC=4\\").unwrap();
    file.set("A", b"x y");
    file.remove("B");
    file.set("D", b"5");
    assert_eq!(file.write(), b"# mine\nA=x y\n\nA=3\nC=4\\ \nD=5\n");
    assert_eq!(ParamFile::parse(&file.write()).unwrap().params(), file.params());

    for open in [&b"#c=\\"[..], b"#c=\\\n", b"C=4\\\n", b"C=4\\\n  ", b"text\\\n"] {
        let mut file = ParamFile::parse(open).unwrap();
        file.set("D", b"5");
        let again = ParamFile::parse(&file.write()).unwrap().params();
        assert_eq!((again.get("D"), &again), (Some(&b"5"[..]), &file.params()), "{}", open.escape_ascii());
    }
}

#[test]
fn sizes_are_limited() {
    let size = LARGEST_FILE + 1;
    assert_eq!(ParamFile::parse(&vec![b'\n'; size]), Err(ParamsError::TooLarge { size }));
    let many = b"=\n".repeat(MOST_PARAMETERS + 1);
    assert_eq!(ParamFile::parse(&many), Err(ParamsError::TooMany { line: 100_001 }));
    let long = [b"A=1\nB=".to_vec(), vec![b'x'; 1 << 20]].concat();
    assert_eq!(ParamFile::parse(&long), Err(ParamsError::LineTooLong(LineTooLong { line: 2 })));
}

fn syntax() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(b"AB=:#\"'\\\n \t\r\x0b\xe9\0".to_vec()), 0..40)
}

proptest! {
    #[test]
    fn whatever_can_be_read_is_written_back_byte_for_byte(text in syntax()) {
        if let Ok(file) = ParamFile::parse(&text) {
            prop_assert_eq!(file.write(), text);
        }
    }

    #[test]
    fn any_value_survives_but_for_white_space_at_its_end(mut value in syntax(), next in syntax()) {
        while value.last().is_some_and(|&byte| is_space(byte)) {
            value.pop();
        }
        let next: Vec<u8> = next.into_iter().filter(|&byte| !is_space(byte)).collect();
        let params: Params = [("NAME", value), ("NEXT", next)].into_iter().collect();
        prop_assert_eq!(ParamFile::parse(&write(&params)).unwrap().params(), params);
    }

    #[test]
    fn no_bytes_make_it_panic(text: Vec<u8>) {
        let _ = ParamFile::parse(&text);
    }
}
