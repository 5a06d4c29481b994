//! Real releases, patched to the next ones and back. Each tree equals that of the real release, and the backouts
//! restore everything.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cases::{CASES, expected, found, installed};
use crate::delivery::archive;
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// The patches of a case, in order.
fn patches(case: &Path) -> [PathBuf; 2] {
    let entries = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| name(path).contains('-')).collect();
    found.sort();
    found.try_into().unwrap()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn packages(stage: &Scenario) -> Vec<String> {
    stage.run("pkginfo -L -R @ROOT@").ok().lines().map(str::to_owned).collect()
}

/// Asserts that the tree is the release of `state`, and that the packages list these patches.
#[track_caller]
fn assert_state(stage: &Scenario, case: &Path, state: &str, list: &str) {
    assert_same(&found(stage), &expected(case, state));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{state}");
    for package in packages(stage) {
        let line = format!("pkgparam -R @ROOT@ {package} PATCHLIST");
        assert_eq!(stage.run(&line).ok().trim_end(), list, "{state}: {package}");
    }
}

#[test]
fn patches_of_real_releases_make_the_next_release_and_are_taken_back_without_a_trace() {
    for case in CASES {
        let Some((stage, case)) = installed("patches of real releases", case) else { return };
        let base = Before::of(&stage);
        let [first, second] = patches(&case);
        let (one, two) = (name(&first), name(&second));

        stage.run(&format!("patchadd -R @ROOT@ {}", first.display())).ok();
        assert_state(&stage, &case, &one, &one);
        let between = Before::of(&stage);
        stage.run(&format!("patchadd -R @ROOT@ {}", first.display())).fails(2);
        between.assert_again(&stage, "refused");

        stage.run(&format!("patchadd -R @ROOT@ {}", second.display())).ok();
        assert_state(&stage, &case, &two, &format!("{one} {two}"));
        stage.run(&format!("patchadd -R @ROOT@ {}", second.display())).fails(2);
        stage.run(&format!("patchadd -R @ROOT@ {}", first.display())).fails(2);

        stage.run(&format!("patchrm -R @ROOT@ {two}")).ok();
        assert_state(&stage, &case, &one, &one);
        between.assert_again(&stage, "the second patch is backed out");
        stage.run(&format!("patchrm -R @ROOT@ {one}")).ok();
        assert_state(&stage, &case, "base", "");
        base.assert_again(&stage, "both patches are backed out");
        assert_eq!(stage.run("showrev -p -R @ROOT@").ok(), "No patches are installed\n");
    }
}

#[test]
fn every_form_of_delivery_makes_the_same_release() {
    let test = "every form of delivery";
    for suffix in [".tar.gz", ".zip", ".ds"] {
        let Some((stage, case)) = installed(test, "tzdata") else { return };
        let base = Before::of(&stage);
        let [first, _] = patches(&case);
        let copy = stage.beside("delivered").join(name(&first));
        copy_directory(&first, &copy);
        let delivered = archive(&copy, suffix);
        fs::remove_dir_all(&copy).unwrap();
        stage.run(&format!("patchadd -R @ROOT@ {}", delivered.display())).ok();
        assert_state(&stage, &case, &name(&first), &name(&first));
        stage.run(&format!("patchrm -R @ROOT@ {}", name(&first))).ok();
        base.assert_again(&stage, suffix);
    }
}

#[test]
fn undo_data_may_be_in_any_format_and_place() {
    for options in ["--undo-format Z", "--undo-format none", "--undo-dir @UNDO@"] {
        let Some((stage, case)) = installed("undo data in any format", "openssl") else { return };
        let undo = stage.beside("undo");
        fs::create_dir(&undo).unwrap();
        let base = Before::of(&stage);
        let [first, _] = patches(&case);
        let options = options.replace("@UNDO@", undo.to_str().unwrap());
        stage.run(&format!("add {options} -R @ROOT@ {}", first.display())).ok();
        assert_state(&stage, &case, &name(&first), &name(&first));
        let save = stage.at(&format!("/var/sadm/pkg/DEBopenssl/save/{}", name(&first)));
        let kept = if options.contains("undo-dir") {
            let pointer = fs::read_to_string(save.join("remote")).unwrap();
            assert!(pointer.contains("STATE=active"), "{pointer}");
            undo.join(name(&first)).join("DEBopenssl/undo.gz")
        } else {
            save.join(if options.ends_with('Z') { "undo.Z" } else { "undo" })
        };
        assert!(kept.exists(), "{}", kept.display());
        stage.run(&format!("patchrm -R @ROOT@ {}", name(&first))).ok();
        base.assert_again(&stage, &options);
        assert!(
            fs::read_dir(&undo).unwrap().next().is_none(),
            "an archive elsewhere goes away with the patch"
        );
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
