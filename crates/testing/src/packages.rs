//! Packages and patches made by a test: a description becomes a package directory or a datastream, with every size,
//! sum and pkgmap line computed.
//!
//! Objects belong to `root root` and were last modified on 1 January 2020 unless something else is said. If a test
//! wants something to be wrong, it damages the written directory afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::package::checksum;

/// The modification time of delivered objects, in seconds since 1970: 2020-01-01 00:00:00 UTC.
pub const DELIVERED: i64 = 1_577_836_800;

/// A package to be made.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    params: Vec<(String, String)>,
    /// Lines of the pkgmap without the part number, by path.
    lines: BTreeMap<String, String>,
    /// Content of the objects that have some, by path.
    content: BTreeMap<String, Vec<u8>>,
    /// Files of `install`, by name.
    information: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Returns a package without objects: version 1.0 for i386, BASEDIR `/opt/NAME`.
    pub fn new(name: &str) -> Self {
        let package = Self {
            name: name.to_owned(),
            params: Vec::new(),
            lines: BTreeMap::new(),
            content: BTreeMap::new(),
            information: BTreeMap::new(),
        };
        package
            .param("PKG", name)
            .param("NAME", &format!("{name} for tests"))
            .param("ARCH", "i386")
            .param("VERSION", "1.0")
            .param("CATEGORY", "application")
            .param("BASEDIR", &format!("/opt/{name}"))
            .param("CLASSES", "none")
    }

    /// Sets a parameter of its pkginfo.
    pub fn param(mut self, name: &str, value: &str) -> Self {
        match self.params.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.params.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Adds a regular file (`f`) of root.
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.content('f', path, mode, "root root", DELIVERED, content)
    }

    /// Adds a file of type `f`, `e` or `v` of class none; `owners` is owner and group.
    pub fn content(
        mut self,
        ftype: char,
        path: &str,
        mode: u32,
        owners: &str,
        mtime: i64,
        content: impl AsRef<[u8]>,
    ) -> Self {
        let content = content.as_ref();
        let (size, sum) = (content.len(), checksum::sum(content));
        self.content.insert(path.to_owned(), content.to_vec());
        self.line(path, &format!("{ftype} none {path} {mode:04o} {owners} {size} {sum} {mtime}"))
    }

    /// Adds a file of root of another class than none; `ftype` is `f`, `e` or `v`.
    pub fn of_class(
        mut self,
        class: &str,
        ftype: char,
        path: &str,
        mode: u32,
        content: impl AsRef<[u8]>,
    ) -> Self {
        let content = content.as_ref();
        let (size, sum) = (content.len(), checksum::sum(content));
        self.content.insert(path.to_owned(), content.to_vec());
        self.line(path, &format!("{ftype} {class} {path} {mode:04o} root root {size} {sum} {DELIVERED}"))
    }

    /// Adds a directory (`d`) of root, 0755.
    pub fn directory(self, path: &str) -> Self {
        self.line(path, &format!("d none {path} 0755 root root"))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.line(path, &format!("s none {path}={target}"))
    }

    /// Adds a hard link. A relative target is relative to the directory of the link.
    pub fn link(self, path: &str, target: &str) -> Self {
        self.line(path, &format!("l none {path}={target}"))
    }

    /// Adds any line of the pkgmap, without the part number.
    pub fn line(mut self, path: &str, line: &str) -> Self {
        self.lines.insert(path.to_owned(), line.to_owned());
        self
    }

    /// Adds a file of `install`: a script, `depend`, `copyright`, …
    pub fn information(mut self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.information.insert(name.to_owned(), text.as_ref().to_vec());
        self
    }

    /// Adds the file `deletes` with these paths.
    pub fn deletes(self, paths: &[&str]) -> Self {
        self.information("deletes", paths.iter().map(|path| format!("{path}\n")).collect::<String>())
    }

    fn pkginfo(&self) -> String {
        lines_of(self.params.iter().map(|(name, value)| format!("{name}={value}")))
    }

    /// Returns its pkgmap, in the order of pkgmk(1).
    fn pkgmap(&self) -> String {
        let mut lines = self.lines.clone();
        let pkginfo = self.pkginfo().into_bytes();
        for (name, text) in self.information.iter().chain([(&"pkginfo".to_owned(), &pkginfo)]) {
            let line = format!("i {name} {} {} {DELIVERED}", text.len(), checksum::sum(text));
            lines.insert(name.clone(), line);
        }
        let blocks: usize = self.content.values().map(|content| content.len().div_ceil(512) + 2).sum();
        format!(": 1 {blocks}\n{}", lines_of(lines.values().map(|line| format!("1 {line}"))))
    }

    /// Writes it as a directory in `spool`, and returns the path of that directory.
    pub fn write(&self, spool: &Path) -> PathBuf {
        let at = spool.join(&self.name);
        fs::create_dir_all(at.join("install")).unwrap();
        fs::write(at.join("pkginfo"), self.pkginfo()).unwrap();
        fs::write(at.join("pkgmap"), self.pkgmap()).unwrap();
        for (name, text) in &self.information {
            fs::write(at.join("install").join(name), text).unwrap();
        }
        for (path, content) in &self.content {
            let to = match path.strip_prefix('/') {
                Some(absolute) => at.join("root").join(absolute),
                None => at.join("reloc").join(path),
            };
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, content).unwrap();
        }
        at
    }
}

