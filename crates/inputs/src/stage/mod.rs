//! The files of a stage, and a root's records of its stages.
//!
//! ```text
//! STAGE/.patchadm-stage/   identity   which stage of which root
//!                          base.*     every object as it was copied or promoted, with its digest
//!                          cache      files that need not be read again
//! ROOT/var/sadm/           patchadm/stages          the stages of the root, and their rights
//!                          patch/<ID>/promotion     the record of a promotion
//! ```
//! Readers have a limit for every length and an error that names the line. They accept a value only if this program could
//! have written it. The owner of a stage controls its files, so a root decides rights by its own records. Nothing here
//! opens a file.

mod base;
mod cache;
mod identity;
mod mounts;
mod records;
mod scope;

use std::fmt::Display;

pub use base::{Base, BaseError, BaseHeader, BaseObject, BaseObjects, BaseState, MOST_OBJECTS, write_base};
pub use cache::{CacheSide, CachedFile, CachedFiles, ReadFile, StageCache, write_cache};
pub use identity::{StageFileError, StageId, StageIdentity, StageName, StageNameError};
pub use mounts::{MountWord, MountWordError, parse_mounts};
use patchadm_svr4::package::{ObjectPath, PathError};
use patchadm_svr4::places;
pub use records::{FIRST_BASE, ListedStage, PromotionRecord, StageRights, StagesRecord};
pub use scope::{ComparedAttributes, LeftOut, LeftReason, Scope, ScopeError, staged_path};

/// The directory of a stage's own files, at its top; never content.
pub const DIRECTORY: &[u8] = b".patchadm-stage";

/// Exists until a stage is complete.
pub const UNFINISHED: &[u8] = b"unfinished";

/// The identity of a stage.
pub const IDENTITY: &[u8] = b"identity";

/// The start of the name of each base.
pub const BASES: &[u8] = b"base.";

/// The base that `stage new` writes.
pub const BASE_OF_NEW: &[u8] = b"base.0";

/// The cache of both sides, which may be removed.
pub const CACHE: &[u8] = b"cache";

/// The mounts file of `stage new`.
pub const MOUNTS: &[u8] = b"mounts";

/// The working directories of `stage new`, one a line.
pub const DIRECTORIES: &[u8] = b"directories";

/// The patterns of `stage new --exclude`: one line, a JSON list of texts.
pub const EXCLUDED: &[u8] = b"excluded";

/// The decisions of a refresh; exists until the refresh is complete.
pub const REFRESHING: &[u8] = b"refreshing";

/// The scratch directory of a refresh. It exists until the bases are written and recorded, so that the next refresh
/// detects an interrupted one.
pub const SCRATCH: &[u8] = b"refresh";

/// The lock for promoting, refreshing and removing a stage.
pub const LOCK: &[u8] = b"lock";

/// The shared lock of all processes inside a stage.
pub const INSIDE: &[u8] = b"inside";

/// The largest identity, promotion record or list of stages that is read, in bytes: 1 MiB.
pub const LONGEST_RECORD: u64 = 1 << 20;

/// Returns the name of the base that the promotion `id` writes.
pub fn base_name(id: impl Display) -> Vec<u8> {
    format!("base.{id}").into_bytes()
}

/// Returns the list of the stages of a root.
pub fn stages_record() -> ObjectPath {
    places::stage_list()
}

/// Returns the record of a promotion; fails if `id` is no path component.
pub fn promotion_record(id: impl Display) -> Result<ObjectPath, PathError> {
    places::patch(format_args!("{id}/promotion"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_stages_stand_where_the_contract_says() {
        assert_eq!(stages_record().as_bytes(), b"/var/sadm/patchadm/stages");
        assert_eq!(promotion_record("web-02").unwrap().as_bytes(), b"/var/sadm/patch/web-02/promotion");
        assert_eq!(base_name("web-02"), b"base.web-02");
    }
}
