//! Directories that go: measured, moved out of their places, and taken apart.

use std::collections::HashMap;

use patchadm_rootfs::{Dir, FileType, RootError};

use crate::task::place::remove_all;
use crate::tree_walk::each_below;
use crate::work::PROGRAM;

/// Some directories below one, that go.
pub(super) struct Removal {
    dir: Dir,
    /// Their paths below it, component by component.
    paths: Vec<Vec<String>>,
}

/// The space of files that go. A file that keeps another name elsewhere frees nothing.
#[derive(Debug, Default)]
pub(super) struct FreedSpace {
    bytes: u64,
    /// Files with several names: how many of them have not gone, and the bytes.
    shared: HashMap<((u32, u32), u64), (u64, u64)>,
}

impl Removal {
    pub(super) fn below(dir: Dir) -> Self {
        Self { dir, paths: Vec::new() }
    }

    /// Adds what lies under a path, or a file.
    pub(super) fn add(&mut self, path: &[&str]) {
        self.paths.push(path.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Measures what goes.
    pub(super) fn measure(&self, space: &mut FreedSpace) -> Result<(), RootError> {
        for path in &self.paths {
            if let Some((name, above)) = path.split_last() {
                space.add(&self.above(above)?, name.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Removes it all. Each object leaves its place by a rename first: nobody finds a half one under its name.
    pub(super) fn carry_out(self) -> Result<(), RootError> {
        if self.paths.is_empty() {
            return Ok(());
        }
        // What stays under this name after a crash is removed as a leftover.
        self.dir.remove_leftovers(PROGRAM)?;
        let (private, gone) = self.dir.make_private(PROGRAM)?;
        let moved = self.paths.iter().enumerate().try_for_each(|(number, path)| {
            let Some((name, above)) = path.split_last() else { return Ok(()) };
            let from = self.above(above)?;
            from.move_to(name.as_bytes(), &gone, number.to_string().as_bytes())?;
            match above {
                [only] if from.names()?.is_empty() => self.dir.remove_dir(only.as_bytes()).map(drop),
                _ => Ok(()),
            }
        });
        let removed = remove_all(&self.dir, &private);
        moved.and(removed)?;
        self.dir.sync()
    }

    fn above(&self, path: &[String]) -> Result<Dir, RootError> {
        path.iter().try_fold(self.dir.again()?, |dir, name| dir.dir(name.as_bytes()))
    }
}

impl FreedSpace {
    /// Returns the bytes that are free when all has gone.
    pub(super) fn bytes(&self) -> u64 {
        let shared = self.shared.values().filter(|(left, _)| *left == 0).map(|(_, bytes)| bytes);
        self.bytes + shared.sum::<u64>()
    }

    /// Adds an object with all below it. What may not be read is not counted.
    fn add(&mut self, dir: &Dir, name: &[u8]) -> Result<(), RootError> {
        if !self.is_directory(dir, name)? {
            return Ok(());
        }
        let Ok(top) = dir.dir(name) else { return Ok(()) };
        each_below(&top, |above, name, _| {
            let is_directory = self.is_directory(above, name)?;
            Ok(is_directory && above.dir(name).and_then(|dir| dir.names()).is_ok())
        })
    }

    /// Adds one object; tells whether it is a directory.
    fn is_directory(&mut self, dir: &Dir, name: &[u8]) -> Result<bool, RootError> {
        let Some(seen) = dir.look(name)? else { return Ok(false) };
        if seen.file_type == FileType::Regular && seen.links > 1 {
            let key = (seen.file_system, seen.inode.number);
            let (left, _) = self.shared.entry(key).or_insert((seen.links, seen.allocated));
            *left = left.saturating_sub(1);
        } else {
            self.bytes += seen.allocated;
        }
        Ok(seen.file_type == FileType::Directory)
    }
}
