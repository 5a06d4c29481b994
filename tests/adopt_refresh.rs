//! `patchadm adopt --refresh`: dpkg changes an adopted package, and its registration and patches follow.
//!
//! The tests write the records and files of dpkg themselves. `native_real_tools` runs the real dpkg.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use md5::{Digest as _, Md5};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::overtaken::{RegistrationRefreshRequest, refresh_registrations};
use patchadm_core::operation::session::Caller;
use patchadm_rootfs::Root;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::stories::with_caller;
use crate::scenario::Scenario;

/// A version of the native package `web`: its files, by path.
pub(crate) struct Version<'a> {
    pub(crate) version: &'a str,
    pub(crate) files: &'a [(&'a str, &'a str)],
}

pub(crate) const ONE: Version<'_> = Version {
    version: "1.0-1",
    files: &[
        ("/usr/lib/libweb.so", "lib one\n"),
        ("/usr/bin/web", "web one\n"),
        ("/usr/share/web/data", "data one\n"),
    ],
};

pub(crate) const TWO: Version<'_> = Version {
    version: "1.0-2",
    files: &[
        ("/usr/lib/libweb.so", "lib two\n"),
        ("/usr/bin/web", "web two\n"),
        ("/usr/share/web/new", "new two\n"),
    ],
};

/// Changes files and records as dpkg does when it replaces a version. Filtered paths stay unchanged.
pub(crate) fn dpkg_installs(
    stage: &Scenario,
    old: Option<&Version<'_>>,
    new: &Version<'_>,
    filtered: &[&str],
) {
    for (path, content) in new.files.iter().filter(|(path, _)| !filtered.contains(path)) {
        // Like dpkg: another file takes the name.
        let at = stage.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let beside = at.with_extension("dpkg-new");
        fs::write(&beside, content).unwrap();
        fs::rename(&beside, &at).unwrap();
    }
    let goes = |path: &str| !new.files.iter().any(|(stays, _)| *stays == path);
    for (path, _) in old.iter().flat_map(|old| old.files).filter(|(path, _)| goes(path)) {
        let _ = fs::remove_file(stage.at(path));
    }
    let (mut list, mut sums) =
        ("/.\n/usr\n/usr/bin\n/usr/lib\n/usr/share\n/usr/share/web\n".to_owned(), String::new());
    for (path, content) in new.files {
        writeln!(list, "{path}").unwrap();
        let sum: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(sums, "{sum}  {}", &path[1..]).unwrap();
    }
    for (name, text) in [("web.list", &list), ("web.md5sums", &sums)] {
        let at = stage.at("/var/lib/dpkg/info").join(name);
        let _ = fs::remove_file(&at);
        stage.file(&format!("/var/lib/dpkg/info/{name}"), text);
    }
    let Version { version, .. } = new;
    stage.file(
        "/var/lib/dpkg/status",
        format!("Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDescription: a web server\n"),
    );
}

/// A root with the first version of the dpkg package, adopted.
pub(crate) fn adopted() -> Scenario {
    let stage = Scenario::new();
    dpkg_installs(&stage, None, &ONE, &[]);
    stage.run("adopt --dpkg web -R @ROOT@").ok();
    stage
}

/// The package that a patch for this version delivers.
pub(crate) fn delivered(version: &str) -> Package {
    Package::new("DEBweb").param("BASEDIR", "/").param("ARCH", "amd64").param("VERSION", version)
}

/// Applies a patch with `patchadm add`.
fn applied(stage: &Scenario, options: &str, patch: &Patch) {
    let at = patch.directory(stage);
    stage.run(&format!("add {options} -R @ROOT@ {}", at.display())).ok();
}

pub(crate) fn patched(stage: &Scenario) {
    let package = delivered("1.0-1").file("usr/lib/libweb.so", 0o644, "lib fixed\n").file(
        "usr/share/web/more",
        0o644,
        "more\n",
    );
    stage.patchadd("", &Patch::of("100-01", package)).ok();
}

/// A root on which dpkg has upgraded an adopted and patched package.
pub(crate) fn upgraded() -> Scenario {
    let stage = adopted();
    patched(&stage);
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage
}

