//! The programs and libraries of this machine, as `readelf` and `ldd` see them and as the program does. A sample in every
//! run; all of them with
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration system_libraries -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use patchadm_core::operation::libraries::{LibraryScan, ScanRequest, loader_settings};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_libraries::elf::{self, ElfFacts, FilePieces};
use patchadm_libraries::{FactsCache, LibraryTree, Loader};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

use crate::reliability::{figures, is_whole};
use crate::scenario::shared;

/// The top directories of this machine that are scanned.
const TOPS: [&str; 9] = ["usr", "lib", "lib32", "lib64", "libx32", "bin", "sbin", "etc", "opt"];

/// True if a program can run here.
fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// The programs and libraries of this machine.
fn scan() -> LibraryScan {
    let root = Root::open(Path::new("/")).unwrap();
    let top = std::fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others = top.filter(|name| !TOPS.contains(&name.as_str()));
    let skip: Vec<PathGlob> = others.map(|name| PathGlob::parse(&format!("/{name}")).unwrap()).collect();
    let known = FactsCache::default();
    let request = ScanRequest { root: &root, skip: &skip, scan: &[], known: &known, interrupt: &|| None };
    request.scan().unwrap()
}

/// A path of the tree on this machine.
fn on_disk(path: &ObjectPath) -> PathBuf {
    PathBuf::from(path.to_string())
}

/// Files of a tree, sorted: all of them, or a sample.
fn chosen(tree: &LibraryTree) -> Vec<(PathBuf, &ElfFacts)> {
    let mut files: Vec<_> = tree.files().map(|(path, file)| (on_disk(path), &*file.facts)).collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files.into_iter().step_by(if is_whole() { 1 } else { 40 }).collect()
}

/// The facts about a file, a line each.
fn told(facts: &ElfFacts) -> BTreeSet<String> {
    let mut told: BTreeSet<String> = facts.needed.iter().map(|name| format!("needed {name}")).collect();
    told.extend(facts.soname.iter().map(|name| format!("soname {name}")));
    told.extend(facts.rpath.iter().map(|path| format!("rpath {path}")));
    told.extend(facts.runpath.iter().map(|path| format!("runpath {path}")));
    told.extend(facts.defines.iter().map(|version| format!("defines {version}")));
    told.extend(facts.needs.iter().map(|need| {
        let weak = if need.is_weak { " weak" } else { "" };
        format!("needs {} {}{weak}", need.library, need.version)
    }));
    told
}

/// The same facts about files, by `readelf -dVW`.
fn told_by_readelf(paths: &[&Path]) -> BTreeMap<PathBuf, BTreeSet<String>> {
    let output = Command::new("readelf").env("LC_ALL", "C").arg("-dVW").args(paths).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut told: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut file = paths[0].to_owned();
    let mut library = String::new();
    let tags =
        [("(NEEDED)", "needed"), ("(SONAME)", "soname"), ("(RPATH)", "rpath"), ("(RUNPATH)", "runpath")];
    for line in text.lines() {
        let field =
            |name: &str| -> Option<&str> { line.split_once(name)?.1.split("  ").next().map(str::trim) };
        if let Some(path) = line.strip_prefix("File: ") {
            file = path.into();
            continue;
        }
        let told = told.entry(file.clone()).or_default();
        if let Some((_, word)) = tags.iter().find(|(tag, _)| line.contains(tag)) {
            let value = line.split_once('[').unwrap().1.trim_end_matches(']');
            told.insert(format!("{word} {value}"));
        } else if let (true, Some(name)) = (line.contains("Rev: "), field("Name: ")) {
            if !line.contains("Flags: BASE") {
                told.insert(format!("defines {name}"));
            }
        } else if let Some(name) = field("File: ").filter(|_| line.contains("Cnt: ")) {
            name.clone_into(&mut library);
        } else if let (true, Some(name)) = (line.contains("Flags: "), field("Name: ")) {
            let weak = if line.contains("Flags: WEAK") { " weak" } else { "" };
            told.insert(format!("needs {library} {name}{weak}"));
        }
    }
    // An rpath beside a runpath has no effect.
    for told in told.values_mut().filter(|told| told.iter().any(|line| line.starts_with("runpath "))) {
        told.retain(|line| !line.starts_with("rpath "));
    }
    told
}

