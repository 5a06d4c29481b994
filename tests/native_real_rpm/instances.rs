//! Packages that rpm has installed several times: in two versions, or for two architectures.

use std::fs;

use crate::delivery::Patch;
use crate::native_root::{End, NOTHING, Rpm, RpmRoot, delivered};

fn image(release: &str) -> String {
    format!("/boot/vmlinuz-{release}")
}

fn kernel(release: &str) -> Rpm {
    let modules = format!("/usr/lib/modules/{release}/a.ko");
    Rpm::new("kernel", release)
        .file(&image(release), &format!("kernel {release}\n"))
        .file(&modules, &format!("module {release}\n"))
}

/// A root with two kernels, adopted.
fn kernels(test: &str) -> Option<RpmRoot> {
    let root = RpmRoot::opened(test)?;
    root.build(&[kernel("1"), kernel("2"), kernel("3")]);
    root.rpm_done("-i [kernel-1]");
    root.rpm_done("-i [kernel-2]");
    root.ok("adopt --all -R @ROOT@");
    Some(root)
}

fn fix(id: &str, release: &str) -> Patch {
    let package = delivered("RPMkernel", "noarch", &format!("1.0-{release}"));
    Patch::of(id, package.file(&image(release)[1..], 0o644, format!("kernel {release} fixed\n")))
}

fn registered(root: &RpmRoot) -> Vec<String> {
    let entries = fs::read_dir(root.at("/var/sadm/pkg")).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn two_kernels_are_two_instances_and_neither_is_stale() {
    let Some(root) = kernels("rpm: two kernels") else { return };
    let names = registered(&root);
    assert_eq!(names.len(), 2, "{names:?}");
    for name in &names {
        let is_instance =
            name == "RPMkernel" || name.strip_prefix("RPMkernel.").is_some_and(|digits| digits.len() == 8);
        assert!(is_instance, "{names:?}");
    }
    root.tells(&[]);
    assert_eq!(root.unwatched("pkgchk -R @ROOT@").said(), "");
    root.rpm_done("-i [kernel-3]");
    root.refresh();
    root.tells(&[]);
    root.rpm_done("-e kernel-1.0-1.noarch");
    root.refresh();
    root.tells(&[]);
    assert_eq!(registered(&root).len(), 1, "the third is not adopted, and the first is gone");
}

#[test]
fn each_kernel_is_patched_by_itself_and_one_that_goes_takes_its_own_patch_along() {
    let Some(root) = kernels("rpm: two patched kernels") else { return };
    root.applied(&fix("100-01", "1"));
    root.applied(&fix("200-01", "2"));
    root.tells(&[("100-01", End::Stands), ("200-01", End::Stands)]);
    root.rpm_done("-i [kernel-3]");
    root.refresh();
    root.tells(&[("100-01", End::Stands), ("200-01", End::Stands)]);
    root.rpm_done("-e kernel-1.0-1.noarch");
    root.refresh();
    assert_eq!(root.content(&image("1")), NOTHING);
    assert_eq!(root.content(&image("2")), "kernel 2 fixed\n");
    root.tells(&[("100-01", End::Ended), ("200-01", End::Stands)]);
    let removed = root.remove("200-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.content(&image("2")), "kernel 2\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
}

/// A library for an architecture, with a file that both share.
fn glib(arch: &str, release: &str) -> Rpm {
    let lib = format!("/usr/lib/{arch}/libg.so");
    let shared =
        Rpm::new("glib", release).arch(arch).file("/usr/share/glib/common", &format!("common {release}\n"));
    shared.file(&lib, &format!("glib {release} {arch}\n"))
}

#[test]
fn two_architectures_of_a_package_are_two_instances_with_a_file_in_common() {
    let Some(root) = RpmRoot::opened("rpm: two architectures") else { return };
    let archs = ["x86_64", "i686"];
    for release in ["1", "2"] {
        root.build(&archs.map(|arch| glib(arch, release)));
    }
    root.rpm_done("-i --ignorearch [glib-1.x86_64] [glib-1.i686]");
    root.ok("adopt --all -R @ROOT@");
    assert_eq!(registered(&root).len(), 2, "{:?}", registered(&root));
    root.tells(&[]);
    for (id, arch) in [("100-01", "x86_64"), ("200-01", "i686")] {
        let path = format!("usr/lib/{arch}/libg.so");
        let package = delivered("RPMglib", arch, "1.0-1").file(&path, 0o644, format!("glib fixed {arch}\n"));
        root.applied(&Patch::of(id, package));
        assert_eq!(root.content(&format!("/{path}")), format!("glib fixed {arch}\n"));
    }
    root.tells(&[("100-01", End::Stands), ("200-01", End::Stands)]);
    let removed = root.remove("200-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.content("/usr/lib/i686/libg.so"), "glib 1 i686\n");
    root.rpm_done("-U --ignorearch [glib-2.x86_64] [glib-2.i686]");
    root.refresh();
    root.tells(&[("100-01", End::Lost(&["/usr/lib/x86_64/libg.so"]))]);
    root.rpm_done("-e glib.i686");
    root.refresh();
    assert_eq!(root.content("/usr/share/glib/common"), "common 2\n");
    assert_eq!(registered(&root).len(), 1);
    assert!(root.verified().is_empty(), "{:?}", root.verified());
}
