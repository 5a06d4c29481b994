//! The names of files with several names, found once when many patches are planned against one inventory.

use std::collections::BTreeSet;

use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{Ftype, ObjectPath};

use super::Inventory;

/// The paths of an inventory at which a file may have another name. Without them all paths are looked through.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    /// Those of recorded hard links.
    recorded: BTreeSet<ObjectPath>,
    /// Those of objects that are one of several names of a file.
    live: BTreeSet<ObjectPath>,
}

/// Tells whether an object is one of several names of a file.
pub fn has_names(live: &Live) -> bool {
    live.links > 1 && !matches!(live.kind, LiveKind::Directory)
}

impl Inventory {
    /// Returns the recorded hard links, in the order of their paths.
    pub fn recorded_links(&self) -> Box<dyn Iterator<Item = &ObjectPath> + '_> {
        match &self.names {
            Some(names) => Box::new(names.recorded.iter()),
            None => Box::new(self.lines.keys().filter(|path| self.is_recorded_link(path))),
        }
    }

    /// Returns the objects that are one of several names of a file, in the order of their paths.
    pub fn objects_with_names(&self) -> Box<dyn Iterator<Item = (&ObjectPath, &Live)> + '_> {
        match &self.names {
            Some(names) => Box::new(names.live.iter().filter_map(|path| self.live.get_key_value(path))),
            None => Box::new(self.live.iter().filter(|(_, live)| has_names(live))),
        }
    }

    /// Finds the names once for all. A caller that changes lines or objects afterwards reports it
    /// ([`Self::name_changed`]).
    pub fn find_names(&mut self) {
        let recorded = self.recorded_links().cloned().collect();
        let live = self.objects_with_names().map(|(path, _)| path.clone()).collect();
        self.names = Some(FileNames { recorded, live });
    }

    /// Takes the change of a line or object into the names that were found.
    pub fn name_changed(&mut self, path: &ObjectPath) {
        let (is_link, has_names) = (self.is_recorded_link(path), self.live.get(path).is_some_and(has_names));
        let Some(names) = &mut self.names else { return };
        for (set, is_in) in [(&mut names.recorded, is_link), (&mut names.live, has_names)] {
            if is_in {
                set.insert(path.clone());
            } else {
                set.remove(path);
            }
        }
    }

    fn is_recorded_link(&self, path: &ObjectPath) -> bool {
        self.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
    }
}
