//! The two commands at the top of README share one build: `cargo run -- demo` builds every crate of the program as `cargo test`
//! wants it.
//!
//! Cargo builds a crate a second time if the profile or the features differ. Features differ as soon as a
//! dev-dependency asks for one that no dependency asks for. `.ci/run` checks what cargo really builds; this test
//! names the causes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

/// The packages that `cargo build` and similar commands build, each with its features. A package appears twice if
/// build scripts need other features of it than the program.
fn packages(selection: &[&str], edges: &str) -> BTreeSet<String> {
    let mut tree = Command::new("cargo");
    tree.args("tree --offline --locked --prefix none --edges".split(' ')).args([
        edges,
        "--format",
        "{p} [{f}]",
    ]);
    let output = tree.args(selection).current_dir(CHECKOUT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let lines = tree.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn tests_ask_for_no_feature_that_the_program_is_not_built_with() {
    if Command::new("cargo").arg("--version").output().is_err() {
        crate::skipped("tests_ask_for_no_feature_that_the_program_is_not_built_with: there is no cargo");
        return;
    }
    // For a single package only its own tests count: macros of another program may need more features of `syn`.
    for (command, selection) in [("cargo run", &[][..]), ("cargo build -p patchadm", &["-p", "patchadm"])] {
        let of_tests = packages(selection, "normal,build,dev");
        let of_program = packages(selection, "normal,build");
        assert!(of_program.iter().any(|line| line.starts_with("patchadm-core ")), "{of_program:?}");
        let again: Vec<_> = of_program.difference(&of_tests).collect();
        assert!(
            again.is_empty(),
            "after `{command}`, `cargo test` of the same packages builds these again, with other features: {again:#?}\n\
             give them to the normal dependencies of Cargo.toml, too"
        );
    }
}

#[test]
fn tests_are_built_by_the_profile_of_the_program() {
    let text = |path: &str| std::fs::read_to_string(Path::new(CHECKOUT).join(path)).unwrap();
    let manifest = text("Cargo.toml");
    let settings = manifest.lines().filter(|line| line.trim_start().starts_with("[profile.test"));
    assert_eq!(settings.collect::<Vec<_>>(), [""; 0], "[profile.test] inherits all of [profile.dev]");
    let readme = text("README.md");
    let first = readme.split("```").nth(1).unwrap();
    let commands: Vec<_> = first.lines().filter_map(|line| Some(line.split_once('#')?.0.trim())).collect();
    assert_eq!(commands, ["cargo run -- demo", "cargo test"]);
}
