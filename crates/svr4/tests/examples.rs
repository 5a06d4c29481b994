//! The examples do what their first lines say, and README.md names what there is.

use std::fs;
use std::path::Path;

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

#[test]
fn the_table_of_the_readme_names_modules_and_types_of_the_crate() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(here.join("README.md")).unwrap();
    let mut types = 0;
    for row in readme.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let (above, modules) = cells[2].split_once("::").unwrap_or(("", cells[2]));
        let modules =
            modules.trim_matches(['{', '}']).split(", ").map(|name| here.join("src").join(above).join(name));
        let mut text = String::new();
        for module in modules {
            let file =
                [module.with_extension("rs"), module.join("mod.rs")].into_iter().find(|file| file.is_file());
            text += &fs::read_to_string(file.unwrap_or_else(|| panic!("no module {}", module.display())))
                .unwrap();
        }
        for name in cells[3].split(", ").map(|name| name.trim_matches('`')) {
            let name = name.rsplit("::").next().unwrap();
            assert!(text.contains(name), "{name} is not in {}", cells[2]);
            types += 1;
        }
    }
    assert!(types > 20, "{types}");
}