#[test]
fn a_changed_package_refuses_changes_until_its_registration_follows() {
    let stage = upgraded();
    let tree = stage.tree();
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains("dpkg changed web from 1.0-1 to 1.0-2 since it was adopted"), "{said}");
    assert!(said.contains("adopt --refresh"), "{said}");
    let shown = stage.run("show -R @ROOT@ 100-01").stdout;
    let removal = "     Removal: cannot be removed: package DEBweb: dpkg changed web from 1.0-1 to 1.0-2 since it was \
        adopted; run `patchadm -R @ROOT@ adopt --refresh`\n";
    assert!(shown.contains(removal), "{shown}");
    let second = delivered("1.0-2").file("usr/bin/web", 0o755, "web fixed\n");
    let said = stage.patchadd("", &Patch::of("101-01", second)).fails(10);
    assert!(said.contains("dpkg changed web from 1.0-1 to 1.0-2"), "{said}");
    assert_eq!(stage.tree(), tree, "nothing is changed");

    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("Package DEBweb follows dpkg: web 1.0-1 became 1.0-2, 8 objects.\n"), "{said}");
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)\n"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib two\n");
    assert!(!stage.at("/usr/share/web/more").exists(), "what the patch added goes with it");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb VERSION").ok(), "1.0-2\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").ok(), "\n");
    assert_eq!(
        stage.run("pkgparam -R @ROOT@ DEBweb PATCH_INFO_100-01").ok(),
        "overtaken by dpkg web 1.0-2\n"
    );
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let state = stage.everything();
    assert_eq!(
        stage.run("adopt --refresh -R @ROOT@").ok(),
        "All adopted packages match their package manager.\n"
    );
    assert_eq!(stage.everything(), state, "a second refresh changes nothing");
}

/// Applies a patch that replaces two files and adds one.
pub(crate) fn patched_at_two_paths(stage: &Scenario) {
    let package = delivered("1.0-1")
        .file("usr/lib/libweb.so", 0o644, "lib fixed\n")
        .file("usr/bin/web", 0o755, "web fixed\n")
        .file("usr/share/web/more", 0o644, "more\n");
    stage.patchadd("", &Patch::of("100-01", package)).ok();
}

#[test]
fn a_patch_whose_file_was_held_stands_in_part_and_goes_back_to_what_it_found() {
    let stage = adopted();
    patched_at_two_paths(&stage);
    dpkg_installs(&stage, Some(&ONE), &ONE, &["/usr/lib/libweb.so"]);
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(
        said.contains("100-01: PARTLY LOST to web 1.0-1 (dpkg)\n  @ROOT@/usr/bin/web is lost\n"),
        "{said}"
    );
    assert!(
        said.contains(
            "100-01: still applied, partly overwritten (@ROOT@/usr/bin/web belongs to the package manager)"
        ),
        "{said}"
    );
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib fixed\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").ok(), "100-01\n");
    assert_eq!(stage.run("list --check -R @ROOT@").code, 4);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("check --contents -R @ROOT@").code, 4);
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib one\n", "dpkg did not write it since");
    assert_eq!(stage.text("/usr/bin/web"), "web one\n", "and this it wrote");
    assert!(!stage.at("/usr/share/web/more").exists());
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0, "a patch that was removed is no loss");
}

#[test]
fn nothing_is_restored_once_another_version_is_there_although_dpkg_left_the_file_of_the_patch() {
    let stage = adopted();
    patched_at_two_paths(&stage);
    dpkg_installs(&stage, Some(&ONE), &TWO, &["/usr/lib/libweb.so"]);
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib fixed\n");
    assert_eq!(stage.text("/usr/bin/web"), "web two\n");
    assert!(!stage.at("/usr/share/web/more").exists());
    stage.run("remove -R @ROOT@ 100-01").fails(4);
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib fixed\n");
}

#[test]
fn a_patch_whose_bytes_the_new_version_has_is_contained_and_an_older_version_loses_it() {
    let stage = adopted();
    patched_at_two_paths(&stage);
    let fixed = Version {
        version: "1.0-2",
        files: &[
            ("/usr/lib/libweb.so", "lib fixed\n"),
            ("/usr/bin/web", "web fixed\n"),
            ("/usr/share/web/more", "more\n"),
        ],
    };
    dpkg_installs(&stage, Some(&ONE), &fixed, &[]);
    stage.mode("/usr/bin/web", 0o755);
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: contained in web 1.0-2 (dpkg)"), "{said}");
    assert_eq!(stage.text("/usr/share/web/more"), "more\n", "it is the new version's");
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0);
    dpkg_installs(&stage, Some(&fixed), &ONE, &[]);
    let run = stage.run("adopt --refresh -R @ROOT@");
    assert_eq!(run.stderr, "note: 100-01: LOST to web 1.0-1 (dpkg)\n");
    assert_eq!(stage.run("list --check -R @ROOT@").code, 4, "the older version does not have them");
}