/// Returns a text of these lines.
fn lines_of(lines: impl Iterator<Item = String>) -> String {
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// Writes a datastream of package directories, in this order.
pub fn datastream(directories: &[PathBuf], to: &Path) {
    let read = |directory: &PathBuf| datastream::DatastreamPackage {
        inst: PkgInst::new(directory.file_name().unwrap().to_str().unwrap()).unwrap(),
        parts: 1,
        max_blocks: 100,
        pkginfo: fs::read(directory.join("pkginfo")).unwrap(),
        pkgmap: fs::read(directory.join("pkgmap")).unwrap(),
    };
    let packages: Vec<_> = directories.iter().map(read).collect();
    let mut writer = datastream::DatastreamWriter::new(Vec::new(), &packages, DELIVERED).unwrap();
    for directory in directories {
        let mut part = writer.begin_part(CpioFormat::Newc).unwrap();
        for name in files(directory) {
            let data = fs::read(directory.join(&name)).unwrap();
            let header = CpioHeader::file(name.as_bytes(), 0o644, DELIVERED, data.len() as u64);
            part.write_member(&header, &data[..]).unwrap();
        }
        writer = part.finish().unwrap();
    }
    let stream = writer.finish().unwrap();
    fs::File::create(to).unwrap().write_all(&stream).unwrap();
}

/// Returns the regular files below a directory, sorted, pkginfo and pkgmap first.
pub fn files(directory: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort_by_key(|name| (name.contains('/'), name.clone()));
    found
}

/// Copies a package directory without its procedure scripts and without the objects of any class but `none`.
pub fn without_scripts(package: &Path, spool: &Path) -> PathBuf {
    let at = spool.join(package.file_name().unwrap());
    let pkginfo = fs::read_to_string(package.join("pkginfo")).unwrap();
    let unscripted = |line: &str| if line.starts_with("CLASSES=") { "CLASSES=none" } else { line }.to_owned();
    let pkginfo = lines_of(pkginfo.lines().map(unscripted));
    let kept =
        |name: &str| matches!(name, "pkginfo" | "copyright" | "depend" | "space" | "compver" | "deletes");
    let pkgmap = fs::read_to_string(package.join("pkgmap")).unwrap();
    let pkgmap = pkgmap.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "i", "pkginfo", _, _, mtime] => {
                let sum = checksum::sum(pkginfo.as_bytes());
                Some(format!("1 i pkginfo {} {sum} {mtime}\n", pkginfo.len()))
            }
            [_, "i", name, ..] => kept(name).then(|| format!("{line}\n")),
            [":", ..] | [_, _, "none", ..] => Some(format!("{line}\n")),
            _ => None,
        }
    });
    let pkgmap: String = pkgmap.collect();
    for name in files(package) {
        let is_gone = name.strip_prefix("install/").is_some_and(|name| !kept(name));
        if !is_gone {
            let to = at.join(&name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, fs::read(package.join(&name)).unwrap()).unwrap();
        }
    }
    fs::write(at.join("pkginfo"), pkginfo).unwrap();
    fs::write(at.join("pkgmap"), pkgmap).unwrap();
    at
}
