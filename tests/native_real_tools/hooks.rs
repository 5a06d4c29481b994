//! The hooks of apt and dpkg: they foresee losses, stop upgrades if the policy says so, and hold nothing up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use patchadm_rootfs::{Lock, Root};

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, NOTHING, has_tools, of_dpkg, patch_of};
use crate::reliability::sigkill::{has_strace, is_killed_at};

const SO: &str = "/usr/lib/libacme.so";
const TOOL: &str = "/usr/lib/acme/tool";
const STOP: &str = "native_upgrade=stop\n";

fn acme(version: &str) -> Deb {
    let deb = Deb::new("acme", version).file(SO, &format!("library of {version}\n"));
    deb.file(TOOL, &format!("tool of {version}\n"))
}

/// Version 1, adopted, with a patch of both files that may name the version with its fix, and a policy that stops
/// upgrades.
fn patched(root: &DpkgRoot, fixed_in: Option<&str>) {
    root.install(&acme("1"));
    root.adopt(&["acme"]);
    let package = of_dpkg("acme", "1").file(&SO[1..], 0o644, "library fixed\n");
    let package = package.file(&TOOL[1..], 0o644, "tool fixed\n");
    let package = match fixed_in {
        Some(fixed_in) => package.param("PATCH_FIXED_IN", fixed_in),
        None => package,
    };
    root.applied(&Patch::of("100-01", package));
    root.stage.file("/etc/patchadm/policy", STOP);
}

/// A root on which apt can be called.
fn with_apt(test: &str) -> Option<DpkgRoot> {
    if !has_tools(test, &["apt-get"]) {
        return None;
    }
    DpkgRoot::opened(test)
}

/// A package that takes over files of `acme`.
fn taker(version: &str, paths: &[&str], fields: &[(&str, &str)]) -> Deb {
    let deb =
        fields.iter().fold(Deb::new("acme-tools", version), |deb, (name, value)| deb.field(name, value));
    paths.iter().fold(deb, |deb, path| deb.file(path, &format!("of acme-tools {version}\n")))
}

#[test]
fn apt_is_stopped_before_it_loses_a_fix_and_says_why_and_how_to_go_on() {
    let Some(root) = with_apt("apt is stopped by its hook") else { return };
    patched(&root, None);
    root.build(&acme("2"));
    let stopped = root.apt(&[], "install [acme_2]");
    assert_eq!(stopped.code, 100, "{}", stopped.said());
    for words in [
        "patchadm: 100-01 would be LOST to acme 2",
        "native_upgrade=stop",
        "adopt --refresh --accept 100-01",
        "PATCHADM_NATIVE_UPGRADE=warn",
    ] {
        assert!(stopped.stderr.contains(words), "{words}: {}", stopped.stderr);
    }
    assert_eq!(root.content(SO), "library fixed\n");
    let upgraded = root.apt(&[("PATCHADM_NATIVE_UPGRADE", "warn")], "install [acme_2]");
    assert_eq!(upgraded.code, 0, "{}", upgraded.said());
    assert!(upgraded.stdout.contains("patchadm: 100-01: LOST to acme 2 (dpkg)"), "{}", upgraded.said());
    assert_eq!(root.content(SO), "library of 2\n");
}

#[test]
fn apt_is_stopped_before_a_package_with_another_name_takes_the_place_of_a_patched_one() {
    let ways: [&[(&str, &str)]; 2] = [
        &[("Replaces", "acme"), ("Provides", "acme"), ("Conflicts", "acme")],
        // Without any field about files: the old package is removed first.
        &[("Conflicts", "acme")],
    ];
    for fields in ways {
        let Some(root) = with_apt("apt and a package with another name") else { return };
        patched(&root, None);
        root.build(&taker("2", &[SO, TOOL], fields));
        let stopped = root.apt(&[], "install [acme-tools_2]");
        assert_eq!(stopped.code, 100, "{}", stopped.said());
        assert!(stopped.stderr.contains("100-01 would be LOST to acme-tools 2"), "{}", stopped.stderr);
        assert_eq!(root.content(SO), "library fixed\n");
    }
}

#[test]
fn apt_is_stopped_before_another_package_takes_one_file_of_a_patched_package_over() {
    for path in [SO, "/lib/libacme.so"] {
        let Some(root) = with_apt("apt and a package that takes a file over") else { return };
        patched(&root, None);
        root.build(&taker("2", &[path], &[("Replaces", "acme (<< 2)")]));
        let stopped = root.apt(&[], "install [acme-tools_2]");
        assert_eq!(stopped.code, 100, "{path}: {}", stopped.said());
        assert!(stopped.stderr.contains("100-01 would be PARTLY LOST to acme-tools 2"), "{}", stopped.stderr);
        root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
        let done = root.apt(&[], "install [acme-tools_2]");
        assert_eq!(done.code, 0, "{path}: {}", done.said());
        assert!(!done.stderr.contains("would be PARTLY LOST"), "{}", done.stderr);
    }
}