#[test]
fn an_edit_that_only_the_undo_data_had_is_put_beside_the_new_file() {
    let stage = adopted();
    stage.file("/usr/lib/libweb.so", "lib mine\n");
    let package = delivered("1.0-1").file("usr/lib/libweb.so", 0o644, "lib fixed\n");
    applied(&stage, "--edited replace", &Patch::of("100-01", package));
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let run = stage.run("adopt --refresh -R @ROOT@");
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            0,
            "note: @ROOT@/usr/lib/libweb.so was edited before 100-01; the run keeps the edited version as @ROOT@/usr/lib/libweb.so.edited-100-01\n"
        )
    );
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib two\n");
    assert_eq!(stage.text("/usr/lib/libweb.so.edited-100-01"), "lib mine\n");
}

#[test]
fn a_file_that_dpkg_did_not_write_is_still_edited_after_the_refresh() {
    let stage = adopted();
    stage.file("/usr/bin/web", "web mine\n");
    dpkg_installs(&stage, Some(&ONE), &TWO, &["/usr/bin/web"]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    let package = delivered("1.0-2").file("usr/bin/web", 0o755, "web fixed\n");
    let said = stage.patchadd("", &Patch::of("100-01", package)).fails(10);
    assert!(said.contains("modified locally: @ROOT@/usr/bin/web"), "{said}");
    assert_eq!(stage.text("/usr/bin/web"), "web mine\n");
}

#[test]
fn an_edited_file_of_two_patches_stays_that_of_the_one_that_stands_and_can_go() {
    let stage = adopted();
    let below = delivered("1.0-1").file("usr/lib/libweb.so", 0o644, "lib fixed\n").file(
        "usr/share/web/more",
        0o644,
        "more\n",
    );
    applied(&stage, "", &Patch::of("100-01", below));
    let above = delivered("1.0-1").file("usr/bin/web", 0o644, "web fixed\n").file(
        "usr/share/web/more",
        0o644,
        "more and more\n",
    );
    applied(&stage, "", &Patch::of("200-01", above));
    stage.file("/usr/share/web/more", "mine\n");
    dpkg_installs(&stage, Some(&ONE), &ONE, &["/usr/lib/libweb.so"]);
    let said = stage.run("adopt --refresh -R @ROOT@");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("200-01: LOST to web 1.0-1 (dpkg)"), "{}", said.stdout);
    assert!(said.stdout.contains("100-01: stands"), "{}", said.stdout);
    assert_eq!(stage.text("/usr/share/web/more"), "mine\n");
    let removed = stage.run("remove -R @ROOT@ 100-01");
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    assert_eq!(stage.text("/usr/share/web/more.edited-100-01"), "mine\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@ DEBweb").ok(), "");
}

#[test]
fn a_file_that_only_patches_had_comes_back_whatever_version_they_were_applied_to() {
    let stage = adopted();
    let with = |more: &str| delivered("1.0-1").file("usr/share/web/more", 0o644, more);
    applied(&stage, "", &Patch::of("100-01", with("more\n")));
    let above = with("more and more\n").file("usr/share/web/most", 0o644, "most\n");
    applied(&stage, "", &Patch::of("200-01", above));
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: stands\n") && said.contains("200-01: stands\n"), "{said}");
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert_eq!(stage.text("/usr/share/web/more"), "more\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@ DEBweb").ok(), "");
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert!(!stage.at("/usr/share/web/more").exists());
}

#[test]
fn a_removed_package_takes_its_registration_and_patches_along() {
    let stage = adopted();
    patched(&stage);
    for (path, _) in ONE.files {
        fs::remove_file(stage.at(path)).unwrap();
    }
    stage.file(
        "/var/lib/dpkg/status",
        "Package: web\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1.0-1\n",
    );
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("Package DEBweb follows dpkg: web 1.0-1 was removed."), "{said}");
    assert!(said.contains("100-01: went with web (dpkg)"), "{said}");
    assert!(!stage.at("/usr/share/web/more").exists(), "what the patch added goes");
    assert!(!stage.at("/var/sadm/pkg/DEBweb").exists());
    assert!(!stage.at("/var/sadm/patch/100-01").exists());
    assert!(stage.lines().iter().all(|line| !line.contains("DEBweb")));
}

