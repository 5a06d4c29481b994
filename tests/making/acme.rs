//! acme-tools 1.0 and 1.1, which differ in one object of every kind, in every form in which they come.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, lsetxattr};

use super::debs::{add_copy, has_dpkg_deb, unpack};
use crate::packages::files;
use crate::records::Before;
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};

const DEBS: [&str; 3] = ["gzip", "xz", "zstd"];
const RPMS: [&str; 3] = ["gzdio", "xzdio", "zstdio"];

/// Options with which trees of the unpacked Debian packages make the same patch as the packages.
const AS_DEB: &str = "--pkg DEBacme-tools --arch amd64 --base-version 1:1.0-1 --editable opt/acme/etc/acme.conf --owner root:root";

/// `cap_net_raw=ep`, as Linux stores it.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Both versions, in all forms.
struct AcmeTools {
    stage: Scenario,
    packages: PathBuf,
}

impl AcmeTools {
    fn of(test: &str) -> Option<Self> {
        let packages = shared(test, "cases/make/packages")?;
        if !has_dpkg_deb(test) {
            return None;
        }
        let acme = Self { stage: Scenario::new(), packages };
        for (version, side) in [("1.0", "old"), ("1.1", "new")] {
            unpack(&acme.deb(version, "gzip"), &acme.stage.beside(side));
        }
        Some(acme)
    }

    fn deb(&self, version: &str, compression: &str) -> PathBuf {
        self.packages.join(format!("acme-tools_{version}-1_amd64.{compression}.deb"))
    }

    fn rpm(&self, version: &str, compression: &str) -> PathBuf {
        self.packages.join(format!("acme-tools-{version}-1.noarch.{compression}.rpm"))
    }

    fn build(&self, [from, to]: [PathBuf; 2], out: &str, options: &str) -> PathBuf {
        let (from, to) = (from.display(), to.display());
        let line = format!("build --id 300300-01 --from {from} --to {to} -o {out} {options}");
        let run = self.stage.run(&line);
        assert_eq!(run.code, 0, "{}", run.stderr);
        self.stage.beside(out)
    }

    fn debs(&self, compression: &str) -> [PathBuf; 2] {
        ["1.0", "1.1"].map(|version| self.deb(version, compression))
    }

    fn rpms(&self, compression: &str) -> [PathBuf; 2] {
        ["1.0", "1.1"].map(|version| self.rpm(version, compression))
    }

    fn trees(&self) -> [PathBuf; 2] {
        ["old", "new"].map(|side| self.stage.beside(side))
    }
}

/// The texts of a patch, without consequences of names and versions, and without facts that only an rpm has.
fn texts(patch: &Path) -> BTreeMap<String, Vec<String>> {
    let alike = |text: &str| text.replace("RPMacme", "DEBacme").replace("noarch", "amd64");
    let is_compared = |name: &String| name != "MANIFEST" && !name.ends_with("/patchadm.objects");
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(patch.join(name)).unwrap();
        let is_own = |line: &&str| match name.rsplit('/').next() {
            Some("pkgmap") => !line.starts_with("1 i ") && !line.starts_with(": "),
            Some("pkginfo") => !line.starts_with("NAME="),
            _ => true,
        };
        text.lines().filter(is_own).map(alike).collect()
    };
    files(patch).into_iter().filter(is_compared).map(|name| (alike(&name), lines(&name))).collect()
}

#[test]
fn every_form_of_the_releases_makes_the_same_patch() {
    let Some(acme) = AcmeTools::of("every_form_of_the_releases_makes_the_same_patch") else { return };
    let debs = DEBS.map(|form| acme.build(acme.debs(form), &format!("deb-{form}"), ""));
    let rpms = RPMS.map(|form| acme.build(acme.rpms(form), &format!("rpm-{form}"), ""));
    let tree = acme.build(acme.trees(), "tree", AS_DEB);
    for alike in [&debs, &rpms] {
        for other in &alike[1..] {
            assert_same(&Tree::of(other, &[]), &Tree::of(&alike[0], &[]));
        }
    }
    assert_eq!(texts(&tree), texts(&debs[0]));
    assert_eq!(texts(&rpms[0]), texts(&debs[0]));
    let objects =
        |patch: &Path, pkg: &str| fs::read_to_string(patch.join(pkg).join("install/patchadm.objects"));
    assert!(objects(&debs[0], "DEBacme-tools").is_err());
    let capable = r#"{"path":"opt/acme/bin/capped","xattrs":{"security.capability":""#;
    let said = objects(&rpms[0], "RPMacme-tools").unwrap();
    assert!(said.lines().count() == 2 && said.contains(capable), "{said}");
}

/// Applies a patch to a root with version 1.0, which becomes 1.1, and backs it out.
fn assert_there_and_back(acme: &AcmeTools, named: &str, patch: &Path) {
    let stage = &acme.stage;
    stage.run(&format!("adopt {named} --basedir / --dir @ROOT@/opt -R @ROOT@")).ok();
    let before = Before::of(stage);
    stage.run(&format!("add -R @ROOT@ {}", patch.display())).ok();
    assert_same(&Tree::of(&stage.at("/opt"), &[]), &Tree::of(&stage.beside("new").join("opt"), &[]));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let run = stage.run("patchrm -R @ROOT@ 300300-01");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    before.assert_again(stage, "backed out");
}

#[test]
fn everything_of_a_debian_package_arrives_and_goes_back() {
    let Some(acme) = AcmeTools::of("everything_of_a_debian_package_arrives_and_goes_back") else { return };
    add_copy(&acme.stage.beside("old"), &acme.stage.root());
    let patch = acme.build(acme.debs("xz"), "patch.zip", "--format zip");
    assert_there_and_back(&acme, "--pkg DEBacme-tools --pkg-version 1:1.0-1 --arch amd64", &patch);
}

#[test]
fn everything_of_trees_arrives_and_goes_back() {
    let Some(acme) = AcmeTools::of("everything_of_trees_arrives_and_goes_back") else { return };
    add_copy(&acme.stage.beside("old"), &acme.stage.root());
    let patch = acme.build(acme.trees(), "patch.tar", &format!("--format tar {AS_DEB}"));
    assert_there_and_back(&acme, "--pkg DEBacme-tools --pkg-version 1:1.0-1 --arch amd64", &patch);
}

#[test]
fn everything_of_an_rpm_arrives_and_goes_back_with_its_capability() {
    let test = "everything_of_an_rpm_arrives_and_goes_back_with_its_capability";
    let Some(acme) = AcmeTools::of(test) else { return };
    for side in ["old", "new"] {
        let capped = acme.stage.beside(side).join("opt/acme/bin/capped");
        if lsetxattr(&capped, "security.capability", &NET_RAW, XattrFlags::empty()).is_err() {
            return crate::skipped(&format!("{test}: capabilities cannot be given here"));
        }
    }
    add_copy(&acme.stage.beside("old"), &acme.stage.root());
    let patch = acme.build(acme.rpms("zstdio"), "patch.pkg", "--format datastream");
    assert_there_and_back(&acme, "--pkg RPMacme-tools --pkg-version 1:1.0-1 --arch noarch", &patch);
    let kept = fs::read_dir(acme.stage.at("/var/sadm/pkg/RPMacme-tools/install")).into_iter().flatten();
    assert_eq!(kept.count(), 0, "nothing of the patch is kept for nobody");
}
