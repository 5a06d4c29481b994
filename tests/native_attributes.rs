//! Mode, owner, capabilities and access control lists that an administrator set, and how patches treat them.
//!
//! In packages of dpkg and rpm they are local modifications. Most stories simulate dpkg; those in `real` run the real
//! one.

/// Owners that change while bytes and capabilities stay.
mod capabilities;
/// Two paths that are one place, because `/lib` and `/bin` are links.
mod merged;
/// Overrides by dpkg-statoverride(1).
mod overrides;
/// Stories with the real dpkg.
mod real;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

use crate::adopt_refresh::{ONE, delivered, dpkg_installs};
use crate::delivery::Patch;
use crate::scenario::{Scenario, is_root};

const WEB: &str = "/usr/bin/web";

/// `cap_net_raw=ep`, in the format of the kernel.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `cap_net_bind_service=ep`.
const BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Read and execute for user 7, in the format of `system.posix_acl_access`: the owner, user 7, the group, the mask,
/// others.
const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 7, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16,
    0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
];

/// A root in which dpkg has installed a program, 0755, that was adopted.
fn adopted() -> Scenario {
    let stage = Scenario::new();
    dpkg_installs(&stage, None, &ONE, &[]);
    stage.mode(WEB, 0o755);
    stage.run("adopt --dpkg web -R @ROOT@").ok();
    stage
}

/// A patch of the program with this mode.
fn fix(mode: u32) -> Patch {
    Patch::of("100-01", delivered("1.0-1").file("usr/bin/web", mode, "web fixed\n"))
}

/// Applies a patch with the modern verb, and returns the output.
fn add(stage: &Scenario, options: &str, patch: &Patch) -> String {
    let at = patch.directory(stage);
    stage.run(&format!("add {options} -R @ROOT@ {}", at.display())).ok()
}

/// Plans a patch, and returns the output.
fn plan(stage: &Scenario, options: &str, patch: &Patch) -> String {
    let at = patch.directory(stage);
    stage.run(&format!("plan {options} -R @ROOT@ {}", at.display())).ok()
}

fn remove(stage: &Scenario, id: &str) -> String {
    stage.run(&format!("remove -R @ROOT@ {id}")).ok()
}

fn mode(stage: &Scenario, path: &str) -> u32 {
    fs::symlink_metadata(stage.at(path)).unwrap().mode() & 0o7777
}

fn owners(stage: &Scenario, path: &str) -> (u32, u32) {
    let seen = fs::symlink_metadata(stage.at(path)).unwrap();
    (seen.uid(), seen.gid())
}

/// Sets an extended attribute. Says that a test is skipped where this cannot be done, and returns false.
fn set(test: &str, stage: &Scenario, path: &str, name: &str, value: &[u8]) -> bool {
    let is_set = is_root() && lsetxattr(stage.at(path), name, value, XattrFlags::empty()).is_ok();
    if !is_set {
        crate::skipped(&format!("{test}: {name} cannot be set here"));
    }
    is_set
}

/// An extended attribute; `None` where the object does not have it.
fn value(stage: &Scenario, path: &str, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = lgetxattr(stage.at(path), name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

fn capability(stage: &Scenario, path: &str) -> Option<Vec<u8>> {
    value(stage, path, "security.capability")
}

#[test]
fn a_mode_that_the_patch_does_not_change_stays_as_the_administrator_set_it() {
    let stage = adopted();
    stage.mode(WEB, 0o700);
    let kept = format!("{} keeps mode 0700, which was set locally in place of 0755", "@ROOT@/usr/bin/web");
    assert!(plan(&stage, "", &fix(0o755)).contains(&kept));
    assert!(add(&stage, "", &fix(0o755)).contains(&kept));
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web fixed\n", 0o700));
    let said = remove(&stage, "100-01");
    assert!(!said.contains("keeps mode"), "nothing was set since: {said}");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700));
}

#[test]
fn a_mode_that_both_changed_stops_the_patch_unless_the_choice_for_edited_files_decides() {
    let stage = adopted();
    stage.mode(WEB, 0o700);
    let tree = stage.tree();
    let at = fix(0o711).directory(&stage);
    let said = stage.run(&format!("add -R @ROOT@ {}", at.display())).fails(3);
    assert!(
        said.contains("modified locally\n    @ROOT@/usr/bin/web (has mode 0700, and the patch has 0711)\n"),
        "{said}"
    );
    assert!(said.contains("--edited replace"), "{said}");
    assert_eq!(stage.tree(), tree);
    for (options, left, note) in [
        ("--edited keep", 0o700, "keeps mode 0700, which was set locally; the patch has 0711"),
        ("--keep-edited /usr/bin/web", 0o700, "keeps mode 0700, which was set locally; the patch has 0711"),
        ("--edited replace", 0o711, "gets mode 0711 of the patch; 0700 was set locally"),
        ("--replace-edited /usr/bin/web", 0o711, "gets mode 0711 of the patch; 0700 was set locally"),
    ] {
        let said = add(&stage, options, &fix(0o711));
        assert!(said.contains(note), "{options}: {said}");
        assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web fixed\n", left), "{options}");
        remove(&stage, "100-01");
        assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700), "{options}");
    }
}

