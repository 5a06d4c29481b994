//! Libraries that cannot stay, and the programs that lose them.

use super::{NEW, OLD, Pair, USER, package};
use crate::compiled::{Compiler, Source};
use crate::delivery::Patch;
use crate::records::Before;
use crate::scenario::{Scenario, code_of};
use crate::tree::assert_same;

/// A library of two versions and two functions in package `ACMEx`, programs that need one of each, and no other.
fn versioned(test: &str) -> Option<(Scenario, Compiler)> {
    let compiler = Compiler::found(test)?;
    let old = compiler.file("old.map", "X_1 { global: libx_f; local: *; };\nX_2 { global: libx_g; } X_1;\n");
    let option = format!("-Wl,--version-script={}", old.display());
    let text = "void libx_f(void) {}\nvoid libx_g(void) {}\n";
    let library = compiler.library("libx.so.1", &Source { text, options: &[&option], ..Source::default() });
    let calls = |function: &str| {
        let text = format!("void {function}(void);\nvoid use(void) {{ {function}(); }}\n");
        compiler.program(&Source { text: &text, with: &["libx.so.1"], ..Source::default() })
    };
    let (f, g) = (calls("libx_f"), calls("libx_g"));
    let programs = [("usr/bin/f", &f[..]), ("usr/bin/g", &g)];
    let stage =
        Scenario::with(&[package("ACMEx", &[("lib/libx.so.1", &library)]), package("ACMEp", &programs)]);
    Some((stage, compiler))
}

/// The same library without its second version.
fn shrunk(compiler: &Compiler) -> Vec<u8> {
    let new = compiler.file("new.map", "X_1 { global: libx_f; local: *; };\n");
    let option = format!("-Wl,--version-script={}", new.display());
    let text = "void libx_f(void) {}\n";
    compiler.library("libx.so.1", &Source { text, options: &[&option], ..Source::default() })
}

#[test]
fn a_version_that_vanishes_under_the_same_soname_is_named_with_who_needs_it() {
    let Some((stage, compiler)) = versioned("a version that vanishes") else { return };
    let patch = Patch::of("100-01", package("ACMEx", &[("lib/libx.so.1", &shrunk(&compiler))]));
    let lost = "lost libx.so.1 [X_2] path-taken for needed /usr/bin/g";
    assert_eq!(stage.plan_tells("", &patch).unwrap(), [lost]);
    assert_eq!(stage.plan_tells("--libs keep", &patch).unwrap(), [lost]);
    let before = stage.everything();
    let said = stage.patchadd("--libs keep-or-stop", &patch).fails(10);
    assert!(said.contains("libx.so.1") && said.contains("X_2") && said.contains("/usr/bin/g"), "{said}");
    assert_same(&stage.everything(), &before);
    assert_eq!(stage.apply_tells("--libs keep", &patch), [lost]);
    assert_eq!(stage.packages(), "ACMEp ACMEx");
}

#[test]
fn a_plain_symbol_that_vanishes_under_the_same_soname_is_named_with_who_needs_it() {
    let Some(compiler) = Compiler::found("a plain symbol that vanishes") else { return };
    let text = "void libx_f(void) {}\nvoid libx_old(void) {}\nvoid libx_unused(void) {}\n";
    let old = compiler.library("libx.so.1", &Source { text, ..Source::default() });
    let text = "void libx_f(void); void libx_old(void);\nvoid use(void) { libx_f(); libx_old(); }\n";
    let program = compiler.program(&Source { text, with: &["libx.so.1"], ..Source::default() });
    let new = compiler.library_with("libx.so.1", &[], &[]);
    let stage = Scenario::with(&[package("ACMEx", &[(OLD, &old)]), package("ACMEp", &[(USER, &program)])]);
    let patch = Patch::of("100-01", package("ACMEx", &[(OLD, &new)]));
    let lost = "lost libx.so.1 [libx_old] path-taken for needed /usr/bin/p";
    assert_eq!(stage.plan_tells("--libs keep", &patch).unwrap(), [lost]);
    // Another library that the program loads has it: nothing is lost.
    let text = "void libx_old(void) {}\n";
    let other = compiler.library("libold.so.1", &Source { text, ..Source::default() });
    let text = "void libx_f(void) {}\n";
    let new = compiler.library("libx.so.1", &Source { text, with: &["libold.so.1"], ..Source::default() });
    let files = [(OLD, &new[..]), ("usr/lib/libold.so.1", &other)];
    let patch = Patch::of("100-01", package("ACMEx", &files));
    assert_eq!(stage.apply_tells("--libs keep", &patch), Vec::<String>::new());
}

