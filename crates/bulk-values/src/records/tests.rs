//! Records as recipes print them, and as foreign programs do.

use proptest::prelude::*;

use super::*;

fn location(text: &str) -> RecipeLocation {
    RecipeLocation::parse(text).unwrap()
}

fn read(output: &str) -> Result<Records, RecipeRecordError> {
    let mut records = Records::new();
    records.read(&location("net/curl"), output.as_bytes())?;
    Ok(records)
}

fn pscan(records: &Records) -> String {
    let mut out = Vec::new();
    records.write_plain(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const CURL: &str = "PKGNAME=curl-8.5.0nb1\n\
    ALL_DEPENDS=  zlib>=1.2:../../devel/zlib  perl-[0-9]*:../../lang/perl5 sh-1\n\
    PKG_SKIP_REASON=\n\
    NO_BIN_ON_FTP=\n\
    RESTRICTED=\n\
    CATEGORIES=net www\n\
    MAINTAINER=ä\u{1b}@example.org\n\
    SCAN_DEPENDS=../../mk/a.mk  Makefile /etc/b ../../mk/a.mk\n\
    RUN_DEPENDS=zlib>=1.2\n\
    ODD_FIELD= x=y \n\
    PBULK_WEIGHT=400\n";

#[test]
fn a_record_has_its_known_fields_as_values_and_all_others_as_text() {
    let records = read(CURL).unwrap();
    let record = records.get(0).unwrap();
    assert_eq!((record.pkgname().name(), record.pkgname().version()), ("curl", "8.5.0nb1"));
    let depends: Vec<String> = record.all_depends().iter().map(ToString::to_string).collect();
    assert_eq!(depends, ["zlib>=1.2:devel/zlib", "perl-[0-9]*:lang/perl5", "sh-1"]);
    assert_eq!([0, 1, 2].map(|place| record.is_run_depends(place)), [true, false, false]);
    assert_eq!((record.skip_reason(), record.fail_reason()), (None, None));
    assert_eq!((record.weight(), record.is_restricted(), record.is_failed_scan()), (400, false, false));
    assert_eq!(record.categories().collect::<Vec<_>>(), ["net", "www"]);
    assert_eq!(record.maintainer(), "ä\u{1b}@example.org");
    assert_eq!((record.field("ODD_FIELD"), record.field("ABSENT")), ("x=y", ""));
    let files: Vec<&str> = records.scan_depends(record).collect();
    assert_eq!(files, ["../../mk/a.mk", "Makefile", "/etc/b", "../../mk/a.mk"]);
    assert_eq!(records.scanned_files(), 3);
}

#[test]
fn records_are_written_in_order_of_their_names_with_their_location() {
    let mut records = Records::new();
    let z = "PKGNAME=z-1\nA=1\nSCAN_DEPENDS=b  a\nPKG_LOCATION=x/y\nDEPENDS=q-1\nB= 2\n\nPKGNAME=Z-2\nPKG_DEPTH=3\n";
    assert_eq!(records.read(&location("a/z"), z.as_bytes()).unwrap(), 0..2);
    assert_eq!(records.read(&location("a/b"), b"PKGNAME=b-1\nSCAN_DEPENDS=").unwrap(), 2..3);
    assert_eq!(records.add_failed_scan(&location("net/curl"), "scan: exit 2:\nno\r\0 "), 3);
    let b = "PKGNAME=b-1\nPKG_LOCATION=a/b\nSCAN_DEPENDS=\n";
    let failed = "PKGNAME=net_curl-0\nPKG_LOCATION=net/curl\nPKG_FAIL_REASON=scan: exit 2: no\n";
    let expected = format!(
        "PKGNAME=Z-2\nPKG_LOCATION=a/z\n{b}{failed}PKGNAME=z-1\nPKG_LOCATION=a/z\nA=1\nSCAN_DEPENDS=b a\nB= 2\n"
    );
    assert_eq!(pscan(&records), expected);
}

#[test]
fn the_files_of_pbulk_have_all_fields_that_its_programs_want_and_locations_from_the_top() {
    let mut records = Records::new();
    let own = "PKGNAME=user-1\nALL_DEPENDS=base>=1:../base other-[0-9]* gone-1\nRUN_DEPENDS=base>=1:../base\n\
               PKG_SKIP_REASON= \n";
    records.read(&location("a/b/user"), own.as_bytes()).unwrap();
    let as_pbulk =
        "PKGNAME=base-1\nALL_DEPENDS= x-1:../../c/x  y-1:../../c/y\nPKG_SKIP_REASON=\nPKG_FAIL_REASON=no\n";
    records.read(&location("c/base"), as_pbulk.as_bytes()).unwrap();
    let other = location("c/other");
    let base = records.get(1).unwrap().pkgname();
    let mut written = Vec::new();
    records
        .write_pbulk(&mut written, |index| match index {
            0 => Some(PbulkFields {
                depends: vec![base],
                found: vec![None, Some(&other), None],
                fail_reason: Some("it needs gone-1".to_owned()),
            }),
            1 => Some(PbulkFields::default()),
            _ => None,
        })
        .unwrap();
    let expected = "PKGNAME=base-1\nPKG_LOCATION=c/base\nALL_DEPENDS= x-1:../../c/x  y-1:../../c/y\n\
        PKG_SKIP_REASON=\nPKG_FAIL_REASON=no\n\
        PKGNAME=user-1\nPKG_LOCATION=a/b/user\nALL_DEPENDS=base>=1:../../a/b/base other-[0-9]*:../../c/other\n\
        RUN_DEPENDS=base>=1:../../a/b/base\nPKG_SKIP_REASON=\nPKG_FAIL_REASON=it needs gone-1\nDEPENDS=base-1\n";
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    // Read again they mean the same, and are written as they are.
    let again = Records::import(&written[..]).unwrap();
    let user = again.iter().find(|record| record.pkgname().as_str() == "user-1").unwrap();
    let needs: Vec<String> = user.all_depends().iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["base>=1:a/b/base", "other-[0-9]*:c/other"]);
    assert!(user.is_run_depends(0) && !user.is_run_depends(1));
    let mut once_more = Vec::new();
    again.write_pbulk(&mut once_more, |_| Some(PbulkFields::default())).unwrap();
    assert_eq!(String::from_utf8(once_more).unwrap(), expected.replace("DEPENDS=base-1\n", ""));
}

#[test]
fn the_files_of_pbulk_have_no_character_that_a_terminal_obeys_and_a_build_gets_its_record_as_it_was_printed()
{
    let mut records = Records::new();
    let text = "PKGNAME=a-1\nMAINTAINER=\u{1b}[2Jme\u{202e}\nA=b\tc é\nSCAN_DEPENDS=x\u{9b}y\n";
    records.read(&location("a"), text.as_bytes()).unwrap();
    records.add_failed_scan(&location("b"), "scan: exit 1: \u{7}");
    let mut written = Vec::new();
    records.write_pbulk(&mut written, |_| Some(PbulkFields::default())).unwrap();
    let expected = "PKGNAME=a-1\nPKG_LOCATION=a\nMAINTAINER=\\033[2Jme\\342\\200\\256\nA=b\tc é\n\
        SCAN_DEPENDS=x\\302\\233y\nALL_DEPENDS=\nPKG_SKIP_REASON=\nPKG_FAIL_REASON=\n\
        PKGNAME=b-0\nPKG_LOCATION=b\nPKG_FAIL_REASON=scan: exit 1: \\007\nALL_DEPENDS=\nPKG_SKIP_REASON=\n";
    assert_eq!(String::from_utf8(written).unwrap(), expected);
    let mut record = Vec::new();
    records.write_record(records.get(0).unwrap(), &[], &mut record).unwrap();
    assert!(String::from_utf8(record).unwrap().contains("MAINTAINER=\u{1b}[2Jme\u{202e}\n"));
}

#[test]
fn a_failed_scan_is_a_package_that_cannot_be_built() {
    let mut records = Records::new();
    let index = records.add_failed_scan(&location("net/curl"), "scan: exit 2: no such target");
    let record = records.get(index).unwrap();
    assert!(record.is_failed_scan());
    assert_eq!(record.fail_reason(), Some("scan: exit 2: no such target"));
}

#[test]
fn what_is_no_record_names_the_line_and_the_reason() {
    for (output, expected) in [
        ("PKGNAME=a-1\nA=1\r\n", "line 2: it contains a carriage return"),
        ("PKGNAME=a-1\nA=\0\n", "line 2: it contains a NUL"),
        ("make: stopped\n", "line 1: <make: stopped> is not NAME=VALUE"),
        (
            "PKGNAME=a-1\nmake[1]=x\n",
            "line 2: <make[1]> is not a valid field name: these are capital letters, digits and _",
        ),
        (
            "PKGNAME=a-1\n=x\n",
            "line 2: <> is not a valid field name: these are capital letters, digits and _",
        ),
        ("\nA=1\nPKGNAME=a-1", "line 2: A appears before the first PKGNAME"),
        ("PKGNAME=a\n", "line 1: <a> is not a PKGNAME: it has no - before a version"),
        (
            "PKGNAME=a-1\nALL_DEPENDS=x-1:../../../etc\nPKGNAME=b-1\n",
            "line 1: <../../../etc> is not a location: it is outside the tree",
        ),
        ("PKGNAME=a-1\nDISTFILES=x\n", "line 1: DISTFILES: <x> is not NAME:SHA256:SIZE"),
        ("PKGNAME=a-1\nLIMITS=x\n", "line 1: LIMITS: <x> is not NAME=VALUE"),
        ("PKGNAME=a-1\nPBULK_WEIGHT=much\n", "line 1: PBULK_WEIGHT: <much> is not a whole number"),
        (
            "PKGNAME=a-1\nALL_DEPENDS=x-1:a/b\nRUN_DEPENDS=x-1:a/c\n",
            "line 1: RUN_DEPENDS names <x-1:a/c>, but ALL_DEPENDS does not",
        ),
    ] {
        assert_eq!(read(output).unwrap_err().to_string(), expected, "{output:?}");
    }
}

#[test]
fn a_record_with_too_much_that_varies_is_refused() {
    let refused = read(&format!("PKGNAME=a-1\nVARIES={}\n", "x ".repeat(101))).unwrap_err();
    assert_eq!(refused.to_string(), "line 1: VARIES: <x> is one more than the 100 items of a record");
}

#[test]
fn a_scan_that_cannot_be_read_adds_nothing() {
    let mut records = Records::new();
    records.read(&location("a/b"), b"PKGNAME=a-1\nPKGNAME=b-1\nX\n").unwrap_err();
    assert!(records.is_empty());
    assert_eq!(records.read(&location("a/b"), b"").unwrap(), 0..0, "no record is no fault");
}

#[test]
fn one_location_has_at_most_10000_records_and_16_mib() {
    let many =
        |count: usize| (0..count).map(|number| format!("PKGNAME=a-{number}")).collect::<Vec<_>>().join("\n");
    assert_eq!(read(&many(10_000)).unwrap().len(), 10_000);
    assert_eq!(read(&many(10_001)).unwrap_err().to_string(), "line 10001: there are too many records");
    let long = |length: usize| format!("PKGNAME=a-1\nX={}", "x".repeat(length - 14));
    assert_eq!(read(&long(LONGEST_OUTPUT)).unwrap().len(), 1);
    assert_eq!(read(&long(LONGEST_OUTPUT + 1)).unwrap_err().fault, RecordFault::TooLong);
}

#[test]
fn an_empty_run_depends_is_nothing_and_an_absent_one_is_all() {
    let run = |field: &str| {
        let records = read(&format!("PKGNAME=a-1\nALL_DEPENDS=x>1:a/x x>1:b/x y>1\n{field}")).unwrap();
        [0, 1, 2].map(|place| records.get(0).unwrap().is_run_depends(place))
    };
    assert_eq!(run(""), [true; 3]);
    assert_eq!(run("RUN_DEPENDS=\n"), [false; 3]);
    assert_eq!(run("RUN_DEPENDS=y>1 y>1 x>1:../../b/x\n"), [false, true, true]);
    assert_eq!(run("RUN_DEPENDS=x>1\n"), [true, true, false]);
}

#[test]
fn an_imported_record_says_where_it_comes_from_and_its_depends_are_not_believed() {
    let file = "PKGNAME=a-1\nALL_DEPENDS=b-1:../b\nPKG_LOCATION=x/a\nDEPENDS=c-1\nPKG_DEPTH=7\n";
    let records = Records::import(file.as_bytes()).unwrap();
    assert_eq!(records.get(0).unwrap().all_depends()[0].to_string(), "b-1:x/b");
    assert_eq!(pscan(&records), "PKGNAME=a-1\nPKG_LOCATION=x/a\nALL_DEPENDS=b-1:../b\n");
    let error = Records::import(&b"PKGNAME=b-1\nPKG_LOCATION=a\nPKGNAME=a-1\n"[..]).unwrap_err();
    assert_eq!(error.to_string(), "line 3: the record of a-1 has no PKG_LOCATION");
    assert!(matches!(error, ImportError::Record(_)));
}

fn record_text() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        "[A-Z0-9_]{1,8}=[ -~é]{0,20}",
        "ALL_DEPENDS=( [a-z{},*>=0-9-]{1,9}(:\\.\\./[a-z]{1,3})?){0,4}",
        "SCAN_DEPENDS=( [a-z./]{1,5}){0,4}",
    ];
    ("[a-z]{1,4}-[0-9.]{1,4}", proptest::collection::vec(field, 0..6))
        .prop_map(|(name, fields)| format!("PKGNAME={name}\n{}\n", fields.join("\n")))
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(outputs in proptest::collection::vec(record_text(), 0..5)) {
        let mut records = Records::new();
        for (number, output) in outputs.iter().enumerate() {
            let recipe = location(&format!("net/r{number}"));
            if let Err(error) = records.read(&recipe, output.as_bytes()) {
                records.add_failed_scan(&recipe, &error.to_string());
            }
        }
        let text = pscan(&records);
        let again = Records::import(text.as_bytes()).unwrap();
        prop_assert_eq!(pscan(&again), text);
        prop_assert_eq!(again.len(), records.len());
    }

    #[test]
    fn any_bytes_are_records_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut records = Records::new();
        if let Err(error) = records.read(&location("a/b"), &bytes) {
            prop_assert!(!error.to_string().contains(char::is_control), "one line");
        }
    }
}

