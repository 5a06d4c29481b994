//! Attributes that the administrator set, by dpkg-statoverride(1) or by hand, and capabilities.

use std::process::Command;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, of_dpkg};
use crate::packages::DELIVERED;

const TOOL: &str = "/usr/bin/tool";

/// A package with a tool that runs as root, adopted.
fn setuid(root: &DpkgRoot) {
    root.install(&tool("1"));
    root.adopt(&["acme"]);
}

fn tool(version: &str) -> Deb {
    Deb::new("acme", version).with_mode(TOOL, 0o4755, &format!("tool of {version}\n"))
}

/// A patch that delivers the tool with this mode.
fn brings(mode: u32) -> Patch {
    Patch::of("100-01", of_dpkg("acme", "1").file(&TOOL[1..], mode, "tool fixed\n"))
}

#[test]
fn a_patched_file_keeps_the_owner_and_mode_of_its_override_and_so_it_does_in_a_backout() {
    for root in DpkgRoot::both("an override before the patch") {
        setuid(&root);
        root.done(&format!("dpkg-statoverride --update --add root adm 4750 {TOOL}"));
        assert_eq!(root.attributes(TOOL), "4750 0:4");
        let said = root.applied(&brings(0o4755));
        assert_eq!(root.content(TOOL), "tool fixed\n");
        assert_eq!(root.attributes(TOOL), "4750 0:4");
        assert!(said.to_lowercase().contains("override"), "{said}");
        root.tells(&[("100-01", End::Stands)]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "4750 0:4"));
    }
}

#[test]
fn an_override_made_after_the_patch_survives_its_backout() {
    for root in DpkgRoot::both("an override after the patch") {
        setuid(&root);
        root.applied(&brings(0o4755));
        root.done(&format!("dpkg-statoverride --update --add root adm 4750 {TOOL}"));
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "4750 0:4"));
    }
}

#[test]
fn an_override_that_gives_a_setuid_bit_back_undoes_the_patch() {
    let Some(root) = DpkgRoot::opened("an override that undoes a patch") else { return };
    root.install(&tool("1").file("/usr/bin/other", "other of 1\n"));
    root.adopt(&["acme"]);
    let package = of_dpkg("acme", "1").file(&TOOL[1..], 0o755, "tool fixed\n");
    root.applied(&Patch::of("100-01", package.file("usr/bin/other", 0o644, "other fixed\n")));
    assert_eq!(root.attributes(TOOL), "755 0:0");
    root.done(&format!("dpkg-statoverride --update --add root adm 4750 {TOOL}"));
    root.refresh();
    root.tells(&[("100-01", End::PartlyLost(&[TOOL]))]);
}

#[test]
fn a_patch_that_takes_a_setuid_bit_away_which_an_override_keeps_is_partly_lost() {
    for root in DpkgRoot::both("an override before a patch of the mode") {
        setuid(&root);
        root.done(&format!("dpkg-statoverride --update --add root adm 4750 {TOOL}"));
        let said = root.applied(&brings(0o755));
        assert!(said.to_lowercase().contains("override"), "{said}");
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool fixed\n", "4750 0:4"));
        root.tells(&[("100-01", End::PartlyLost(&[TOOL]))]);
        root.refresh();
        root.tells(&[("100-01", End::PartlyLost(&[TOOL]))]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "4750 0:4"));
        root.tells(&[("100-01", End::Ended)]);
    }
}

#[test]
fn a_mode_of_the_administrator_stays_if_the_patch_does_not_change_modes() {
    for root in DpkgRoot::both("a mode of the administrator") {
        root.install(&Deb::new("acme", "1").with_mode(TOOL, 0o755, "tool of 1\n"));
        root.adopt(&["acme"]);
        root.stage.mode(TOOL, 0o600);
        root.applied(&brings(0o755));
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool fixed\n", "600 0:0"));
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "600 0:0"));

        root.applied(&brings(0o755));
        root.stage.mode(TOOL, 0o640);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "640 0:0"));
    }
}

#[test]
fn a_mode_of_the_administrator_that_a_patch_would_change_is_an_edit() {
    let Some(root) = DpkgRoot::opened("a mode of the administrator, and one of the patch") else { return };
    setuid(&root);
    root.stage.mode(TOOL, 0o600);
    let stopped = root.add("--edited stop", &brings(0o755));
    assert!(stopped.code == 3 && stopped.said().contains(TOOL), "{} {}", stopped.code, stopped.said());
    assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool of 1\n", "600 0:0"));
    let replaced = root.add("--edited replace", &brings(0o755));
    assert_eq!(replaced.code, 0, "{}", replaced.said());
    assert_eq!((&*root.content(TOOL), &*root.attributes(TOOL)), ("tool fixed\n", "755 0:0"));
}

/// Gives a file a capability. False where that is not possible here; the test says that it is skipped.
fn give_capability(root: &DpkgRoot, test: &str, path: &str) -> bool {
    let set = Command::new("setcap")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("cap_net_raw=ep")
        .arg(root.at(path))
        .output();
    let is_set = set.is_ok_and(|output| output.status.success());
    if !is_set {
        crate::skipped(&format!("{test}: setcap is not installed, or may not set capabilities"));
    }
    is_set
}

fn has_capability(root: &DpkgRoot, path: &str) -> bool {
    let mut value = [0u8; 64];
    rustix::fs::lgetxattr(root.at(path), "security.capability", &mut value[..]).is_ok()
}

#[test]
fn a_capability_that_a_script_of_the_package_set_survives_a_patch_and_its_backout() {
    const TEST: &str = "a capability of ping";
    for root in DpkgRoot::both(TEST) {
        root.install(&Deb::new("acme", "1").with_mode("/bin/ping", 0o755, "ping of 1\n"));
        if !give_capability(&root, TEST, "/bin/ping") {
            return;
        }
        root.adopt(&["acme"]);
        let package = of_dpkg("acme", "1").file("bin/ping", 0o755, "ping fixed\n");
        root.applied(&Patch::of("100-01", package));
        assert_eq!(root.content("/usr/bin/ping"), "ping fixed\n");
        assert!(has_capability(&root, "/usr/bin/ping"), "after the patch");
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content("/usr/bin/ping"), "ping of 1\n");
        assert!(has_capability(&root, "/usr/bin/ping"), "after the backout");
    }
}

#[test]
fn a_change_of_owner_or_mode_alone_keeps_the_capability() {
    const TEST: &str = "a capability and a change of owner";
    let Some(root) = DpkgRoot::opened(TEST) else { return };
    root.install(&Deb::new("acme", "1").with_mode(TOOL, 0o755, "tool of 1\n"));
    if !give_capability(&root, TEST, TOOL) {
        return;
    }
    root.adopt(&["acme"]);
    let package = of_dpkg("acme", "1").content('f', &TOOL[1..], 0o750, "root adm", DELIVERED, "tool of 1\n");
    root.applied(&Patch::of("100-01", package));
    assert_eq!(root.attributes(TOOL), "750 0:4");
    assert!(has_capability(&root, TOOL), "after the patch");
    let removed = root.remove("100-01");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.attributes(TOOL), "755 0:0");
    assert!(has_capability(&root, TOOL), "after the backout");

    std::os::unix::fs::chown(root.at(TOOL), Some(65534), Some(65534)).unwrap();
    assert!(give_capability(&root, TEST, TOOL));
    root.run("pkgchk -f -R @ROOT@ DEBacme");
    assert!(has_capability(&root, TOOL), "after a repair");
}
