//! Paths that other packages own now, or that rpm wrote since: nothing is restored over them, and lost fixes are
//! reported.

use crate::delivery::Patch;
use crate::native_root::{End, NOTHING, Rpm, RpmRoot, an_added_file_survives, of_rpm};
use crate::packages::{DELIVERED, Package};

const NEW: &str = "/usr/share/fd/n/new";
const TOOL: &str = "/usr/share/fd/tool";
const CONF: &str = "/etc/acme.conf";

/// A patch with these files, mode 0644, for a release of a package.
fn patch_of(id: &str, name: &str, release: &str, files: &[(&str, &str)]) -> Patch {
    let put = |package: Package, (path, text): &(&str, &str)| package.file(&path[1..], 0o644, text);
    Patch::of(id, files.iter().fold(of_rpm(name, release), put))
}

fn fd(release: &str) -> Rpm {
    Rpm::new("fd", release).file(TOOL, &format!("tool of {release}\n"))
}

fn fdo(release: &str) -> Rpm {
    Rpm::new("fdo", release).file("/usr/share/fdo/data", &format!("data of {release}\n"))
}

/// A release of `fd` with a patch that replaces its tool and adds a file.
fn patched(root: &RpmRoot, release: &str) {
    root.build(&[fd("1")]);
    root.install(&fd(release));
    root.install(&fdo("1"));
    root.adopt(&["fd"]);
    root.applied(&patch_of("100-01", "fd", release, &[(TOOL, "tool fixed\n"), (NEW, "new\n")]));
}

#[test]
fn an_added_file_that_another_package_ships_now_survives_the_removal_of_the_patched_one() {
    let Some(root) = RpmRoot::opened("rpm: an added file of another package, and a removal") else { return };
    patched(&root, "1");
    root.install(&fdo("2").file(NEW, "new\n"));
    root.refresh();
    an_added_file_survives(&root, (NEW, "new\n"), "fdo", "fd");
}

