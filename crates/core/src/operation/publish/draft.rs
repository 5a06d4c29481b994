//! The next index of a depot, while patches are entered into it.

use std::path::PathBuf;

use chrono::Days;

use super::store::StoredIndex;
use super::work::PatchToPublish;
use super::{PublishError, PublishReport, PublishRequest};
use crate::depot::DepotIndex;
use patchadm_rootfs::{RootError, random};

/// An index that is one version ahead of the one in place.
pub(super) struct IndexDraft {
    pub(super) index: DepotIndex,
    before: Option<StoredIndex>,
    added: Vec<String>,
    kept: Vec<String>,
}

impl IndexDraft {
    /// Begins the index after the one in place, or the first of a depot with a new name.
    pub(super) fn after(
        before: Option<StoredIndex>,
        request: &PublishRequest<'_>,
    ) -> Result<Self, PublishError> {
        let mut index = match &before {
            Some(stored) => stored.index.clone(),
            None => DepotIndex::new(new_name()?, request.now),
        };
        index.version = index.version.checked_add(1).ok_or(PublishError::NoVersion)?;
        index.date = request.now;
        index.expires = request.expires.and_then(|days| request.now.checked_add_days(Days::new(days.into())));
        index.previous = before.as_ref().map(|stored| stored.sha256.clone());
        Ok(Self { index, before, added: Vec::new(), kept: Vec::new() })
    }

    /// Takes an index that is in place already.
    pub(super) fn finished(index: DepotIndex) -> Self {
        Self { index, before: None, added: Vec::new(), kept: Vec::new() }
    }

    /// Enters patches. One that is there with the same bytes stays as it is, but for a signature that it did not have;
    /// with other bytes it is refused.
    pub(super) fn enter(&mut self, patches: &[PatchToPublish]) -> Result<(), PublishError> {
        for patch in patches {
            match self.index.patch(&patch.id) {
                Some(there) if there.sha256 != patch.entry.sha256 => {
                    return Err(PublishError::OtherBytes { id: patch.id.clone() });
                }
                Some(there) if there.signature.is_some() || patch.entry.signature.is_none() => {
                    self.kept.push(there.id.clone());
                }
                _ => {
                    self.added.push(patch.entry.id.clone());
                    self.index.enter(patch.id.clone(), patch.entry.clone());
                }
            }
        }
        Ok(())
    }

    /// The report of a publication that has nothing to add to an index that is in place.
    pub(super) fn unchanged(&self) -> Option<PublishReport> {
        let before = self.before.as_ref().filter(|_| self.added.is_empty())?;
        Some(PublishReport {
            depot: before.index.depot.clone(),
            version: before.index.version,
            index_sha256: before.sha256.clone(),
            expires: before.index.expires,
            added: Vec::new(),
            kept: self.kept.clone(),
            to_sign: None,
        })
    }

    /// The report of a publication of this index.
    pub(super) fn report(self, index_sha256: String, to_sign: Option<PathBuf>) -> PublishReport {
        PublishReport {
            depot: self.index.depot,
            version: self.index.version,
            index_sha256,
            expires: self.index.expires,
            added: self.added,
            kept: self.kept,
            to_sign,
        }
    }
}

/// A name that no other depot has: 32 random hexadecimal digits.
fn new_name() -> Result<String, RootError> {
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}
