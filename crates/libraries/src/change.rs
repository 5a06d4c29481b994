use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::loading::NeedSource;
use super::settings::LoaderSettings;
use super::tree::{LibraryFile, LibraryTree};
use crate::elf::ElfSymbols;
use crate::tree::DifferingPaths;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateOrigin {
    TakenAway,
    Kept,
    /// In an undo archive that is being restored.
    Archived,
}

#[derive(Clone, Debug)]
pub enum CandidateNode {
    File(Arc<LibraryFile>),
    Link(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct LibraryCandidate {
    pub node: CandidateNode,
    pub origin: CandidateOrigin,
    /// Set if it is known in advance that the candidate cannot stay.
    pub obstacle: Option<Obstacle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Another object is at its path after the change, or on the way to it.
    PathTaken,
    /// Another consumer would find it before the library that it needs.
    Shadows,
    ByScript,
    Forbidden,
    NotAsked,
}

impl Obstacle {
    /// Returns true if only a choice keeps the library from staying.
    pub(super) const fn is_choice(self) -> bool {
        matches!(self, Self::Forbidden | Self::NotAsked)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::PathTaken => "path-taken",
            Self::Shadows => "shadows",
            Self::ByScript => "by-script",
            Self::Forbidden => "forbidden",
            Self::NotAsked => "not-asked",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherSource {
    /// A process with this number has it mapped.
    Mapped(u32),
    Policy,
}

/// A consumer whose file does not need the library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherConsumer {
    /// The program, or the library itself if the policy names it.
    pub path: ObjectPath,
    pub source: OtherSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerSource {
    /// The file itself or the loader's settings name the need.
    File(NeedSource),
    Other(OtherSource),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer {
    pub path: ObjectPath,
    pub source: ConsumerSource,
}

pub trait SymbolSource {
    /// Returns `None` if the symbols cannot be read: then nothing counts as missing.
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>>;
}

#[derive(Clone, Copy)]
pub struct LibraryChange<'a> {
    /// With libraries kept earlier.
    pub before: &'a LibraryTree,
    /// Without any candidate.
    pub after: &'a LibraryTree,
    pub settings: &'a LoaderSettings,
    pub candidates: &'a BTreeMap<ObjectPath, LibraryCandidate>,
    /// Objects that the change installs. Their needs count even if they were not met before.
    pub brought: &'a BTreeSet<ObjectPath>,
    /// Consumer and name of needs that were not met when the patch to be backed out was applied.
    pub unserved: &'a BTreeSet<(ObjectPath, String)>,
    /// Consumers of each candidate whose files do not need it.
    pub others: &'a BTreeMap<ObjectPath, BTreeSet<OtherConsumer>>,
    pub symbols: &'a dyn SymbolSource,
    /// After a signal, the decision is meaningless.
    pub interrupt: Interrupt<'a>,
}

impl LibraryChange<'_> {
    pub(super) fn is_kept_already(&self, path: &ObjectPath) -> bool {
        self.candidates.get(path).is_some_and(|candidate| candidate.origin == CandidateOrigin::Kept)
    }

    pub(super) fn with(&self, chosen: impl Fn(&ObjectPath) -> bool) -> LibraryTree {
        let mut tree = self.after.clone();
        for (path, candidate) in self.candidates.iter().filter(|(path, _)| chosen(path)) {
            match &candidate.node {
                CandidateNode::File(file) => tree.put_file(path.clone(), file.clone()),
                CandidateNode::Link(target) => tree.put_link(path.clone(), target),
            }
        }
        tree
    }

    /// Returns the paths at which the trees of the change differ, with and without candidates.
    pub(super) fn differences(&self) -> DifferingPaths {
        let paths =
            self.before.unlike(self.after).into_iter().chain(self.candidates.keys()).chain(self.brought);
        let mut differences = DifferingPaths::default();
        for path in paths {
            let candidate = match self.candidates.get(path).map(|candidate| &candidate.node) {
                Some(CandidateNode::File(file)) => Some(file),
                _ => None,
            };
            let files = [self.before.file_at(path), self.after.file_at(path), candidate];
            differences.add(path, files.into_iter().flatten().map(Arc::as_ref));
        }
        differences
    }
}