#[test]
fn an_added_file_that_another_package_ships_now_survives_the_downgrade_of_the_patched_one() {
    let Some(root) = RpmRoot::opened("rpm: an added file of another package, and a downgrade") else {
        return;
    };
    patched(&root, "2");
    root.install(&fdo("2").file(NEW, "new\n"));
    root.rpm_done("-U --oldpackage [fd-1]");
    root.refresh();
    assert_eq!(root.content(NEW), "new\n");
    assert_eq!(root.content(TOOL), "tool of 1\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
    root.tells(&[("100-01", End::Lost(&[TOOL]))]);
}

#[test]
fn an_added_file_that_another_package_ships_with_other_bytes_is_lost_and_no_backout_moves_it() {
    let Some(root) = RpmRoot::opened("rpm: an added file of another package with other bytes") else {
        return;
    };
    patched(&root, "1");
    root.install(&fdo("2").file(NEW, "of fdo\n"));
    root.refresh();
    root.tells(&[("100-01", End::PartlyLost(&[NEW]))]);
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert!(removed.said().contains("taken over by fdo 1.0-2"), "{}", removed.said());
    assert_eq!(root.content(NEW), "of fdo\n");
    assert_eq!(root.content(TOOL), "tool of 1\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
}

#[test]
fn a_file_that_rpm_replaced_with_that_of_another_package_is_its_own_although_no_transaction_of_ours_is_new() {
    for (bytes, is_same) in [("of fdo\n", false), ("tool fixed\n", true)] {
        let Some(root) = RpmRoot::opened("rpm: --replacefiles") else { return };
        root.install(&fd("1").file("/usr/share/fd/more", "more of 1\n"));
        root.adopt(&["fd"]);
        let files = [(TOOL, "tool fixed\n"), ("/usr/share/fd/more", "more fixed\n")];
        root.applied(&patch_of("100-01", "fd", "1", &files));
        root.build(&[fdo("1").file(TOOL, bytes)]);
        root.rpm_done("-i --replacefiles [fdo-1]");
        root.refresh();
        root.owned(&[TOOL], "fdo");
        root.tells(&[("100-01", if is_same { End::Stands } else { End::PartlyLost(&[TOOL]) })]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(TOOL), bytes);
        assert_eq!(root.content("/usr/share/fd/more"), "more of 1\n");
        root.run("undo -R @ROOT@");
        assert_eq!(root.content(TOOL), bytes);
    }
}

#[test]
fn each_of_two_patches_of_a_file_that_rpm_replaced_is_told() {
    const MORE: &str = "/usr/share/fd/more";
    let Some(root) = RpmRoot::opened("rpm: --replacefiles over two patches") else { return };
    root.install(&fd("1").file(MORE, "more of 1\n"));
    root.adopt(&["fd"]);
    root.applied(&patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n"), (MORE, "more fixed\n")]));
    root.applied(&patch_of("200-01", "fd", "1", &[(TOOL, "tool fixed better\n")]));
    root.build(&[fdo("1").file(TOOL, "of fdo\n")]);
    root.rpm_done("-i --replacefiles [fdo-1]");
    root.refresh();
    root.tells(&[("100-01", End::PartlyLost(&[TOOL])), ("200-01", End::Lost(&[TOOL]))]);
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.content(TOOL), "of fdo\n");
    assert_eq!(root.content(MORE), "more of 1\n");
}

#[test]
fn a_backout_right_after_rpm_replaced_a_file_leaves_it() {
    let Some(root) = RpmRoot::opened("rpm: --replacefiles and a backout at once") else { return };
    root.install(&fd("1"));
    root.adopt(&["fd"]);
    root.applied(&patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n")]));
    root.build(&[fdo("1").file(TOOL, "of fdo\n")]);
    root.rpm_done("-i --replacefiles [fdo-1]");
    root.remove("100-01");
    assert_eq!(root.content(TOOL), "of fdo\n");
    root.run("remove --refresh -R @ROOT@ 100-01");
    assert_eq!(root.content(TOOL), "of fdo\n");
}

#[test]
fn a_patch_that_would_write_over_another_package_is_refused_and_names_it() {
    let Some(root) = RpmRoot::opened("rpm: a patch over another package") else { return };
    root.install(&Rpm::new("fd", "1").file("/lib/fd/tool", "tool of 1\n"));
    root.install(&Rpm::new("fdo", "2").file("/usr/lib/fd/new", "of fdo\n"));
    root.adopt(&["fd"]);
    for path in ["/lib/fd/new", "/usr/lib/fd/new"] {
        let before = root.stage.tree();
        let run = root.add("--edited replace", &patch_of("100-01", "fd", "1", &[(path, "ours\n")]));
        assert!(run.code != 0 && run.said().contains("belongs to fdo 1.0-2"), "{} {}", run.code, run.said());
        assert!(before.difference(&root.stage.tree()).is_empty(), "nothing is changed");
    }
}

#[test]
fn an_added_file_stays_that_the_next_release_ships_by_the_other_name_of_its_directory() {
    let Some(root) = RpmRoot::opened("rpm: an added file by another name") else { return };
    root.install(&Rpm::new("al", "4").file("/lib/al/old", "old of 4\n"));
    root.adopt(&["al"]);
    let files = [("/lib/al/old", "old fixed\n"), ("/lib/al/newlib", "newlib\n")];
    root.applied(&patch_of("100-01", "al", "4", &files));
    root.install(
        &Rpm::new("al", "5").file("/usr/lib/al/old", "old of 5\n").file("/usr/lib/al/newlib", "newlib\n"),
    );
    root.refresh();
    assert_eq!(root.content("/usr/lib/al/newlib"), "newlib\n");
    assert_eq!(root.content("/usr/lib/al/old"), "old of 5\n");
    root.tells(&[("100-01", End::Lost(&["/lib/al/old"]))]);
    root.remove("100-01");
    assert_eq!(root.content("/usr/lib/al/newlib"), "newlib\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
    root.owned(&["/lib/al/old", "/usr/lib/al/old"], "al");
}

#[test]
fn a_release_with_exactly_the_bytes_of_the_patch_contains_it() {
    let Some(root) = RpmRoot::opened("rpm: a release with exactly the bytes of the patch") else { return };
    root.install(&fd("1"));
    root.adopt(&["fd"]);
    root.applied(&patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n"), (NEW, "new\n")]));
    root.install(&Rpm::new("fd", "2").file(TOOL, "tool fixed\n").file(NEW, "new\n"));
    root.refresh();
    root.tells(&[("100-01", End::Contained)]);
    assert!(root.verified().is_empty(), "{:?}", root.verified());
}

#[test]
fn a_program_is_lost_although_the_configuration_of_the_same_patch_still_stands() {
    let Some(root) = RpmRoot::opened("rpm: a lost program beside a patched configuration") else { return };
    let acme = |release: &str| {
        let tool = format!("tool of {release}\n");
        Rpm::new("acme", release)
            .with_mode("/usr/bin/tool", 0o755, &tool)
            .file(CONF, &format!("setting={release}\n"))
    };
    root.install(&acme("1"));
    root.adopt(&["acme"]);
    let package = of_rpm("acme", "1").file("usr/bin/tool", 0o755, "tool fixed\n");
    let package = package.content('e', &CONF[1..], 0o644, "root root", DELIVERED, "setting=fixed\n");
    root.applied(&Patch::of("100-01", package));
    root.install(&acme("2"));
    root.refresh();
    root.tells(&[("100-01", End::Lost(&["/usr/bin/tool"]))]);
    root.remove("100-01");
    root.run("undo -R @ROOT@");
    assert_eq!(root.content(CONF), "setting=fixed\n");
    assert_eq!(root.content("/usr/bin/tool"), "tool of 2\n");
    assert_eq!(root.verified(), [CONF]);
}

#[test]
fn a_setuid_bit_that_a_patch_took_away_and_a_reinstallation_gave_back_is_a_lost_fix() {
    let Some(root) = RpmRoot::opened("rpm: a setuid bit that is back") else { return };
    let acme = Rpm::new("acme", "1").with_mode("/usr/bin/tool", 0o4755, "tool of 1\n");
    root.install(&acme);
    root.adopt(&["acme"]);
    let package = of_rpm("acme", "1").file("usr/bin/tool", 0o755, "tool of 1\n");
    root.applied(&Patch::of("100-01", package));
    assert_eq!(root.attributes("/usr/bin/tool"), "755 0:0");
    RpmRoot::tick();
    root.rpm_done("-U --replacepkgs [acme-1]");
    root.refresh();
    assert_eq!(root.attributes("/usr/bin/tool"), "4755 0:0");
    root.tells(&[("100-01", End::Lost(&["/usr/bin/tool"]))]);
}

#[test]
fn a_mode_of_the_administrator_stays_if_the_patch_does_not_change_modes() {
    let Some(root) = RpmRoot::opened("rpm: a mode of the administrator") else { return };
    root.install(&fd("1"));
    root.adopt(&["fd"]);
    root.stage.mode(TOOL, 0o600);
    root.applied(&patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n")]));
    assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool fixed\n", "600 0:0"));
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "600 0:0"));
}

#[test]
fn a_package_with_another_name_that_obsoletes_the_patched_one_loses_its_fix_which_is_foreseen() {
    let Some(root) = RpmRoot::opened("rpm: a package with another name") else { return };
    root.install(&fd("1"));
    root.adopt(&["fd"]);
    root.applied(&patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n")]));
    root.stage.file("/etc/patchadm/policy", "native_upgrade=stop\n");
    let renamed = Rpm::new("fd2", "2").field("Obsoletes", "fd").field("Provides", "fd = 1.0-2");
    root.build(&[renamed.file(TOOL, "tool of fd2\n")]);
    root.rpm_done("-U [fd2-2]");
    assert!(!root.rpm("-q fd2").stdout.is_empty());
    root.refresh();
    assert_eq!(root.content(TOOL), "tool of fd2\n");
    root.tells(&[("100-01", End::Lost(&[TOOL]))]);
    root.remove("100-01");
    assert_eq!(root.content(TOOL), "tool of fd2\n");
    root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
    root.tells(&[("100-01", End::Ended)]);
}

#[test]
fn a_removal_without_a_successor_alarms_nobody_and_a_downgrade_below_the_fix_does() {
    let Some(root) = RpmRoot::opened("rpm: a removal and a downgrade") else { return };
    root.build(&[fd("1")]);
    root.install(&fd("1"));
    root.adopt(&["fd"]);
    let fixed =
        patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n")]).says("PATCH_FIXED_IN", "rpm fd >= 1.0-2");
    root.applied(&fixed);
    root.install(&fd("2"));
    root.refresh();
    root.tells(&[("100-01", End::Contained)]);
    root.rpm_done("-U --oldpackage [fd-1]");
    root.refresh();
    root.tells(&[("100-01", End::Lost(&[TOOL]))]);
    root.rpm_done("-e fd");
    root.refresh();
    root.tells(&[("100-01", End::Ended)]);
    assert_eq!(root.content(TOOL), NOTHING);
}

#[test]
fn a_copied_root_is_as_fresh_as_its_original() {
    let Some(root) = RpmRoot::opened("rpm: a copied root") else { return };
    root.install(&fd("1"));
    root.adopt(&["fd"]);
    root.applied(&patch_of("100-01", "fd", "1", &[(TOOL, "tool fixed\n")]));
    let copy = root.stage.beside("copy");
    let copying =
        std::process::Command::new("cp").arg("-a").arg(root.stage.root()).arg(&copy).status().unwrap();
    assert!(copying.success());
    for line in ["list --check", "check --contents", "remove 100-01"] {
        let run = root.unwatched(&format!("{line} -R {}", copy.display()));
        assert!(run.code == 0 && run.stderr.is_empty(), "{line}: {} {}", run.code, run.said());
    }
}

#[test]
fn a_file_that_rpm_left_out_does_not_come_with_a_patch() {
    let Some(root) = RpmRoot::opened("rpm: an excluded path") else { return };
    root.build(&[fd("1").file("/usr/share/fd/doc/d", "doc of 1\n")]);
    root.rpm_done("-i --excludepath /usr/share/fd/doc [fd-1]");
    root.adopt(&["fd"]);
    let files = [(TOOL, "tool fixed\n"), ("/usr/share/fd/doc/d", "doc fixed\n")];
    let said = root.applied(&patch_of("100-01", "fd", "1", &files));
    assert!(said.contains("/usr/share/fd/doc/d"), "{said}");
    assert_eq!(root.content("/usr/share/fd/doc/d"), NOTHING);
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!((&*root.content(TOOL), &*root.content("/usr/share/fd/doc/d")), ("tool of 1\n", NOTHING));
}
