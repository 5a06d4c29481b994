//! The administrator's settings for the loaders: `etc/ld.so.conf` with includes, `etc/ld.so.preload`, musl's path
//! files.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashSet;
use patchadm_svr4::package::ObjectPath;

use patchadm_inputs::path_glob::PathGlob;

/// Nesting of includes.
const DEEPEST: usize = 16;

const MOST_FILES: usize = 1000;

/// The most patterns of includes. Each takes the names in a directory.
const MOST_INCLUDES: usize = 1000;

const MOST_DIRECTORIES: usize = 4096;

/// The most architectures that have a path file of musl, which knows about a dozen.
const MOST_ARCHITECTURES: usize = 64;

/// The list is tried for each program.
const MOST_PRELOADED: usize = 64;

pub trait ConfigFiles {
    /// Returns `None` if the file cannot be read.
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>>;

    /// Returns the names in a directory, or none if it cannot be read.
    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderSettings {
    /// In search order.
    pub directories: Vec<String>,
    pub preload: Vec<String>,
    /// By architecture; no entry without a path file.
    pub musl: BTreeMap<String, Vec<String>>,
}

impl LoaderSettings {
    pub fn read(files: &dyn ConfigFiles) -> Self {
        let mut conf = ConfReader {
            files,
            directories: Vec::new(),
            known: HashSet::default(),
            seen: BTreeSet::new(),
            includes: 0,
        };
        if let Ok(path) = ObjectPath::new(b"/etc/ld.so.conf") {
            conf.read(&path, 0);
        }
        Self { directories: conf.directories, preload: preload(files), musl: musl(files) }
    }
}

/// Reads each included file once.
struct ConfReader<'f> {
    files: &'f dyn ConfigFiles,
    directories: Vec<String>,
    known: HashSet<String>,
    seen: BTreeSet<ObjectPath>,
    includes: usize,
}

impl ConfReader<'_> {
    fn read(&mut self, path: &ObjectPath, depth: usize) {
        if depth > DEEPEST || self.seen.len() >= MOST_FILES || !self.seen.insert(path.clone()) {
            return;
        }
        let Some(content) = self.files.content(path) else { return };
        for line in String::from_utf8_lossy(&content).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let mut words = line.split_whitespace();
            match words.next() {
                None | Some("hwcap") => {}
                Some("include") => words.for_each(|pattern| self.include(path, pattern, depth)),
                Some(_) => self.add(line),
            }
        }
    }

    fn include(&mut self, from: &ObjectPath, pattern: &str, depth: usize) {
        self.includes += 1;
        if self.includes > MOST_INCLUDES {
            return;
        }
        let above = from.parent().unwrap_or_else(ObjectPath::root);
        let path = if pattern.starts_with('/') {
            ObjectPath::new(pattern.as_bytes())
        } else {
            above.join(pattern.as_bytes())
        };
        // Only the last component may be a pattern, as in every ld.so.conf that is known.
        let Ok(path) = path else { return };
        let (Some(directory), Ok(name)) = (path.parent(), std::str::from_utf8(path.name())) else { return };
        let Ok(glob) = PathGlob::parse(name) else { return };
        let mut included: Vec<ObjectPath> =
            self.files.names(&directory).iter().filter_map(|name| directory.join(name).ok()).collect();
        included.retain(|path| glob.names(path) && !path.name().starts_with(b"."));
        included.sort();
        for path in &included {
            self.read(path, depth + 1);
        }
    }

    /// Directories are separated by blanks, colons or commas; a `=TYPE` suffix is obsolete.
    fn add(&mut self, line: &str) {
        let between = |letter: char| letter.is_whitespace() || letter == ':' || letter == ',';
        for name in line.split(between) {
            let name = name.split('=').next().unwrap_or_default();
            let name = if name.len() > 1 { name.trim_end_matches('/') } else { name };
            if name.starts_with('/')
                && self.directories.len() < MOST_DIRECTORIES
                && self.known.insert(name.to_owned())
            {
                self.directories.push(name.to_owned());
            }
        }
    }
}

fn preload(files: &dyn ConfigFiles) -> Vec<String> {
    let content = ObjectPath::new(b"/etc/ld.so.preload").ok().and_then(|path| files.content(&path));
    let content = content.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let between = |letter: char| letter.is_whitespace() || letter == ':';
    let names = lines.flat_map(|line| line.split(between)).filter(|name| !name.is_empty());
    names.take(MOST_PRELOADED).map(str::to_owned).collect()
}

fn musl(files: &dyn ConfigFiles) -> BTreeMap<String, Vec<String>> {
    let Ok(etc) = ObjectPath::new(b"/etc") else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for name in files.names(&etc) {
        if found.len() >= MOST_ARCHITECTURES {
            break;
        }
        let arch = name.strip_prefix(b"ld-musl-").and_then(|name| name.strip_suffix(b".path"));
        let Some(arch) = arch.and_then(|arch| std::str::from_utf8(arch).ok()) else { continue };
        let Some(content) = etc.join(&name).ok().and_then(|path| files.content(&path)) else { continue };
        let text = String::from_utf8_lossy(&content).into_owned();
        let directories = text.split([':', '\n']).filter(|name| name.starts_with('/')).map(str::to_owned);
        found.insert(arch.to_owned(), directories.take(MOST_DIRECTORIES).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Files with this content, in a directory whose names are counted when they are taken.
    struct Files {
        conf: Vec<u8>,
        names: Vec<Vec<u8>>,
        looks: Cell<usize>,
    }

    impl ConfigFiles for Files {
        fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
            Some(if path.as_bytes() == b"/etc/ld.so.conf" { self.conf.clone() } else { b"/lib".to_vec() })
        }

        fn names(&self, _: &ObjectPath) -> Vec<Vec<u8>> {
            self.looks.set(self.looks.get() + 1);
            self.names.clone()
        }
    }

    #[test]
    fn neither_many_includes_nor_many_files_of_musl_take_long() {
        let names = (0..1_000).map(|number| format!("ld-musl-{number}.path").into_bytes()).collect();
        let conf = "include none*\n".repeat(100_000).into_bytes();
        let files = Files { conf, names, looks: Cell::new(0) };
        let settings = LoaderSettings::read(&files);
        assert_eq!((settings.musl.len(), files.looks.get()), (MOST_ARCHITECTURES, MOST_INCLUDES + 1));
    }
}
