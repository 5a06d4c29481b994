//! Packages that rpm has installed in several versions, or for several architectures.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::PatchedRoot;
use crate::delivery::Patch;
use crate::native_root::has_rpm;
use crate::packages::Package;
use crate::scenario::Scenario;

struct Workshop {
    root: PatchedRoot,
    dir: TempDir,
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
        if !has_rpm(test, &["rpm", "rpmbuild"]) {
            return None;
        }
        let root = PatchedRoot { stage: Scenario::new() };
        let workshop = Self { root, dir: tempfile::tempdir().unwrap() };
        // The place on systems of rpm; Debian has another one.
        fs::write(workshop.dir.path().join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
        Some(workshop)
    }

    /// Makes a package with a file of its own and one that its versions and architectures share.
    fn rpm(&self, name: &str, version: &str, arch: &str, shared: &str) -> PathBuf {
        let own = own(name, version, arch);
        let text = format!("{name} {version} {arch}");
        let spec = format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: a test\nLicense: none\nAutoReqProv: no\n\
             %description\na test\n%install\nmkdir -p $(dirname %{{buildroot}}{own}) $(dirname %{{buildroot}}{shared})\n\
             echo {text} > %{{buildroot}}{own}\necho shared {version} > %{{buildroot}}{shared}\n%files\n{own}\n{shared}\n"
        );
        let at = self.dir.path().join("made.spec");
        fs::write(&at, spec).unwrap();
        let define = |name: &str, at: &str| format!("{name} {}", self.dir.path().join(at).display());
        let mut build = Command::new("rpmbuild");
        build.args(["-bb", "--quiet", "--target", arch, "--define", &define("_topdir", "build"), "--define"]);
        self.done(build.arg(define("_rpmdir", "packages")).arg(&at));
        self.dir.path().join(format!("packages/{arch}/{name}-{version}-1.{arch}.rpm"))
    }

    #[track_caller]
    fn done(&self, command: &mut Command) {
        let output = command.env("HOME", self.dir.path()).env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[track_caller]
    fn call(&self, words: &str, packages: &[PathBuf]) {
        let mut command = Command::new("rpm");
        self.done(command.arg("--root").arg(self.stage.root()).args(words.split(' ')).args(packages));
    }

    /// The adopted packages, each with its origin.
    fn registered(&self) -> Vec<(String, String)> {
        let listed = self.stage.run("pkginfo -R @ROOT@ -i -x").ok();
        let names = listed.lines().filter(|line| line.starts_with("RPM"));
        let names = names.filter_map(|line| line.split_whitespace().next());
        names.map(|name| (name.to_owned(), self.parameter(name, "PATCHADM_ADOPTED"))).collect()
    }

    /// The name of the registration with this origin.
    #[track_caller]
    fn named(&self, origin: &str) -> String {
        let registered = self.registered();
        let named = registered.iter().find(|(_, adopted)| adopted == origin);
        named.unwrap_or_else(|| panic!("{origin}: {registered:?}")).0.clone()
    }

    /// Asserts, in addition, that no fix is lost.
    #[track_caller]
    fn is_in_order(&self) {
        self.root.is_in_order();
        assert_eq!(self.run("list --check").code, 0);
    }
}

/// The path of the file that only this version has for this architecture.
fn own(name: &str, version: &str, arch: &str) -> String {
    format!("/usr/lib/{name}/{arch}-{version}")
}

fn fix(id: &str, name: &str, version: &str, arch: &str) -> Patch {
    let package = Package::new(&format!("RPM{name}")).param("BASEDIR", "/").param("ARCH", arch);
    let package = package.param("VERSION", &format!("{version}-1"));
    Patch::of(id, package.file(&own(name, version, arch)[1..], 0o644, "fixed\n"))
}