#[test]
fn a_library_that_others_would_find_in_the_place_of_the_new_one_does_not_stay() {
    let Some((stage, compiler)) = versioned("a kept library that would shadow") else { return };
    let before = Before::of(&stage);
    let moved = package("ACMEx", &[("usr/lib/libx.so.1", &shrunk(&compiler))]).deletes(&["lib/libx.so.1"]);
    let patch = Patch::of("100-01", moved);
    let lost = "lost libx.so.1 [X_2] shadows for needed /usr/bin/g";
    assert_eq!(stage.apply_tells("--libs keep", &patch), [lost]);
    assert!(!stage.at("/lib/libx.so.1").exists());
    stage.remove_tells("", "100-01");
    before.assert_again(&stage, "backed out");
    // If no other program would find it, it can stay.
    std::fs::remove_file(stage.at("/usr/bin/f")).unwrap();
    let kept = "ACMEx-SO keeps libx.so.1 (/lib/libx.so.1) for needed /usr/bin/g";
    assert_eq!(stage.plan_tells("--libs keep", &patch).unwrap(), [kept]);
}

#[test]
fn a_library_whose_path_is_taken_is_lost() {
    let Some(pair) = Pair::new("a path that is taken") else { return };
    let stage = &pair.stage;
    let lost = "lost libx.so.1 [] path-taken for needed /usr/bin/p";
    let text = Patch::of("300-01", package("ACMEx", &[(OLD, b"a text\n")]));
    assert_eq!(stage.plan_tells("--libs keep", &text).unwrap(), [lost]);
    let directory = Patch::of("400-01", package("ACMEx", &[]).directory(OLD));
    assert_eq!(stage.apply_tells("--libs keep", &directory), [lost]);
}

#[test]
fn losses_stop_a_patch_where_that_is_asked_for_and_nothing_is_changed() {
    let Some(pair) = Pair::new("losses stop a patch") else { return };
    let stage = &pair.stage;
    let before = stage.everything();
    let at = pair.patch.directory(stage);
    for line in [
        format!("patchadd --libs stop -R @ROOT@ {}", at.display()),
        format!("add --libs stop -R @ROOT@ {}", at.display()),
        format!("plan --libs stop -R @ROOT@ {}", at.display()),
    ] {
        let said = stage.run(&line).fails(code_of(&line, 10, 3));
        assert!(said.contains("libx.so.1") && said.contains("/usr/bin/p"), "{line}: {said}");
        assert_same(&stage.everything(), &before);
    }
    let document = stage.run(&format!("add --json --libs stop -R @ROOT@ {}", at.display()));
    assert!(
        document.stdout.contains("\"verdict\": \"refused\"")
            || document.stdout.contains("\"verdict\":\"refused\""),
        "{}",
        document.stdout
    );
    // A library that can be kept is no loss.
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(stage.apply_tells("--libs keep-or-stop", &pair.patch), [kept]);
}

#[test]
fn losses_stop_a_backout_where_that_is_asked_for_and_nothing_is_changed() {
    let Some(pair) = Pair::new("losses stop a backout") else { return };
    let stage = &pair.stage;
    stage.apply_tells("--libs keep", &pair.patch);
    let program = pair.compiler.program_with(&["libx.so.2"], &[]);
    stage.file("/opt/own/q", &program);
    let before = stage.everything();
    for line in [
        "patchrm --libs stop -R @ROOT@ 100-01",
        "remove --libs stop -R @ROOT@ 100-01",
        "undo --libs stop -R @ROOT@",
    ] {
        let said = stage.run(line).fails(code_of(line, 11, 3));
        assert!(said.contains("libx.so.2") && said.contains("/opt/own/q"), "{line}: {said}");
        assert_same(&stage.everything(), &before);
    }
    let told = stage.remove_tells("--libs keep-or-stop", "100-01");
    // ACMEx-SO still exists when the name is chosen.
    let kept = "ACMEx-SO.2 keeps libx.so.2 (/usr/lib/libx.so.2) for needed /opt/own/q";
    assert_eq!(told, [kept, "returned ACMEx-SO (/usr/lib/libx.so.1)"]);
}

