//! Comparing by several threads finds what one finds, in the same order. What is compared is shown by the tests of pkgchk.

use std::fs;

use super::*;
use crate::package::{Content, Ftype, checksum};

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn line(path: &str, bytes: &[u8]) -> Line {
    let mut object = Object::new(Ftype::File, "none");
    object.content =
        Content { size: Some(bytes.len() as u64), cksum: Some(checksum::sum(bytes)), mtime: None };
    Line { path: at(path), volume: None, object, owners: Vec::new() }
}

/// Files of several directories in turn, of which every seventh has another byte, every eleventh is not there, and one
/// is larger than what is read at once.
fn files(root: &Root) -> Vec<Line> {
    let mut lines = Vec::new();
    for number in 0..1000usize {
        let path = format!("d{}/f{number:04}", number % 3);
        let mut bytes = vec![b'x'; if number == 500 { 700_000 } else { number }];
        lines.push(line(&format!("/{path}"), &bytes));
        if number % 7 == 0 {
            bytes.push(b'y');
        }
        let place = root.prefix().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if number % 11 != 0 {
            fs::write(place, bytes).unwrap();
        }
    }
    lines
}

#[test]
fn many_threads_say_what_one_says_in_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let lines = files(&root);
    let aspects = Aspects { attributes: true, contents: true, ..Aspects::default() };
    let delivered = Delivered::default();
    let comparison = Comparison { root: &root, accounts: None, aspects, delivered: &delivered };
    let alone: Vec<Checked> = lines.iter().map(|line| comparison.compare_one(line)).collect();
    let wrong = |checked: &&Checked| !checked.findings.is_empty();
    let missing = alone.iter().filter(|checked| checked.is_missing()).count();
    assert_eq!((missing, alone.iter().filter(wrong).count()), (91, 221));
    for workers in [0, 1, 2, 5, 100] {
        assert!(in_parallel(&comparison, &lines, workers) == alone, "{workers}");
    }
    assert_eq!(in_parallel(&comparison, &[], 3), []);
}
