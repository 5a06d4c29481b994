//! The layout of the project: crates and modules use only lower ones, no files use each other in a circle, and every
//! change of a file system goes through one crate.

mod circles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// The project crates that each crate uses. The compiler makes sure that there is no circle among them.
const CRATES: &[(&str, &[&str])] = &[
    ("crates/svr4", &[]),
    ("crates/bulk-values", &["svr4"]),
    ("crates/container", &["svr4"]),
    ("crates/rootfs", &["svr4"]),
    ("crates/changeset", &["container", "rootfs", "svr4"]),
    ("crates/inputs", &["changeset", "container", "rootfs", "svr4"]),
    ("crates/libraries", &["changeset", "inputs", "rootfs", "svr4"]),
    ("crates/planning", &["changeset", "inputs", "rootfs", "svr4"]),
    ("crates/releases", &["rootfs", "svr4"]),
    ("crates/making", &["container", "inputs", "libraries", "releases", "rootfs", "svr4"]),
    (
        "crates/core",
        &["changeset", "container", "inputs", "libraries", "planning", "releases", "rootfs", "svr4"],
    ),
    ("crates/testing", &["container", "svr4"]),
    ("crates/cli", &["changeset", "core", "inputs", "planning", "rootfs", "svr4"]),
    ("crates/pages", &["cli", "inputs", "svr4"]),
    ("crates/producing", &["cli", "core", "inputs", "making", "planning", "releases", "rootfs", "svr4"]),
    (
        "crates/building",
        &["bulk-values", "core", "inputs", "libraries", "making", "releases", "rootfs", "svr4"],
    ),
    (
        "programs/bulk",
        &[
            "building",
            "bulk-values",
            "cli",
            "core",
            "inputs",
            "making",
            "pages",
            "planning",
            "producing",
            "rootfs",
            "svr4",
        ],
    ),
    ("programs/make", &["cli", "core", "inputs", "making", "planning", "producing", "rootfs", "svr4"]),
    ("programs/report", &["changeset", "cli", "core", "inputs", "pages", "planning", "rootfs", "svr4"]),
    (".", &["changeset", "cli", "core", "inputs", "planning", "rootfs", "svr4"]),
];

