//! Patches that a test makes, in every form in which they can be delivered, and packages that it installs.
//!
//! Deliveries are always well formed; tests of bad input damage them afterwards.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use patchadm_svr4::format::compress;
use zip::write::SimpleFileOptions;

use crate::packages::{self, DELIVERED, Package};
use crate::scenario::{Run, Scenario};

/// A patch: sparse packages and the files beside them.
#[derive(Clone)]
pub struct Patch {
    id: String,
    packages: Vec<Package>,
    files: Vec<(String, String)>,
}

impl Patch {
    /// Returns a patch without packages.
    pub fn new(id: &str) -> Self {
        let readme = (format!("README.{id}"), format!("Patch-ID# {id}\n"));
        Self { id: id.to_owned(), packages: Vec::new(), files: vec![readme] }
    }

    /// Returns a patch of one package.
    pub fn of(id: &str, package: Package) -> Self {
        Self::new(id).package(package)
    }

    /// Adds a sparse package, which gets the id of the patch.
    pub fn package(mut self, package: Package) -> Self {
        self.packages.push(package.param("SUNW_PATCHID", &self.id));
        self
    }

    /// Sets a parameter of the package that was added last.
    pub fn says(mut self, name: &str, value: &str) -> Self {
        let package = self.packages.pop().expect("a package to speak of");
        self.packages.push(package.param(name, value));
        self
    }

    /// Adds a file beside the packages.
    pub fn beside(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Writes it as a directory beside the root, and returns the path.
    pub fn directory(&self, stage: &Scenario) -> PathBuf {
        self.write(&stage.beside("delivered"))
    }

    /// Writes it as a directory below another one, and returns the path.
    pub fn write(&self, into: &Path) -> PathBuf {
        let at = into.join(&self.id);
        fs::create_dir_all(&at).unwrap();
        for package in &self.packages {
            package.write(&at);
        }
        for (name, text) in &self.files {
            fs::write(at.join(name), text).unwrap();
        }
        at
    }

    /// Writes it as an archive in a directory, in the form that `suffix` names, and returns the path.
    pub fn pack(&self, into: &Path, suffix: &str) -> PathBuf {
        let directory = self.write(into);
        let archive = archive(&directory, suffix);
        fs::remove_dir_all(directory).unwrap();
        archive
    }
}

/// Makes a depot of these patches beside the root, each an archive, indexed in place, and returns the path.
pub fn indexed_depot(stage: &Scenario, patches: &[Patch]) -> PathBuf {
    let depot = stage.beside("delivered");
    for patch in patches {
        patch.pack(&depot, ".tar");
    }
    stage.run("depot index delivered").ok();
    depot
}

/// Packs the directory of a patch, in the form that `suffix` names, beside it, and returns the path.
pub fn archive(directory: &Path, suffix: &str) -> PathBuf {
    let at = PathBuf::from(format!("{}{suffix}", directory.display()));
    let bytes = match suffix {
        ".ds" => {
            packages::datastream(&package_directories(directory), &at);
            return at;
        }
        ".tar" => tar(directory),
        ".tar.gz" => gzip(&tar(directory)),
        ".tar.Z" => compressed(&tar(directory)),
        ".tar.bz2" => bzip2(&tar(directory)),
        ".tar.xz" => xz(&tar(directory)),
        ".tar.zst" => zstd(&tar(directory)),
        ".ds.bz2" => bzip2(&datastream(directory)),
        ".ds.xz" => xz(&datastream(directory)),
        ".ds.zst" => zstd(&datastream(directory)),
        ".zip" => zip(directory),
        other => panic!("no form of delivery is called {other}"),
    };
    fs::write(&at, bytes).unwrap();
    at
}

/// Returns the package directories of a patch, sorted.
fn package_directories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.join("pkgmap").exists()).collect();
    found.sort();
    found
}

/// Returns the files of a directory, with their names in an archive of it.
fn members(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let above = directory.parent().unwrap();
    packages::files(directory)
        .into_iter()
        .map(|name| directory.join(name))
        .map(|path| {
            (path.strip_prefix(above).unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

fn datastream(directory: &Path) -> Vec<u8> {
    fs::read(archive(directory, ".ds")).unwrap()
}

fn tar(directory: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members(directory) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(DELIVERED).unwrap());
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip(directory: &Path) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members(directory) {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = compress::CompressEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = patchadm_container::xz::XzEncoder::new(Vec::new()).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

impl Scenario {
    /// Installs these packages, and returns the root.
    #[must_use]
    #[track_caller]
    pub fn with(self, packages: &[Package]) -> Self {
        packages.iter().for_each(|package| self.install(package));
        self
    }

    /// Installs a package by pkgadd(1M).
    #[track_caller]
    pub fn install(&self, package: &Package) {
        let spool = self.beside("spool");
        let written = package.write(&spool);
        let name = written.file_name().unwrap().to_str().unwrap();
        let run = self.run(&format!("pkgadd -n -R @ROOT@ -d {} {name}", spool.display()));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }

    /// Applies a patch by patchadd(1M), with these options.
    pub fn patchadd(&self, options: &str, patch: &Patch) -> Run {
        self.run(&format!("patchadd {options} -R @ROOT@ {}", patch.directory(self).display()))
    }

    /// Returns the content of a file of the root, as text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
