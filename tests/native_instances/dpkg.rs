//! `Multi-Arch: same`: libraries that dpkg has installed for two architectures.

use std::fmt::Write as _;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::PatchedRoot;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

/// The documentation that both architectures have.
const SHARED: &str = "/usr/share/doc/lib/copyright";

/// A root in which dpkg has two architectures.
struct Workshop {
    root: PatchedRoot,
    debs: TempDir,
}

impl Deref for Workshop {
    type Target = PatchedRoot;

    fn deref(&self) -> &PatchedRoot {
        &self.root
    }
}

impl Workshop {
    /// `None` if a tool is missing, which is reported for the test.
    fn opened(test: &str) -> Option<Self> {
        if !crate::has("dpkg-deb", test) || !crate::has("tar", test) {
            return None;
        }
        if !is_root() {
            crate::skipped(&format!("{test}: dpkg installs packages for root only"));
            return None;
        }
        let root = PatchedRoot { stage: Scenario::new() };
        let workshop = Self { root, debs: tempfile::tempdir().unwrap() };
        for directory in ["info", "updates", "triggers", "parts"] {
            workshop.stage.directory(&format!("/var/lib/dpkg/{directory}"));
        }
        for file in ["status", "available"] {
            workshop.stage.file(&format!("/var/lib/dpkg/{file}"), "");
        }
        workshop.dpkg("--add-architecture i386");
        Some(workshop)
    }

    /// Makes a package; `fields` are further lines of its control file.
    fn deb(
        &self,
        name: &str,
        version: &str,
        arch: &str,
        fields: &str,
        files: &[(String, String)],
    ) -> PathBuf {
        let tree = self.debs.path().join(format!("{name}_{version}_{arch}"));
        for (path, text) in files {
            let at = tree.join(&path[1..]);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        }
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let mut control = format!("Package: {name}\nVersion: {version}\nArchitecture: {arch}\n{fields}");
        writeln!(control, "Maintainer: a test <test@localhost>\nDescription: a test").unwrap();
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let deb = tree.with_extension("deb");
        let mut build = Command::new("dpkg-deb");
        // The same package always has the same times.
        build.env("SOURCE_DATE_EPOCH", "1700000000").args(["--root-owner-group", "-b"]);
        let output = build.arg(&tree).arg(&deb).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_dir_all(&tree).unwrap();
        deb
    }

    /// Makes the library for an architecture.
    fn library(&self, version: &str, arch: &str) -> PathBuf {
        let files = [
            (lib(arch), format!("{arch} {version}\n")),
            (SHARED.to_owned(), format!("copyright {version}\n")),
        ];
        self.deb("lib", version, arch, "Multi-Arch: same\n", &files)
    }