#[test]
fn a_mode_that_only_the_patch_changes_is_named_and_comes_back() {
    let stage = adopted();
    let said = plan(&stage, "", &fix(0o711));
    assert!(said.contains("    mode 0755 → 0711\n"), "{said}");
    add(&stage, "", &fix(0o711));
    assert_eq!(mode(&stage, WEB), 0o711);
    let said = stage.run("remove --dry-run -R @ROOT@ 100-01").ok();
    assert!(said.contains("    mode 0711 → 0755\n"), "{said}");
    remove(&stage, "100-01");
    assert_eq!(mode(&stage, WEB), 0o755);
}

#[test]
fn what_was_set_after_the_patch_stays_when_it_is_removed() {
    let stage = adopted();
    add(&stage, "", &fix(0o711));
    stage.mode(WEB, 0o500);
    let said = remove(&stage, "100-01");
    assert!(said.contains("@ROOT@/usr/bin/web keeps mode 0500, set since 100-01 was applied"), "{said}");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o500));
}

#[test]
fn the_same_value_as_the_patch_has_is_no_change_of_the_administrator() {
    let stage = adopted();
    stage.mode(WEB, 0o711);
    let said = add(&stage, "", &fix(0o711));
    assert!(!said.contains("mode"), "{said}");
    assert_eq!(mode(&stage, WEB), 0o711);
}

#[test]
fn a_second_patch_finds_the_change_of_the_administrator_still_there() {
    let stage = adopted();
    stage.mode(WEB, 0o700);
    add(&stage, "", &fix(0o755));
    let second = Patch::of("200-01", delivered("1.0-1").file("usr/bin/web", 0o755, "web better\n"));
    let said = add(&stage, "", &second);
    assert!(said.contains("keeps mode 0700, which was set locally in place of 0755"), "{said}");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web better\n", 0o700));
    for id in ["200-01", "100-01"] {
        remove(&stage, id);
    }
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700));
}

#[test]
fn patches_of_one_run_leave_the_attributes_that_they_would_leave_one_by_one() {
    let stage = adopted();
    stage.mode(WEB, 0o700);
    let one = fix(0o755).directory(&stage);
    let two =
        Patch::of("200-01", delivered("1.0-1").file("usr/bin/web", 0o755, "web better\n")).directory(&stage);
    stage.run(&format!("add -R @ROOT@ {} {}", one.display(), two.display())).ok();
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web better\n", 0o700));
    stage.run("remove -R @ROOT@ 200-01 100-01").ok();
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700));
}

#[test]
fn a_patch_does_not_go_from_under_one_that_kept_what_was_set_between_them() {
    let stage = adopted();
    add(&stage, "", &fix(0o755));
    stage.mode(WEB, 0o700);
    let second = Patch::of("200-01", delivered("1.0-1").file("usr/bin/web", 0o755, "web better\n"));
    add(&stage, "", &second);
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains("it took over attributes that the earlier one had changed"), "{said}");
    remove(&stage, "200-01");
    remove(&stage, "100-01");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700));
}

#[test]
fn what_was_set_before_both_patches_goes_through_a_backout_of_the_first() {
    let stage = adopted();
    stage.mode(WEB, 0o700);
    add(&stage, "", &fix(0o755));
    let second = Patch::of("200-01", delivered("1.0-1").file("usr/bin/web", 0o755, "web better\n"));
    add(&stage, "", &second);
    remove(&stage, "100-01");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web better\n", 0o700));
    remove(&stage, "200-01");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700));
}

#[test]
fn owner_and_group_are_kept_and_given_as_the_mode_is() {
    if !is_root() {
        return crate::skipped(
            "owner_and_group_are_kept_and_given_as_the_mode_is: only root gives files away",
        );
    }
    let stage = adopted();
    let adm = 54321;
    chown(stage.at(WEB), Some(adm), Some(adm)).unwrap();
    let said = add(&stage, "", &fix(0o755));
    assert!(said.contains("keeps owner adm, which was set locally in place of root"), "{said}");
    assert_eq!(owners(&stage, WEB), (adm, adm));
    chown(stage.at(WEB), None, Some(0)).unwrap();
    let said = remove(&stage, "100-01");
    assert!(said.contains("keeps group root, set since 100-01 was applied"), "{said}");
    assert_eq!(owners(&stage, WEB), (adm, 0));
}

