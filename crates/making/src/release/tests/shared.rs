//! Packages made by dpkg-deb, rpmbuild and Debian.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use patchadm_releases::{ReleaseObject, ReleaseObjectKind, Upkeep};

/// Returns the shared test data. If they are absent, reports the test that runs without them.
fn cases(test: &str, path: &str) -> Option<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases").join(path);
    if !cases.exists() {
        crate::skipped(&format!("{test}: ../shared/cases/{path} is not here"));
        return None;
    }
    Some(cases)
}

fn one(mut release: Release) -> ReleasePackage {
    assert_eq!(release.packages.len(), 1);
    release.packages.remove(0)
}

#[test]
fn a_package_is_the_same_whatever_compressed_it() {
    let Some(made) = cases("a_package_is_the_same_whatever_compressed_it", "make/packages") else { return };
    for version in ["1.0", "1.1"] {
        let named = |file: String| one(opened(&made.join(file)));
        let debs = ["gzip", "xz", "zstd"].map(|how| named(format!("acme-tools_{version}-1_amd64.{how}.deb")));
        let rpms =
            ["gzdio", "xzdio", "zstdio"].map(|how| named(format!("acme-tools-{version}-1.noarch.{how}.rpm")));
        for of_one_kind in [&debs, &rpms] {
            let first = contents(&of_one_kind[0]);
            for other in &of_one_kind[1..] {
                assert_eq!(other.objects, of_one_kind[0].objects);
                assert_eq!(contents(other), first);
                assert_eq!((&other.name, &other.version), (&of_one_kind[0].name, &of_one_kind[0].version));
            }
        }
        let (deb, rpm) = (&debs[0], &rpms[0]);
        assert_eq!(deb.source.as_deref(), Some("acme"));
        assert_eq!(rpm.source.as_deref(), Some("acme-tools"));
        assert_eq!(
            (deb.version.clone(), rpm.version.clone()),
            (Some(format!("1:{version}-1")), deb.version.clone())
        );
        assert_eq!((deb.arch.as_deref(), rpm.arch.as_deref()), (Some("amd64"), Some("noarch")));
        assert_eq!(plain(deb), plain(rpm));
    }
}

#[test]
fn a_package_says_of_itself_what_opening_it_finds() {
    let Some(made) = cases("a_package_says_of_itself_what_opening_it_finds", "make/packages") else { return };
    let packages = set_entries(&made).unwrap().into_iter();
    for path in packages.filter(|path| path.extension().is_some_and(|end| end != "spec")) {
        assert_identified(&path);
    }
}

/// Returns the common part of a Debian and an rpm package of one tree: the Debian package lists every directory, and
/// has no capabilities.
fn plain(package: &ReleasePackage) -> Vec<String> {
    let objects = package.objects.iter().filter(|object| !object.is_directory());
    let mode = |object: &ReleaseObject| match object.kind {
        ReleaseObjectKind::Symlink(_) => String::new(),
        _ => object.mode.to_string(),
    };
    objects.map(|object| format!("{} {:?} {}", object.path, object.kind, mode(object))).collect()
}

#[test]
fn what_a_package_says_of_its_files_arrives() {
    let Some(made) = cases("what_a_package_says_of_its_files_arrives", "make/packages") else { return };
    let rpm = one(opened(&made.join("acme-tools-1.0-1.noarch.xzdio.rpm")));
    let capped = object(&rpm, "/opt/acme/bin/capped");
    let raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(capped.xattrs.get(&b"security.capability"[..]).map(Vec::as_slice), Some(&raw[..]));
    let one_file = ["/opt/acme/lib/one", "/opt/acme/lib/two"].map(|path| object(&rpm, path).link_group());
    assert!(one_file[0].is_some() && one_file[0] == one_file[1]);
    let conf = &object(&rpm, "/opt/acme/etc/acme.conf").kind;
    assert!(matches!(conf, ReleaseObjectKind::File { upkeep: Upkeep::Editable, .. }));
    assert!(rpm.objects.iter().all(|object| object.path.name() != b"state"), "a ghost");
    assert_eq!(object(&rpm, "/opt/acme/current").kind, ReleaseObjectKind::Symlink(b"lib/one".to_vec()));
    assert_eq!(rpm.objects.iter().filter(|object| object.path.name() == b"two words.txt").count(), 1);
}

#[test]
fn what_differs_between_two_releases_of_debian_is_what_dpkg_deb_found() {
    let test = "what_differs_between_two_releases_of_debian_is_what_dpkg_deb_found";
    let (Some(old), Some(new), Some(known)) =
        (cases(test, "release"), cases(test, "stable"), cases(test, "make/delta"))
    else {
        return;
    };
    let (old, new) = (opened(&old), opened(&new));
    assert_eq!((old.packages.len(), new.packages.len()), (13, 13));
    for (old, new) in old.packages.iter().zip(&new.packages) {
        assert_eq!((&old.name, &old.arch), (&new.name, &new.arch));
        let name = format!("{}_{}.changes", new.name.as_deref().unwrap(), new.arch.as_deref().unwrap());
        let text = std::fs::read_to_string(known.join(name)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let expected: BTreeSet<String> = lines
            .filter(|(kind, _)| *kind != "mtime_only")
            .map(|(_, path)| format!("/{}", path.trim_start_matches("./").trim_start_matches('/')))
            .collect();
        assert_eq!(differing(old, new), expected, "{:?}", new.name);
    }
    let openssl: Vec<_> =
        new.packages.iter().filter(|package| package.source.as_deref() == Some("openssl")).collect();
    assert_eq!(openssl.len(), 2);
    let nginx = new.packages.iter().find(|package| package.name.as_deref() == Some("nginx-common")).unwrap();
    assert_eq!(
        contents(nginx).len(),
        nginx.objects.iter().filter(|object| object.content().is_some()).count()
    );
    assert!(nginx.scripts.contains(&"postinst".to_owned()), "{:?}", nginx.scripts);
}

/// Returns the paths whose objects differ in more than their times.
fn differing(old: &ReleasePackage, new: &ReleasePackage) -> BTreeSet<String> {
    let timeless = |package: &ReleasePackage| -> BTreeMap<String, ReleaseObject> {
        let without = |object: &ReleaseObject| ReleaseObject {
            mtime: patchadm_rootfs::Timestamp::default(),
            ..object.clone()
        };
        package.objects.iter().map(|object| (object.path.to_string(), without(object))).collect()
    };
    let (old, new) = (timeless(old), timeless(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).cloned().collect()
}
