//! Packages that are installed for several architectures: an instance for each, with shared files.

use crate::delivery::Patch;
use crate::native_root::{BASE, Deb, DpkgRoot, End, NOTHING, architectures, delivered};
use crate::packages::Package;

const COMMON: &str = "/usr/share/ssl/common";

fn so(arch: &str) -> String {
    format!("/usr/lib/{arch}/libssl.so.3")
}

fn libssl3(arch: &str, version: &str) -> Deb {
    let deb = Deb::new("libssl3", version).arch(arch).field("Multi-Arch", "same");
    deb.file(&so(arch), &format!("libssl {version} {arch}\n")).file(COMMON, &format!("common {version}\n"))
}

/// Installs a version for both architectures.
fn install_both(root: &DpkgRoot, version: &str) {
    let (own, other) = architectures();
    for arch in [own, other] {
        root.build(&libssl3(arch, version));
    }
    root.dpkg_done(&format!("-i [libssl3_{version}_{own}] [libssl3_{version}_{other}]"));
}

/// A root with both architectures, adopted.
fn adopted(root: &DpkgRoot) {
    root.done(&format!("dpkg --add-architecture {}", architectures().1));
    install_both(root, "1");
    root.ok("adopt --all -R @ROOT@");
}

/// The package as a patch for an architecture delivers it.
fn of(arch: &str, version: &str) -> Package {
    delivered("DEBlibssl3", arch, version)
}

fn fixes(id: &str, arch: &str, version: &str) -> Patch {
    Patch::of(id, of(arch, version).file(&so(arch)[1..], 0o644, format!("libssl fixed {arch}\n")))
}

/// The registrations, except that of the package that every root has.
fn registered(root: &DpkgRoot) -> Vec<String> {
    let entries = std::fs::read_dir(root.at("/var/sadm/pkg")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| *name != format!("DEB{BASE}"));
    names.sort();
    names
}

#[test]
fn both_architectures_are_instances_and_follow_every_upgrade() {
    for root in DpkgRoot::both("two architectures that are upgraded") {
        let (own, other) = architectures();
        adopted(&root);
        let instance = format!("DEBlibssl3.{other}");
        assert_eq!(registered(&root), ["DEBlibssl3".to_owned(), instance.clone()]);
        root.install(&Deb::new("bystander", "1").file("/usr/share/bystander/data", "data of 1\n"));
        root.adopt(&["bystander"]);
        install_both(&root, "2");
        root.upgrade(&Deb::new("bystander", "2").file("/usr/share/bystander/data", "data of 2\n"));
        root.tells(&[]);
        for name in ["DEBlibssl3", &instance] {
            let version = root.ok(&format!("pkgparam -R @ROOT@ {name} NATIVE_VERSION"));
            assert_eq!(version, "2\n", "{name}");
        }
        for arch in [own, other] {
            root.owned(&[&so(arch)], "libssl3");
        }
        let check = root.unwatched("pkgchk -R @ROOT@");
        assert_eq!(check.said(), "");
    }
}

#[test]
fn a_patch_for_the_second_architecture_applies_to_it_alone() {
    for root in DpkgRoot::both("a patch for the second architecture") {
        let (own, other) = architectures();
        adopted(&root);
        root.applied(&fixes("100-01", other, "1"));
        assert_eq!(root.content(&so(other)), format!("libssl fixed {other}\n"));
        assert_eq!(root.content(&so(own)), format!("libssl 1 {own}\n"));
        root.applied(&fixes("200-01", own, "1"));
        root.tells(&[("100-01", End::Stands), ("200-01", End::Stands)]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(&so(other)), format!("libssl 1 {other}\n"));
        assert_eq!(root.content(&so(own)), format!("libssl fixed {own}\n"));
        assert_eq!(root.verified(), [so(own)]);
    }
}

