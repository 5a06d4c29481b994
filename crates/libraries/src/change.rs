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

/// The origin of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateOrigin {
    /// The change removes it.
    TakenAway,
    /// It is kept already.
    Kept,
    /// It is in an undo archive that is being restored.
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
    /// The reason why it cannot stay, if known in advance.
    pub obstacle: Option<Obstacle>,
}

/// The reason a library cannot stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Another object is at its path after the change, or on the way to it.
    PathTaken,
    /// Another consumer would find it before the library that it needs.
    Shadows,
    /// A script of the change removes it.
    ByScript,
    /// The patch forbids it.
    Forbidden,
    /// The user did not ask to keep libraries.
    NotAsked,
}

impl Obstacle {
    /// Returns true if only a choice keeps the library from staying.
    pub(super) const fn is_choice(self) -> bool {
        matches!(self, Self::Forbidden | Self::NotAsked)
    }

    /// Returns the word for it in reports.
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

/// The reason why an object counts as a consumer, apart from its own needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherSource {
    /// A process has it mapped.
    Mapped(u32),
    /// The policy names it.
    Policy,
}

/// A consumer of a library, apart from those whose files need it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherConsumer {
    /// The program, or the library itself if the policy names it.
    pub path: ObjectPath,
    /// The reason why it counts.
    pub source: OtherSource,
}

/// How a consumer needs a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerSource {
    /// The file itself or the loader's settings name the need.
    File(NeedSource),
    /// Otherwise.
    Other(OtherSource),
}

/// An object that needs a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer {
    /// Its path.
    pub path: ObjectPath,
    /// The way in which it needs the library.
    pub source: ConsumerSource,
}

/// Reads symbols on demand.
pub trait SymbolSource {
    /// Returns the symbols of a program or library; `None` if they cannot be read, in which case nothing counts as
    /// missing.
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>>;
}

/// A change as the decision sees it.
#[derive(Clone, Copy)]
pub struct LibraryChange<'a> {
    /// The tree before the change, with libraries kept earlier.
    pub before: &'a LibraryTree,
    /// The tree after the change, without any candidate.
    pub after: &'a LibraryTree,
    /// The settings after the change.
    pub settings: &'a LoaderSettings,
    /// The candidates.
    pub candidates: &'a BTreeMap<ObjectPath, Candidate>,
    /// The objects that the change installs: their needs count even if they were not met before.
    pub brought: &'a BTreeSet<ObjectPath>,
    /// Needs that were not met when the patch to be backed out was applied: consumer and name.
    pub unserved: &'a BTreeSet<(ObjectPath, String)>,
    /// The consumers of each candidate, apart from those whose files need it.
    pub others: &'a BTreeMap<ObjectPath, BTreeSet<OtherConsumer>>,
    /// The reader of symbols.
    pub symbols: &'a dyn SymbolSource,
    /// The signal that asks for the end. After it, the decision is meaningless.
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
