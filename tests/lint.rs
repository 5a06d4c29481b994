//! `patchadm lint`: findings as lines and as a document, ignored findings, and exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchadm_making::lint::LintCode;
use patchadm_testing::programs::sibling;
use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{PROGRAM, Scenario, shared};

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/su", 0o4755, "su\n").file("bin/open", 0o777, "open\n"))
}

#[test]
fn each_finding_is_a_line_and_errors_come_first() {
    let stage = Scenario::new();
    patch("100-01").directory(&stage);
    let run = stage.run("lint delivered/100-01");
    assert_eq!((run.code, &*run.stderr), (4, ""));
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "delivered/100-01: error: mode: ACMEweb: bin/open: everyone can write to it: 0777");
    assert!(
        lines.contains(&"delivered/100-01: warning: setuid: ACMEweb: bin/su: its mode is 4755"),
        "{lines:?}"
    );
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("1 error, ") && last.ends_with("`patchadm help lint:CODE` explains a finding"),
        "{last}"
    );
}

#[test]
fn what_is_allowed_is_left_out_and_strict_means_warnings_too() {
    let stage = Scenario::new();
    patch("100-01").directory(&stage);
    let allowed = "--allow mode --allow setuid --allow no-scripts --allow readme-field";
    let said = stage.run(&format!("lint {allowed} delivered/100-01")).ok();
    assert!(said.starts_with("delivered/100-01: warning: unsigned: there is no signature"), "{said}");
    assert_eq!(stage.run(&format!("lint --strict {allowed} delivered/100-01")).code, 4);
    assert_eq!(stage.run(&format!("lint --strict {allowed} --allow unsigned delivered/100-01")).ok(), "");
    assert!(
        stage.run("lint --allow nothing delivered/100-01").fails(2).contains("no finding with this code")
    );
}

#[test]
fn attributes_that_a_pkgmap_cannot_express_are_a_note_that_only_a_verbose_run_shows() {
    let stage = Scenario::new();
    let objects = "{\"objects\":1}\n{\"path\":\"bin/web\",\"mtime_ns\":5}\n";
    let package = Package::new("ACMEweb").file("bin/web", 0o755, "web\n");
    Patch::of("100-01", package.information("patchadm.objects", objects)).directory(&stage);
    let said = stage.run("lint delivered/100-01").ok();
    assert!(said.contains("unsigned") && !said.contains("xattr"), "{said}");
    let said = stage.run("lint -v delivered/100-01").ok();
    assert!(said.contains("delivered/100-01: note: xattr: ACMEweb: patchadm.objects: "), "{said}");
}

#[test]
fn a_document_has_all_patches_and_counts() {
    let stage = Scenario::new();
    patch("100-01").directory(&stage);
    patch("200-01").directory(&stage);
    let run = stage.run("lint --json --depot delivered delivered/100-01 delivered/200-01");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["cause"]), (4, &"damaged-input".into()));
    let patches = document["patches"].as_array().unwrap();
    assert_eq!((&patches[0]["id"], &patches[1]["path"]), (&"100-01".into(), &"delivered/200-01".into()));
    let overlaps = patches[1]["findings"].as_array().unwrap().iter().filter(|one| one["code"] == "overlap");
    let first = overlaps.clone().next().unwrap();
    assert_eq!((&first["text"], overlaps.count()), (&"100-01 delivers it as well".into(), 2));
    assert_eq!(document["errors"], 6);
}

#[test]
fn what_is_no_patch_ends_as_with_patchadd() {
    let stage = Scenario::new();
    fs::write(stage.beside("rubbish"), "what is this\n").unwrap();
    assert!(stage.run("lint rubbish").fails(1).contains("neither a package, nor a patch"));
    stage.run("lint nothing").fails(1);
    assert!(stage.run("lint").fails(2).contains("no patch specified"));
}

#[test]
fn every_finding_is_explained() {
    let stage = Scenario::new();
    let said = stage.run("help lint:setuid").ok();
    assert!(said.starts_with("setuid (lint warning): A program runs as its owner"), "{said}");
    assert!(said.contains("  What to do: "), "{said}");
    for code in LintCode::ALL {
        let said = stage.run(&format!("help {}", code.name())).ok();
        assert_eq!(stage.run(&format!("help lint:{}", code.name())).ok(), said);
    }
    assert!(stage.run("help lint:setuidd").fails(4).contains("did you mean `lint:setuid`?"));
    let refused = stage.run("help lint:nothing").fails(4);
    assert!(refused.contains("no finding `nothing`") && refused.contains("deletes-delivered"), "{refused}");
}