#[test]
fn a_package_with_which_dpkg_has_not_finished_is_left_for_the_next_refresh() {
    let stage = adopted();
    let half =
        "Package: web\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 1.0-1\n";
    stage.file("/var/lib/dpkg/status", half);
    let package = delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n");
    let said = stage.patchadd("", &Patch::of("100-01", package)).fails(10);
    assert!(said.contains("dpkg has not finished with web"), "{said}");
    let before = stage.everything();
    let run = stage.run("adopt --refresh -R @ROOT@");
    let left = "Package DEBweb is unchanged: dpkg has not finished with web; reinstall web with dpkg, then run \
                `patchadm -R @ROOT@ adopt --refresh`.\n";
    assert_eq!((run.code, run.stdout.as_str()), (3, left));
    assert_eq!(stage.everything(), before);
}

/// Applies a patch that names the native version with its fix.
fn patched_with_fix_in(stage: &Scenario, fixed_in: &str) {
    let package =
        delivered("1.0-1").param("PATCH_FIXED_IN", fixed_in).file("usr/lib/libweb.so", 0o644, "lib fixed\n");
    stage.patchadd("", &Patch::of("100-01", package)).ok();
}

#[test]
fn a_fix_that_the_new_version_has_is_contained_and_one_that_it_lacks_is_lost_until_that_is_accepted() {
    let stage = adopted();
    patched_with_fix_in(&stage, "dpkg web >= 1.0-2");
    assert_eq!(
        stage.run("pkgparam -R @ROOT@ DEBweb PATCH_FIXED_IN_100-01").ok(),
        "dpkg web >= 1.0-2\n",
        "under the name of the patch"
    );
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    assert!(stage.run("adopt --refresh -R @ROOT@").ok().contains("100-01: contained in web 1.0-2 (dpkg)\n"));
    assert_eq!(stage.run("list --check -R @ROOT@").ok(), "100-01  contained in web 1.0-2 (dpkg)\n");
    for (option, said) in [("--dry-run ", "would no longer be listed"), ("", "no longer listed")] {
        let answer = stage.run(&format!("adopt --refresh --accept 100-01 {option}-R @ROOT@")).ok();
        assert_eq!(answer, format!("100-01: {said}\n"), "nothing was lost");
    }
    assert_eq!(stage.run("list -R @ROOT@").ok(), "No patches are applied.\n");

    let stage = adopted();
    patched_with_fix_in(&stage, "dpkg web >= 1.0-3");
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let listed = stage.run("list --check -R @ROOT@");
    assert_eq!(listed.code, 4, "as it would be");
    assert!(listed.stdout.starts_with("100-01  LOST to web 1.0-2 (dpkg)"), "{}", listed.stdout);
    assert!(listed.stderr.contains("dpkg changed web from 1.0-1 to 1.0-2"), "{}", listed.stderr);
    stage.run("adopt --refresh -R @ROOT@").ok();
    let listed = stage.run("list --check -R @ROOT@");
    assert_eq!((listed.code, listed.stdout.as_str()), (4, "100-01  LOST to web 1.0-2 (dpkg)\n"));
    assert_eq!(stage.run("list -R @ROOT@").code, 0);
    let package = delivered("1.0-1").file("usr/lib/libweb.so", 0o644, "lib fixed\n");
    Patch::of("100-01", package).write(&stage.beside("."));
    let shown = stage.run("show -R @ROOT@ 100-01");
    assert!(shown.stdout.contains("State: not applied, LOST to web 1.0-2 (dpkg)\n"), "{}", shown.stdout);
    assert!(shown.stderr.contains("./100-01 names the file or directory\n"), "{}", shown.stderr);
    let shown = stage.run("show -R @ROOT@ ./100-01").ok();
    assert!(!shown.contains("LOST"), "{shown}");
    assert!(stage.run("adopt --refresh --accept 999-01 -R @ROOT@").fails(4).contains("it is not applied"));
    let said = stage.run("adopt --refresh --accept 100-01 -R @ROOT@").ok();
    assert_eq!(said, "100-01: the loss of its fix is accepted\n");
    assert_eq!(stage.run("list --check -R @ROOT@").ok(), "No patches are applied.\n");
}

