//! Small trees, archives and packages made for one test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use patchadm_releases::{ReleaseObject, ReleaseObjectKind};
use patchadm_rootfs::Timestamp;
use patchadm_svr4::package::Mode;

/// Returns a tree with two names of one file, a link and a directory.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("lib/sub")).unwrap();
    fs::write(dir.path().join("lib/one"), "shared\n").unwrap();
    fs::set_permissions(dir.path().join("lib/one"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(dir.path().join("lib/one"), dir.path().join("lib/two")).unwrap();
    fs::write(dir.path().join("lib/sub/empty"), "").unwrap();
    symlink("lib/one", dir.path().join("current")).unwrap();
    dir
}

/// Returns the lines of a list: path, type, and what only this type has.
fn lines(package: &ReleasePackage) -> Vec<String> {
    let line = |object: &ReleaseObject| match &object.kind {
        ReleaseObjectKind::File { content, links, .. } => {
            format!("{} {} {:?} {}", object.path, content.size, links.map(|group| group.0), object.mode)
        }
        ReleaseObjectKind::Symlink(target) => format!("{} -> {}", object.path, target.escape_ascii()),
        other => format!("{} {other:?}", object.path),
    };
    package.objects.iter().map(line).collect()
}

fn tar_of(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_mtime(1_600_000_000);
        let content = if *kind == tar::EntryType::Regular { text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        if *kind != tar::EntryType::Regular {
            header.as_mut_bytes()[157..157 + text.len()].copy_from_slice(text.as_bytes());
        }
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// Returns the unit of the last step of reading a release, the amount done, and the total.
fn counted(path: &Path) -> (WorkUnit, u64, u64) {
    let meter = WorkMeter::default();
    super::super::open(path.as_os_str(), 2, &meter).unwrap();
    let step = meter.step().unwrap();
    (step.unit(), step.done(), step.units())
}

#[test]
fn what_is_read_is_counted_in_bytes_of_a_tree_or_an_archive_and_in_packages_of_a_set() {
    let dir = tree();
    assert_eq!(counted(dir.path()), (WorkUnit::Bytes, 7, 7), "a file with two names is read once");
    let archive = tar_of(&[("a", tar::EntryType::Regular, "b")]);
    let (_holder, path) = written(&archive);
    let (unit, done, all) = counted(&path);
    assert_eq!((unit, all), (WorkUnit::Bytes, archive.len() as u64));
    assert!(done > 512 && done <= all, "{done}");
}

#[test]
fn a_tree_is_a_list_sorted_by_path_with_its_hard_links() {
    let dir = tree();
    fs::set_permissions(dir.path().join("lib/sub/empty"), fs::Permissions::from_mode(0o644)).unwrap();
    for cores in [1, 2, 7] {
        let release = open(dir.path().as_os_str(), cores).unwrap();
        let package = &release.packages[0];
        let expected = [
            "/current -> lib/one",
            "/lib Directory { exclusive: false }",
            "/lib/one 7 Some(0) 0640",
            "/lib/sub Directory { exclusive: false }",
            "/lib/sub/empty 0 None 0644",
            "/lib/two 7 Some(0) 0640",
        ];
        assert_eq!(lines(package), expected);
        let read = contents(package);
        assert_eq!(read.keys().collect::<Vec<_>>(), ["/lib/one", "/lib/sub/empty"], "a file is given once");
        assert_eq!(read["/lib/one"], b"shared\n");
        let mut second = Vec::new();
        let wanted = |path: &ObjectPath| path.name() == b"two";
        let read = package.contents.each(&wanted, &mut |path, _| {
            second.push(path.to_string());
            Ok(())
        });
        read.unwrap();
        assert_eq!(second, ["/lib/two"]);
    }
}

#[test]
fn records_of_this_program_are_no_part_of_a_tree() {
    let dir = tree();
    for name in ["var/sadm/install", "var/sadm/pkg/ACME", "etc/patchadm"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("etc/patchadm/policy"), "").unwrap();
    let names = || -> Vec<String> {
        let release = opened(dir.path());
        release.packages[0].objects.iter().map(|object| object.path.to_string()).collect()
    };
    assert!(names().contains(&"/var/sadm/pkg/ACME".to_owned()), "it is no root without a database");
    fs::write(dir.path().join("var/sadm/install/contents"), "").unwrap();
    let software = ["/current", "/lib", "/lib/one", "/lib/sub", "/lib/sub/empty", "/lib/two"];
    assert_eq!(names(), software);
    fs::write(dir.path().join("etc/acme.conf"), "").unwrap();
    let with_etc = ["/current", "/etc", "/etc/acme.conf"].into_iter().chain(software.into_iter().skip(1));
    assert_eq!(names(), with_etc.collect::<Vec<_>>());
}

#[test]
fn a_tree_that_changed_since_it_was_read_is_an_error() {
    let dir = tree();
    let release = opened(dir.path());
    fs::write(dir.path().join("lib/one"), "shorter").unwrap();
    let error = release.packages[0].contents.each(&|_| true, &mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("changed while it was read"), "{error}");
}

#[test]
fn a_socket_is_refused() {
    let dir = tree();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("lib/socket")).unwrap();
    assert_eq!(refused(dir.path()), "</lib/socket>, a socket is not supported");
}

#[test]
fn a_tar_archive_is_the_tree_in_it() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let bytes = tar_of(&[
        ("./", Directory, ""),
        ("./lib/", Directory, ""),
        ("./lib/two", Regular, "shared\n"),
        ("./lib/one", Link, "./lib/two"),
        ("./current", Symlink, "../lib/one"),
    ]);
    let (_dir, path) = written(&bytes);
    let release = opened(&path);
    let package = &release.packages[0];
    let expected = [
        "/current -> ../lib/one",
        "/lib Directory { exclusive: false }",
        "/lib/one 7 Some(0) 0644",
        "/lib/two 7 Some(0) 0644",
    ];
    assert_eq!(lines(package), expected);
    assert_eq!(contents(package), BTreeMap::from([("/lib/one".to_owned(), b"shared\n".to_vec())]));
    assert_eq!(object(package, "/lib").mtime, Timestamp::whole(1_600_000_000));
    assert_eq!(object(package, "/lib").mode, Mode::of(0o644));
}

#[test]
fn archives_that_no_tree_can_be_are_refused_by_name() {
    use tar::EntryType::{GNUSparse, Link, Regular, Symlink};
    for (members, words) in [
        (&[("../x", Regular, "")][..], "member <../x> has a `..` component"),
        (&[("/etc/x", Regular, "")], "member </etc/x> has an absolute name"),
        (&[("a", Regular, ""), ("./a", Regular, "")], "two objects are called </a>"),
        (
            &[("a", Symlink, "/etc"), ("a/passwd", Regular, "")],
            "member </a/passwd> is below </a>, which is not a directory",
        ),
        (&[("a", Link, "b")], "</a> is a hard link to </b>, which the archive does not contain"),
        (
            &[("a", Link, "b"), ("b", Link, "a")],
            "</a> is a hard link to </b>, which the archive does not contain",
        ),
        (&[("a", GNUSparse, "")], "</a>, a sparse file in a tar archive is not supported"),
    ] {
        let (_dir, path) = written(&tar_of(members));
        assert_eq!(refused(&path), words);
    }
}

#[test]
fn a_directory_is_a_package_a_set_or_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    for name in ["ACMEa", "ACMEb"] {
        let package = set.join(name);
        fs::create_dir_all(package.join("reloc/bin")).unwrap();
        fs::write(package.join("reloc/bin/x"), "x\n").unwrap();
        let base = if name == "ACMEa" { "/" } else { "/opt" };
        let text =
            format!("PKG={name}\nNAME=n\nARCH=all\nVERSION=1\nCATEGORY=a\nBASEDIR={base}\nSOURCE=acme\n");
        fs::write(package.join("pkginfo"), &text).unwrap();
        let sum = patchadm_svr4::package::checksum::sum(text.as_bytes());
        let map = format!(
            ": 1 2\n1 d none bin ? ? ?\n1 l none bin/y=x\n1 f none bin/x 0755 root bin 2 130 1600000000\n\
             1 e none {base}/etc 0644 root bin 2 130 1600000000\n1 i pkginfo {} {sum} 1600000000\n",
            text.len()
        );
        fs::create_dir_all(package.join("root").join(base.trim_start_matches('/'))).unwrap();
        fs::write(package.join("root").join(base.trim_start_matches('/')).join("etc"), "x\n").unwrap();
        fs::write(package.join("pkgmap"), map.replace("//", "/")).unwrap();
    }
    let release = opened(&set);
    assert_eq!(
        release.packages.iter().map(|package| package.name.as_deref().unwrap()).collect::<Vec<_>>(),
        ["ACMEa", "ACMEb"]
    );
    for package in &release.packages {
        assert_eq!(lines(package), ["/bin/x 2 Some(0) 0755", "/bin/y 2 Some(0) 0755", "/etc 2 None 0644"]);
        assert_eq!(package.source.as_deref(), Some("acme"));
        assert_eq!(contents(package).len(), 2);
    }
    assert_eq!(counted(&set), (WorkUnit::Packages, 2, 2));
    assert_eq!(opened(&set.join("ACMEa")).packages[0].form, ReleaseForm::Svr4);
    for entry in set_entries(&set).unwrap() {
        assert_identified(&entry);
    }
    fs::write(set.join("README"), "no package").unwrap();
    assert_eq!(opened(&set).packages[0].form, ReleaseForm::Tree);
    let error = open(&prefixed("set:", &set), 1).unwrap_err();
    assert!(error.to_string().ends_with("README: it is neither a package nor a tar archive"), "{error}");
    fs::write(set.join("README"), tar_of(&[("a", tar::EntryType::Regular, "b")])).unwrap();
    assert_eq!(open(&prefixed("set:", &set), 2).unwrap().packages.len(), 3);
    let error = identify(&set.join("README")).unwrap_err();
    assert!(
        error.to_string().ends_with("README: an archive that is not a package is not supported"),
        "{error}"
    );
    fs::remove_file(set.join("README")).unwrap();
    assert_eq!(open(&prefixed("tree:", &set), 2).unwrap().packages[0].form, ReleaseForm::Tree);
    assert_eq!(refused(&set.join("absent")), "no such file or directory");
}
