//! The examples do what their first lines say.

#[allow(dead_code)] // an example's `main` is its own
#[path = "../examples/list_datastream.rs"]
mod list_datastream;
#[allow(dead_code)]
#[path = "../examples/make_package.rs"]
mod make_package;
#[allow(dead_code)]
#[path = "../examples/query_contents.rs"]
mod query_contents;

#[test]
fn a_package_that_was_made_in_memory_is_listed() {
    let objects =
        [("bin".to_owned(), None), ("bin/hello".to_owned(), Some(b"#!/bin/sh\necho hello\n".to_vec()))];
    let stream = make_package::make_package("ACMEhello", &objects).unwrap();
    let mut listing = Vec::new();
    list_datastream::list(&stream[..], &mut listing).unwrap();
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
    let contents = b"/opt/bin d none 0755 root sys ACMEhello ACMEshop\n\
        /opt/bin/hello f none 0755 root sys 21 1760 1600000000 ACMEhello\n\
        /opt/bin/shop=hello s none ACMEshop\n";
    let mut out = Vec::new();
    query_contents::write_owners(&contents[..], "/opt/bin", &mut out).unwrap();
    assert_eq!(out, b"ACMEhello\nACMEshop\n");
    out.clear();
    query_contents::write_objects(&contents[..], "ACMEshop", &mut out).unwrap();
    assert_eq!(out, b"d /opt/bin\ns /opt/bin/shop\n");
}