/// The ELF files below the real releases.
fn of_the_cases() -> Vec<PathBuf> {
    let Some(cases) = shared("system_libraries", "cases") else { return Vec::new() };
    let mut found = Vec::new();
    let mut next = vec![cases];
    while let Some(directory) = next.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => next.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_file_says_what_readelf_says() {
    if !runs("readelf", "--version") {
        return crate::missing("readelf", "every_file_says_what_readelf_says");
    }
    let scan = scan();
    let here = chosen(&scan.tree);
    let cases: Vec<(PathBuf, ElfFacts)> = of_the_cases()
        .into_iter()
        .filter_map(|path| {
            let file = std::fs::File::open(&path).unwrap();
            let facts = elf::read(&mut FilePieces::new(&file)).unwrap()?;
            Some((path, facts))
        })
        .collect();
    let cases = cases.iter().map(|(path, facts)| (path.clone(), facts));
    let files: Vec<(PathBuf, &ElfFacts)> = here.into_iter().chain(cases).collect();
    for part in files.chunks(100) {
        // With one more file, readelf prints the name of each.
        let paths: Vec<&Path> =
            part.iter().map(|(path, _)| &**path).chain([Path::new("/proc/self/exe")]).collect();
        let other = told_by_readelf(&paths);
        for (path, facts) in part {
            assert_eq!(told(facts), other.get(path).cloned().unwrap_or_default(), "{}", path.display());
        }
    }
    assert!(!is_whole() || files.len() >= 1500, "{} files", files.len());
    figures("readelf", &[("files as readelf says", files.len() as u64), ("others", 0)]);
}

/// The libraries that a file loads according to `ldd`: each name, and the real path of the file found.
fn told_by_ldd(path: &Path) -> Option<BTreeMap<String, Option<PathBuf>>> {
    let output = Command::new("ldd").env("LC_ALL", "C").arg(path).output().unwrap();
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut told = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        let Some((name, found)) = line.split_once(" => ") else { continue };
        let found = found.rsplit_once(" (0x").map(|(path, _)| std::fs::canonicalize(path).unwrap());
        told.insert(name.to_owned(), found);
    }
    Some(told)
}

/// True if a file that `ldd` found is another one for a known reason.
fn explained(found: Option<&PathBuf>) -> bool {
    // The scan omits copies for newer processors, because each of them is there in its plain form as well.
    found.is_some_and(|path| path.to_string_lossy().contains("/glibc-hwcaps/"))
}

#[test]
fn every_program_and_library_finds_what_ldd_finds() {
    if !runs("ldd", "--version") {
        return crate::skipped("every_program_and_library_finds_what_ldd_finds: no ldd");
    }
    let scan = scan();
    let settings = loader_settings(&Root::open(Path::new("/")).unwrap());
    let mut loader = Loader::new(&scan.tree, &settings);
    let (mut compared, mut names, mut explanations) = (0, 0, 0);
    for (path, _) in chosen(&scan.tree) {
        let Some(expected) = told_by_ldd(&path) else { continue };
        let at = ObjectPath::new(path.to_str().unwrap().as_bytes()).unwrap();
        let loading = loader.load(&at).unwrap();
        let needs = loading.objects.iter().flat_map(|object| loading.needs_of(object));
        let found: BTreeMap<String, Option<PathBuf>> = needs
            .map(|need| {
                (loading.name(need).to_string(), loading.found(need).map(|found| on_disk(&found.way.path)))
            })
            .collect();
        for (name, expected) in &expected {
            names += 1;
            if explained(expected.as_ref()) {
                explanations += 1;
                continue;
            }
            assert_eq!(found.get(name), Some(expected), "{} needs {name}", path.display());
        }
        compared += 1;
    }
    figures(
        "ldd",
        &[
            ("programs and libraries", compared),
            ("names as ldd finds them", names),
            ("explained", explanations),
        ],
    );
}