#[test]
fn each_of_several_kernels_is_an_instance_that_goes_with_its_version() {
    let test = "each_of_several_kernels_is_an_instance_that_goes_with_its_version";
    let Some(workshop) = Workshop::opened(test) else { return };
    let kernel =
        |version: &str| workshop.rpm("kernel", version, "x86_64", &format!("/usr/share/kernel/{version}"));
    workshop.call("-i", &[kernel("1")]);
    workshop.run("adopt --rpm kernel").ok();
    assert_eq!(workshop.registered(), [("RPMkernel".to_owned(), "rpm kernel".to_owned())]);
    workshop.add("", &fix("100-01", "kernel", "1", "x86_64"));

    workshop.call("-i", &[kernel("2"), kernel("3")]);
    workshop.is_in_order();
    let said = workshop.run("adopt --rpm kernel").fails(1);
    let names = ["specify one of", "kernel-1-1.x86_64", "kernel-2-1.x86_64", "kernel-3-1.x86_64"];
    assert!(names.iter().all(|name| said.contains(name)), "{said}");
    workshop.run("adopt --rpm kernel-2-1.x86_64").ok();
    let second = workshop.named("rpm kernel-2-1.x86_64");
    // printf kernel-2-1.x86_64 | sha256sum
    assert_eq!(second, "RPMkernel.2f29930a");
    let said = workshop.add("--adopt", &fix("200-01", "kernel", "3", "x86_64"));
    let third = workshop.named("rpm kernel-3-1.x86_64");
    assert!(said.contains(&format!("Adopted package {third} from rpm kernel-3-1.x86_64")), "{said}");
    assert_eq!(workshop.parameter(&third, "PATCHLIST"), "200-01");
    workshop.is_in_order();

    workshop.call("-e kernel-2-1", &[]);
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains(&format!("Package {second} follows rpm: kernel 2-1 was removed")), "{said}");
    workshop.call("-e kernel-1-1", &[]);
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package RPMkernel follows rpm: kernel 1-1 was removed"), "{said}");
    assert!(said.contains("100-01: went with kernel (rpm)"), "{said}");
    assert_eq!(workshop.parameter(&third, "PATCHLIST"), "200-01");
    workshop.run("remove 200-01").ok();
    workshop.is_in_order();
}

#[test]
fn kernels_that_are_adopted_together_are_each_named_exactly() {
    let test = "kernels_that_are_adopted_together_are_each_named_exactly";
    let Some(workshop) = Workshop::opened(test) else { return };
    let kernel =
        |version: &str| workshop.rpm("kernel", version, "x86_64", &format!("/usr/share/kernel/{version}"));
    workshop.call("-i", &[kernel("1"), kernel("2")]);
    workshop.run("adopt --all").ok();
    let one = workshop.named("rpm kernel-1-1.x86_64");
    let other = workshop.named("rpm kernel-2-1.x86_64");
    assert!(one == "RPMkernel" || other == "RPMkernel", "{one} {other}");
    assert!(workshop.run("adopt --all").ok().contains("2 were adopted before"));
    workshop.call("-i", &[kernel("3")]);
    workshop.call("-e kernel-1-1", &[]);
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains(&format!("Package {one} follows rpm: kernel 1-1 was removed")), "{said}");
    workshop.run("adopt --all").ok();
    workshop.named("rpm kernel-3-1.x86_64");
    workshop.is_in_order();
}

#[test]
fn each_architecture_of_a_library_follows_its_own_upgrade() {
    let test = "each_architecture_of_a_library_follows_its_own_upgrade";
    let Some(workshop) = Workshop::opened(test) else { return };
    let lib = |version: &str, arch: &str| workshop.rpm("lib", version, arch, "/usr/share/doc/lib/copyright");
    workshop.call("-i --ignorearch", &[lib("1", "x86_64"), lib("1", "i686")]);
    let said = workshop.run("adopt --rpm lib").fails(1);
    assert!(said.contains("lib-1-1.i686") && said.contains("lib-1-1.x86_64"), "{said}");
    workshop.run("adopt --rpm lib.x86_64").ok();
    assert_eq!(workshop.named("rpm lib"), "RPMlib");
    workshop.run("adopt --rpm lib-1-1.i686").ok();
    let other = workshop.named("rpm lib.i686");
    assert!(other.starts_with("RPMlib."), "{other}");
    workshop.add("", &fix("100-01", "lib", "1", "i686"));
    assert_eq!(workshop.parameter(&other, "PATCHLIST"), "100-01");
    workshop.is_in_order();

    workshop.call("-U --ignorearch", &[lib("2", "x86_64"), lib("2", "i686")]);
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package RPMlib follows rpm: lib 1-1 became 2-1"), "{said}");
    assert!(said.contains(&format!("Package {other} follows rpm: lib 1-1 became 2-1")), "{said}");
    assert!(said.contains("100-01: LOST to lib 2-1 (rpm)"), "{said}");
    workshop.run("adopt --refresh --accept 100-01").ok();
    workshop.is_in_order();
    workshop.call("-e lib.x86_64", &[]);
    let said = workshop.run("adopt --refresh").ok();
    assert!(said.contains("Package RPMlib follows rpm: lib 2-1 was removed"), "{said}");
    assert_eq!(workshop.registered(), [(other, "rpm lib.i686".to_owned())]);
    workshop.is_in_order();
}
