//! The records of packages that a plan leaves: parameters, information files, save directories.

use std::sync::Arc;

use patchadm_svr4::places;

use super::ProjectedRoot;
use crate::plan::records::INSTALL_LOCK;
use crate::plan::{RecordChange, TreeContent, TreeFile};
use patchadm_changeset::RecordFile;
use patchadm_inputs::inventory::{Installed, Interruption, Save};
use patchadm_rootfs::{Inode, Live, LiveKind, Timestamp, Xattrs};
use patchadm_svr4::format::params;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

impl ProjectedRoot {
    /// Enters a record into the inventory.
    pub(in crate::plan::patch) fn record(&mut self, record: &RecordChange) {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                let file = RecordFile {
                    bytes: bytes.clone().into(),
                    mode: *mode,
                    mtime: mtime.unwrap_or(self.when),
                };
                self.written(path, file);
            }
            RecordChange::AddTree { path, files } => self.tree(path, files),
            RecordChange::Move { from, to } => {
                if let Some((save, _)) = self.in_save(from)
                    && let Ok(name) = std::str::from_utf8(to.name())
                {
                    save.archive = Some(name.to_owned());
                }
            }
            RecordChange::RemoveFile(path) => {
                if let Some((save, name)) = self.in_save(path) {
                    if name == b"obsoleted_by" {
                        save.obsoleted_by = None;
                    }
                } else if let Some((installed, name)) = self.in_package(path) {
                    if name == INSTALL_LOCK.as_bytes() {
                        installed.interruption = Interruption::default();
                    }
                    installed.records.remove(&name);
                }
            }
            RecordChange::RemoveTree(path) => self.tree_gone(path),
            // Lines of patches that are there are asked for, and those stay; no plan for a patch copies a record.
            RecordChange::Ledger(_) | RecordChange::Undo { .. } | RecordChange::Copy { .. } => {}
        }
    }

    fn written(&mut self, path: &ObjectPath, file: RecordFile) {
        if let Some((save, name)) = self.in_save(path) {
            match name.as_slice() {
                b"obsoleted_by" => save.obsoleted_by = Some(Arc::unwrap_or_clone(file.bytes)),
                b"remote" => save.remote = Some(Arc::unwrap_or_clone(file.bytes)),
                _ => {}
            }
            return;
        }
        let Some((package, name)) = split(path) else { return };
        let Some(installed) = self.inventory.packages.get_mut(&package) else { return };
        if name == b"pkginfo"
            && let Ok(params) = params::read(&file.bytes)
        {
            installed.params = params;
        }
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = ends.filter_map(|end| name.get(..end)).filter(|above| *above != b"save");
        installed.directories.extend(above.map(<[u8]>::to_vec));
        installed.records.insert(name, file);
    }

    /// A package whose directory comes with these files.
    fn new_package(&mut self, package: PkgInst, directory: &ObjectPath, files: &[TreeFile]) {
        let is_directory = |file: &&TreeFile| matches!(file.content, TreeContent::Directory);
        let directories = files.iter().filter(is_directory).map(|file| file.name.clone()).collect();
        self.inventory.packages.insert(package, Installed { directories, ..Installed::default() });
        for file in files {
            if let (TreeContent::Bytes(bytes), Ok(path)) = (&file.content, directory.join(&file.name)) {
                let mtime = file.mtime.unwrap_or(self.when);
                self.written(&path, RecordFile { bytes: bytes.clone().into(), mode: file.mode, mtime });
            }
        }
    }

    fn tree(&mut self, path: &ObjectPath, files: &[TreeFile]) {
        if let Some(package) = package_of(path) {
            return self.new_package(package, path, files);
        }
        let Some((package, name)) = split(path) else {
            self.numbered += 1;
            let inode = Inode { number: u64::MAX - self.numbered, born: None };
            self.inventory.live.insert(path.clone(), directory(inode, self.when));
            return;
        };
        let id = name.strip_prefix(b"save/").and_then(|id| std::str::from_utf8(id).ok());
        let (Some(id), Some(installed)) = (id, self.inventory.packages.get_mut(&package)) else { return };
        let mut save = Save::default();
        for file in files {
            match &file.content {
                TreeContent::Undo(_) => save.archive = String::from_utf8(file.name.clone()).ok(),
                TreeContent::Bytes(bytes) if file.name == b"remote" => save.remote = Some(bytes.clone()),
                TreeContent::Manifest(_) => save.has_manifest = true,
                TreeContent::Bytes(_)
                | TreeContent::AroundRun(..)
                | TreeContent::Copied(_)
                | TreeContent::UndoDigest(_)
                | TreeContent::Directory => {}
            }
        }
        installed.saves.insert(id.to_owned(), save);
    }

    /// A directory of records that goes: that of a patch, or one in the directory of a package.
    fn tree_gone(&mut self, path: &ObjectPath) {
        let Some((installed, name)) = self.in_package(path) else {
            self.inventory.live.remove(path);
            return;
        };
        if let Some(id) = name.strip_prefix(b"save/").and_then(|id| std::str::from_utf8(id).ok()) {
            installed.saves.remove(id);
        }
        let is_in = |other: &[u8]| other.strip_prefix(&name[..]).is_some_and(|rest| rest.starts_with(b"/"));
        installed.records.retain(|other, _| !is_in(other));
        installed.directories.retain(|other| *other != name && !is_in(other));
    }

    fn in_package(&mut self, path: &ObjectPath) -> Option<(&mut Installed, Vec<u8>)> {
        let (package, name) = split(path)?;
        Some((self.inventory.packages.get_mut(&package)?, name))
    }

    /// The save directory that a file is in, and its name there.
    fn in_save(&mut self, path: &ObjectPath) -> Option<(&mut Save, Vec<u8>)> {
        let (installed, name) = self.in_package(path)?;
        let (id, file) = in_save(&name)?;
        Some((installed.saves.get_mut(std::str::from_utf8(id).ok()?)?, file.to_vec()))
    }
}

/// The package whose directory this is.
fn package_of(path: &ObjectPath) -> Option<PkgInst> {
    let name = path.as_bytes().strip_prefix(places::BELOW_PACKAGES.as_bytes())?;
    PkgInst::new(std::str::from_utf8(name).ok()?).ok()
}

/// A path in the directory of a package: the package, and the name there.
fn split(path: &ObjectPath) -> Option<(PkgInst, Vec<u8>)> {
    let rest = path.as_bytes().strip_prefix(places::BELOW_PACKAGES.as_bytes())?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    let package = PkgInst::new(std::str::from_utf8(rest.get(..end)?).ok()?).ok()?;
    Some((package, rest.get(end + 1..)?.to_vec()))
}

/// A file directly in a save directory: the name of the directory, and its own.
fn in_save(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = name.strip_prefix(b"save/")?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    let (id, file) = (rest.get(..end)?, rest.get(end + 1..)?);
    (id != b"pspool").then_some((id, file))
}

fn directory(inode: Inode, when: Timestamp) -> Live {
    Live {
        kind: LiveKind::Directory,
        mode: Mode::of(0o755),
        uid: 0,
        gid: 0,
        mtime: when,
        ctime: when,
        inode,
        links: 2,
        xattrs: Xattrs::new(),
        obstacle: None,
    }
}
