//! A real library and its program, updated separately. The old program continues with the library that it was made for,
//! of which nothing is left after the update of the program, or after all backouts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cases::{expected, found, installed};
use crate::packages::files;
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// The patch of the library, and that of the program.
const LIBRARY: &str = "300003-01";
const PROGRAM: &str = "300004-01";

/// Files of this machine that the program needs to start: the loader and libc.
const LOADER: [&str; 2] = ["lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"];

/// Asserts that the tree equals the expected one of the case, and that the records agree with it.
#[track_caller]
fn assert_state(stage: &Scenario, case: &Path, state: &str) {
    assert_same(&found(stage), &expected(case, state));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{state}");
}

#[track_caller]
fn apply(stage: &Scenario, case: &Path, options: &str, patch: &str) -> String {
    stage.run(&format!("patchadd {options} -R @ROOT@ {}", case.join(patch).display())).ok()
}

#[track_caller]
fn back_out(stage: &Scenario, options: &str, patch: &str) -> String {
    stage.run(&format!("patchrm {options} -R @ROOT@ {patch}")).ok()
}

/// The names of the installed packages.
fn packages(stage: &Scenario) -> String {
    stage.run("pkginfo -L -R @ROOT@").ok().replace('\n', " ")
}

/// Starts the program in a copy of the root. Returns its exit code and its output, or `None` if it cannot be started.
fn started(test: &str, stage: &Scenario) -> Option<(Option<i32>, String)> {
    if cfg!(not(target_arch = "x86_64")) || LOADER.iter().any(|path| !Path::new("/").join(path).exists()) {
        crate::skipped(&format!("{test}: this machine has no loader for the program"));
        return None;
    }
    let copy = stage.beside("started");
    let _ = fs::remove_dir_all(&copy);
    assert!(Command::new("cp").arg("-a").arg(stage.root()).arg(&copy).status().unwrap().success());
    for path in LOADER {
        fs::create_dir_all(copy.join(path).parent().unwrap()).unwrap();
        fs::copy(Path::new("/").join(path), copy.join(path)).unwrap();
    }
    let chroot = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["-r", "chroot"])
            .arg(&copy)
            .args(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/bin");
        command.output()
    };
    // If the loader itself does not start, nothing does.
    if !chroot(&["/lib64/ld-linux-x86-64.so.2", "--help"]).is_ok_and(|output| output.status.success()) {
        crate::skipped(&format!("{test}: nothing can be started in a root of its own"));
        return None;
    }
    let output = chroot(&["/usr/bin/dav1d", "--version"]).unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.code(), String::from_utf8_lossy(&said).trim().to_owned()))
}

/// The statements of a document about the libraries of its first patch.
fn shlibs(document: &str) -> Value {
    serde_json::from_str::<Value>(document).unwrap()["patches"][0]["shlibs"].clone()
}

#[test]
fn who_keeps_nothing_has_been_told_which_program_breaks() {
    let test = "who keeps nothing";
    let Some((stage, case)) = installed(test, "shlibs") else { return };
    let base = Before::of(&stage);
    let patch = case.join(LIBRARY);
    let plan = stage.run(&format!("plan --json -R @ROOT@ {}", patch.display())).ok();
    let told = shlibs(&plan);
    assert_eq!(told["lost"][0]["library"], "libdav1d.so.6", "{plan}");
    assert_eq!(told["lost"][0]["reason"], "not-asked");
    assert_eq!(told["lost"][0]["consumers"][0]["path"], "/usr/bin/dav1d");
    assert_eq!(told["lost"][0]["consumers"][0]["packages"][0], "DEBdav1d");
    let plan = stage.run(&format!("plan -R @ROOT@ {}", patch.display())).ok();
    assert!(plan.contains("/usr/bin/dav1d loses libdav1d.so.6"), "{plan}");

    let said = apply(&stage, &case, "", LIBRARY);
    assert!(said.contains("/usr/bin/dav1d loses libdav1d.so.6"), "{said}");
    assert_state(&stage, &case, LIBRARY);
    if let Some((code, said)) = started(test, &stage) {
        assert_eq!(code, Some(127), "{said}");
    }
    back_out(&stage, "", LIBRARY);
    assert_state(&stage, &case, "base");
    base.assert_again(&stage, "backed out");
    if let Some(said) = started(test, &stage) {
        assert_eq!(said, (Some(0), "1.0.0".to_owned()));
    }
}

