//! The other commands that remove libraries: pkgadd --update, pkgrm, promotions; and scripts, which may not.

use std::fs;

use super::{NEW, OLD, Pair, USER, package};
use crate::compiled::Compiler;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::{ADMIN, Scenario};

impl Scenario {
    /// Output of `patchadm libs list`, without leading and trailing space.
    #[track_caller]
    fn kept(&self) -> String {
        let said = self.run("libs list -R @ROOT@").ok();
        said.lines().map(str::trim).collect::<Vec<_>>().join("|")
    }

    /// Runs a command on packages, which must succeed.
    #[track_caller]
    fn done(&self, line: &str) {
        let run = self.run(line);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }

    /// Writes a package beside the root; returns the option that names it.
    fn delivered(&self, package: &Package) -> String {
        let spool = self.beside("delivered");
        fs::create_dir_all(&spool).unwrap();
        package.write(&spool);
        format!("-d {}", spool.display())
    }
}

/// Sets the version of a package.
fn version(package: Package, version: &str) -> Package {
    package.param("VERSION", version)
}

#[test]
fn an_update_of_a_package_keeps_what_others_need_and_the_way_back_takes_it_over() {
    let Some(pair) = Pair::new("an update keeps") else { return };
    let stage = &pair.stage;
    let old = fs::read(stage.at(OLD)).unwrap();
    let new = pair.compiler.library_with("libx.so.2", &[], &[]);
    let base = Before::of(stage);
    let newer = stage.delivered(&version(package("ACMEx", &[(NEW, &new)]), "2.0"));
    stage.run(&format!("pkgadd -n --update --libs stop -R @ROOT@ {newer} ACMEx")).fails(4);
    base.assert_again(stage, "the update was refused");
    stage.done(&format!("pkgadd -n --update --libs keep -R @ROOT@ {newer} ACMEx"));
    assert!(stage.at(OLD).exists() && stage.at(NEW).exists());
    assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEx-SO KEPT_BY").ok(), "pkgadd\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let older = stage.delivered(&package("ACMEx", &[(OLD, &old)]));
    stage.done(&format!("pkgadd -n --update -R @ROOT@ {older} ACMEx"));
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    assert!(stage.at(OLD).exists() && !stage.at(NEW).exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_package_that_goes_leaves_what_others_need_and_the_last_who_needs_it_takes_it_along() {
    let Some(pair) = Pair::new("pkgrm keeps") else { return };
    let stage = &pair.stage;
    stage.done("pkgrm -n --libs keep -R @ROOT@ ACMEx");
    assert_eq!(stage.packages(), "ACMEp ACMEx-SO");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEx-SO KEPT_BY").ok(), "pkgrm\n");
    let refused = stage.run("pkgrm -n -R @ROOT@ ACMEx-SO").fails(4);
    assert!(refused.contains("/usr/bin/p"), "{refused}");
    stage.done("pkgrm -n -R @ROOT@ ACMEp");
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").code, 0);
    assert!(!stage.at("/usr/lib").exists(), "nothing is left of it");
    assert_eq!(stage.lines(), Vec::<String>::new());
}

#[test]
fn a_kept_package_goes_when_the_loss_is_accepted_in_so_many_words() {
    let Some(pair) = Pair::new("the loss is accepted") else { return };
    let stage = &pair.stage;
    stage.apply_tells("--libs keep", &pair.patch);
    stage.done("pkgrm -n --libs report -R @ROOT@ ACMEx-SO");
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    assert!(!stage.at(OLD).exists());
}

#[test]
fn nobody_delivers_or_patches_a_kept_package() {
    let Some(pair) = Pair::new("nobody delivers a kept package") else { return };
    let stage = &pair.stage;
    stage.apply_tells("--libs keep", &pair.patch);
    let before = Before::of(stage);
    let claims = stage.delivered(&Package::new("ACMEz").param("KEPT_FROM", "ACMEx").file("z", 0o644, "z"));
    let same = stage.delivered(&Package::new("ACMEx-SO").file("z", 0o644, "z"));
    stage.run(&format!("pkgadd -n -R @ROOT@ {claims} ACMEz")).fails(4);
    stage.run(&format!("pkgadd -n -R @ROOT@ {same} ACMEx-SO")).fails(4);
    let patch = crate::delivery::Patch::of("300-01", Package::new("ACMEx-SO").file("z", 0o644, "z"));
    stage.patchadd("", &patch).fails(28);
    before.assert_again(stage, "nothing was changed");
}

#[test]
fn what_lost_its_need_outside_a_run_is_shown_and_goes_with_prune() {
    let Some(pair) = Pair::new("prune") else { return };
    let stage = &pair.stage;
    stage.apply_tells("--libs keep", &pair.patch);
    let since = "ACMEx-SO: from ACMEx 1.0, since 2026-11-20 07:00, by 100-01";
    assert!(stage.kept().starts_with(&format!("{since}|libx.so.1  needed, ")), "{}", stage.kept());
    fs::remove_file(stage.at(USER)).unwrap();
    assert!(stage.kept().contains("libx.so.1  unneeded, "), "{}", stage.kept());
    stage.run("libs prune --dry-run -R @ROOT@").ok();
    assert!(stage.at(OLD).exists());
    assert_eq!(stage.run("libs prune -R @ROOT@").ok(), "libx.so.1: removed (ACMEx-SO)\n");
    assert!(!stage.at(OLD).exists());
    assert_eq!(stage.kept(), "no libraries are kept");
    stage.run("libs list -R @ROOT@ ACMEy-SO").fails(4);
}

#[test]
fn a_promotion_keeps_what_others_need_and_its_backout_takes_it_over() {
    let Some(compiler) = Compiler::found("a promotion keeps") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let new = compiler.library_with("libx.so.2", &[], &[]);
    let program = compiler.program_with(&["libx.so.1"], &[]);
    let stage = Scenario::with(&[
        package("ACMEx", &[("opt/x/lib/libx.so.1", &old)]),
        package("ACMEp", &[("usr/bin/p", &program)]),
    ]);
    stage.file("/etc/ld.so.conf", "/opt/x/lib\n");
    let base = Before::of(&stage);
    stage.run("stage new web -R @ROOT@ --path opt").ok();
    let staged = stage.beside("web");
    let all = "--max-delete 100%";
    fs::remove_file(staged.join("opt/x/lib/libx.so.1")).unwrap();
    fs::write(staged.join("opt/x/lib/libx.so.2"), &new).unwrap();
    let refused = stage.run(&format!("stage promote web -R @ROOT@ {all} --libs stop")).fails(3);
    assert!(refused.contains("/usr/bin/p"), "{refused}");
    stage.run(&format!("stage promote web -R @ROOT@ {all} --libs keep")).ok();
    assert!(stage.at("/opt/x/lib/libx.so.1").exists() && stage.at("/opt/x/lib/libx.so.2").exists());
    assert!(stage.packages().contains("ACMEx-SO"), "{}", stage.packages());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    stage.run("stage promote web -R @ROOT@").ok();
    assert!(stage.at("/opt/x/lib/libx.so.1").exists(), "a second promotion has nothing to do with it");
    let id = stage.run("pkgparam -R @ROOT@ ACMEx-SO KEPT_BY").ok();
    let id = id.trim().strip_prefix("promote ").unwrap().to_owned();
    stage.run(&format!("remove {id} -R @ROOT@")).ok();
    base.assert_again(&stage, "the promotion is backed out");
}

#[test]
fn a_refresh_brings_no_kept_library_and_loses_none() {
    let Some(pair) = Pair::new("a refresh brings none") else { return };
    let stage = &pair.stage;
    stage.run("stage new web -R @ROOT@ --records --path usr").ok();
    let staged = stage.beside("web");
    stage.apply_tells("--libs keep", &pair.patch);
    stage.run("stage refresh web -R @ROOT@").ok();
    assert!(!staged.join(OLD).exists() && staged.join(NEW).exists());
    fs::write(staged.join("usr/lib/more"), "more").unwrap();
    stage.run("stage promote web -R @ROOT@").ok();
    assert!(stage.at(OLD).exists() && stage.at("/usr/lib/more").exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_script_that_takes_a_kept_library_away_ends_the_run() {
    let Some(compiler) = Compiler::found("a script takes it away") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let new = compiler.library_with("libx.so.2", &[], &[]);
    let program = compiler.program_with(&["libx.so.1"], &[]);
    let stage = Scenario::with(&[package("ACMEx", &[(OLD, &old)]), package("ACMEp", &[(USER, &program)])]);
    let removing = format!("rm -f \"$PKG_INSTALL_ROOT/{OLD}\"\n");
    let patch = crate::delivery::Patch::of(
        "100-01",
        package("ACMEx", &[(NEW, &new)]).deletes(&[OLD]).information("postinstall", &removing),
    );
    let before = Before::of(&stage);
    let said = stage.patchadd("--libs keep", &patch).fails(5);
    assert!(said.contains(OLD), "{said}");
    before.assert_again(&stage, "the run was rolled back");
    stage.patchadd("", &patch).ok();
    assert!(!stage.at(OLD).exists());
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    let harmless = crate::delivery::Patch::of(
        "200-01",
        package("ACMEx", &[(NEW, &new)]).deletes(&[OLD]).information("postinstall", "exit 0\n"),
    );
    stage.patchadd("--libs keep", &harmless).ok();
    assert!(stage.at(OLD).exists() && stage.at(NEW).exists());
    let renewed = compiler.program_with(&["libx.so.2"], &[]);
    let renewal = crate::delivery::Patch::of(
        "300-01",
        package("ACMEp", &[(USER, &renewed)]).information("postinstall", "exit 0\n"),
    );
    stage.patchadd("", &renewal).ok();
    assert!(!stage.at(OLD).exists(), "a run with scripts drops it too");
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    stage.run("patchrm -R @ROOT@ 300-01").ok();
    assert!(stage.at(OLD).exists(), "and brings it back");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_package_with_scripts_that_goes_takes_along_what_was_kept_for_it() {
    let Some(compiler) = Compiler::found("pkgrm with scripts") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let program = compiler.program_with(&["libx.so.1"], &[]);
    let user = package("ACMEp", &[(USER, &program)]).information("preremove", "exit 0\n");
    let stage =
        Scenario::with(&[package("ACMEx", &[(OLD, &old)]).information("postremove", "exit 0\n"), user]);
    stage.file("/var/sadm/install/admin/default", ADMIN);
    stage.done("pkgrm -n --libs keep -R @ROOT@ ACMEx");
    assert_eq!(stage.packages(), "ACMEp ACMEx-SO");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    stage.done("pkgrm -n -R @ROOT@ ACMEp");
    assert!(!stage.at(OLD).exists());
    assert_eq!(stage.lines(), Vec::<String>::new());
}
