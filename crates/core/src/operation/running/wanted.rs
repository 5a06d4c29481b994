//! The files that are looked for among those of processes: what is at some paths, and what earlier runs replaced there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::files::UsedFile;
use super::replaced::{ReplacedFile, ReplacedFiles};
use patchadm_rootfs::{Inode, Root};
use patchadm_svr4::package::ObjectPath;

/// The files at some paths, now and before.
#[derive(Debug, Default)]
pub(in crate::operation) struct WantedFiles {
    by_inode: HashMap<Inode, Vec<ReplacedFile>>,
    /// The same by number alone, for files of which no more is known.
    by_number: HashMap<u64, BTreeSet<ObjectPath>>,
}

impl WantedFiles {
    /// Looks at the files at these physical paths, and adds those that were there.
    pub(in crate::operation) fn at<'p>(
        root: &Root,
        paths: impl IntoIterator<Item = &'p ObjectPath>,
        replaced: &ReplacedFiles,
    ) -> Self {
        let mut wanted = Self::default();
        let paths: BTreeSet<&ObjectPath> = paths.into_iter().collect();
        for path in &paths {
            if let Some(file) = ReplacedFile::at(root, (*path).clone()) {
                wanted.add(file);
            }
        }
        for file in replaced.0.iter().filter(|file| paths.contains(&file.path)) {
            wanted.by_number.entry(file.inode.number).or_default().insert(file.path.clone());
            wanted.add(file.clone());
        }
        wanted
    }

    /// Takes all files that earlier runs replaced, whatever their paths.
    pub(in crate::operation) fn replaced(replaced: &ReplacedFiles) -> Self {
        let mut wanted = Self::default();
        replaced.0.iter().cloned().for_each(|file| wanted.add(file));
        wanted
    }

    fn add(&mut self, file: ReplacedFile) {
        self.by_inode.entry(file.inode).or_default().push(file);
    }

    /// Tells whether nothing is looked for.
    pub(in crate::operation) fn is_empty(&self) -> bool {
        self.by_inode.is_empty()
    }

    /// Returns the paths at which a file is, or was.
    pub(in crate::operation) fn paths_of<'w>(
        &'w self,
        file: &'w UsedFile,
    ) -> Box<dyn Iterator<Item = &'w ObjectPath> + 'w> {
        match &file.status {
            Some(status) => {
                let found = self.by_inode.get(&status.inode).into_iter().flatten();
                Box::new(found.filter(|known| known.is(status)).map(|known| &known.path))
            }
            // Only a file that was replaced has no path.
            None if file.is_deleted => Box::new(self.by_number.get(&file.number).into_iter().flatten()),
            None => Box::new(std::iter::empty()),
        }
    }

    /// Returns the paths at which these files are, or were.
    pub(in crate::operation) fn used_by<'f>(
        &self,
        files: impl IntoIterator<Item = &'f UsedFile>,
    ) -> BTreeSet<ObjectPath> {
        files.into_iter().flat_map(|file| self.paths_of(file).cloned().collect::<Vec<_>>()).collect()
    }
}

/// Groups paths by the physical path that each leads to.
pub(in crate::operation) fn by_place<'p>(
    root: &Root,
    paths: impl IntoIterator<Item = &'p ObjectPath>,
) -> BTreeMap<ObjectPath, Vec<&'p ObjectPath>> {
    let resolver = root.resolver();
    let mut places: BTreeMap<ObjectPath, Vec<&ObjectPath>> = BTreeMap::new();
    for path in paths {
        let place = resolver.locate(path).unwrap_or_else(|_| path.clone());
        places.entry(place).or_default().push(path);
    }
    places
}