#[test]
fn the_old_program_goes_on_with_the_old_library() {
    let test = "the old program goes on";
    let Some((stage, case)) = installed(test, "shlibs") else { return };
    let plan = stage.run(&format!("plan --json --libs keep -R @ROOT@ {}", case.join(LIBRARY).display())).ok();
    let kept = &shlibs(&plan)["kept"];
    assert_eq!(kept[0]["package"], "DEBlibdav1d-SO", "{plan}");
    assert_eq!(kept[0]["consumers"][0]["path"], "/usr/bin/dav1d");
    assert_eq!(kept[0]["bytes"], 1_630_208);

    apply(&stage, &case, "--libs keep", LIBRARY);
    assert_state(&stage, &case, "300003-01.kept");
    assert_eq!(packages(&stage), "DEBdav1d DEBlibdav1d DEBlibdav1d-SO ");
    let info = stage.run("pkginfo -l -R @ROOT@ DEBlibdav1d-SO").ok();
    assert!(info.contains("VERSION:  1.0.0"), "{info}");
    let param = |name: &str| stage.run(&format!("pkgparam -R @ROOT@ DEBlibdav1d-SO {name}")).ok();
    assert_eq!(param("KEPT_FROM"), "DEBlibdav1d\n");
    assert_eq!(param("KEPT_BY"), "300003-01\n");
    let owner = stage.run("show -R @ROOT@ /usr/lib/x86_64-linux-gnu/libdav1d.so.6").ok();
    assert!(owner.contains("DEBlibdav1d-SO"), "{owner}");
    assert_eq!(stage.text("/var/sadm/pkg/DEBlibdav1d-SO/install/consumers"), "needed /usr/bin/dav1d\n");
    let depend = stage.text("/var/sadm/pkg/DEBlibdav1d-SO/install/depend");
    assert!(depend.contains("R DEBdav1d "), "{depend}");
    if let Some(said) = started(test, &stage) {
        assert_eq!(said, (Some(0), "1.0.0".to_owned()));
    }
}

/// The case with both patches applied; `between` is called after that of the library.
fn both(test: &str, between: impl FnOnce(&Scenario)) -> Option<(Scenario, PathBuf, Before)> {
    let (stage, case) = installed(test, "shlibs")?;
    let base = Before::of(&stage);
    apply(&stage, &case, "--libs keep", LIBRARY);
    between(&stage);
    let said = apply(&stage, &case, "--libs keep", PROGRAM);
    assert!(said.contains("DEBlibdav1d-SO no longer keeps"), "{said}");
    assert_state(&stage, &case, "300003-01+300004-01");
    assert_eq!(packages(&stage), "DEBdav1d DEBlibdav1d ");
    Some((stage, case, base))
}

#[test]
fn the_new_program_ends_what_was_kept_and_its_backout_brings_that_back() {
    let mut between = None;
    let test = "the new program ends what was kept";
    let Some((stage, case, base)) = both(test, |stage| between = Some(Before::of(stage))) else { return };
    back_out(&stage, "", PROGRAM);
    assert_state(&stage, &case, "300003-01.kept");
    between.unwrap().assert_again(&stage, "the new program is backed out");
    assert_eq!(packages(&stage), "DEBdav1d DEBlibdav1d DEBlibdav1d-SO ");
    if let Some(said) = started(test, &stage) {
        assert_eq!(said, (Some(0), "1.0.0".to_owned()));
    }
    back_out(&stage, "", LIBRARY);
    assert_state(&stage, &case, "base");
    base.assert_again(&stage, "both are backed out");
}

#[test]
fn the_library_is_backed_out_under_the_new_program() {
    let Some((stage, case, base)) = both("the library is backed out", |_| {}) else { return };
    back_out(&stage, "--libs keep", LIBRARY);
    assert_state(&stage, &case, "300004-01.kept");
    assert_eq!(packages(&stage), "DEBdav1d DEBlibdav1d DEBlibdav1d-SO ");
    let by = stage.run("pkgparam -R @ROOT@ DEBlibdav1d-SO KEPT_BY").ok();
    assert_eq!(by, "patchrm 300003-01\n");
    back_out(&stage, "", PROGRAM);
    assert_state(&stage, &case, "base");
    base.assert_again(&stage, "both are backed out");
}

/// The undo archives of a root and their lists of paths, with their bytes.
fn undo_data(stage: &Scenario) -> Vec<(String, Vec<u8>)> {
    let at = stage.at("/var/sadm/pkg");
    let is_list = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "b3");
    let names = files(&at).into_iter().filter(|name| name.contains("/save/3") && !is_list(name));
    names.map(|name| (name.clone(), fs::read(at.join(name)).unwrap())).collect()
}

#[test]
fn undo_data_is_the_same_whether_patches_go_in_one_by_one_or_in_one_run() {
    let Some((single, case)) = installed("undo data of one run", "shlibs") else { return };
    // A copy of the root, down to the times of its records.
    let together = Scenario::bare_in_memory();
    fs::remove_dir(together.root()).unwrap();
    assert!(Command::new("cp").arg("-a").arg(single.root()).arg(together.root()).status().unwrap().success());
    for patch in [LIBRARY, PROGRAM] {
        apply(&single, &case, "--libs keep", patch);
    }
    let base = Before::of(&together);
    let [one, two] = [LIBRARY, PROGRAM].map(|patch| case.join(patch));
    together.run(&format!("add --libs keep -R @ROOT@ {} {}", one.display(), two.display())).ok();
    assert_state(&together, &case, "300003-01+300004-01");
    let [one, other] = [&single, &together].map(undo_data);
    let names = |data: &[(String, Vec<u8>)]| data.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{name} differs");
    }
    together.run("undo -R @ROOT@").ok();
    assert_state(&together, &case, "base");
    base.assert_again(&together, "the run is undone");
}