#[test]
fn a_purge_of_one_architecture_ends_its_patches_and_leaves_those_of_the_other() {
    for root in DpkgRoot::both("a purge of one architecture") {
        let (own, other) = architectures();
        adopted(&root);
        root.applied(&fixes("100-01", other, "1"));
        root.applied(&fixes("200-01", own, "1"));
        root.dpkg_done(&format!("-P libssl3:{other}"));
        root.refresh();
        assert_eq!(registered(&root), ["DEBlibssl3"]);
        assert_eq!(root.content(&so(own)), format!("libssl fixed {own}\n"));
        assert_eq!(root.content(&so(other)), NOTHING);
        assert_eq!(root.content(COMMON), "common 1\n");
        root.tells(&[("100-01", End::Ended), ("200-01", End::Stands)]);
        let removed = root.remove("200-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_purge_of_the_second_architecture_is_foreseen_for_it_alone() {
    let Some(root) = DpkgRoot::opened("a foreseen purge of one architecture") else { return };
    let (own, other) = architectures();
    adopted(&root);
    root.applied(&fixes("200-01", own, "1"));
    let foreseen = root.foresee(&format!("libssl3 1 {other} same > - - none **REMOVE**\n"));
    assert!(!foreseen.said().contains("200-01"), "{}", foreseen.said());
    let foreseen = root.foresee(&format!("libssl3 1 {own} same > - - none **REMOVE**\n"));
    assert!(foreseen.said().contains("200-01"), "{}", foreseen.said());
}

#[test]
fn an_upgrade_of_both_architectures_loses_the_patch_of_each() {
    for root in DpkgRoot::both("an upgrade of two patched architectures") {
        let (own, other) = architectures();
        adopted(&root);
        root.applied(&fixes("100-01", other, "1"));
        root.applied(&fixes("200-01", own, "1"));
        install_both(&root, "2");
        root.refresh();
        root.tells(&[("100-01", End::Lost(&[&so(other)])), ("200-01", End::Lost(&[&so(own)]))]);
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_patched_file_of_both_architectures_is_announced_and_dpkg_goes_on_after_the_backout() {
    for root in DpkgRoot::both("a patched file of several architectures") {
        let (own, other) = architectures();
        root.done(&format!("dpkg --add-architecture {other}"));
        root.install(&libssl3(own, "1"));
        root.adopt(&["libssl3"]);
        let patch = Patch::of("100-01", of(own, "1").file(&COMMON[1..], 0o644, "common fixed\n"));
        let said = root.applied(&patch);
        assert!(said.contains("trying to overwrite shared") && said.contains(COMMON), "{said}");
        root.build(&libssl3(other, "1"));
        let refused = root.dpkg(&format!("-i [libssl3_1_{other}]"));
        assert!(refused.code != 0 && refused.said().contains("shared"), "{}", refused.said());
        assert_eq!(root.content(COMMON), "common fixed\n");
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        root.dpkg_done(&format!("-i [libssl3_1_{other}]"));
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_shared_file_goes_with_the_last_architecture() {
    for root in DpkgRoot::both("a shared file of two architectures") {
        let (own, other) = architectures();
        adopted(&root);
        let patch = Patch::of("100-01", of(own, "1").file(&COMMON[1..], 0o644, "common fixed\n"));
        root.applied(&patch);
        root.dpkg_done(&format!("-P libssl3:{own}"));
        root.refresh();
        assert_ne!(root.content(COMMON), NOTHING);
        root.dpkg_done(&format!("-P libssl3:{other}"));
        root.refresh();
        assert_eq!(root.content(COMMON), NOTHING);
        assert!(!root.at("/var/sadm/pkg/DEBlibssl3").exists());
    }
}

#[test]
fn a_package_whose_name_ends_like_an_architecture_is_one_of_its_own() {
    for root in DpkgRoot::both("libc6 and libc6-i386") {
        let (own, other) = architectures();
        root.done(&format!("dpkg --add-architecture {other}"));
        for (name, arch) in [("libc6", own), ("libc6", other), (&*format!("libc6-{other}"), own)] {
            let deb = Deb::new(name, "1").arch(arch);
            let deb = if name == "libc6" { deb.field("Multi-Arch", "same") } else { deb };
            root.install(&deb.file(&format!("/usr/lib/{name}-{arch}/libc.so.6"), "libc\n"));
        }
        root.ok("adopt --all -R @ROOT@");
        let (instance, own_name) = (format!("DEBlibc6.{other}"), format!("DEBlibc6-{other}"));
        let mut expected = ["DEBlibc6".to_owned(), instance, own_name];
        expected.sort();
        assert_eq!(registered(&root), expected);
    }
}
