//! Moving packages while signals arrive, and the names of the packages.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::*;
use patchadm_svr4::package::checksum;

/// Returns a directory `from` with two packages and a directory `to` with an older one of them.
fn stage() -> TempDir {
    let stage = tempfile::tempdir().unwrap();
    for (spool, name, version) in [("from", "ACMEa", "2"), ("from", "ACMEb", "2"), ("to", "ACMEa", "1")] {
        let at = stage.path().join(spool).join(name);
        fs::create_dir_all(at.join("reloc/bin")).unwrap();
        fs::write(at.join("reloc/bin/tool"), version).unwrap();
        let pkginfo = format!("PKG={name}\nNAME={name}\nARCH=all\nVERSION={version}\nCATEGORY=application\n");
        let sum = checksum::sum(version.as_bytes());
        let pkgmap = format!(
            ": 1 2\n1 f none bin/tool 0755 root root 1 {sum} 0\n1 i pkginfo {} {} 0\n",
            pkginfo.len(),
            checksum::sum(pkginfo.as_bytes())
        );
        fs::write(at.join("pkginfo"), pkginfo).unwrap();
        fs::write(at.join("pkgmap"), pkgmap).unwrap();
    }
    fs::write(stage.path().join("to/old.pkg"), "as before").unwrap();
    stage
}

/// Moves all packages; a signal arrives at the `interrupted`-th check for one.
fn translate(
    stage: &TempDir,
    as_stream: bool,
    interrupted: u32,
) -> Result<Vec<TransferredPackage>, TranslateError> {
    let (from, to) = (stage.path().join("from"), stage.path().join("to"));
    let request = TranslateRequest {
        device: from,
        packages: Vec::new(),
        categories: Vec::new(),
        to: if as_stream {
            TransferDestination::Stream(to.join("old.pkg"))
        } else {
            TransferDestination::Directory(to)
        },
        existing: ExistingPolicy::Overwrite,
        description_only: false,
    };
    let looks = AtomicU32::new(0);
    let interrupt = || (looks.fetch_add(1, Ordering::Relaxed) + 1 >= interrupted).then_some(2);
    let mut observer = TransferObserver { interrupt: &interrupt, transferring: &mut |_| {} };
    PackageTranslation::prepare(request)?.perform(&mut observer)
}

/// Returns every name below `to`, and the bytes of the files.
fn picture(stage: &TempDir) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut open) = (Vec::new(), vec![stage.path().join("to")]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_signal_at_any_moment_leaves_everything_as_before() {
    for as_stream in [false, true] {
        let mut moment = 1;
        loop {
            let stage = stage();
            let before = picture(&stage);
            match translate(&stage, as_stream, moment) {
                Err(TranslateError::Interrupted(2)) => assert_eq!(picture(&stage), before, "{moment}"),
                Err(other) => panic!("{other}"),
                Ok(moved) => {
                    assert_eq!(moved.len(), 2);
                    assert_ne!(picture(&stage), before);
                    break;
                }
            }
            moment += 1;
        }
        assert!(moment > 4, "{moment}");
    }
}

#[test]
fn a_package_takes_the_place_of_another_version_as_a_whole() {
    let stage = stage();
    let names = translate(&stage, false, u32::MAX).unwrap();
    let names: Vec<&str> = names.iter().map(|moved| moved.instance.as_str()).collect();
    assert_eq!(names, ["ACMEa", "ACMEb"]);
    assert_eq!(fs::read(stage.path().join("to/ACMEa/reloc/bin/tool")).unwrap(), b"2");
    assert_eq!(fs::read_dir(stage.path().join("to")).unwrap().count(), 3);
}

#[test]
fn a_member_of_a_later_part_stands_below_its_number() {
    let name = |path: &str, part| member_name(&PackagePath::new(path.as_bytes()).unwrap(), part);
    assert_eq!(name("bin/tool", 1), b"reloc/bin/tool");
    assert_eq!(name("bin/tool", 2), b"reloc.2/bin/tool");
    assert_eq!(name("/etc/x", 12), b"root.12/etc/x");
}

#[test]
fn a_stream_is_named_from_its_source_and_a_directory_from_here() {
    let stage = stage();
    let (from, to) = (stage.path().join("from"), stage.path().join("to"));
    let named = |word: &str, as_stream| TransferDestination::named(Path::new(word), &from, as_stream);
    assert_eq!(named("a.pkg", true), TransferDestination::Stream(from.join("a.pkg")));
    assert_eq!(named("/tmp/a.pkg", true), TransferDestination::Stream(PathBuf::from("/tmp/a.pkg")));
    let to_word = to.to_str().unwrap();
    assert_eq!(named(to_word, false), TransferDestination::Directory(to.clone()));
    let stream = to.join("old.pkg");
    assert_eq!(
        TransferDestination::named(Path::new("x.pkg"), &stream, true),
        TransferDestination::Stream("x.pkg".into())
    );
}
