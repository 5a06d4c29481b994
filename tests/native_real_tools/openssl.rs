//! A patch between two versions of openssl and its library, as Debian has them, followed by the upgrade and downgrade
//! with apt.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Debian;

/// The versions with both packages in the directory, in the order of dpkg.
fn versions(debs: &Path) -> Vec<String> {
    let names = fs::read_dir(debs).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    let version =
        |name: &String| name.strip_prefix("openssl_")?.strip_suffix("_amd64.deb").map(str::to_owned);
    let is_whole = |version: &String| names.contains(&format!("libssl3_{version}_amd64.deb"));
    let mut versions: Vec<String> = names.iter().filter_map(version).filter(is_whole).collect();
    versions.sort_by(|one, other| {
        let is_less = Command::new("dpkg").args(["--compare-versions", one, "lt", other]).status().unwrap();
        if is_less.success() { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
    });
    versions
}

/// Copies the packages of a version below `/srv` of the tree.
fn put(debian: &Debian, debs: &Path, version: &str) {
    fs::create_dir_all(debian.at(&format!("/srv/{version}"))).unwrap();
    for name in ["openssl", "libssl3"] {
        let file = format!("{name}_{version}_amd64.deb");
        fs::copy(debs.join(&file), debian.at(&format!("/srv/{version}/{file}"))).unwrap();
    }
}

/// A Debian tree with the packages of openssl and its library in at least two versions below `/srv`, and a patch from
/// the first to the last of them; `None` if that is not available.
pub(super) fn of_openssl(test: &str) -> Option<(Debian, Vec<String>)> {
    let Some(debs) = std::env::var_os("PATCHADM_DEBIAN_DEBS").map(PathBuf::from) else {
        crate::skipped(&format!("{test}: PATCHADM_DEBIAN_DEBS names no packages of Debian"));
        return None;
    };
    let debian = Debian::fresh(test)?;
    let versions = versions(&debs);
    let [old, .., new] = &versions[..] else {
        crate::skipped(&format!("{test}: {} has no two versions of openssl and libssl3", debs.display()));
        return None;
    };
    versions.iter().for_each(|version| put(&debian, &debs, version));
    debian.done(&format!(
        "patchadm build --id 300-01 --from /srv/{old} --to /srv/{new} -o /srv/300-01 \
         --fixed-in 'dpkg openssl >= {new}, dpkg libssl3 >= {new}'"
    ));
    Some((debian, versions))
}

/// Installs packages of the tree with apt.
#[track_caller]
pub(super) fn installs(debian: &Debian, packages: &str) {
    let options = "-qq -y --allow-downgrades --no-install-recommends";
    debian.done(&format!("apt-get {options} install {packages}"));
}

#[test]
fn a_patch_of_openssl_is_contained_in_the_version_that_it_was_made_of_and_lost_to_the_older_one() {
    let Some((debian, versions)) = of_openssl("a patch of openssl") else { return };
    let [old, between @ .., new] = &versions[..] else { return };
    for by_hook in [false, true] {
        play(&debian, (old, between, new), by_hook);
    }
}

fn play(debian: &Debian, (old, between, new): (&str, &[String], &str), by_hook: bool) {
    let installs = |version: &str| installs(debian, &format!("/srv/{version}/*.deb"));
    debian.done("patchadm setup hooks remove; rm -rf /var/sadm");
    installs(old);
    debian.done("patchadm adopt --dpkg openssl && patchadm adopt --dpkg libssl3");
    debian.done("patchadm add /srv/300-01");
    assert!(debian.done("openssl version").contains(new.split('-').next().unwrap()));
    if by_hook {
        debian.done("patchadm setup hooks install");
    }
    let settled = |listed: &str, code: i32| {
        debian.refresh(by_hook);
        let list = debian.inside("patchadm list --check");
        assert_eq!((list.code, list.stdout.as_str()), (code, listed), "{}", list.stderr);
        assert!(debian.done("openssl version").starts_with("OpenSSL 3."));
        assert_eq!(debian.done("dpkg --verify openssl libssl3"), "");
        assert_eq!(debian.done("patchadm pkgchk"), "");
        debian.done("patchadm check --contents");
        debian.assert_settled();
    };
    for version in between {
        installs(version);
        settled(&format!("300-01  LOST to libssl3 {version} (dpkg)\n"), 4);
        installs(old);
        debian.refresh(by_hook);
        debian.done("patchadm add /srv/300-01");
    }
    installs(new);
    settled(&format!("300-01  contained in libssl3 {new} (dpkg)\n"), 0);
    installs(old);
    settled(&format!("300-01  LOST to libssl3 {old} (dpkg)\n"), 4);
    debian.done("patchadm add /srv/300-01");
    installs(new);
    settled(&format!("300-01  contained in libssl3 {new} (dpkg)\n"), 0);
}
