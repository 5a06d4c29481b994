//! The files of a crate do not use each other in a circle, so that each can be read after those that it depends on.
//!
//! A file uses another one if a `use`, or a path in its code, names something that is defined there; a re-export
//! (`pub use`) counts for the file that defines the item. Test modules may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::{CRATES, checkout, code_of, files, is_test};

/// The files of a crate by the path of their module: `["plan", "apply"]`.
struct Modules {
    files: BTreeMap<Vec<String>, PathBuf>,
    /// The re-exports of each module: the name, and the path that it comes from.
    exports: BTreeMap<Vec<String>, Vec<(String, Vec<String>)>>,
    texts: BTreeMap<Vec<String>, String>,
}

/// The path of the module in a file.
fn module_of(relative: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The paths of a `use` tree, each as its words, and the name that each introduces.
fn paths_of_tree(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    expand(&[], tree, &mut found);
    found
}

fn expand(above: &[String], tree: &str, found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    let (head, group) = match tree.find('{') {
        Some(at) => (&tree[..at], Some(&tree[at + 1..tree.rfind('}').unwrap()])),
        None => (tree, None),
    };
    let (head, alias) = head.split_once(" as ").unwrap_or((head, ""));
    let words = head.split("::").map(str::trim).filter(|word| !word.is_empty() && *word != "self");
    let path: Vec<String> = above.iter().cloned().chain(words.map(str::to_owned)).collect();
    let Some(group) = group else {
        let name = if alias.is_empty() { path.last().cloned().unwrap_or_default() } else { alias.to_owned() };
        found.push((path, name));
        return;
    };
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&path, &group[begin..at], found);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !group[begin..].trim().is_empty() {
        expand(&path, &group[begin..], found);
    }
}

impl Modules {
    fn of(sources: &Path) -> Self {
        let mut modules = Self { files: BTreeMap::new(), exports: BTreeMap::new(), texts: BTreeMap::new() };
        for file in files(sources) {
            let relative = file.strip_prefix(sources).unwrap().to_owned();
            if is_test(&relative) {
                continue;
            }
            let module = module_of(&relative);
            modules.texts.insert(module.clone(), code_of(&fs::read_to_string(&file).unwrap()));
            modules.files.insert(module, relative);
        }
        let exports = Regex::new(r"(?m)^[ \t]*pub(?:\([^)]*\))? use ([^;]+);").unwrap();
        for (module, text) in &modules.texts {
            let trees = exports.captures_iter(text).flat_map(|found| paths_of_tree(&found[1]));
            let passed_on = trees.filter_map(|(path, name)| Some((name, modules.absolute(module, &path)?)));
            modules.exports.insert(module.clone(), passed_on.collect());
        }
        modules
    }

    /// A path as the crate sees it from its root; none if it leads into another crate.
    fn absolute(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        let (mut base, mut rest) = (from.to_vec(), path);
        match path.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &path[1..];
            }
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                base.push(child.to_owned());
                self.files.contains_key(&base).then_some(())?;
                rest = &path[1..];
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// The module that defines what a path from the root of the crate names.
    fn definer(&self, path: &[String]) -> Option<Vec<String>> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let longest = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
            let (module, rest) = path.split_at(longest);
            let Some(name) = rest.first() else { return Some(module.to_vec()) };
            let passed_on = self.exports[module].iter().find(|(known, _)| known == name);
            let Some((_, from)) = passed_on else { return Some(module.to_vec()) };
            path = from.iter().chain(&rest[1..]).cloned().collect();
        }
        None
    }

    /// The modules that each one uses.
    fn arrows(&self) -> BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> {
        let uses = Regex::new(r"(?m)^[ \t]*(pub(?:\([^)]*\))? )?use ([^;]+);").unwrap();
        let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
        let arrows = self.texts.iter().map(|(module, text)| {
            let named = uses.captures_iter(text).filter(|found| found.get(1).is_none());
            let mut paths: Vec<Vec<String>> =
                named.flat_map(|found| paths_of_tree(&found[2])).map(|(path, _)| path).collect();
            let rest = uses.replace_all(text, "");
            let words = |found: regex::Match<'_>| found.as_str().split("::").map(str::to_owned).collect();
            paths.extend(inline.find_iter(&rest).map(words));
            let absolute = paths.iter().filter_map(|path| self.absolute(module, path));
            let used = absolute.filter_map(|path| self.definer(&path)).filter(|used| used != module);
            (module, used.collect())
        });
        arrows.collect()
    }
}

/// The modules that can be reached from each one.
fn reached(arrows: &BTreeMap<&Vec<String>, BTreeSet<Vec<String>>>, from: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Vec<String>> = vec![from.to_vec()];
    while let Some(module) = open.pop() {
        for next in arrows.get(&module).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

/// The circles of the files below a directory, each as a set of files.
fn circles(sources: &Path) -> BTreeSet<BTreeSet<PathBuf>> {
    let modules = Modules::of(sources);
    let arrows = modules.arrows();
    let all: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
        arrows.keys().map(|module| (*module, reached(&arrows, module))).collect();
    let in_circle = |module: &Vec<String>| all[module].contains(module);
    let circles = all.keys().filter(|module| in_circle(module)).map(|module| {
        let others =
            all[*module].iter().filter(|other| all.get(other).is_some_and(|far| far.contains(*module)));
        others.map(|other| modules.files[other].clone()).collect()
    });
    circles.collect()
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (directory, _) in CRATES {
        let directory = Path::new(directory).join("src");
        for circle in circles(&checkout().join(&directory)) {
            let names: Vec<String> = circle.iter().map(|file| file.display().to_string()).collect();
            wrong.push(format!("{}: {}", directory.display(), names.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{} circles:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_circle_is_found_through_what_a_module_passes_on() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\npub use a::{inner::Thing, x};\n");
    write("a/mod.rs", "pub mod inner;\nuse crate::b::y;\npub fn x() { y() }\n");
    write("a/inner.rs", "pub struct Thing;\n");
    write("b.rs", "use crate::Thing;\npub fn y() { let _ = Thing; }\n");
    assert_eq!(circles(place.path()), BTreeSet::new(), "what is passed on is where it is defined");
    write("b.rs", "pub fn y() { crate::x() }\n");
    let circle = ["a/mod.rs", "b.rs"].map(PathBuf::from).into_iter().collect();
    assert_eq!(circles(place.path()), [circle].into_iter().collect());
}
