//! Objects that a source describes and does not hold: those of undo data as files lie in undo directories of the root.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::Read;

use super::image::{Image, PackageImage};
use super::member::MemberStamp;
use super::objects::{ObjectHeader, Sink};
use super::{Source, SourceError, SourceProblem};
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_changeset::stored_file::{StoredFile, StoredFileError};
use patchadm_rootfs::{Dir, Interrupt, InterruptibleRead, ObjectStatus, Root, Sums};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// The stored objects of undo data.
#[derive(Debug)]
pub(crate) struct StoredContent {
    root: Root,
    files: BTreeMap<PackagePath, StoredFile>,
}

impl StoredContent {
    /// Finds the objects that a manifest names; `None` for undo data that holds its objects.
    pub(crate) fn of(root: &Root, manifest: &Manifest) -> Option<Self> {
        let directories = manifest.header.files.as_ref()?;
        let mut files = BTreeMap::new();
        for object in manifest.all_objects() {
            let member = object.member.as_ref().and_then(|member| PackagePath::new(&decode(member)).ok());
            let (Some(member), Some(stored)) = (member, object.stored_name()) else { continue };
            if let Some(directory) = directories.directory(stored.directory) {
                files.insert(member, StoredFile { directory, name: stored.name });
            }
        }
        Some(Self { root: root.clone(), files })
    }

    /// Reads all objects: the sums of each, by its path. A signal ends it with an error.
    pub(crate) fn sums(
        &self,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<(&PackagePath, Sums)>, StoredFileError> {
        let mut opened = OpenDirectories { root: &self.root, dirs: BTreeMap::new() };
        let mut all = Vec::with_capacity(self.files.len());
        for (path, file) in &self.files {
            let (content, _) = opened.open(file)?;
            let sums = Sums::of(&mut InterruptibleRead::new(content, interrupt));
            let sums = sums.map_err(|error| StoredFileError::Unreadable(file.name.clone(), error))?;
            all.push((path, sums));
        }
        Ok(all)
    }

    /// Returns the place of an object.
    pub(super) fn file(&self, path: &PackagePath) -> Option<&StoredFile> {
        self.files.get(path)
    }

    /// Gives the content of the wanted objects to `sink`, by path.
    pub(super) fn stream<E: From<SourceError>>(
        &self,
        source: &Source,
        image: &Image,
        wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let mut opened = OpenDirectories { root: &self.root, dirs: BTreeMap::new() };
        let files = image.packages.first().into_iter().flat_map(PackageImage::files);
        for path in files.map(|entry| &entry.path).filter(|path| wanted(0, path)) {
            let failed = |reason: String| {
                let package = image.packages.first().map_or("", |package| &package.directory);
                source.error(SourceProblem::corrupt(package, path.to_string(), reason))
            };
            let missing = || failed("the undo data does not say where it is".to_owned());
            let file = self.files.get(path).ok_or_else(missing)?;
            let (mut content, seen) = opened.open(file).map_err(|error| failed(error.to_string()))?;
            let stamp = MemberStamp { mode: seen.mode.bits(), mtime: seen.mtime.seconds };
            let header = ObjectHeader { size: seen.size, stamp };
            sink(0, path, header, &mut content as &mut dyn Read)?;
        }
        Ok(())
    }
}

/// Undo directories that are open.
struct OpenDirectories<'a> {
    root: &'a Root,
    dirs: BTreeMap<&'a ObjectPath, Dir>,
}

impl<'a> OpenDirectories<'a> {
    fn open(&mut self, file: &'a StoredFile) -> Result<(File, ObjectStatus), StoredFileError> {
        let directory = match self.dirs.entry(&file.directory) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(file.open_directory(self.root)?),
        };
        file.open_in(directory)
    }
}