/// A module, and the modules of its crate that it uses.
type Module = (&'static str, &'static [&'static str]);

/// The modules of each crate with several rooms.
const MODULES: &[(&str, &[Module])] = &[
    (
        "crates/inputs",
        &[
            (
                "database",
                &["source", "sign", "inventory", "policy", "path_glob", "password", "format", "trial"],
            ),
            ("source", &["sign", "format", "sha256", "input_file", "program_run"]),
            ("cache", &["sign", "sha256"]),
            ("inventory", &["format", "native"]),
            ("policy", &["path_glob", "sign", "trial"]),
            ("stage", &["path_glob", "little_endian"]),
            ("sign", &["sha256"]),
            ("depot", &[]),
            ("http", &["input_file", "password"]),
            ("input_file", &["program_run"]),
            ("format", &[]),
            ("little_endian", &[]),
            ("native", &["sha256", "program_run"]),
            ("program_run", &[]),
            ("patch_scripts", &[]),
            ("password", &[]),
            ("path_glob", &[]),
            ("sha256", &[]),
            ("side_file", &[]),
            ("trial", &["duration"]),
            ("duration", &[]),
        ],
    ),
    (
        "crates/planning",
        &[("resolve", &["plan"]), ("fleet", &["analyze"]), ("plan", &[]), ("order", &[]), ("analyze", &[])],
    ),
    (
        "crates/making",
        &[
            ("delta", &["build", "release"]),
            ("lint", &["build", "release"]),
            ("build", &["release"]),
            ("release", &[]),
            ("make", &[]),
        ],
    ),
    (
        "crates/core",
        &[
            ("operation", &["script", "namespaces", "process", "three_way"]),
            ("script", &["process", "terminal"]),
            ("namespaces", &["process", "terminal"]),
            ("process", &[]),
            ("terminal", &[]),
            ("three_way", &[]),
        ],
    ),
];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn no_crate_uses_one_above_it() {
    let dependency = Regex::new(r"(?m)^patchadm-([a-z0-9-]+)\b").unwrap();
    for (directory, below) in CRATES {
        let manifest = fs::read_to_string(checkout().join(directory).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap();
        let used: BTreeSet<String> =
            dependency.captures_iter(dependencies).map(|found| found[1].to_owned()).collect();
        assert_eq!(used, below.iter().map(|name| (*name).to_owned()).collect(), "{directory}");
    }
    let folders =
        ["crates", "programs"].iter().flat_map(|folder| fs::read_dir(checkout().join(folder)).unwrap());
    let there: BTreeSet<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    let drawn = CRATES
        .iter()
        .map(|(directory, _)| checkout().join(directory))
        .filter(|path| *path != checkout().join("."));
    assert_eq!(there, drawn.collect(), "every crate is in the table");
}

#[test]
fn no_module_of_a_crate_uses_one_above_it() {
    let wrong: Vec<String> =
        MODULES.iter().flat_map(|(directory, modules)| arrows_up(directory, modules)).collect();
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
}

/// The forbidden uses of modules within a crate, a line each.
fn arrows_up(directory: &str, modules: &[Module]) -> Vec<String> {
    let sources = checkout().join(directory).join("src");
    let named = Regex::new(r"\bcrate::(\w+)").unwrap();
    let mut wrong = Vec::new();
    for path in files(&sources) {
        let relative = path.strip_prefix(&sources).unwrap();
        if is_test(relative) || ["lib.rs", "elf_files.rs"].map(Path::new).contains(&relative) {
            continue;
        }
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some((_, below)) = modules.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{directory}: module {module} has no place in the table"));
            continue;
        };
        let text = code_of(&fs::read_to_string(&path).unwrap());
        assert!(!text.contains("crate::{"), "{}: one path in each `use`", path.display());
        for found in named.captures_iter(&text) {
            let used = found.get(1).unwrap().as_str();
            let is_module = modules.iter().any(|(known, _)| *known == used);
            if is_module && used != module && !below.contains(&used) {
                wrong.push(format!("{}: {module} must not use {used}", path.display()));
            }
        }
    }
    wrong
}

/// Files outside `crates/rootfs` that change a file system without it, each with the lint exception or the flags that
/// reveal it, and the number of occurrences. The files give the reasons.
const BESIDE_THE_DOOR: &[(&str, &str, usize)] = &[
    ("crates/core/src/namespaces/rights.rs", "clippy::disallowed_methods", 1),
    ("crates/core/src/operation/translate/mod.rs", "clippy::disallowed_methods", 1),
    ("crates/core/src/script/tools.rs", "clippy::disallowed_methods", 1),
    // A pseudo-terminal is given to the user of a script.
    ("crates/core/src/terminal.rs", "clippy::disallowed_methods", 1),
    ("crates/inputs/src/source/pipe.rs", "OFlags::RDWR", 1),
    ("crates/inputs/src/source/pipe.rs", "OFlags::TMPFILE", 1),
    ("src/as_owner/becoming.rs", "nix::fcntl", 1),
];

#[test]
fn nothing_changes_a_file_system_but_through_the_door() {
    // The lint finds methods by name; what an open may do is in its flags. Other crates open files, too.
    let marks = [
        "clippy::disallowed_methods",
        "OFlags::CREATE",
        "OFlags::WRONLY",
        "OFlags::RDWR",
        "OFlags::TRUNC",
        "OFlags::APPEND",
        "OFlags::TMPFILE",
        "nix::fcntl",
        "nix::sys::stat",
        "libc::open",
    ];
    let mut found = Vec::new();
    let all = ["src", "crates", "programs"].iter().flat_map(|directory| files(&checkout().join(directory)));
    for path in all {
        let relative = path.strip_prefix(checkout()).unwrap();
        let is_examples = relative.iter().any(|part| part == "examples");
        let is_lib = relative.file_name().is_some_and(|name| name == "lib.rs");
        if is_test(relative) || is_examples || is_lib || relative.starts_with("crates/rootfs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = code_of(&text);
        for mark in marks {
            let count = code.matches(mark).count();
            if count > 0 {
                found.push((relative.to_str().unwrap().to_owned(), mark, count));
            }
        }
    }
    let allowed: Vec<_> =
        BESIDE_THE_DOOR.iter().map(|(path, mark, count)| ((*path).to_owned(), *mark, *count)).collect();
    found.sort();
    assert_eq!(found, allowed, "what goes past the door: found, and known");
}

/// The files that set owners of new objects. Any other owner is set by `OpenObject::set_rights`, because chown(2) clears file
/// capabilities and set-id bits.
const OWNERS_OF_NEW_OBJECTS: &[&str] = &[
    "crates/building/src/ids.rs",
    "crates/building/src/tree_copy.rs",
    "crates/changeset/src/transaction/archive/merged_contents.rs",
    "crates/changeset/src/transaction/archive/rebuild.rs",
    "crates/changeset/src/transaction/journal/installf_queue.rs",
    "crates/changeset/src/transaction/stage/object_stager.rs",
    "crates/changeset/src/transaction/objects/copies.rs",
    "crates/changeset/src/transaction/archive/records.rs",
    "crates/core/src/namespaces/mounts.rs",
    "crates/core/src/operation/stages/copy.rs",
    "crates/core/src/operation/stages/own_files.rs",
    "crates/core/src/script/protocol.rs",
    "crates/inputs/src/native/rpm/database_copy.rs",
    "src/classic/compress.rs",
];

#[test]
fn owners_of_live_objects_are_set_where_capabilities_are_kept() {
    let sets_owner = Regex::new(r"\.set_owner\(").unwrap();
    let mut found = BTreeSet::new();
    let roots = ["src", "crates", "programs"].map(|directory| checkout().join(directory));
    for path in roots.iter().flat_map(|root| files(root)).filter(|path| !is_test(path)) {
        let relative = path.strip_prefix(checkout()).unwrap().display().to_string();
        let code = code_of(&fs::read_to_string(&path).unwrap());
        if !relative.starts_with("crates/rootfs/") && sets_owner.is_match(without_tests(&code)) {
            found.insert(relative);
        }
    }
    assert_eq!(found, OWNERS_OF_NEW_OBJECTS.iter().map(|path| (*path).to_owned()).collect());
}

#[test]
fn the_door_is_closed_for_every_crate() {
    // Without the lint nothing is forbidden: the one exception for unit tests must apply to tests only.
    // The test harness makes its own trees; no program is built with it.
    let beside = ["crates/rootfs", "crates/testing"];
    for (directory, _) in CRATES.iter().filter(|(directory, _)| !beside.contains(directory)) {
        let pages = ["src/lib.rs", "src/main.rs"].map(|page| checkout().join(directory).join(page));
        let Some(page) = pages.iter().find_map(|page| fs::read_to_string(page).ok()) else { continue };
        let lines: Vec<&str> = page.lines().filter(|line| line.contains("disallowed_methods")).collect();
        assert!(
            lines.iter().all(|line| *line == "#![cfg_attr(test, allow(clippy::disallowed_methods))]"),
            "{directory}: {lines:?}"
        );
    }
    let lints = fs::read_to_string(checkout().join("clippy.toml")).unwrap();
    for line in lints.lines().filter(|line| line.contains("{ path =")) {
        assert!(line.contains("reason = \""), "a reason beside each: {line}");
    }
}

/// The code of a file, without its comments and its test modules, which come last.
fn code_of(text: &str) -> String {
    let lines = without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn without_tests(text: &str) -> &str {
    static MODULE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]\n(pub\(super\) )?mod \w+ \{").unwrap());
    &text[..MODULE.find(text).map_or(text.len(), |module| module.start())]
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs")
        || path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