#[test]
fn a_later_version_with_the_fix_makes_good_what_was_lost() {
    let stage = adopted();
    patched_with_fix_in(&stage, "dpkg web >= 1.0-3");
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(stage.run("list --check -R @ROOT@").code, 4);
    dpkg_installs(&stage, Some(&TWO), &Version { version: "1.0-3", ..TWO }, &[]);
    let listed = stage.run("list --check -R @ROOT@");
    assert_eq!((listed.code, listed.stdout.as_str()), (4, "No patches are applied.\n"), "it is stale");
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0);
}

#[test]
fn a_fix_that_was_contained_is_lost_to_an_older_version_until_the_patch_is_applied_again() {
    let stage = adopted();
    patched_with_fix_in(&stage, "dpkg web >= 1.0-2");
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    dpkg_installs(&stage, Some(&TWO), &ONE, &[]);
    let lost = "100-01  LOST to web 1.0-1 (dpkg)\n";
    let listed = stage.run("list --check -R @ROOT@");
    assert_eq!((listed.code, listed.stdout.as_str()), (4, lost), "as it would be");
    let run = stage.run("adopt --refresh -R @ROOT@");
    assert_eq!(run.stderr, "note: 100-01: LOST to web 1.0-1 (dpkg)\n");
    let listed = stage.run("list --check -R @ROOT@");
    assert_eq!((listed.code, listed.stdout.as_str()), (4, lost));
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0);
    stage.run("remove -R @ROOT@ 100-01").ok();
    stage.run("adopt --refresh --accept 100-01 -R @ROOT@").ok();
    assert_eq!(stage.run("list --check -R @ROOT@").ok(), "No patches are applied.\n");
}

#[test]
fn a_patch_of_the_attributes_alone_stands_after_the_root_was_copied() {
    let stage = adopted();
    let package = delivered("1.0-1").file("usr/bin/web", 0o700, "web one\n");
    stage.patchadd("", &Patch::of("100-01", package)).ok();
    // The same records with new inodes, and a file with a later ctime.
    dpkg_installs(&stage, None, &ONE, &["/usr/bin/web", "/usr/lib/libweb.so", "/usr/share/web/data"]);
    stage.mode("/usr/bin/web", 0o711);
    stage.mode("/usr/bin/web", 0o700);
    let before = stage.tree();
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0, "nothing is stale");
    stage.run("adopt --refresh -R @ROOT@").ok();
    let pkginfo = stage.text("/var/sadm/pkg/DEBweb/pkginfo");
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0);
    assert_eq!(stage.tree(), before);
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(stage.text("/var/sadm/pkg/DEBweb/pkginfo"), pkginfo, "the stamp was renewed once");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn what_apt_is_about_to_do_is_foreseen_and_stopped_if_the_policy_says_so() {
    let stage = adopted();
    patched(&stage);
    let input = "VERSION 3\nA=b\n\nweb 1.0-1 amd64 none < 1.0-2 amd64 none /web.deb\n";
    let foresee = |input: &str| {
        let mut child = stage.command("adopt --before-upgrade -R @ROOT@");
        fs::write(stage.beside("input"), input).unwrap();
        let output = child.stdin(fs::File::open(stage.beside("input")).unwrap()).output().unwrap();
        if !input.starts_with("VERSION") && output.stderr.is_empty() {
            assert_eq!(output.stdout, b"No applied patch is affected.\n", "{input}");
        } else {
            assert_eq!(output.stdout, b"", "{input}");
        }
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let before = stage.everything();
    let lost = "patchadm: 100-01 would be LOST to web 1.0-2: that version is not known to have its fix\n";
    assert_eq!(foresee(input), (Some(0), lost.to_owned()));
    assert_eq!(foresee(""), (Some(0), String::new()));
    assert_eq!(foresee("other 1.0\n"), (Some(0), String::new()));
    assert_eq!(foresee("web 1.0-2\n"), (Some(0), lost.to_owned()));
    for line in ["web_1.0-2_amd64.deb", "web"] {
        let (code, said) = foresee(&format!("other 1.0\n{line}\n"));
        assert!(code == Some(1) && said.contains(&format!("the line `{line}`")), "{said}");
    }
    assert_eq!(foresee("VERSION 3\nA=b\n\nother 1.0\n"), (Some(0), String::new()));
    let (code, said) = foresee("VERSION 9\n\nweb 1 < 2 /a\n");
    assert!(code == Some(0) && said.contains("version 9"), "{said}");
    let (code, said) = foresee("VERSION 3\nA=b\n");
    assert!(code == Some(1) && said.contains("is incomplete"), "{said}");
    assert_eq!(stage.everything(), before);
    stage.file("/etc/patchadm/policy", "native_upgrade=stop\n");
    let (code, said) = foresee(input);
    assert_eq!(code, Some(3));
    assert!(said.contains("adopt --refresh --accept 100-01"), "{said}");
    stage.run("adopt --refresh --accept 100-01 -R @ROOT@").ok();
    assert_eq!(foresee(input).0, Some(0), "what is accepted beforehand stops nothing");
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0, "and is not told afterwards");
    stage.file("/etc/patchadm/policy", "native_upgrade=maybe\n");
    assert!(foresee(input).1.contains("<maybe> is not one of warn, stop"));
}

