//! The worked examples of the rules about patches, line by line: supersession, obsoletion and its counts, restricted
//! patches, requirements and what provides them, packages that come later, ids with leading zeros.

use std::fs;

use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::patch::PatchInfo;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::{Run, Scenario};

/// A root with these packages, each with a file `bin/NAME` of its own for every base number that patches use here.
fn stage(names: &[&str]) -> Scenario {
    Scenario::with(&names.iter().map(|name| base(name)).collect::<Vec<_>>())
}

const BASES: [&str; 11] =
    ["100", "200", "300", "105181", "147441", "IDR148363", "650", "680", "700", "900", "901"];

fn base(name: &str) -> Package {
    BASES.iter().fold(Package::new(name).directory("bin"), |package, base| {
        package.file(&format!("bin/{base}"), 0o755, format!("as installed, {base}\n"))
    })
}

/// A patch of one package that replaces the file of its base number.
fn patch(package: &str, id: &str) -> Patch {
    let base = id.rsplit_once('-').unwrap().0;
    Patch::of(id, Package::new(package).file(&format!("bin/{base}"), 0o755, format!("as of {id}\n")))
}

fn add(stage: &Scenario, patch: &Patch) -> Run {
    stage.patchadd("", patch)
}

fn remove(stage: &Scenario, id: &str) -> Run {
    stage.run(&format!("patchrm -R @ROOT@ {id}"))
}

