//! The same releases and options give the same bytes, regardless of where, when and by whom a patch is made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debs::{deb_in, has_dpkg_deb, unpack};
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};

const FORMS: [&str; 5] = ["dir", "zip", "tar", "tar.gz", "datastream"];

/// Shell commands before the program: another umask, and a single core if the machine allows it.
const ELSEWHERE: &str =
    "umask 077; if command -v taskset >/dev/null; then exec taskset -c 0 \"$@\"; fi; true";

/// Makes a patch in every form, from trees and from a set of Debian packages.
fn make(stage: &Scenario, before: &str) {
    let trees = "--from old --to new --pkg ACMEtools --arch all --base-version 1 --owner root:root";
    for form in FORMS {
        for (name, releases) in [("tree", trees), ("set", "--from old-set --to new-set")] {
            let line = format!("build --id 300500-01 {releases} -o {name}.{form} --format {form}");
            let run = stage.limited(before, &line);
            assert_eq!(run.code, 0, "{}", run.stderr);
        }
    }
}

/// Copies a tree so that its names are created in the opposite order.
fn copy_backwards(from: &Path, to: &Path) {
    let tree = Tree::of(from, &[]);
    let is_directory = |columns: &Vec<String>| columns[0] == "40000";
    let (directories, others): (Vec<_>, Vec<_>) =
        tree.objects().iter().rev().partition(|(_, columns)| is_directory(columns));
    let names = directories.iter().rev().chain(&others).map(|(path, _)| format!("{path}\n"));
    fs::create_dir(to).unwrap();
    let list = to.with_extension("list");
    fs::write(&list, names.collect::<String>()).unwrap();
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(from).args(["--no-recursion", "-cf", "-", "-T"]).arg(&list).stdout(Stdio::piped());
    let mut packed = pack.spawn().unwrap();
    let archive = packed.stdout.take().unwrap();
    let unpacked = Command::new("tar").arg("-C").arg(to).args(["-xpf", "-"]).stdin(archive).status();
    assert!(packed.wait().unwrap().success() && unpacked.unwrap().success());
}

#[test]
fn the_same_releases_give_the_same_bytes_in_every_form() {
    let test = "the_same_releases_give_the_same_bytes_in_every_form";
    let Some(cases) = shared(test, "cases") else { return };
    if !has_dpkg_deb(test) {
        return;
    }
    let (here, mut there) = (Scenario::new(), Scenario::new());
    let acme = |version: &str| cases.join(format!("make/packages/acme-tools_{version}-1_amd64.xz.deb"));
    for (version, set, side) in [("1.0", "release", "old"), ("1.1", "stable", "new")] {
        unpack(&acme(version), &here.beside(side));
        copy_backwards(&here.beside(side), &there.beside(side));
        let nginx = |name: &str| deb_in(&cases.join(set), name);
        let mut debs: Vec<PathBuf> = vec![acme(version), nginx("nginx"), nginx("nginx-common")];
        for stage in [&here, &there] {
            let directory = stage.beside(&format!("{side}-set"));
            fs::create_dir(&directory).unwrap();
            for deb in &debs {
                fs::copy(deb, directory.join(deb.file_name().unwrap())).unwrap();
            }
            debs.reverse();
        }
    }
    make(&here, "umask 022");
    for (name, value) in [("LC_ALL", "tr_TR.UTF-8"), ("TZ", "America/St_Johns"), ("HOME", "/nowhere")] {
        there.set(name, value);
    }
    make(&there, ELSEWHERE);
    for made in FORMS.iter().flat_map(|form| [format!("tree.{form}"), format!("set.{form}")]) {
        let [one, other] = [&here, &there].map(|stage| stage.beside(&made));
        if one.is_dir() {
            assert_same(&Tree::of(&other, &[]), &Tree::of(&one, &[]));
        } else {
            assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap(), "{made}");
            let manifest = |path: &Path| fs::read_to_string(format!("{}.manifest", path.display())).unwrap();
            assert_eq!(manifest(&one), manifest(&other), "{made}");
        }
    }
}