#[test]
fn of_records_of_one_location_with_one_pkgname_the_first_counts() {
    let mut records = Records::new();
    let text = "PKGNAME=a-1\nMAINTAINER=first\nPKGNAME=b-1\nPKGNAME=a-1\nMAINTAINER=second\nPKGNAME=a-1\n";
    let read = records.read(&location("c/a"), text.as_bytes()).unwrap();
    records.read(&location("c/other"), b"PKGNAME=a-1\n").unwrap();
    assert_eq!(read, 0..2);
    let found: Vec<(&str, &str)> =
        records.iter().map(|record| (record.location().as_str(), record.pkgname().as_str())).collect();
    assert_eq!(found, [("c/a", "a-1"), ("c/a", "b-1"), ("c/other", "a-1")]);
    assert_eq!(records.get(0).unwrap().maintainer(), "first");
    let repeated = (location("c/a"), records.get(0).unwrap().pkgname().clone());
    assert_eq!(records.repeated(), [repeated.clone(), repeated]);
    // The same for records from elsewhere.
    let foreign =
        "PKGNAME=a-1\nPKG_LOCATION=c/a\nPKGNAME=a-1\nPKG_LOCATION=c/a\nPKGNAME=a-1\nPKG_LOCATION=c/b\n";
    let imported = Records::import(foreign.as_bytes()).unwrap();
    assert_eq!((imported.len(), imported.repeated().len()), (2, 1));
}
