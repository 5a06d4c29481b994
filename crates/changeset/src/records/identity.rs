//! A root's identity: a marker of 16 random hexadecimal digits, kept in `var/sadm/patchadm/root-id` and the journal's
//! header; either restores the other. Undo archives and stages also carry it.

use crate::format::escaped::is_hex;
use patchadm_rootfs::{Dir, FileType, Root, RootError};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::places::own_directory;

pub(crate) const NAME: &[u8] = b"root-id";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootId {
    Missing,
    Damaged,
    Marker(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootIdentity {
    New,
    /// `false` if only the journal's header has it.
    Known(String, bool),
    Two(String, String),
    Lost,
}

/// Nothing may be changed in the root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    #[error("{journal} belongs to the root {header}, and {root_id} names the root {marker}")]
    Two { journal: String, header: String, root_id: String, marker: String },
    #[error("the identity of this root is lost: {root_id} and {journal} are missing or damaged")]
    Lost { journal: String, root_id: String },
}

impl RootId {
    pub(crate) fn in_own(own: &Dir) -> Result<Self, RootError> {
        let Some(seen) = own.look(NAME)? else { return Ok(Self::Missing) };
        if seen.file_type != FileType::Regular || seen.size > LARGEST_ROOT_ID {
            return Ok(Self::Damaged);
        }
        let Some(bytes) = own.read_regular(NAME, LARGEST_ROOT_ID)? else { return Ok(Self::Missing) };
        Ok(parse_root_id(&bytes).map_or(Self::Damaged, Self::Marker))
    }

    pub(crate) fn of(root: &Root) -> Result<Self, RootError> {
        let directory = root.resolver().locate_dir(&own_directory())?;
        root.dir_if_there(&directory)?.map_or(Ok(Self::Missing), |own| Self::in_own(&own))
    }

    pub(crate) fn marker(self) -> Option<String> {
        match self {
            Self::Marker(marker) => Some(marker),
            Self::Missing | Self::Damaged => None,
        }
    }
}

impl RootIdentity {
    pub(crate) fn of(own: &Dir, header: Option<String>) -> Result<Self, RootError> {
        Ok(match (header, RootId::in_own(own)?) {
            (Some(header), RootId::Marker(marker)) if header != marker => Self::Two(header, marker),
            (_, RootId::Marker(marker)) => Self::Known(marker, true),
            (Some(header), _) => Self::Known(header, false),
            (None, _) if has_runs(own)? => Self::Lost,
            (None, _) => Self::New,
        })
    }

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

fn has_runs(own: &Dir) -> Result<bool, RootError> {
    if own.look(b"history")?.is_some_and(|seen| seen.size > 0) {
        return Ok(true);
    }
    match own.look(b"ledger")? {
        Some(seen) if seen.file_type == FileType::Directory => Ok(!own.dir(b"ledger")?.names()?.is_empty()),
        _ => Ok(false),
    }
}

/// In bytes.
pub(crate) const LARGEST_ROOT_ID: u64 = 4096;

/// `None` for anything but one line as of [`root_id_text()`].
pub fn parse_root_id(bytes: &[u8]) -> Option<String> {
    let marker = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    holds("root-id.marker", is_hex(marker, 16)).then(|| marker.to_owned())
}

pub fn root_id_text(marker: &str) -> Vec<u8> {
    format!("{marker}\n").into_bytes()
}

pub fn marker_of(random: u64) -> String {
    format!("{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_line_of_sixteen_digits_is_an_identity_and_nothing_else() {
        assert_eq!(parse_root_id(b"00112233445566ff\n").as_deref(), Some("00112233445566ff"));
        for bad in ["", "\n", "00112233445566ff", "00112233445566FF\n", "0011\n", "00112233445566ff\n\n"] {
            assert_eq!(parse_root_id(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_root_id(&[0; 17]), None);
    }

    proptest! {
        #[test]
        fn any_marker_comes_back(number: u64) {
            prop_assert_eq!(parse_root_id(&root_id_text(&marker_of(number))), Some(marker_of(number)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse_root_id(&bytes);
        }
    }
}
