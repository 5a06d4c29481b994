//! Round trips: links that lead in circles and names that look like variables come back, and a patch that could not
//! be backed out is refused before anything is changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::beyond_scripts::{Trees, software, two_trees};
use crate::everyman::as_ordinary_user;
use crate::scenario::{Scenario, code_of};
use crate::tree::assert_same;

fn full(tree: &Path) {
    fs::create_dir_all(tree.join("d/deep")).unwrap();
    fs::write(tree.join("d/f"), "f\n").unwrap();
    fs::write(tree.join("d/deep/g"), "g\n").unwrap();
}

const COMING_BACK: [(&str, Trees); 6] = [
    ("a link to itself", |old, new| {
        full(old);
        symlink("d", new.join("d")).unwrap();
    }),
    ("two links to each other", |old, new| {
        full(old);
        symlink("e", new.join("d")).unwrap();
        symlink("d", new.join("e")).unwrap();
    }),
    ("a link into a loop that stays", |old, new| {
        full(old);
        for tree in [old, new] {
            symlink("l", tree.join("l")).unwrap();
        }
        symlink("l", new.join("d")).unwrap();
    }),
    ("a link through a loop", |old, new| {
        full(old);
        symlink("l/x", new.join("l")).unwrap();
        symlink("l/y", new.join("d")).unwrap();
    }),
    ("a link to another directory", |old, new| {
        full(old);
        for tree in [old, new] {
            fs::write(tree.join("bin/f"), "stays\n").unwrap();
        }
        symlink("bin", new.join("d")).unwrap();
    }),
    ("setup links whose targets look like variables", |old, new| {
        symlink("$HOME/x", old.join("gone")).unwrap();
        symlink("$HOME/x", old.join("other")).unwrap();
        symlink("c", new.join("other")).unwrap();
    }),
];

#[test]
fn what_goes_in_comes_out_where_links_lead_in_circles() {
    for (what, trees) in COMING_BACK {
        let stage = two_trees(trees);
        let (before, records) = (software(&stage), stage.lines());
        for line in ["plan -R @ROOT@ built", "add -R @ROOT@ built", "remove -R @ROOT@ 900-01"] {
            let run = stage.run(line);
            assert_eq!(run.code, 0, "{what}, {line}: {}", run.stderr);
        }
        assert_same(&software(&stage), &before);
        assert_eq!(stage.lines(), records, "{what}");
    }
}

/// A root of an ordinary user, and a patch that removes a directory which only root could make again.
fn closed_directory() -> Scenario {
    two_trees(|old, _| {
        fs::create_dir(old.join("closed")).unwrap();
        fs::set_permissions(old.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    })
}

fn by_owner(stage: &Scenario, line: &str) -> (Option<i32>, String) {
    let output = as_ordinary_user(stage, line, &[&stage.root()]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_patch_that_could_not_be_backed_out_is_refused_before_anything_is_changed() {
    let stage = closed_directory();
    let run = stage.run(
        "build --id 901-01 --from old --to new -o other --pkg ACMEt --arch all --base-version 1 \
                         --basedir /opt/T --owner root:root",
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    by_owner(&stage, "list -R @ROOT@");
    let before = stage.everything();
    for line in [
        "plan -R @ROOT@ built",
        "add -R @ROOT@ built",
        "add -R @ROOT@ --all-or-nothing built other",
        "patchadd -R @ROOT@ built",
    ] {
        let (code, said) = by_owner(&stage, line);
        assert_eq!(code, Some(code_of(line, 10, 3)), "{line}: {said}");
        let why = "it could not be removed afterwards: package ACMEt, path ";
        assert!(
            said.contains(why) && said.contains("/opt/T/closed: only root can make a directory"),
            "{said}"
        );
        // The classic command advises no next step.
        assert_eq!(said.contains("--no-undo"), !line.starts_with("patchadd"), "{line}: {said}");
        assert_same(&stage.everything(), &before);
    }
    advised_on(&stage);
    assert!(!stage.at("/opt/T/closed").exists());
}

/// Runs the commands that are advised about such a patch.
pub(crate) fn advised() {
    advised_on(&closed_directory());
}

fn advised_on(stage: &Scenario) {
    let (code, said) = by_owner(stage, "add -R @ROOT@ built");
    assert!(code == Some(3) && said.contains("use `--no-undo`"), "{said}");
    let (code, said) = by_owner(stage, "add -R @ROOT@ --no-undo built");
    assert_eq!(code, Some(0), "{said}");
}
