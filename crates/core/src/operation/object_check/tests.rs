//! Tests that several threads, while the records are read or afterwards, find what one thread finds, in the same order. The
//! tests of pkgchk show what is compared.

use std::fs;

use super::*;
use crate::operation::queries::select::PackagePattern;
use patchadm_svr4::package::{ContentInfo, Ftype, Object, ObjectPath, OwningPackage, PkgInst, checksum};

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn line(path: &str, bytes: &[u8]) -> ContentsLine {
    let mut object = Object::new(Ftype::File, "none");
    object.content =
        ContentInfo { size: Some(bytes.len() as u64), cksum: Some(checksum::sum(bytes)), mtime: None };
    let owners = vec![OwningPackage::new(PkgInst::new("ACMEweb").unwrap())];
    ContentsLine { path: at(path), volume: None, object, owners }
}

/// Makes files of several directories in turn. Every seventh has another byte, every eleventh is missing, and one is larger
/// than the read buffer.
fn files(root: &Root) -> Vec<ContentsLine> {
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
    let aspects = CheckedAspects { attributes: true, contents: true, ..CheckedAspects::default() };
    let delivered = DeliveredFiles::default();
    let comparison = ObjectComparison {
        root: &root,
        accounts: None,
        aspects,
        delivered: &delivered,
        follows_links: true,
        overridden: OverriddenAttributes::default(),
        interrupt: &never,
    };
    let alone: Vec<CheckedObject> = lines.iter().map(|line| comparison.compare_one(line)).collect();
    let wrong = |checked: &&CheckedObject| !checked.findings.is_empty();
    let missing = alone.iter().filter(|checked| checked.is_missing()).count();
    assert_eq!((missing, alone.iter().filter(wrong).count()), (91, 221));
    for workers in [0, 1, 2, 5, 100] {
        assert!(in_parallel(&comparison, &lines, workers) == alone, "{workers}");
    }
    assert_eq!(in_parallel(&comparison, &[], 3), []);
}

#[test]
fn a_signal_ends_the_comparison_of_a_file_that_would_take_hours() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    let mut recorded = line("/sparse", b"");
    recorded.object.content.size = Some(1 << 40);
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 100).then_some(15);
    let comparison = ObjectComparison {
        root: &root,
        accounts: None,
        aspects: CheckedAspects { contents: true, ..CheckedAspects::default() },
        delivered: &DeliveredFiles::default(),
        follows_links: true,
        overridden: OverriddenAttributes::default(),
        interrupt: &interrupt,
    };
    let findings = comparison.compare_one(&recorded).findings;
    assert!(matches!(findings[..], [ObjectFinding::Unreadable(_)]), "{findings:?}");
}

/// Writes the records of a root: these lines and one of another package.
fn record(root: &Root, lines: &[ContentsLine]) {
    let other = b"/zz d none ? ? ? ACMEother".to_vec();
    let mut text = lines.iter().map(ContentsLine::write).chain([other]).collect::<Vec<_>>().join(&b'\n');
    text.push(b'\n');
    for package in ["ACMEweb", "ACMEother"] {
        let at = root.prefix().join("var/sadm/pkg").join(package);
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("pkginfo"), format!("PKG={package}\n")).unwrap();
    }
    let contents = root.prefix().join("var/sadm/install/contents");
    fs::create_dir_all(contents.parent().unwrap()).unwrap();
    fs::write(contents, text).unwrap();
}

#[test]
fn records_that_are_read_meanwhile_give_the_same_answer_as_those_that_were_read_before() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut lines = files(&root);
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    let aspects = CheckedAspects { attributes: true, contents: true, ..CheckedAspects::default() };
    let comparison = ObjectComparison {
        root: &root,
        accounts: None,
        aspects,
        delivered: &DeliveredFiles::default(),
        follows_links: true,
        overridden: OverriddenAttributes::default(),
        interrupt: &never,
    };
    let alone: Vec<CheckedObject> = lines.iter().map(|line| comparison.compare_one(line)).collect();
    let packages = ["ACMEweb", "ACMEnone"].map(PackagePattern::parse).to_vec();
    let unknown = UnmatchedOperands { packages: vec!["ACMEnone".to_owned()], ..UnmatchedOperands::default() };
    let request = ObjectCheckRequest {
        scope: CheckScope { packages, ..CheckScope::default() },
        aspects,
        ..ObjectCheckRequest::default()
    };
    let in_order = lines.clone();
    let mut out_of_order = lines.clone();
    out_of_order.swap(400, 401);
    let twice = [&lines[..], &lines[999..]].concat();
    for (number, recorded) in [in_order, out_of_order, twice].iter().enumerate() {
        record(&root, recorded);
        for workers in [0, 1, 2, 5] {
            let request = ObjectCheckRequest { workers, ..request.clone() };
            let report = check_objects(&root, &root, &request).unwrap();
            assert!(report.checked == alone, "{number}: {workers}");
            assert_eq!(report.unknown, unknown, "{number}: {workers}");
            let (found, _) = super::recorded(&root, &request).unwrap();
            assert!(found == lines, "{number}: {workers}");
        }
    }
}

#[test]
fn a_record_that_makes_no_sense_is_named_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let lines = files(&root);
    record(&root, &lines);
    let contents = dir.path().join("var/sadm/install/contents");
    let text = fs::read_to_string(&contents).unwrap().replacen("/d0/f0300 f", "/d0/f0300 ?", 1);
    fs::write(&contents, text).unwrap();
    for workers in [0, 1, 3] {
        let error =
            check_objects(&root, &root, &ObjectCheckRequest { workers, ..ObjectCheckRequest::default() })
                .unwrap_err();
        let expected = format!("{}: line 301: unknown ftype", contents.display());
        assert_eq!(error.to_string(), expected, "{workers}");
    }
}

#[test]
fn what_lies_behind_symbolic_links_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    fs::create_dir_all(dir.path().join("real/sub")).unwrap();
    fs::write(dir.path().join("real/sub/file"), "x").unwrap();
    std::os::unix::fs::symlink("/real", dir.path().join("way")).unwrap();
    std::os::unix::fs::symlink("sub", dir.path().join("real/last")).unwrap();
    let lines = ["/real/last/file", "/real/sub/file", "/way/last/file", "/way/sub/file"];
    record(&root, &lines.map(|path| line(path, b"x")));
    let aspects = CheckedAspects { attributes: true, contents: true, ..CheckedAspects::default() };
    let packages = vec![PackagePattern::parse("ACMEweb")];
    let request = ObjectCheckRequest {
        scope: CheckScope { packages, ..CheckScope::default() },
        aspects,
        ..ObjectCheckRequest::default()
    };
    let report = check_objects(&root, &root, &request).unwrap();
    assert_eq!(report.checked.iter().map(|checked| checked.findings.len()).collect::<Vec<_>>(), [0; 4]);
}