    /// Calls dpkg with these words, followed by packages.
    #[track_caller]
    fn install(&self, words: &str, debs: &[PathBuf]) {
        let mut command = Command::new("dpkg");
        command.arg("--root").arg(self.stage.root()).args(words.split(' ')).args(debs);
        let output = command.env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[track_caller]
    fn dpkg(&self, words: &str) {
        self.install(words, &[]);
    }

    /// Installs the library for both architectures.
    #[track_caller]
    fn install_both(&self, version: &str) {
        self.install("-i", &[self.library(version, "amd64"), self.library(version, "i386")]);
    }

    /// The owners of a path in `contents`.
    fn owners(&self, path: &str) -> String {
        let lines = self.stage.lines();
        let line = lines.iter().find(|line| line.split([' ', '=']).next() == Some(path));
        let words = line.map(|line| line.split(' ').skip_while(|word| !word.starts_with("DEB")));
        let mut owners: Vec<&str> = words.into_iter().flatten().collect();
        owners.sort_unstable();
        owners.join(" ")
    }
}

/// The path of the library for an architecture.
fn lib(arch: &str) -> String {
    format!("/usr/lib/{arch}/lib.so")
}

/// The library as a patch for one of its architectures delivers it, in a directory of this name.
fn delivered(name: &str, version: &str, arch: &str) -> Package {
    let pkg = name.split('.').next().unwrap();
    let package = Package::new(name).param("PKG", pkg).param("BASEDIR", "/");
    let package = package.param("ARCH", arch).param("VERSION", version);
    package.file(&lib(arch)[1..], 0o644, format!("{arch} fixed\n"))
}

fn fix(id: &str, arch: &str) -> Patch {
    Patch::of(id, delivered("DEBlib", "1", arch))
}

#[test]
fn each_architecture_is_an_instance_and_both_follow_an_upgrade_that_changes_what_they_share() {
    let test = "each_architecture_is_an_instance_and_both_follow_an_upgrade_that_changes_what_they_share";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    workshop.run("adopt --all").ok();
    assert_eq!(workshop.parameter("DEBlib", "PATCHADM_ADOPTED"), "dpkg lib:amd64");
    assert_eq!(workshop.parameter("DEBlib.i386", "PATCHADM_ADOPTED"), "dpkg lib:i386");
    assert_eq!(workshop.parameter("DEBlib.i386", "PKG"), "DEBlib");
    assert_eq!(workshop.owners(SHARED), "DEBlib DEBlib.i386");
    assert!(workshop.run("adopt --all").ok().contains("2 were adopted before"));
    workshop.is_in_order();

    workshop.install_both("2");
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package DEBlib follows dpkg: lib 1 became 2"), "{said}");
    assert!(said.contains("Package DEBlib.i386 follows dpkg: lib 1 became 2"), "{said}");
    assert_eq!(workshop.owners(SHARED), "DEBlib DEBlib.i386");
    workshop.is_in_order();
    assert_eq!(workshop.run("list --check").code, 0);

    // One of them is installed again beside the other: nothing differs, and only its stamp follows.
    let stamps = || ["DEBlib", "DEBlib.i386"].map(|package| workshop.parameter(package, "NATIVE_STAMP"));
    let before = stamps();
    workshop.install("-i", &[workshop.library("2", "i386")]);
    let said = workshop.run("adopt --refresh").ok();
    assert_eq!(said, "All adopted packages match their package manager.\n");
    let after = stamps();
    assert!(after[0] == before[0] && after[1] != before[1], "{before:?} {after:?}");
    assert_eq!(workshop.owners(SHARED), "DEBlib DEBlib.i386");
    workshop.is_in_order();
}

#[test]
fn a_patch_goes_to_the_architecture_that_it_names_and_comes_back_from_there() {
    let test = "a_patch_goes_to_the_architecture_that_it_names_and_comes_back_from_there";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    workshop.run("adopt --all").ok();
    let tree = workshop.stage.tree();
    workshop.add("", &fix("100-01", "i386"));
    assert_eq!(workshop.stage.text(&lib("i386")), "i386 fixed\n");
    assert_eq!(workshop.stage.text(&lib("amd64")), "amd64 1\n");
    assert_eq!(workshop.parameter("DEBlib.i386", "PATCHLIST"), "100-01");
    assert_eq!(workshop.parameter("DEBlib", "PATCHLIST"), "");
    workshop.add("", &fix("200-01", "amd64"));
    assert_eq!(workshop.parameter("DEBlib", "PATCHLIST"), "200-01");
    workshop.is_in_order();
    workshop.run("remove 100-01 200-01").ok();
    assert_eq!(workshop.stage.tree(), tree);

    let package = delivered("DEBlib", "1", "sparc");
    let other = Patch::of("400-01", package).directory(&workshop.stage);
    let said = workshop.run(&format!("add {}", other.display())).fails(3);
    assert!(said.contains("(installed: DEBlib (amd64) 1, DEBlib (i386) 1)"), "{said}");
}

#[test]
fn one_patch_goes_to_both_architectures_with_the_file_that_they_share() {
    let test = "one_patch_goes_to_both_architectures_with_the_file_that_they_share";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    let tree = workshop.stage.tree();
    let part =
        |name: &str, arch: &str| delivered(name, "1", arch).file(&SHARED[1..], 0o644, "shared fixed\n");
    let patch = Patch::of("100-01", part("DEBlib", "amd64")).package(part("DEBlib.i386", "i386"));
    let said = workshop.add("--adopt", &patch);
    assert!(
        said.contains("Adopted package DEBlib from") && said.contains("Adopted package DEBlib.i386"),
        "{said}"
    );
    assert_eq!(workshop.stage.text(SHARED), "shared fixed\n");
    for (package, arch) in [("DEBlib", "amd64"), ("DEBlib.i386", "i386")] {
        assert_eq!(workshop.stage.text(&lib(arch)), format!("{arch} fixed\n"));
        assert_eq!(workshop.parameter(package, "PATCHLIST"), "100-01");
    }
    assert_eq!(workshop.owners(SHARED), "DEBlib DEBlib.i386");
    workshop.is_in_order();
    workshop.run("remove 100-01").ok();
    assert_eq!(workshop.stage.tree(), tree);
    workshop.is_in_order();
    workshop.add("", &patch);
    workshop.install_both("2");
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("100-01: LOST to lib 2 (dpkg)"), "{said}");
    assert_eq!(workshop.stage.text(SHARED), "copyright 2\n");
    workshop.run("adopt --refresh --accept 100-01").ok();
    workshop.is_in_order();
}

