//! The files of a stage, and a root's records of its stages. Readers accept a value only if this program could have
//! written it. The owner of a stage controls its files, so a root decides rights by its own records. Nothing here opens
//! a file.
//!
//! ```text
//! STAGE/.patchadm-stage/   identity   which stage of which root
//!                          base.*     every object as it was copied or promoted, with its digest
//!                          cache      files that need not be read again
//! ROOT/var/sadm/           patchadm/stages          the stages of the root, and their rights
//!                          patch/<ID>/promotion     the record of a promotion
//! ```

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

/// The stage's own files, at its top; never content.
pub const DIRECTORY: &[u8] = b".patchadm-stage";

/// Exists until a stage is complete.
pub const UNFINISHED: &[u8] = b"unfinished";

pub const IDENTITY: &[u8] = b"identity";

pub const BASES: &[u8] = b"base.";

/// Of `stage new`.
pub const BASE_OF_NEW: &[u8] = b"base.0";

/// Of both sides; may be removed.
pub const CACHE: &[u8] = b"cache";

/// Of `stage new`.
pub const MOUNTS: &[u8] = b"mounts";

/// Of `stage new`, one a line.
pub const DIRECTORIES: &[u8] = b"directories";

/// Of `stage new --exclude`: one line, a JSON list of texts.
pub const EXCLUDED: &[u8] = b"excluded";

/// Decisions of a refresh, until it is complete.
pub const REFRESHING: &[u8] = b"refreshing";

/// The scratch directory of a refresh, until the bases are written and recorded: the next refresh detects an
/// interrupted one.
pub const SCRATCH: &[u8] = b"refresh";

/// For promoting, refreshing and removing a stage.
pub const LOCK: &[u8] = b"lock";

/// Shared by all processes inside a stage.
pub const INSIDE: &[u8] = b"inside";

/// Of an identity, promotion record or list of stages: 1 MiB.
pub const LONGEST_RECORD: u64 = 1 << 20;

/// Returns the name of the base that the promotion `id` writes.
pub fn base_name(id: impl Display) -> Vec<u8> {
    format!("base.{id}").into_bytes()
}

pub fn stages_record() -> ObjectPath {
    places::stage_list()
}

/// Fails if `id` is no path component.
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