#[test]
fn a_patch_may_forbid_keeping_and_who_insists_keeps_and_that_is_recorded() {
    let Some(pair) = Pair::new("a patch that forbids keeping") else { return };
    let stage = &pair.stage;
    let before = Before::of(stage);
    let forbids = pair.patch.clone().beside("patchinfo", "PATCH_PROPERTIES='nokeepshlibs'\n");
    let by_package = Patch::of("101-01", package("ACMEx", &[(NEW, b"new")]).deletes(&[OLD]))
        .says("SUNW_PATCH_PROPERTIES", "nokeepshlibs");
    let lost = "lost libx.so.1 [] forbidden for needed /usr/bin/p";
    for patch in [&forbids, &by_package] {
        assert_eq!(stage.plan_tells("--libs keep", patch).unwrap(), [lost]);
        let said = stage.patchadd("--libs keep-or-stop", patch).fails(10);
        assert!(said.contains("forbids"), "{said}");
    }
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(stage.apply_tells("--libs keep-always", &forbids), [kept]);
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEx-SO KEPT_FORCED").ok(), "yes\n");
    stage.remove_tells("", "100-01");
    before.assert_again(stage, "backed out");
}

#[test]
fn a_package_forbids_keeping_whatever_separates_base_and_revision_of_patch_ids() {
    let Some(pair) = Pair::new("a patch with another separator") else { return };
    let stage = &pair.stage;
    stage.file("/etc/patchadm/policy", "separator=_\n");
    let forbids = Patch::of("101_01", package("ACMEx", &[(NEW, b"new")]).deletes(&[OLD]))
        .says("SUNW_PATCH_PROPERTIES", "nokeepshlibs");
    let lost = "lost libx.so.1 [] forbidden for needed /usr/bin/p";
    assert_eq!(stage.plan_tells("--libs keep", &forbids).unwrap(), [lost]);
}

#[test]
fn a_library_replaced_by_one_that_can_do_as_much_costs_no_look_at_the_root() {
    let Some(pair) = Pair::new("a library that can do as much") else { return };
    let stage = &pair.stage;
    let text = "void libx_f(void) { }\nvoid libx_more(void) {}\n";
    let more = pair.compiler.library("libx.so.1", &Source { text, ..Source::default() });
    let patch = Patch::of("300-01", package("ACMEx", &[(OLD, &more)]));
    assert_eq!(stage.plan_tells("--libs keep", &patch), None);
    let patch = Patch::of("400-01", package("ACMEx", &[("usr/bin/script", b"#!/bin/sh\n")]));
    assert_eq!(stage.plan_tells("--libs keep", &patch), None);
    // A changed program is not looked at while nothing is kept.
    assert_eq!(stage.plan_tells("--libs keep", &pair.renewal()), None);
    stage.apply_tells("--libs keep", &pair.patch);
    assert!(stage.plan_tells("--libs keep", &pair.renewal()).is_some());
}

#[test]
fn a_delivered_package_that_calls_itself_kept_is_refused_and_no_patch_is_for_one() {
    let Some(pair) = Pair::new("a package that calls itself kept") else { return };
    let stage = &pair.stage;
    let kept = package("ACMEx", &[(NEW, b"new")]).param("KEPT_FROM", "ACMEx");
    stage.patchadd("", &Patch::of("300-01", kept)).fails(28);
    stage.apply_tells("--libs keep", &pair.patch);
    let before = stage.everything();
    let own = Patch::of("400-01", package("ACMEx-SO", &[(NEW, b"new")]));
    stage.patchadd("", &own).fails(28);
    assert_same(&stage.everything(), &before);
}
