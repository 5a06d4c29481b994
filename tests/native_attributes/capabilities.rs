//! chown(2) clears file capabilities: every change of an owner sets them again.

use std::os::unix::fs::chown;

use crate::adopt_refresh::delivered;
use crate::delivery::Patch;
use crate::native_attributes::{
    BIND_SERVICE, NET_RAW, WEB, add, adopted, capability, fix, mode, owners, plan, remove, set, value,
};
use crate::packages::Package;
use crate::scenario::Scenario;

const CAPABILITY: &str = "security.capability";

const TOOL: &str = "/opt/ACMEweb/bin/tool";

/// A package with a program of user and group `adm`.
fn of_adm(text: &str, mode: u32) -> Package {
    Package::new("ACMEweb").content('f', "bin/tool", mode, "adm adm", 1_795_000_000, text)
}

/// A root with that package; the program has a capability. `None` if it cannot be set.
fn capable(test: &str) -> Option<Scenario> {
    let stage = Scenario::with(&[of_adm("one\n", 0o755)]);
    set(test, &stage, TOOL, CAPABILITY, &NET_RAW).then_some(stage)
}

#[test]
fn a_repair_of_the_owner_keeps_the_capability() {
    let Some(stage) = capable("a_repair_of_the_owner_keeps_the_capability") else { return };
    chown(stage.at(TOOL), Some(1), Some(1)).unwrap();
    assert!(set("", &stage, TOOL, CAPABILITY, &NET_RAW));
    stage.run("pkgchk -f -R @ROOT@ ACMEweb");
    assert_eq!(
        (owners(&stage, TOOL), capability(&stage, TOOL).as_deref()),
        ((54321, 54321), Some(&NET_RAW[..]))
    );
}

#[test]
fn a_repair_gives_no_capability_to_bytes_that_are_not_the_recorded_ones() {
    let test = "a_repair_gives_no_capability_to_bytes_that_are_not_the_recorded_ones";
    let Some(stage) = capable(test) else { return };
    stage.file(TOOL, "two\n");
    chown(stage.at(TOOL), Some(1), Some(1)).unwrap();
    stage.run("pkgchk -f -R @ROOT@ ACMEweb");
    assert_eq!((owners(&stage, TOOL), capability(&stage, TOOL)), ((1, 1), None));
}

#[test]
fn installf_that_changes_the_owner_keeps_it() {
    let Some(stage) = capable("installf_that_changes_the_owner_keeps_it") else { return };
    stage.run("installf -R @ROOT@ ACMEweb /opt/ACMEweb/bin/tool f 0711 root root").ok();
    stage.run("installf -f -R @ROOT@ ACMEweb").ok();
    assert_eq!((owners(&stage, TOOL), mode(&stage, TOOL)), ((0, 0), 0o711));
    assert_eq!(capability(&stage, TOOL).as_deref(), Some(&NET_RAW[..]));
}

#[test]
fn a_patch_of_attributes_alone_keeps_it_and_one_of_the_bytes_does_not() {
    let test = "a_patch_of_attributes_alone_keeps_it_and_one_of_the_bytes_does_not";
    let Some(stage) = capable(test) else { return };
    let owner = Package::new("ACMEweb").content('f', "bin/tool", 0o711, "root root", 1_795_000_000, "one\n");
    let said = plan(&stage, "", &Patch::of("100-01", owner.clone()));
    assert!(!said.contains("capabilities"), "{said}");
    add(&stage, "", &Patch::of("100-01", owner));
    assert_eq!((owners(&stage, TOOL), mode(&stage, TOOL)), ((0, 0), 0o711));
    assert_eq!(capability(&stage, TOOL).as_deref(), Some(&NET_RAW[..]));
    remove(&stage, "100-01");
    assert_eq!(
        (owners(&stage, TOOL), capability(&stage, TOOL).as_deref()),
        ((54321, 54321), Some(&NET_RAW[..]))
    );
    let bytes = Patch::of("200-01", of_adm("two\n", 0o755));
    let said = plan(&stage, "", &bytes);
    assert!(said.contains("    loses its file capabilities\n"), "{said}");
    add(&stage, "", &bytes);
    assert_eq!(capability(&stage, TOOL), None);
    remove(&stage, "200-01");
    assert_eq!(capability(&stage, TOOL).as_deref(), Some(&NET_RAW[..]));
}

#[test]
fn patches_of_one_run_keep_it_as_they_would_one_by_one() {
    let test = "patches_of_one_run_keep_it_as_they_would_one_by_one";
    for texts in [["one\n", "one\n"], ["two\n", "one\n"], ["one\n", "two\n"]] {
        let (Some(one), Some(each)) = (capable(test), capable(test)) else { return };
        let patches =
            [Patch::of("100-01", of_adm(texts[0], 0o711)), Patch::of("200-01", of_adm(texts[1], 0o700))];
        for patch in &patches {
            patch.directory(&one);
            add(&each, "", patch);
        }
        one.run("add -R @ROOT@ delivered/100-01 delivered/200-01").ok();
        assert_eq!(capability(&one, TOOL), capability(&each, TOOL), "{texts:?}");
        for id in ["200-01", "100-01"] {
            remove(&one, id);
            remove(&each, id);
            assert_eq!(capability(&one, TOOL), capability(&each, TOOL), "{texts:?} without {id}");
        }
        assert_eq!(capability(&one, TOOL).as_deref(), Some(&NET_RAW[..]));
    }
}