#[test]
fn what_happens_to_one_architecture_is_not_taken_for_the_other() {
    let test = "what_happens_to_one_architecture_is_not_taken_for_the_other";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    workshop.run("adopt --all").ok();
    workshop.add("", &fix("100-01", "i386"));
    workshop.add("", &fix("200-01", "amd64"));
    workshop.dpkg("--purge lib:i386");
    assert_eq!(workshop.stage.text(SHARED), "copyright 1\n", "amd64 has it still");
    let more = delivered("DEBlib", "1", "amd64").file("usr/lib/amd64/more", 0o644, "more\n");
    workshop.add("", &Patch::of("300-01", more));
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package DEBlib.i386 follows dpkg: lib 1 was removed"), "{said}");
    assert!(said.contains("100-01: went with lib (dpkg)"), "{said}");
    assert!(!said.contains("200-01"), "{said}");
    assert_eq!(workshop.owners(SHARED), "DEBlib");
    assert_eq!(workshop.parameter("DEBlib", "PATCHLIST"), "200-01 300-01");
    assert!(!workshop.stage.at("/var/sadm/pkg/DEBlib.i386").exists());
    workshop.is_in_order();

    // The first architecture is removed while the second one is there.
    workshop.install("-i", &[workshop.library("1", "i386")]);
    workshop.run("adopt --dpkg lib:i386").ok();
    workshop.add("", &fix("400-01", "i386"));
    workshop.dpkg("--purge lib:amd64");
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package DEBlib follows dpkg: lib 1 was removed"), "{said}");
    assert_eq!(workshop.parameter("DEBlib.i386", "PATCHLIST"), "400-01");
    assert_eq!(workshop.run("list --check").code, 0);
    workshop.is_in_order();
    // Its name is free, and the next adopted package gets it.
    workshop.install("-i", &[workshop.library("1", "amd64")]);
    workshop.run("adopt --dpkg lib:amd64").ok();
    assert_eq!(workshop.parameter("DEBlib", "PATCHADM_ADOPTED"), "dpkg lib:amd64");
}

#[test]
fn patches_adopt_the_architecture_that_they_are_for() {
    let test = "patches_adopt_the_architecture_that_they_are_for";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    let said = workshop.add("--adopt", &fix("100-01", "i386"));
    assert!(said.contains("Adopted package DEBlib from dpkg lib:i386"), "{said}");
    let patch = fix("200-01", "amd64");
    let at = patch.directory(&workshop.stage);
    let said = workshop.stage.run(&format!("add -R @ROOT@ {}", at.display())).fails(3);
    assert!(said.contains("dpkg lib:amd64 1 is installed, and was not adopted"), "{said}");
    let said = workshop.add("--adopt", &patch);
    assert!(said.contains("Adopted package DEBlib.amd64 from dpkg lib:amd64"), "{said}");
    assert_eq!(workshop.parameter("DEBlib", "PATCHLIST"), "100-01");
    assert_eq!(workshop.parameter("DEBlib.amd64", "PATCHLIST"), "200-01");
    workshop.is_in_order();
}

