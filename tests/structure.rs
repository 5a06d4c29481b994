//! The arrows between the modules point down: the drawing in `src/lib.rs` is the table here, and every `crate::` path
//! of the sources is one of its arrows. Test modules may look wherever they like.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// For each module the modules that it may use, beside itself.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "operation",
            "source",
            "plan",
            "transaction",
            "script",
            "database",
            "root",
            "format",
            "patch",
            "package",
        ],
    ),
    (
        "operation",
        &["source", "plan", "transaction", "script", "database", "root", "format", "patch", "package"],
    ),
    // Of the plan the transaction takes the values that say what to do, of the source the plan takes the images.
    ("transaction", &["plan", "database", "root", "format", "package"]),
    ("script", &["root", "format", "package"]),
    ("plan", &["source", "format", "patch", "package"]),
    ("source", &["format", "package"]),
    ("database", &["root", "format", "patch", "package"]),
    ("root", &["package"]),
    ("format", &["package"]),
    ("patch", &["package"]),
    ("package", &[]),
];

/// Two files stand above the modules and only name them.
const ABOVE: [&str; 2] = ["lib.rs", "main.rs"];

#[test]
fn no_module_uses_one_above_it() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for path in files(&sources) {
        let relative = path.strip_prefix(&sources).unwrap();
        if is_test(relative) || ABOVE.iter().any(|name| relative == Path::new(name)) {
            continue;
        }
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some((_, below)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module {module} has no place in the drawing", relative.display()));
            continue;
        };
        for used in used_modules(&fs::read_to_string(&path).unwrap()) {
            if used != module && !below.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} must not use {used}", relative.display()));
            }
        }
        met.insert(module);
    }
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
    let drawn: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(met, drawn, "every module of the drawing is there");
}

#[test]
fn the_drawing_has_no_circle() {
    let mut left: Vec<_> = ARROWS.to_vec();
    while !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
        let bottom = left.iter().position(|(_, below)| !below.iter().any(|name| names.contains(name)));
        left.remove(bottom.unwrap_or_else(|| panic!("these use each other: {names:?}")));
    }
}

#[test]
fn the_front_page_names_every_module_with_what_it_uses() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (module, below) in ARROWS {
        let line = format!("//! | [`{module}`] |");
        let row = page.lines().find(|row| row.starts_with(&line));
        let row = row.unwrap_or_else(|| panic!("src/lib.rs has no row for {module}"));
        let uses = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let uses: BTreeSet<&str> =
            uses.split(", ").filter(|name| !["nothing", "everything"].contains(name)).collect();
        let below: BTreeSet<&str> = below.iter().copied().filter(|_| *module != "cli").collect();
        assert_eq!(uses, below, "the row of {module}");
    }
}

/// Files outside `src/root` that change a file system otherwise than through it, each with the lint exception or the
/// flags that give it away, and how often. The reason stands at the place.
const BESIDE_THE_DOOR: &[(&str, &str, usize)] = &[
    ("as_owner/becoming.rs", "nix::fcntl", 1),
    ("operation/translate/stream.rs", "clippy::disallowed_methods", 1),
    ("script/namespace.rs", "clippy::disallowed_methods", 1),
    ("source/pipe.rs", "OFlags::RDWR", 1),
    ("source/pipe.rs", "OFlags::TMPFILE", 1),
];

#[test]
fn nothing_changes_a_file_system_but_through_the_door() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
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
    for path in files(&sources) {
        let relative = path.strip_prefix(&sources).unwrap();
        if is_test(relative) || relative.starts_with("root") || relative == Path::new("lib.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = &text[..end_of_code(&text)];
        for mark in marks {
            let count = code.matches(mark).count();
            if count > 0 {
                found.push((relative.to_str().unwrap().to_owned(), mark, count));
            }
        }
    }
    let allowed: Vec<_> =
        BESIDE_THE_DOOR.iter().map(|(path, mark, count)| ((*path).to_owned(), *mark, *count)).collect();
    assert_eq!(found, allowed, "what goes past src/root: found, and known");
}

#[test]
fn what_changes_a_root_has_no_exception_from_the_door() {
    let roots = [
        "transaction",
        "database",
        "operation/apply_patches",
        "operation/back_out",
        "operation/add_package",
        "operation/remove_package",
        "operation/installation",
        "operation/installf",
        "operation/removef",
        "operation/registry",
        "operation/session",
        "operation/scripts",
        "operation/patch_scripts",
        "operation/scripted",
        "operation/check",
    ];
    for (path, mark, _) in BESIDE_THE_DOOR {
        assert!(!roots.iter().any(|root| path.starts_with(root)), "{path}: {mark}");
    }
}

#[test]
fn the_door_is_closed_for_the_whole_library() {
    // Where nobody lints, nothing is forbidden: the one exception for unit tests must be one for tests only.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let lines: Vec<&str> = page.lines().filter(|line| line.contains("disallowed_methods")).collect();
    assert_eq!(lines, ["#![cfg_attr(test, allow(clippy::disallowed_methods))]"]);
    let lints = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("clippy.toml")).unwrap();
    for line in lints.lines().filter(|line| line.contains("{ path =")) {
        assert!(line.contains("reason = \""), "a reason beside each: {line}");
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let code = "\
use crate::package::PkgInst;
use crate::{format::lines, root};
//! crate::cli is only a word here
fn f(x: &crate::plan::Plan) {}
#[cfg(test)]
mod tests {
    use crate::operation::x;
}
";
    let found: Vec<String> = used_modules(code).into_iter().collect();
    assert_eq!(found, ["format", "package", "plan", "root"]);
}

/// Where the code of a file ends and its test module begins.
fn end_of_code(text: &str) -> usize {
    text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len())
}

/// The modules that the code of a file names, without its comments and its test module.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code: String = text[..end_of_code(text)]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(names_of_group(group)),
            None => found.extend(first_word(rest)),
        }
    }
    found
}

/// The first word of every path in `{a::b, c::{d, e}}`, whose opening brace is gone.
fn names_of_group(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut names = Vec::new();
    let mut begins = true;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            letter if begins && !letter.is_whitespace() => {
                names.extend(first_word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> Option<String> {
    let word: String =
        text.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
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
