//! Three revisions of real software: applied over any of the earlier ones, the third one leaves the same tree.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};

use super::debs::{add_copy, deb_in, has_dpkg_deb, unpack};
use crate::records::Before;
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};

const NAMED: &str = "--pkg ACMEsoft --arch all";

/// The time of a producer's files: with nanoseconds, as on file systems.
const WRITTEN: Duration = Duration::new(1_790_000_000, 123_456_789);

/// A release of trees: the base, and a copy of it for each revision.
struct Revisions {
    stage: Scenario,
    /// The directory of the software in a release.
    top: &'static str,
}

impl Revisions {
    fn tree(&self, name: &str) -> PathBuf {
        self.stage.beside(name)
    }

    /// Makes a copy of a release, which the test then changes.
    fn copy(&self, from: &str, to: &str) -> PathBuf {
        add_copy(&self.tree(from), &self.tree(to));
        self.tree(to)
    }

    /// Makes the three patches, each including the one before it.
    fn build(&self) {
        for (at, to) in ["first", "second", "third"].iter().enumerate() {
            let previous = if at > 0 { format!("--previous 300400-0{at}") } else { String::new() };
            let id = format!("300400-0{}", at + 1);
            let releases = format!("--from base --to {to} {NAMED} --base-version 1.0 --owner root:root");
            let run = self.stage.run(&format!("build --id {id} -o {id} {releases} {previous}"));
            assert_eq!(run.code, 0, "{}", run.stderr);
            let linted = self.stage.run(&format!("lint {id}"));
            assert_eq!((linted.code, linted.stderr.as_str()), (0, ""), "{}", linted.stdout);
        }
    }

    fn installed(&self) -> Tree {
        Tree::of(&self.stage.at(self.top), &[])
    }

    /// Applies the third revision over every selection of the others, and backs all of them out one by one.
    fn assert_cumulative(&self) {
        let stage = &self.stage;
        add_copy(&self.tree("base"), &stage.root());
        stage
            .run(&format!("adopt {NAMED} --pkg-version 1.0 --basedir / --dir @ROOT@/{} -R @ROOT@", self.top))
            .ok();
        let (before, wanted) = (Before::of(stage), Tree::of(&self.tree("third").join(self.top), &[]));
        for earlier in [&[][..], &[1], &[2], &[1, 2]] {
            let mut trees = vec![];
            let revisions = || earlier.iter().copied().chain([3]);
            for revision in revisions() {
                trees.push(self.installed());
                stage.run(&format!("add -R @ROOT@ 300400-0{revision}")).ok();
            }
            assert_same(&self.installed(), &wanted);
            assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
            for (revision, tree) in revisions().collect::<Vec<_>>().iter().zip(&trees).rev() {
                let run = stage.run(&format!("patchrm -R @ROOT@ 300400-0{revision}"));
                assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
                assert_same(&self.installed(), tree);
            }
            before.assert_again(stage, &format!("after 3 over {earlier:?}"));
        }
    }
}

/// Writes a new file, with the time `WRITTEN`.
fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::File::open(path).unwrap().set_modified(UNIX_EPOCH + WRITTEN).unwrap();
}

/// Sets a user attribute of a file, if the file system has these.
fn give(path: &Path, name: &str, value: &str) {
    if lsetxattr(path, name, value.as_bytes(), XattrFlags::empty()).is_err() {
        crate::skipped("three_revisions_of_acme_tools: no attributes of users here");
    }
}

#[test]
fn three_revisions_of_acme_tools() {
    let test = "three_revisions_of_acme_tools";
    let Some(packages) = shared(test, "cases/make/packages") else { return };
    if !has_dpkg_deb(test) {
        return;
    }
    let revisions = Revisions { stage: Scenario::new(), top: "opt" };
    let base = revisions.tree("base");
    unpack(&packages.join("acme-tools_1.0-1_amd64.xz.deb"), &base);
    give(&base.join("opt/acme/share/same.txt"), "user.kept", "base");

    let first = revisions.copy("base", "first").join("opt/acme");
    write(&first.join("bin/acme"), "first\n", 0o755);
    write(&first.join("share/added.txt"), "added\n", 0o644);
    fs::set_permissions(first.join("bin/capped"), fs::Permissions::from_mode(0o700)).unwrap();
    give(&first.join("etc/acme.conf"), "user.note", "first");
    let _ = lremovexattr(first.join("share/same.txt"), "user.kept");
    fs::hard_link(first.join("lib/one"), first.join("lib/three")).unwrap();
    write(&first.join("lib/two"), "alone\n", 0o644);
    fs::remove_file(first.join("share/gone.txt")).unwrap();
    fs::remove_dir_all(first.join("share/turns")).unwrap();
    symlink("../lib", first.join("share/turns")).unwrap();

    let second = revisions.copy("first", "second").join("opt/acme");
    write(&second.join("bin/acme"), "second\n", 0o711);
    write(&second.join("new/deep/file"), "second\n", 0o640);
    write(&second.join("share/gone.txt"), "here again\n", 0o600);
    fs::remove_file(second.join("share/added.txt")).unwrap();
    give(&second.join("bin/capped"), "user.second", "2");
    fs::remove_file(second.join("current")).unwrap();
    write(&second.join("current/file"), "a directory\n", 0o644);

    let third = revisions.copy("base", "third").join("opt/acme");
    write(&third.join("bin/acme"), "third\n", 0o755);
    write(&third.join("share/third.txt"), "third\n", 0o644);
    revisions.build();
    revisions.assert_cumulative();
}

#[test]
fn three_revisions_of_tzdata() {
    let test = "three_revisions_of_tzdata";
    let Some(cases) = shared(test, "cases") else { return };
    if !has_dpkg_deb(test) {
        return;
    }
    let revisions = Revisions { stage: Scenario::new(), top: "usr" };
    unpack(&deb_in(&cases.join("release"), "tzdata"), &revisions.tree("base"));
    unpack(&deb_in(&cases.join("stable"), "tzdata"), &revisions.tree("first"));
    let zones = |name: &str| revisions.tree(name).join("usr/share/zoneinfo");
    write(&zones("first").join("America/Nowhere"), "TZif2 of nowhere\n", 0o644);
    fs::remove_file(zones("first").join("Europe/Belfast")).unwrap();
    fs::set_permissions(zones("first").join("Europe/Berlin"), fs::Permissions::from_mode(0o600)).unwrap();

    let second = revisions.copy("first", "second").join("usr/share/zoneinfo");
    fs::remove_file(second.join("America/Nowhere")).unwrap();
    let back = zones("base").join("America/Havana");
    fs::remove_file(second.join("America/Havana")).unwrap();
    add_copy_of_file(&back, &second.join("America/Havana"));

    let third = revisions.copy("base", "third").join("usr/share/zoneinfo");
    write(&third.join("Europe/Vienna"), "TZif2 of Vienna\n", 0o644);
    revisions.build();
    revisions.assert_cumulative();
}

/// Copies a file with its time.
fn add_copy_of_file(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    let time = fs::metadata(from).unwrap().modified().unwrap();
    fs::File::open(to).unwrap().set_modified(time).unwrap();
}