#[test]
fn apt_is_not_stopped_by_a_package_that_takes_nothing_of_the_patch_over() {
    let Some(root) = with_apt("apt and packages that take nothing over") else { return };
    patched(&root, None);
    for (name, deb) in [
        ("another file", taker("2", &["/usr/lib/acme/more"], &[("Replaces", "acme")])),
        ("an older version", taker("3", &["/usr/lib/acme/more"], &[("Replaces", "acme (<< 1)")])),
        ("nothing said", taker("4", &["/usr/lib/acme/more"], &[])),
    ] {
        let version = deb.version().to_owned();
        root.build(&deb);
        let done = root.apt(&[], &format!("install [acme-tools_{version}]"));
        assert_eq!(done.code, 0, "{name}: {}", done.said());
        assert!(!done.stderr.contains("100-01"), "{name}: {}", done.stderr);
    }
}

#[test]
fn apt_is_stopped_before_a_downgrade_below_the_fix_until_that_loss_is_accepted() {
    let Some(root) = with_apt("apt and a downgrade") else { return };
    patched(&root, Some("dpkg acme >= 2"));
    root.build(&acme("2"));
    let upgraded = root.apt(&[], "install [acme_2]");
    assert_eq!(upgraded.code, 0, "{}", upgraded.said());
    let stopped = root.apt(&[], "install [acme_1]");
    assert_eq!(stopped.code, 100, "{}", stopped.said());
    assert!(stopped.stderr.contains("100-01 would be LOST to acme 1"), "{}", stopped.stderr);
    root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
    let done = root.apt(&[], "install [acme_1]");
    assert_eq!(done.code, 0, "{}", done.said());
    assert_eq!(root.unwatched("list --check -R @ROOT@").code, 0);
}

/// A program in a directory of its own that records its arguments.
fn noting(at: &Path, name: &str) {
    fs::create_dir_all(at).unwrap();
    let program = at.join(name);
    fs::write(&program, "#!/bin/sh\necho \"$@\" >>\"$0.calls\"\nexit 1\n").unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn files_of_packages_are_asked_only_if_an_adopted_package_has_patches() {
    let Some(root) = DpkgRoot::opened("files that are not asked") else { return };
    root.install(&acme("1"));
    root.adopt(&["acme"]);
    let change = root.change("acme-tools", None, Some(&taker("2", &[SO], &[("Replaces", "acme")])), '<');
    let tools = root.stage.beside("tools");
    noting(&tools, "dpkg-deb");
    let calls = tools.join("dpkg-deb.calls");
    let input = root.stage.beside("input");
    fs::write(&input, format!("VERSION 3\n\n{change}")).unwrap();
    let foresee = || {
        let mut command = root.stage.command("adopt --before-upgrade -R @ROOT@");
        command.env("PATH", &tools).stdin(fs::File::open(&input).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    };
    foresee();
    assert!(!calls.exists());
    root.applied(&patch_of("100-01", "acme", "1", &[(SO, "library fixed\n")]));
    foresee();
    assert_eq!(
        fs::read_to_string(&calls).unwrap().lines().count(),
        1,
        "a file that cannot be read says nothing"
    );
}

#[test]
fn the_hook_before_dpkg_says_nothing_where_nothing_is_unfinished_or_somebody_is_at_work() {
    let Some(root) = DpkgRoot::opened("the quiet hook before dpkg") else { return };
    patched(&root, None);
    let quiet = |when: &str| {
        let run = root.unwatched("recover --from-hook -R @ROOT@");
        assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{when}: {}", run.stderr);
        run.stderr
    };
    assert_eq!(quiet("nothing is unfinished"), "");
    let lock = Lock::take(&Root::open(&root.stage.root()).unwrap(), "patchadd", |_| false).unwrap();
    assert!(quiet("another command has the lock").starts_with("patchadm: waiting for process "));
    drop(lock);
}

in_parts!(a_package_that_dpkg_removed_from_an_interrupted_run_does_not_come_back, interrupt_runs, 2);

fn interrupt_runs(part: usize, parts: usize) {
    const TEST: &str = "dpkg removes a package from an interrupted run";
    if !has_strace(TEST) {
        return;
    }
    for words in ["-r acme", "-P acme"].into_iter().skip(part).step_by(parts) {
        let mut is_played = false;
        for number in 1..12 {
            let Some(root) = DpkgRoot::opened(TEST) else { return };
            root.install(&acme("1"));
            root.adopt(&["acme"]);
            let patch = patch_of("100-01", "acme", "1", &[(SO, "library fixed\n"), (TOOL, "tool fixed\n")]);
            let arguments = vec!["add".into(), "-R".into(), root.stage.root(), patch.directory(&root.stage)];
            if !is_killed_at(&arguments, "renameat2", number) {
                break;
            }
            is_played = true;
            root.dpkg_done(words);
            let recovered = root.run("recover -R @ROOT@");
            assert_eq!(recovered.code, 0, "{words}, {number}: {}", recovered.said());
            root.ok("adopt --refresh -R @ROOT@");
            for path in [SO, TOOL] {
                assert_eq!(root.content(path), NOTHING, "{words}, {number}: {path}");
            }
            let status = root.unwatched("status -R @ROOT@");
            assert!(status.stdout.contains("Interrupted  no"), "{words}, {number}: {}", status.said());
        }
        assert!(is_played, "the program renames nothing");
    }
}