#[test]
fn a_package_with_an_architecture_in_its_name_is_not_that_architecture_of_another() {
    let test = "a_package_with_an_architecture_in_its_name_is_not_that_architecture_of_another";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    let files = [("/lib32/lib.so".to_owned(), "another\n".to_owned())];
    workshop.install("-i", &[workshop.deb("lib-i386", "1", "amd64", "", &files)]);
    workshop.run("adopt --all").ok();
    assert_eq!(workshop.parameter("DEBlib-i386", "PATCHADM_ADOPTED"), "dpkg lib-i386:amd64");
    assert_eq!(workshop.parameter("DEBlib.i386", "PATCHADM_ADOPTED"), "dpkg lib:i386");
    workshop.is_in_order();
}

#[test]
fn a_registration_of_an_earlier_version_keeps_its_name_and_follows() {
    let test = "a_registration_of_an_earlier_version_keeps_its_name_and_follows";
    let Some(workshop) = Workshop::opened(test) else { return };
    workshop.install_both("1");
    workshop.run("adopt --dpkg lib:amd64").ok();
    workshop.run("adopt --dpkg lib:i386 --pkg DEBlib-i386").ok();
    let package = delivered("DEBlib-i386", "1", "i386");
    workshop.add("", &Patch::of("100-01", package));
    assert!(workshop.run("adopt --all").ok().contains("2 were adopted before"));
    let said = workshop.run("adopt --dpkg lib:i386").fails(3);
    assert!(
        said.contains("package DEBlib-i386 was not adopted") && said.contains("already installed"),
        "{said}"
    );
    workshop.install_both("2");
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package DEBlib-i386 follows dpkg: lib 1 became 2"), "{said}");
    assert!(said.contains("100-01: LOST to lib 2 (dpkg)"), "{said}");
    workshop.run("adopt --refresh --accept 100-01").ok();
    workshop.is_in_order();
}

#[test]
fn a_package_that_is_there_for_one_architecture_at_a_time_is_followed_to_another() {
    let test = "a_package_that_is_there_for_one_architecture_at_a_time_is_followed_to_another";
    let Some(workshop) = Workshop::opened(test) else { return };
    let web = |arch: &str| {
        let files = [("/usr/bin/web".to_owned(), format!("web {arch}\n"))];
        workshop.deb("web", "1", arch, "", &files)
    };
    workshop.install("-i", &[web("amd64")]);
    workshop.run("adopt --dpkg web").ok();
    workshop.install("-i", &[web("i386")]);
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package DEBweb follows dpkg: web 1 was installed again"), "{said}");
    assert_eq!(workshop.parameter("DEBweb", "ARCH"), "i386");
    assert!(workshop.run("adopt --all").ok().contains("1 was adopted before"));
    assert_eq!(workshop.run("list --check").code, 0);
    workshop.is_in_order();
}

#[test]
fn with_an_unfinished_package_every_command_names_what_finishes_it_and_that_works() {
    let test = "with_an_unfinished_package_every_command_names_what_finishes_it_and_that_works";
    let Some(workshop) = Workshop::opened(test) else { return };
    let web = |version: &str| {
        let files = [("/usr/bin/web".to_owned(), format!("web {version}\n"))];
        workshop.deb("web", version, "amd64", "", &files)
    };
    workshop.install("-i", &[web("1")]);
    workshop.run("adopt --dpkg web").ok();
    workshop.install("--unpack", &[web("2")]);
    let finish = "dpkg has not finished with web; run `dpkg";
    let refresh = "--configure -a`, then `patchadm";
    let listed = workshop.run("list --check");
    assert_eq!(listed.code, 4);
    let status = workshop.run("status").ok();
    let next = status.lines().last().unwrap_or_default();
    assert!(next.starts_with("Next         `dpkg ") && next.contains("--configure -a` finishes"), "{status}");
    let refresh_of = workshop.run("adopt --refresh");
    assert_eq!(refresh_of.code, 3);
    for said in [listed.stderr, refresh_of.stdout] {
        assert!(said.contains(finish) && said.contains(refresh), "{said}");
        assert!(!said.contains("takes the change up"), "{said}");
    }
    assert!(workshop.run("adopt --refresh --from-hook").ok().is_empty(), "the next call takes it up");
    workshop.dpkg("--configure -a");
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package DEBweb follows dpkg: web 1 became 2"), "{said}");
}
