//! Reads the package descriptions of `testdata/everything`, whose README describes their format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use patchadm_svr4::package::checksum::sum;
use patchadm_svr4::package::{escape, unescape};

/// A package, whole or sparse.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) params: BTreeMap<String, String>,
    /// Its objects, by path as the package writes it.
    pub(super) entries: BTreeMap<Vec<u8>, Entry>,
    /// Paths that its patch deletes.
    pub(super) deletes: BTreeSet<Vec<u8>>,
    /// The directory of its relative paths, below the root. Patches have no BASEDIR: that of the installed package
    /// counts.
    home: &'static str,
}

/// An object of a package; fields that its type does not have are empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) ftype: char,
    pub(super) content: Vec<u8>,
    pub(super) target: Vec<u8>,
    /// `None` is `?`.
    pub(super) mode: Option<u32>,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) device: (u32, u32),
    pub(super) mtime: i64,
}

/// A file of a delivered package: its name in the package's directory, and its bytes.
pub(super) type Member = (Vec<u8>, Vec<u8>);

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/everything")
}

impl Package {
    /// All packages of a release or patch, sorted by name; relative paths are below `home`.
    pub(super) fn all(release: &str, home: &'static str) -> Vec<Self> {
        let entries = fs::read_dir(testdata().join(release)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| Self::read(&format!("{release}/{name}"), home)).collect()
    }

    fn read(file: &str, home: &'static str) -> Self {
        let mut package = Self { home, ..Self::default() };
        let mut mtime = 0;
        package.take(file, &mut mtime);
        package.name = package.params["PKG"].clone();
        package
    }

    fn take(&mut self, file: &str, mtime: &mut i64) {
        for line in fs::read_to_string(testdata().join(file)).unwrap().lines() {
            let command = line.strip_prefix('!');
            if line.starts_with('#') || line.is_empty() {
            } else if let Some(other) = command.and_then(|line| line.strip_prefix("include ")) {
                self.take(other, mtime);
            } else if let Some(path) = command.and_then(|line| line.strip_prefix("deletes ")) {
                let path = unescape(path.as_bytes());
                self.entries.remove(&path);
                self.deletes.insert(path);
            } else if let Some((name, value)) = command.and_then(|line| line.split_once('=')) {
                match name {
                    "MTIME" => *mtime = value.parse().unwrap(),
                    _ => drop(self.params.insert(name.to_owned(), value.to_owned())),
                }
            } else {
                let (path, entry) = entry(line, *mtime);
                self.deletes.remove(&path);
                self.entries.insert(path, entry);
            }
        }
    }

    /// The path of an object below the root, without a leading `/`.
    pub(super) fn place(&self, path: &[u8]) -> Vec<u8> {
        match path.strip_prefix(b"/") {
            Some(absolute) => absolute.to_vec(),
            None => [self.home.as_bytes(), b"/", path].concat(),
        }
    }

    /// The objects with their paths below the root, each after those that it builds on.
    pub(super) fn placed(&self) -> Vec<(Vec<u8>, &Entry)> {
        let mut placed: Vec<_> = self.entries.iter().map(|(path, entry)| (self.place(path), entry)).collect();
        placed.sort_by_key(|(path, entry)| (entry.ftype == 'l', path.clone()));
        placed
    }

    /// All files in its directory.
    pub(super) fn members(&self) -> Vec<Member> {
        let pkginfo = self.params.iter().flat_map(|(name, value)| format!("{name}={value}\n").into_bytes());
        let mut members = vec![(b"pkginfo".to_vec(), pkginfo.collect::<Vec<u8>>())];
        if !self.deletes.is_empty() {
            let deletes = self.deletes.iter().flat_map(|path| [escape(path), b"\n".to_vec()].concat());
            members.push((b"install/deletes".to_vec(), deletes.collect()));
        }
        let mut lines = vec![b": 1 20000".to_vec()];
        for (name, bytes) in &members {
            let name = String::from_utf8_lossy(name).replace("install/", "");
            lines.push(format!("1 i {name} {} {} 1", bytes.len(), sum(bytes)).into_bytes());
        }
        lines.extend(self.entries.iter().map(|(path, entry)| entry.pkgmap_line(path)));
        members.push((b"pkgmap".to_vec(), [lines.join(&b'\n'), b"\n".to_vec()].concat()));
        for (path, entry) in self.entries.iter().filter(|(_, entry)| entry.is_file()) {
            let base: &[u8] = if path.starts_with(b"/") { b"root" } else { b"reloc/" };
            members.push(([base, path].concat(), entry.content.clone()));
        }
        members
    }
}

impl Entry {
    pub(super) fn is_file(&self) -> bool {
        matches!(self.ftype, 'f' | 'e' | 'v')
    }

    fn pkgmap_line(&self, path: &[u8]) -> Vec<u8> {
        let mut line = format!("1 {} none ", self.ftype).into_bytes();
        line.extend(escape(path));
        if matches!(self.ftype, 's' | 'l') {
            return [line, b"=".to_vec(), escape(&self.target)].concat();
        }
        if matches!(self.ftype, 'b' | 'c') {
            line.extend(format!(" {} {}", self.device.0, self.device.1).bytes());
        }
        let mode = self.mode.map_or("?".to_owned(), |mode| format!("{mode:04o}"));
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".to_owned());
        line.extend(format!(" {mode} {} {}", name(&self.owner), name(&self.group)).bytes());
        if self.is_file() {
            line.extend(format!(" {} {} {}", self.content.len(), sum(&self.content), self.mtime).bytes());
        }
        line
    }
}

fn entry(line: &str, mtime: i64) -> (Vec<u8>, Entry) {
    let mut words = line.split_ascii_whitespace();
    let ftype = words.next().unwrap().chars().next().unwrap();
    assert_eq!(words.next(), Some("none"), "{line}");
    let (path, value) = words.next().map(|word| word.split_once('=').unwrap_or((word, ""))).unwrap();
    let rest: Vec<&str> = words.collect();
    let mut entry = Entry { ftype, mtime, ..Entry::default() };
    if let [major, minor, ..] = rest.as_slice()
        && matches!(ftype, 'b' | 'c')
    {
        entry.device = (major.parse().unwrap(), minor.parse().unwrap());
    }
    if let [.., mode, owner, group] = rest.as_slice() {
        let known = |word: &str| (word != "?").then(|| word.to_owned());
        entry.mode = known(mode).map(|mode| u32::from_str_radix(&mode, 8).unwrap());
        (entry.owner, entry.group) = (known(owner), known(group));
    }
    match ftype {
        's' | 'l' => entry.target = unescape(value.as_bytes()),
        'f' | 'e' | 'v' => entry.content = content(value),
        _ => {}
    }
    (unescape(path.as_bytes()), entry)
}

fn content(word: &str) -> Vec<u8> {
    if word == "/dev/null" {
        return Vec::new();
    }
    let Some((size, seed)) = word.strip_prefix('%').and_then(|word| word.split_once('/')) else {
        return fs::read(testdata().join("files").join(word)).unwrap();
    };
    let mut state =
        seed.bytes().fold(0x2545_f491_4f6c_dd1d, |state: u64, byte| state ^ (u64::from(byte) << 17));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    // Alternates lines of text and of noise, so that there is something to compress.
    let byte = |place: usize| if (place / 64).is_multiple_of(2) { seed.as_bytes()[0] } else { next() };
    (0..size.parse().unwrap()).map(byte).collect()
}
