//! Packages and patches in directory form, and plain trees of the same files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use patchadm_svr4::package::checksum;

use crate::workload::{File, NEW, OLD, Version, Workload};

/// The package of the workload, and the patch to it.
pub(crate) const PACKAGE: &str = "ACMEbase";
pub(crate) const PATCH: &str = "100001-01";

/// A package that is being written.
pub(crate) struct PackageWriter {
    directory: PathBuf,
    params: String,
    lines: Vec<String>,
    bytes: usize,
    parents: Parents,
}

/// Parent directories of files. Each is made once.
#[derive(Default)]
pub(crate) struct Parents(BTreeSet<PathBuf>);

impl Parents {
    /// Makes the parent directory of `target`.
    pub(crate) fn make(&mut self, target: &Path) -> Result<()> {
        let parent = target.parent().context("a file has a directory")?.to_owned();
        if self.0.insert(parent.clone()) {
            fs::create_dir_all(parent)?;
        }
        Ok(())
    }
}

impl PackageWriter {
    /// Begins a package called `package` below `parent`.
    pub(crate) fn new(parent: &Path, package: &str) -> Result<Self> {
        let directory = parent.join(package);
        fs::create_dir_all(directory.join("install"))?;
        let params = format!(
            "PKG={package}\nNAME=Acme {package}\nARCH=all\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\n\
             CLASSES=none\n"
        );
        Ok(Self { directory, params, lines: Vec::new(), bytes: 0, parents: Parents::default() })
    }

    /// Begins the sparse package of a patch, below the directory of the patch.
    pub(crate) fn of_patch(parent: &Path, patch: &str, package: &str) -> Result<Self> {
        let mut writer = Self::new(&parent.join(patch), package)?;
        writer.params += &format!(
            "SUNW_PATCHID={patch}\nSUNW_OBSOLETES=\nSUNW_REQUIRES=\nSUNW_INCOMPAT=\nPatch_label={patch}\n\
             Obsoletes_label=\n"
        );
        Ok(writer)
    }

    /// Adds a directory that belongs to the package.
    pub(crate) fn directory(&mut self, path: &str) {
        self.lines.push(format!("1 d none {path} 0755 root root"));
    }

    /// Adds a file with its content.
    pub(crate) fn file(&mut self, path: &str, content: &[u8], mtime: u64) -> Result<()> {
        let target = self.directory.join("reloc").join(path);
        self.parents.make(&target)?;
        write_file(&target, content, mtime)?;
        self.file_line(path, content, mtime);
        Ok(())
    }

    /// Adds a file as a hard link to a file of another package.
    pub(crate) fn linked(&mut self, path: &str, from: &Path, mtime: u64) -> Result<()> {
        let target = self.directory.join("reloc").join(path);
        self.parents.make(&target)?;
        fs::hard_link(from, &target)?;
        self.file_line(path, &fs::read(from)?, mtime);
        Ok(())
    }

    fn file_line(&mut self, path: &str, content: &[u8], mtime: u64) {
        let (size, sum) = (content.len(), checksum::sum(content));
        self.lines.push(format!("1 f none {path} 0644 root root {size} {sum} {mtime}"));
        self.bytes += size;
    }

    /// Adds an information file: a script, or `deletes`.
    pub(crate) fn information(&mut self, name: &str, content: &[u8]) -> Result<()> {
        fs::write(self.directory.join("install").join(name), content)?;
        self.lines.push(format!("1 i {name} {} {} {OLD}", content.len(), checksum::sum(content)));
        Ok(())
    }

    /// Writes pkginfo and pkgmap.
    pub(crate) fn finish(mut self) -> Result<()> {
        let params = self.params.as_bytes();
        fs::write(self.directory.join("pkginfo"), params)?;
        self.lines.push(format!("1 i pkginfo {} {} {OLD}", params.len(), checksum::sum(params)));
        self.lines.sort_by(|one, other| one.split(' ').nth(3).cmp(&other.split(' ').nth(3)));
        let map = format!(": 1 {}\n{}\n", self.bytes / 512 + 1, self.lines.join("\n"));
        fs::write(self.directory.join("pkgmap"), map)?;
        Ok(())
    }
}

/// Writes the base of a workload as a package below `parent`.
pub(crate) fn write_base(parent: &Path, files: &[File]) -> Result<()> {
    let mut package = PackageWriter::new(parent, PACKAGE)?;
    for directory in directories(files) {
        package.directory(&directory);
    }
    for file in files {
        package.file(&file.path, &file.content(Version::Old)?, OLD)?;
    }
    package.finish()
}

/// Writes the patch of a workload below `parent`.
pub(crate) fn write_patch(parent: &Path, workload: &Workload) -> Result<()> {
    let mut package = PackageWriter::of_patch(parent, PATCH, PACKAGE)?;
    for directory in directories(&workload.added).difference(&directories(&workload.files)) {
        package.directory(directory);
    }
    for file in workload.delivered() {
        package.file(&file.path, &file.content(Version::New)?, NEW)?;
    }
    let deletes: String = workload.gone().map(|file| format!("/{}\n", file.path)).collect();
    package.information("deletes", deletes.as_bytes())?;
    package.finish()
}

/// Writes these files as a plain tree.
pub(crate) fn write_tree(root: &Path, files: &[(&File, Version)]) -> Result<()> {
    let mut parents = Parents::default();
    for (file, version) in files {
        let target = root.join(&file.path);
        parents.make(&target)?;
        let mtime = if *version == Version::Old { OLD } else { NEW };
        write_file(&target, &file.content(*version)?, mtime)?;
    }
    Ok(())
}

/// Returns all directories between the root and some files, parents first.
pub(crate) fn directories(files: &[File]) -> BTreeSet<String> {
    let parents = files.iter().flat_map(|file| Path::new(&file.path).ancestors().skip(1));
    parents.map(|path| path.display().to_string()).filter(|path| !path.is_empty()).collect()
}

fn write_file(path: &Path, content: &[u8], mtime: u64) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    let file = fs::File::options().write(true).open(path)?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))?;
    Ok(())
}
