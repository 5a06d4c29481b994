//! A change of programs and libraries as the decision sees it: trees, candidates and consumers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::loading::NeedSource;
use super::settings::LoaderSettings;
use super::tree::{LibraryFile, LibraryTree};
use crate::elf::ElfSymbols;
use crate::tree::Differences;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateOrigin {
    /// The change takes it away.
    TakenAway,
    /// It is kept already.
    Kept,
    /// An undo archive that is being restored has it.
    Archived,
}

/// The kind of a candidate.
#[derive(Clone, Debug)]
pub enum CandidateNode {
    /// A library.
    File(Arc<LibraryFile>),
    /// A link with its target.
    Link(Vec<u8>),
}

/// An object that may stay.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its kind.
    pub node: CandidateNode,
    /// Its origin.
    pub origin: CandidateOrigin,
    /// Why it cannot stay, where that is known.
    pub obstacle: Option<Obstacle>,
}

/// The reason a library cannot stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Something else is at its path after the change, or on the way to it.
    PathTaken,
    /// A consumer that does not need it would find it before the one that it needs.
    Shadows,
    /// A script of the change takes it away.
    ByScript,
    /// The patch forbids it.
    Forbidden,
    /// No one has asked to keep libraries.
    NotAsked,
}

impl Obstacle {
    /// Tells whether it is only a choice: nothing else stands in the way.
    pub(super) const fn is_wish(self) -> bool {
        matches!(self, Self::Forbidden | Self::NotAsked)
    }

    /// Returns the word that reports have for it.
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

/// The reason that something counts as a consumer of a library, apart from what files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherSource {
    /// A process has it mapped.
    Mapped(u32),
    /// The policy names it.
    Policy,
}

/// A consumer of a library, apart from those that files name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherConsumer {
    /// The program, or the library itself where the policy names it.
    pub path: ObjectPath,
    /// Why it counts.
    pub source: OtherSource,
}

/// How a consumer needs a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerSource {
    /// The file itself names the need, or the loader's settings do.
    File(NeedSource),
    /// Otherwise.
    Other(OtherSource),
}

/// An object that needs a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer {
    /// Its path.
    pub path: ObjectPath,
    /// How it needs it.
    pub source: ConsumerSource,
}

/// Where symbols are read, on demand.
pub trait SymbolSource {
    /// Returns the symbols of a program or library, or `None` if they cannot be read: then nothing is known to be missing.
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>>;
}

/// A change as the decision sees it.
#[derive(Clone, Copy)]
pub struct LibraryChange<'a> {
    /// The tree as it is, with what is kept.
    pub before: &'a LibraryTree,
    /// The tree as the change leaves it, without any candidate.
    pub after: &'a LibraryTree,
    /// The settings as the change leaves them.
    pub settings: &'a LoaderSettings,
    /// The candidates.
    pub candidates: &'a BTreeMap<ObjectPath, Candidate>,
    /// The objects that the change brings: their needs count whether or not they were met before.
    pub brought: &'a BTreeSet<ObjectPath>,
    /// Needs that were not met when the patch went in that is backed out: consumer and name.
    pub unserved: &'a BTreeSet<(ObjectPath, String)>,
    /// The consumers of each candidate apart from those that files name.
    pub others: &'a BTreeMap<ObjectPath, BTreeSet<OtherConsumer>>,
    /// Where symbols are read.
    pub symbols: &'a dyn SymbolSource,
    /// Returns the signal that asks for the end, if any: then the decision is none.
    pub interrupt: Interrupt<'a>,
}

impl LibraryChange<'_> {
    /// Tells whether a path is that of something that is kept already.
    pub(super) fn is_kept_already(&self, path: &ObjectPath) -> bool {
        self.candidates.get(path).is_some_and(|candidate| candidate.origin == CandidateOrigin::Kept)
    }

    /// Returns the tree with some of the candidates.
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

    /// Returns the paths at which the trees of a change differ, with and without candidates.
    pub(super) fn differences(&self) -> Differences {
        let paths =
            self.before.unlike(self.after).into_iter().chain(self.candidates.keys()).chain(self.brought);
        let mut differences = Differences::default();
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
