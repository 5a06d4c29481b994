//! The identity of a root, kept twice: in `root-id` and in the header of the journal. Either restores the other.

use crate::format::root_id;
use patchadm_rootfs::{Dir, FileType, Root, RootError};
use patchadm_svr4::places::own_directory;

/// The name of the file.
pub(crate) const NAME: &[u8] = b"root-id";

/// The content of `root-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootId {
    /// The file is missing.
    Missing,
    /// The file exists but contains no marker.
    Damaged,
    /// The marker.
    Marker(String),
}

/// The identity of a root according to both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootIdentity {
    /// No marker, and no run was ever made.
    New,
    /// This marker; `false` if only the header of the journal has it.
    Known(String, bool),
    /// Two markers: that of the header, that of the file.
    Two(String, String),
    /// No marker, although runs were made.
    Lost,
}

/// A fault in the identity of a root: nothing may be changed in the root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// The journal names one marker, `root-id` another.
    #[error("{journal} is of the root {header}, and {root_id} names the root {marker}")]
    Two {
        /// The path of the journal.
        journal: String,
        /// The marker in its header.
        header: String,
        /// The path of `root-id`.
        root_id: String,
        /// The marker in it.
        marker: String,
    },
    /// Neither has a marker, although runs were made.
    #[error("the identity of this root is lost: {root_id} and {journal} are missing or damaged")]
    Lost {
        /// The path of the journal.
        journal: String,
        /// The path of `root-id`.
        root_id: String,
    },
}

impl RootId {
    /// Reads the file in the directory of our own files.
    pub(crate) fn in_own(own: &Dir) -> Result<Self, RootError> {
        let Some(seen) = own.look(NAME)? else { return Ok(Self::Missing) };
        if seen.file_type != FileType::Regular || seen.size > root_id::LARGEST {
            return Ok(Self::Damaged);
        }
        let Some(bytes) = own.read_regular(NAME, root_id::LARGEST)? else { return Ok(Self::Missing) };
        Ok(root_id::parse(&bytes).map_or(Self::Damaged, Self::Marker))
    }

    /// Reads the file of a root.
    pub(crate) fn of(root: &Root) -> Result<Self, RootError> {
        let directory = root.resolver().locate_dir(&own_directory())?;
        root.dir_if_there(&directory)?.map_or(Ok(Self::Missing), |own| Self::in_own(&own))
    }

    /// Returns the marker.
    pub(crate) fn marker(self) -> Option<String> {
        match self {
            Self::Marker(marker) => Some(marker),
            Self::Missing | Self::Damaged => None,
        }
    }
}

impl RootIdentity {
    /// Compares the marker in the header of the journal, if there is a journal, with the file in `own`.
    pub(crate) fn of(own: &Dir, header: Option<String>) -> Result<Self, RootError> {
        Ok(match (header, RootId::in_own(own)?) {
            (Some(header), RootId::Marker(marker)) if header != marker => Self::Two(header, marker),
            (_, RootId::Marker(marker)) => Self::Known(marker, true),
            (Some(header), _) => Self::Known(header, false),
            (None, _) if has_runs(own)? => Self::Lost,
            (None, _) => Self::New,
        })
    }

    /// Returns the fault, if there is one.
    pub(crate) fn fault(self, own: &Dir) -> Option<IdentityFault> {
        let show = |name: &[u8]| own.root().show(&own.at(name));
        let (journal, root_id) = (show(b"journal"), show(NAME));
        match self {
            Self::Two(header, marker) => Some(IdentityFault::Two { journal, header, root_id, marker }),
            Self::Lost => Some(IdentityFault::Lost { journal, root_id }),
            Self::New | Self::Known(..) => None,
        }
    }
}

/// Tells whether a run of this program ever ended in a root: each writes a line of the history, and most a ledger.
fn has_runs(own: &Dir) -> Result<bool, RootError> {
    if own.look(b"history")?.is_some_and(|seen| seen.size > 0) {
        return Ok(true);
    }
    match own.look(b"ledger")? {
        Some(seen) if seen.file_type == FileType::Directory => Ok(!own.dir(b"ledger")?.names()?.is_empty()),
        _ => Ok(false),
    }
}