/// A parameter of an installed package; `None` if it is absent.
fn parameter(stage: &Scenario, package: &str, name: &str) -> Option<String> {
    let pkginfo = fs::read(stage.at(&format!("/var/sadm/pkg/{package}/pkginfo"))).unwrap();
    let params = ParamFile::parse(&pkginfo).unwrap().params();
    params.get(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// `PATCHLIST` and `PATCH_OBSOLETES`; absent and empty both mean none.
fn lists(stage: &Scenario, package: &str) -> [String; 2] {
    ["PATCHLIST", "PATCH_OBSOLETES"].map(|name| parameter(stage, package, name).unwrap_or_default())
}

/// The obsoleted ids of a `PATCH_INFO` line, or a note that it was backed out.
fn obsoletes(stage: &Scenario, id: &str) -> String {
    let line = parameter(stage, "ACMEweb", &format!("PATCH_INFO_{id}")).unwrap();
    match PatchInfo::parse(&line, "-") {
        PatchInfo::Installed(installed) => installed.obsoletes.to_string(),
        _ => line,
    }
}

#[test]
fn patch_obsoletes_counts_the_patches_that_obsolete_each_id() {
    let stage = stage(&["ACMEweb"]);
    let before = Before::of(&stage);
    assert_eq!(parameter(&stage, "ACMEweb", "PATCHLIST"), None);

    add(&stage, &patch("ACMEweb", "100-01")).ok();
    assert_eq!(lists(&stage, "ACMEweb"), ["100-01", ""]);
    assert_eq!(parameter(&stage, "ACMEweb", "PATCH_OBSOLETES"), None, "not even created");

    add(&stage, &patch("ACMEweb", "200-01").says("SUNW_OBSOLETES", "100-01 101-03")).ok();
    assert_eq!(lists(&stage, "ACMEweb"), ["100-01 200-01", "100-01@1 101-03@1"]);

    add(&stage, &patch("ACMEweb", "300-02").says("SUNW_OBSOLETES", "100-01 200-01")).ok();
    assert_eq!(lists(&stage, "ACMEweb"), ["100-01 200-01 300-02", "100-01@2 101-03@1 200-01@1"]);

    remove(&stage, "300-02").ok();
    assert_eq!(lists(&stage, "ACMEweb"), ["100-01 200-01", "100-01@1 101-03@1"]);
    assert_eq!(
        ["100-01", "200-01", "300-02"].map(|id| obsoletes(&stage, id)),
        ["", "100-01 101-03", "backed out"]
    );

    remove(&stage, "200-01").ok();
    assert_eq!(lists(&stage, "ACMEweb"), ["100-01", ""]);

    remove(&stage, "100-01").ok();
    before.assert_again(&stage, "all backed out");
}

#[test]
fn example_a_a_later_revision_supersedes_the_earlier_one() {
    let stage = stage(&["SUNWcsr"]);
    let save = |file: &str| stage.at(&format!("/var/sadm/pkg/SUNWcsr/save/{file}"));
    let patch = |id| patch("SUNWcsr", id);
    let third = patch("105181-03").directory(&stage);
    stage.run(&format!("add -R @ROOT@ --undo-format Z {}", third.display())).ok();

    add(&stage, &patch("105181-05")).ok();
    assert_eq!(lists(&stage, "SUNWcsr")[0], "105181-03 105181-05");
    assert!(!save("105181-03/undo.Z").exists());
    assert!(save("105181-03/obsolete.Z").exists());
    assert_eq!(fs::read_to_string(save("105181-03/obsoleted_by")).unwrap(), "105181-05\n");
    assert!(save("105181-05/undo.gz").exists());

    assert_eq!(
        add(&stage, &patch("105181-04")).fails(35),
        "ERROR: A later version of 105181-04 has already been installed\nPatchadd is terminating.\n"
    );
    let refused = remove(&stage, "105181-03").fails(6);
    assert!(refused.contains("the later revision 105181-05 is applied"), "{refused}");

    remove(&stage, "105181-05").ok();
    assert!(save("105181-03/undo.Z").exists(), "active again");
    assert!(!save("105181-03/obsoleted_by").exists());

    add(&stage, &patch("105181-05")).ok();
    assert_eq!(
        add(&stage, &patch("105181-05")).fails(2),
        "ERROR: Patch 105181-05 has already been applied.\nPatchadd is terminating.\n"
    );
}

#[test]
fn example_b_a_patch_reaches_a_package_that_is_installed_later() {
    let stage = stage(&["ACMEa"]);
    let patch = Patch::new("900-01")
        .package(Package::new("ACMEa").file("bin/900", 0o755, "patched\n"))
        .package(Package::new("ACMEb").file("bin/900", 0o755, "patched\n"));
    assert!(!add(&stage, &patch).ok().contains("ACMEb"));
    assert_eq!(lists(&stage, "ACMEa")[0], "900-01");

    stage.install(&base("ACMEb"));
    let first = fs::read(stage.at("/var/sadm/pkg/ACMEa/pkginfo")).unwrap();
    let said = add(&stage, &patch).ok();
    assert!(said.contains("Patch packages installed:\n  ACMEb\n"), "{said}");
    assert_eq!(lists(&stage, "ACMEb")[0], "900-01");
    assert_eq!(fs::read(stage.at("/opt/ACMEb/bin/900")).unwrap(), b"patched\n");
    assert_eq!(fs::read(stage.at("/var/sadm/pkg/ACMEa/pkginfo")).unwrap(), first);
    assert_eq!(add(&stage, &patch).code, 2);
}

#[test]
fn example_c_a_requirement_is_met_by_what_obsoletes_it() {
    let needs = patch("ACMEweb", "700-02").says("SUNW_REQUIRES", "650-03");
    for (obsoleted, code) in [("650-04", 0), ("650-02", 25)] {
        let stage = stage(&["ACMEweb"]);
        add(&stage, &patch("ACMEweb", "680-01").says("SUNW_OBSOLETES", obsoleted)).ok();
        let run = add(&stage, &needs);
        assert_eq!(run.code, code, "obsoleted {obsoleted}: {}", run.stderr);
    }
    let alone = add(&stage(&["ACMEweb"]), &needs).fails(25);
    assert_eq!(
        alone,
        "ERROR: Patch 700-02 requires patch 650-03 or later, which is not applied.\nPatchadd is terminating.\n"
    );
}

#[test]
fn example_d_a_restricted_patch_keeps_others_out_until_it_is_backed_out() {
    let ordinary = patch("SUNWnfsckr", "147441-27");
    for (incompatible, code) in [("", 23), ("147441-27", 23)] {
        let stage = stage(&["SUNWnfsckr"]);
        let restricted = patch("SUNWnfsckr", "IDR148363-26").says("SUNW_INCOMPAT", incompatible);
        add(&stage, &restricted).ok();
        assert_eq!(
            add(&stage, &ordinary).fails(code),
            "ERROR: Patch 147441-27 cannot be applied until restricted patch IDR148363-26 is backed out (package \
             SUNWnfsckr).\nPatchadd is terminating.\n"
        );
        remove(&stage, "IDR148363-26").ok();
        add(&stage, &ordinary).ok();
    }
}

#[test]
fn example_e_a_patch_that_another_needs_stays() {
    let stage = stage(&["ACMEweb"]);
    add(&stage, &patch("ACMEweb", "650-03")).ok();
    add(&stage, &patch("ACMEweb", "700-02").says("SUNW_REQUIRES", "650-03")).ok();
    let refused = remove(&stage, "650-03").fails(15);
    assert!(refused.starts_with("ERROR: ") && refused.ends_with("Patchrm is terminating.\n"), "{refused}");
    assert!(refused.contains("applied patch 700-02 requires 650-03"), "{refused}");
    // Both at once, named in the wrong order, go in the right one.
    stage.run("patchrm -R @ROOT@ 650-03 700-02").ok();
    assert_eq!(lists(&stage, "ACMEweb")[0], "");
}

#[test]
fn example_f_leading_zeros_of_a_revision_do_not_count() {
    let stage = stage(&["ACMEweb"]);
    add(&stage, &patch("ACMEweb", "105181-5")).ok();
    add(&stage, &patch("ACMEweb", "105181-05")).fails(2);
    assert_eq!(lists(&stage, "ACMEweb")[0], "105181-5", "the form that was recorded first");
    remove(&stage, "105181-05").ok();
    assert_eq!(lists(&stage, "ACMEweb")[0], "");
}