#[test]
fn a_configuration_file_never_stops_a_patch_for_its_mode() {
    let stage = adopted();
    let package = |mode| delivered("1.0-1").content('e', "usr/bin/web", mode, "root root", 1, "web fixed\n");
    stage.mode(WEB, 0o700);
    let said = add(&stage, "", &Patch::of("100-01", package(0o711)));
    assert!(said.contains("gets mode 0711 of the patch; 0700 was set locally"), "{said}");
    assert_eq!(mode(&stage, WEB), 0o711);
}

#[test]
fn an_access_control_list_stays_and_is_no_reason_to_stop() {
    let test = "an_access_control_list_stays_and_is_no_reason_to_stop";
    let stage = adopted();
    if !set(test, &stage, WEB, "system.posix_acl_access", &ACCESS_LIST) {
        return;
    }
    let list = |stage: &Scenario| value(stage, WEB, "system.posix_acl_access");
    let said = add(&stage, "", &fix(0o755));
    assert!(said.contains("keeps its access control list"), "{said}");
    assert_eq!(list(&stage).as_deref(), Some(&ACCESS_LIST[..]));
    rustix::fs::lremovexattr(stage.at(WEB), "system.posix_acl_access").unwrap();
    stage.mode(WEB, 0o755);
    let said = remove(&stage, "100-01");
    assert!(said.contains("stays without access control list, removed since 100-01 was applied"), "{said}");
    assert_eq!((list(&stage), mode(&stage, WEB)), (None, 0o755));
}

#[test]
fn without_privileges_a_file_keeps_its_attributes_though_its_list_forbids_the_owner_to_write() {
    let test = "without_privileges_a_file_keeps_its_attributes…";
    let package = |text: &str| crate::packages::Package::new("ACMEweb").file("bin/web", 0o444, text);
    let stage = Scenario::with(&[package("one\n")]);
    let tool = "/opt/ACMEweb/bin/web";
    let mut list = ACCESS_LIST;
    for rights in [6, 14, 22, 30, 38] {
        list[rights] = 4;
    }
    let given = [("system.posix_acl_access", &list[..]), ("user.note", &b"hi"[..])];
    if !given.iter().all(|(name, bytes)| set(test, &stage, tool, name, bytes)) {
        return;
    }
    Patch::of("100-01", package("two\n")).directory(&stage);
    crate::as_owner::open(&stage);
    for (line, text) in [
        ("add --as-owner -R @ROOT@ delivered/100-01", "two\n"),
        ("remove --as-owner -R @ROOT@ 100-01", "one\n"),
    ] {
        stage.run(line).ok();
        assert_eq!((stage.text(tool).as_str(), mode(&stage, tool)), (text, 0o444));
        for (name, bytes) in given {
            assert_eq!(value(&stage, tool, name).as_deref(), Some(bytes), "{line}: {name}");
        }
    }
}

#[test]
fn no_object_gets_an_access_control_list_from_where_it_was_staged() {
    let test = "no_object_gets_an_access_control_list_from_where_it_was_staged";
    let stage = adopted();
    if !set(test, &stage, "/var/sadm/patchadm/stage", "system.posix_acl_default", &ACCESS_LIST) {
        return;
    }
    let lists = |stage: &Scenario| {
        [WEB, "/var/sadm/install/contents"].map(|path| value(stage, path, "system.posix_acl_access"))
    };
    add(&stage, "", &fix(0o755));
    assert_eq!((lists(&stage), mode(&stage, WEB)), ([None, None], 0o755));
    remove(&stage, "100-01");
    assert_eq!((lists(&stage), mode(&stage, WEB)), ([None, None], 0o755));
}

#[test]
fn in_other_packages_a_patch_sets_all_that_it_has() {
    let stage = Scenario::with(&[crate::packages::Package::new("ACMEweb").file("bin/web", 0o755, "one\n")]);
    let tool = "/opt/ACMEweb/bin/web";
    stage.mode(tool, 0o700);
    let patch = Patch::of("100-01", crate::packages::Package::new("ACMEweb").file("bin/web", 0o755, "two\n"));
    let said = plan(&stage, "", &patch);
    assert!(said.contains("    mode 0700 → 0755\n"), "{said}");
    add(&stage, "", &patch);
    assert_eq!(mode(&stage, tool), 0o755);
    stage.mode(tool, 0o500);
    remove(&stage, "100-01");
    assert_eq!(mode(&stage, tool), 0o700);
}