/// Files and directories below a directory, to the depth at which patches are.
fn below(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path());
        if depth > 0 && entry.file_type().unwrap().is_dir() {
            below(&entry.path(), depth - 1, found);
        }
    }
}

/// Checks everything below a place of the shared data, to the depth of its patches, except below the directories `but`.
/// Each check has its own process, because the first unreadable patch would end it.
fn check_all(test: &str, place: &str, depth: usize, but: &[&str]) {
    let Some(place) = shared(test, place) else { return };
    let mut found = Vec::new();
    below(&place, depth, &mut found);
    found.retain(|path| {
        path.parent().is_none_or(|above| !but.iter().any(|name| above.starts_with(place.join(name))))
    });
    found.sort();
    assert!(found.len() > 50, "{}", place.display());
    let program = sibling(PROGRAM.as_ref(), "patchadm-make");
    for path in &found {
        let mut command = Command::new(&program);
        command.arg("lint").arg(path).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        let output = command.output().unwrap();
        let is_expected = output.status.code().is_some_and(|code| [0, 1, 4].contains(&code));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(is_expected, "{}: {} {said}", path.display(), output.status);
    }
}

/// Directories of real data that have hundreds of files.
const LARGE: [&str; 3] = ["depend", "pkginfo", "prototype"];

#[test]
fn no_dependencies_of_real_packages_make_it_panic() {
    check_all("no_dependencies_of_real_packages_make_it_panic", "realdata/depend", 1, &[]);
}

#[test]
fn no_parameters_of_real_packages_make_it_panic() {
    check_all("no_parameters_of_real_packages_make_it_panic", "realdata/pkginfo", 1, &[]);
}

#[test]
fn no_prototypes_of_real_packages_make_it_panic() {
    check_all("no_prototypes_of_real_packages_make_it_panic", "realdata/prototype", 1, &[]);
}

#[test]
fn nothing_else_of_real_data_makes_it_panic() {
    check_all("nothing_else_of_real_data_makes_it_panic", "realdata", 2, &LARGE);
}

#[test]
fn no_made_case_makes_it_panic() {
    check_all("no_made_case_makes_it_panic", "cases", 2, &[]);
}

#[test]
fn no_package_of_the_classic_tools_makes_it_panic() {
    check_all("no_package_of_the_classic_tools_makes_it_panic", "goldens/pkgs", 1, &[]);
}

#[test]
fn the_made_patches_of_real_releases_have_no_errors() {
    let Some(cases) = shared("the_made_patches_of_real_releases_have_no_errors", "cases") else { return };
    let stage = Scenario::new();
    for (release, id) in [("openssl", "300001-01"), ("tzdata", "300002-01")] {
        let patch = cases.join(release).join(id);
        let run = stage.run(&format!("lint {}", patch.display()));
        assert!(run.stdout.lines().all(|line| !line.contains(": error: ")), "{}", run.stdout);
    }
}

#[test]
fn a_file_that_only_its_bytes_tell_from_the_one_before_it_is_a_warning() {
    let stage = Scenario::new();
    let module = |text: &str| Package::new("ACMEpy").file("lib/m.py", 0o644, text);
    let base = module("X=1\n").write(&stage.beside("base"));
    Patch::of("100-01", module("X=2\n")).directory(&stage);
    Patch::of("100-02", module("X=3\n")).directory(&stage);
    let warned = |line: String, than: &str| {
        let said = stage.run(&line).stdout;
        let wanted =
            format!("warning: same-time: ACMEpy: lib/m.py: {than} with the same size and modification time");
        assert!(said.contains(&wanted), "{line}: {said}");
    };
    warned(format!("lint --base {} delivered/100-01", base.display()), "the base has different contents");
    warned("lint --depot delivered delivered/100-02".to_owned(), "100-01 has different contents");
    let said = stage.run("lint --depot delivered delivered/100-01").stdout;
    assert!(!said.contains("same-time"), "{said}");
}
