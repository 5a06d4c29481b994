//! The examples do what their first lines say.

#[allow(dead_code)] // an example's `main` is its own
#[path = "../examples/list_datastream.rs"]
mod list_datastream;
#[allow(dead_code)]
#[path = "../examples/query_contents.rs"]
mod query_contents;

use list_datastream::{list, make_package};

#[test]
fn a_package_that_was_made_in_memory_is_listed() {
    let stream = make_package::make_package("ACMEhello", &make_package::sample()).unwrap();
    let mut listing = Vec::new();
    list(&stream[..], &mut listing).unwrap();
    let expected = "\
ACMEhello: ACMEhello, version 1.0
ACMEhello, part 1:
        97 100644 pkginfo
       116 100644 pkgmap
         0 040755 reloc/bin
        21 100644 reloc/bin/hello
";
    assert_eq!(String::from_utf8(listing).unwrap(), expected);
}

#[test]
fn contents_tells_who_owns_a_path_and_what_a_package_owns() {
    let mut out = Vec::new();
    query_contents::write_owners(query_contents::SAMPLE, "/opt/bin", &mut out).unwrap();
    assert_eq!(out, b"ACMEhello\nACMEshop\n");
    out.clear();
    query_contents::write_objects(query_contents::SAMPLE, "ACMEshop", &mut out).unwrap();
    assert_eq!(out, b"d /opt/bin\ns /opt/bin/shop\n");
}
