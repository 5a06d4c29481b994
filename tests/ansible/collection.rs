//! The collection as a whole: its version, documentation, own tests, and build.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::fleet::{COLLECTION, Fleet, has_ansible, python};
use crate::packages::Package;

/// The Python files of the collection, by their paths in it.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(COLLECTION).to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|suffix| suffix == "py") {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_collection_has_the_version_of_the_program() {
    let galaxy = fs::read_to_string(Path::new(COLLECTION).join("galaxy.yml")).unwrap();
    let version = concat!("version: ", env!("CARGO_PKG_VERSION"));
    assert!(galaxy.lines().any(|line| line == version), "galaxy.yml has not {version}");
}

#[test]
fn what_runs_on_a_target_is_python_3_6() {
    if Command::new("python3").arg("--version").output().is_err() {
        crate::missing("python3", "what_runs_on_a_target_is_python_3_6");
        return;
    }
    let sources = sources();
    assert!(sources.len() > 6, "{sources:?}");
    let parse = "import ast, sys\nfor path in sys.argv[1:]: ast.parse(open(path).read(), path, feature_version=(3, 6))";
    let output = Command::new("python3").args(["-c", parse]).args(&sources).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_tests_of_the_collection_itself_pass() {
    if !has_ansible("the_tests_of_the_collection_itself_pass") {
        return;
    }
    let fleet = Fleet::with(0, &[]);
    let tests = fleet.at("collections/ansible_collections/patchadm/patch/tests/unit");
    let output = fleet
        .command(&python())
        .args(["-m", "unittest", "discover", "--start-directory"])
        .arg(&tests)
        .args(["--top-level-directory"])
        .arg(&tests)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}

#[test]
fn every_module_and_the_lookup_are_documented_with_each_argument() {
    if !has_ansible("every_module_and_the_lookup_are_documented_with_each_argument") {
        return;
    }
    let fleet = Fleet::with(0, &[]);
    for (kind, name) in
        [("module", "patch"), ("module", "patch_info"), ("module", "stage"), ("lookup", "depot")]
    {
        let name = format!("patchadm.patch.{name}");
        let output = fleet.command("ansible-doc").args(["--json", "-t", kind, &name]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let documents: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let document = &documents[&name];
        assert!(
            document["examples"].as_str().is_some_and(|text| text.contains(&name)),
            "{name} has no example"
        );
        assert!(document["return"].is_object(), "{name} does not say what it returns");
        let options = document["doc"]["options"].as_object().unwrap();
        assert!(options.len() > 3, "{name}: {options:?}");
        if kind == "module" {
            assert!(options.contains_key("root") && options.contains_key("executable"), "{name}");
        }
    }
}

#[test]
fn the_collection_is_built_and_works_where_it_is_installed() {
    if !has_ansible("the_collection_is_built_and_works_where_it_is_installed") {
        return;
    }
    let fleet = Fleet::with(1, &[Package::new("ACMEweb").file("bin/httpd", 0o755, "base\n")]);
    let galaxy = |words: &[&str]| {
        let output = fleet.command("ansible-galaxy").arg("collection").args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    galaxy(&["build", COLLECTION, "--output-path", "built"]);
    fs::remove_dir_all(fleet.at("collections")).unwrap();
    let archive = fleet.at(&format!("built/patchadm-patch-{}.tar.gz", env!("CARGO_PKG_VERSION")));
    galaxy(&["install", &archive.display().to_string(), "--offline", "-p", "collections"]);
    let task = "- name: ask\n  patchadm.patch.patch_info:\n  module_defaults: {group/patchadm.patch.all: {root: '{{ root }}'}}";
    let played = fleet.tasks(task, &[]).well();
    assert_eq!(played.of("ask")["inventory"]["root"], fleet.roots[0].root().display().to_string());
    assert_eq!(played.of("ask")["patches"], serde_json::json!([]));
}

#[test]
fn ansible_lint_finds_nothing_in_the_collection() {
    if Command::new("ansible-lint").arg("--version").output().is_err() {
        crate::skipped("ansible_lint_finds_nothing_in_the_collection: ansible-lint is not installed");
        return;
    }
    if !has_ansible("ansible_lint_finds_nothing_in_the_collection") {
        return;
    }
    let fleet = Fleet::with(0, &[]);
    // In a checkout, ansible-lint only looks at committed files.
    let copy = fleet.at("copied/ansible_collections/patchadm");
    fs::create_dir_all(&copy).unwrap();
    let copied = Command::new("cp").arg("-r").arg(COLLECTION).arg(copy.join("patch")).status().unwrap();
    assert!(copied.success());
    let mut command = fleet.command("ansible-lint");
    command.args(["--offline", "--strict", "--nocolor"]).env("ANSIBLE_COLLECTIONS_PATH", fleet.at("copied"));
    let output = command.current_dir(copy.join("patch")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