#[test]
fn after_a_refresh_undo_suggests_no_run_that_cannot_be_undone() {
    let stage = upgraded();
    stage.run("adopt --refresh -R @ROOT@").ok();
    let said = stage.run("undo -R @ROOT@").fails(3);
    assert!(said.contains("only runs that apply, remove or promote patches can be undone"), "{said}");
    assert!(!said.contains("undo the last run"), "{said}");
}

#[test]
fn the_hook_of_dpkg_works_on_the_root_of_that_dpkg_and_names_what_is_lost_first() {
    let mut stage = upgraded();
    stage.set("DPKG_ADMINDIR", stage.at("/var/lib/dpkg").display().to_string());
    let hook = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/hooks/dpkg.cfg")).unwrap();
    assert!(hook.contains("patchadm adopt --refresh --from-hook"), "{hook}");
    let said = stage.run("adopt --refresh --from-hook").ok();
    assert_eq!(
        said,
        "patchadm: 100-01: LOST to web 1.0-2 (dpkg)\npatchadm: 1 package refreshed, 1 fix lost; `patchadm -R @ROOT@ list --check` \
         names the fixes that are lost\n"
    );
    assert_eq!(stage.run("adopt --refresh --from-hook").ok(), "", "nothing is said where nothing is done");
}

#[test]
fn the_doctor_names_stale_registrations_and_lost_fixes_with_their_commands() {
    let stage = upgraded();
    let run = stage.run("check --offline -R @ROOT@");
    assert_eq!(run.code, 4);
    assert!(run.stdout.contains("package DEBweb: dpkg changed web from 1.0-1 to 1.0-2"), "{}", run.stdout);
    assert!(run.stdout.contains("adopt --refresh"), "{}", run.stdout);
    stage.run("adopt --refresh -R @ROOT@").ok();
    let run = stage.run("check --offline -R @ROOT@");
    assert!(run.stdout.contains("100-01: LOST to web 1.0-2 (dpkg)"), "{}", run.stdout);
    assert!(run.stdout.contains("adopt --refresh --accept 100-01"), "{}", run.stdout);
}

#[test]
fn a_signal_ends_the_planning_of_a_refresh_wherever_it_is() {
    let stage = upgraded();
    let root = Root::open(&stage.root()).unwrap();
    let request = RegistrationRefreshRequest { dry_run: true, ..RegistrationRefreshRequest::default() };
    let before = stage.everything();
    let asked = AtomicUsize::new(0);
    let after = |questions: usize| {
        asked.store(0, Ordering::Relaxed);
        with_caller(|caller| {
            let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(15);
            let caller = Caller { interrupt: &interrupt, ..caller.noting(None) };
            refresh_registrations(&root, &request, &caller)
        })
    };
    assert_eq!(after(usize::MAX).unwrap().packages.len(), 1);
    let questions = asked.load(Ordering::Relaxed);
    assert!(questions > 20, "{questions}");
    for number in 0..questions {
        let ended = after(number);
        let signal = ended.as_ref().err().and_then(Failure::signal);
        assert_eq!(signal, Some(15), "after {number}: {ended:?}");
    }
    assert_eq!(stage.everything(), before);
}
