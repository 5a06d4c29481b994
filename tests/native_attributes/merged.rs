//! On a root where `/lib` leads to `usr/lib` and `/bin` to `usr/bin`, two paths may be one place.

use std::fs;
use std::path::Path;

use crate::adopt_refresh::delivered;
use crate::delivery::Patch;
use crate::native_attributes::{add, mode, plan, remove};
use crate::scenario::Scenario;

const MOVED: &str = "/usr/lib/acme/a.so";

/// A root with merged directories and an adopted package that has a library in `/lib` and a program in `/usr/bin`.
fn merged() -> Scenario {
    let stage = Scenario::new();
    for directory in ["lib", "bin"] {
        stage.directory(&format!("/usr/{directory}"));
        stage.symlink(&format!("/{directory}"), &format!("usr/{directory}"));
    }
    stage.file(MOVED, "one\n");
    stage.mode(MOVED, 0o644);
    stage.file("/usr/bin/tool", "tool\n");
    stage.mode("/usr/bin/tool", 0o755);
    let list = "/.\n/lib\n/lib/acme\n/lib/acme/a.so\n/usr\n/usr/bin\n/usr/bin/tool\n";
    stage.file("/var/lib/dpkg/info/web.list", list);
    let status =
        "Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\nDescription: web\n";
    stage.file("/var/lib/dpkg/status", status);
    stage.run("adopt --dpkg web -R @ROOT@").ok();
    stage
}

/// A patch that moves the library from `/lib` to `/usr/lib`.
fn moving() -> Patch {
    let package = delivered("1.0-1").directory("usr/lib/acme").file("usr/lib/acme/a.so", 0o644, "two\n");
    Patch::of("100-01", package.deletes(&["lib/acme/a.so", "lib/acme", "lib"]))
}

#[test]
fn a_file_that_moves_to_the_same_place_is_not_edited_and_comes_back() {
    let stage = merged();
    let (tree, lines) = (stage.tree(), stage.lines());
    let said = add(&stage, "", &moving());
    assert!(!said.contains("note:"), "{said}");
    assert_eq!(stage.text(MOVED), "two\n");
    let recorded: Vec<String> = stage.lines().into_iter().filter(|line| line.contains("a.so")).collect();
    assert!(recorded.len() == 1 && recorded[0].starts_with("/usr/lib/acme/a.so f "), "{recorded:?}");
    assert_eq!(stage.run("check --contents -R @ROOT@").code, 0);
    remove(&stage, "100-01");
    assert_eq!((stage.tree().difference(&tree), stage.lines()), (String::new(), lines));
}

#[test]
fn an_edited_one_is_edited_under_its_new_path_and_once() {
    let stage = merged();
    stage.file(MOVED, "mine\n");
    let at = moving().directory(&stage);
    let said = stage.run(&format!("add -R @ROOT@ {}", at.display())).fails(3);
    assert!(said.contains("modified locally\n    @ROOT@/usr/lib/acme/a.so\n"), "{said}");
    add(&stage, "--edited replace", &moving());
    assert_eq!(stage.text(MOVED), "two\n");
    remove(&stage, "100-01");
    assert_eq!(stage.text(MOVED), "mine\n");
    add(&stage, "--edited keep", &moving());
    assert_eq!(
        (stage.text(MOVED).as_str(), stage.text("/usr/lib/acme/a.so.patch-100-01").as_str()),
        ("mine\n", "two\n")
    );
    remove(&stage, "100-01");
    assert_eq!(stage.text(MOVED), "mine\n");
    assert!(!stage.at("/usr/lib/acme/a.so.patch-100-01").exists());
}

#[test]
fn the_mode_that_an_administrator_set_moves_with_it() {
    let stage = merged();
    stage.mode(MOVED, 0o600);
    let said = add(&stage, "", &moving());
    assert!(said.contains("@ROOT@/usr/lib/acme/a.so keeps mode 0600"), "{said}");
    assert_eq!(mode(&stage, MOVED), 0o600);
}

#[test]
fn a_link_that_would_be_the_program_itself_leaves_the_program() {
    for (path, target) in [
        ("bin/tool", "/usr/bin/tool"),
        ("bin/tool", "../usr/bin/tool"),
        ("usr/bin/tool", "/bin/tool"),
        ("usr/bin/tool", "../../bin/tool"),
    ] {
        let stage = merged();
        let before = stage.tree();
        let patch = Patch::of("100-01", delivered("1.0-1").symlink(path, target));
        let note = "on this root, the link would lead to itself (@ROOT@/usr/bin/tool)";
        let said = plan(&stage, "", &patch);
        assert!(said.contains(note), "{path} {target}: {said}");
        add(&stage, "--edited replace", &patch);
        assert_eq!(stage.text("/usr/bin/tool"), "tool\n", "{path} {target}");
        remove(&stage, "100-01");
        assert_eq!(stage.tree().difference(&before), "", "{path} {target}");
    }
}

#[test]
fn a_hard_link_to_the_program_itself_leaves_it_too() {
    for (path, target) in [("bin/tool", "/usr/bin/tool"), ("usr/bin/tool", "/bin/tool")] {
        let stage = merged();
        let before = stage.tree();
        let said = add(&stage, "", &Patch::of("100-01", delivered("1.0-1").link(path, target)));
        assert!(said.contains("on this root, the link would lead to itself"), "{path}: {said}");
        let fix = delivered("1.0-1").file("usr/bin/tool", 0o755, "fixed\n");
        add(&stage, "", &Patch::of("200-01", fix));
        assert_eq!(stage.text("/usr/bin/tool"), "fixed\n");
        for id in ["200-01", "100-01"] {
            remove(&stage, id);
        }
        assert_eq!(stage.tree().difference(&before), "", "{path}");
    }
}

#[test]
fn a_program_that_comes_with_its_own_compatibility_link_comes_without_it() {
    let stage = merged();
    let package =
        delivered("1.0-1").file("usr/bin/tool", 0o755, "fixed\n").symlink("bin/tool", "/usr/bin/tool");
    add(&stage, "", &Patch::of("100-01", package));
    assert_eq!(stage.text("/usr/bin/tool"), "fixed\n");
    remove(&stage, "100-01");
    assert_eq!(stage.text("/usr/bin/tool"), "tool\n");
}

#[test]
fn a_link_of_the_same_name_to_somewhere_else_is_made() {
    let stage = merged();
    stage.file("/usr/libexec/tool", "other\n");
    let patch = Patch::of("100-01", delivered("1.0-1").symlink("bin/helper", "../usr/libexec/helper"));
    add(&stage, "", &patch);
    assert_eq!(fs::read_link(stage.at("/usr/bin/helper")).unwrap(), Path::new("../usr/libexec/helper"));
}