#[test]
fn one_that_a_postinst_gave_an_adopted_program_survives_a_patch_of_its_bytes_and_is_back_after_it_was_written_into()
 {
    let test = "one_that_a_postinst_gave_an_adopted_program_survives_a_patch_of_its_bytes";
    let stage = adopted();
    if !set(test, &stage, WEB, CAPABILITY, &NET_RAW) {
        return;
    }
    let said = plan(&stage, "", &fix(0o755));
    assert!(said.contains("@ROOT@/usr/bin/web keeps its file capabilities"), "{said}");
    for is_written_into in [false, true] {
        add(&stage, "", &fix(0o755));
        assert_eq!(
            (stage.text(WEB).as_str(), capability(&stage, WEB).as_deref()),
            ("web fixed\n", Some(&NET_RAW[..]))
        );
        assert_eq!(stage.run("check --contents -R @ROOT@").code, 0);
        if is_written_into {
            std::fs::write(stage.at(WEB), "mine\n").unwrap();
            assert_eq!(capability(&stage, WEB), None, "the system takes it");
        }
        remove(&stage, "100-01");
        assert_eq!(
            (stage.text(WEB).as_str(), capability(&stage, WEB).as_deref()),
            ("web one\n", Some(&NET_RAW[..]))
        );
    }
}

#[test]
fn what_an_administrator_did_with_it_after_the_patch_stays() {
    let test = "what_an_administrator_did_with_it_after_the_patch_stays";
    let stage = adopted();
    if !set(test, &stage, WEB, CAPABILITY, &NET_RAW) {
        return;
    }
    add(&stage, "", &fix(0o755));
    set(test, &stage, WEB, CAPABILITY, &BIND_SERVICE);
    let said = remove(&stage, "100-01");
    assert!(said.contains("keeps its file capabilities, set since 100-01 was applied"), "{said}");
    assert_eq!(capability(&stage, WEB).as_deref(), Some(&BIND_SERVICE[..]));
    add(&stage, "", &fix(0o755));
    rustix::fs::lremovexattr(stage.at(WEB), CAPABILITY).unwrap();
    let said = remove(&stage, "100-01");
    assert!(said.contains("stays without file capabilities, removed since 100-01 was applied"), "{said}");
    assert_eq!((stage.text(WEB).as_str(), capability(&stage, WEB)), ("web one\n", None));
}

#[test]
fn a_patch_that_speaks_of_extended_attributes_decides_about_them() {
    let test = "a_patch_that_speaks_of_extended_attributes_decides_about_them";
    let stage = adopted();
    if !set(test, &stage, WEB, CAPABILITY, &NET_RAW) {
        return;
    }
    let lines = "{\"objects\":1}\n{\"path\":\"usr/bin/web\",\"xattrs\":{\"user.note\":\"6869\"}}\n";
    let package =
        delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n").information("patchadm.objects", lines);
    let patch = Patch::of("100-01", package);
    let said = plan(&stage, "", &patch);
    assert!(said.contains("    loses its file capabilities\n"), "{said}");
    add(&stage, "", &patch);
    assert_eq!(
        (capability(&stage, WEB), value(&stage, WEB, "user.note").as_deref()),
        (None, Some(&b"hi"[..]))
    );
    remove(&stage, "100-01");
    assert_eq!(capability(&stage, WEB).as_deref(), Some(&NET_RAW[..]));
}

#[test]
fn a_class_script_that_installs_an_adopted_program_leaves_it_too() {
    let test = "a_class_script_that_installs_an_adopted_program_leaves_it_too";
    let stage = adopted();
    if !set(test, &stage, WEB, CAPABILITY, &NET_RAW) {
        return;
    }
    let script =
        "#!/bin/sh\nwhile read src dest; do cp \"$src\" \"$dest.new\" && mv \"$dest.new\" \"$dest\"; done\n";
    let package = delivered("1.0-1")
        .param("CLASSES", "none mine")
        .of_class("mine", 'f', "usr/bin/web", 0o755, "web fixed\n")
        .information("i.mine", script);
    let patch = Patch::of("100-01", package);
    let at = patch.directory(&stage);
    let run = stage.run(&format!("add -R @ROOT@ {}", at.display()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(
        (stage.text(WEB).as_str(), capability(&stage, WEB).as_deref()),
        ("web fixed\n", Some(&NET_RAW[..]))
    );
}
