//! The files of a stage as values: its identity, its origin, and a root's records of its stages.
//!
//! ```text
//!  STAGE/.patchadm-stage/   identity   which stage of which root
//!                           base.*     every object as it was copied or promoted, with its digest
//!                           cache      files that need not be read again
//!  ROOT/var/sadm/           patchadm/stages          the stages of the root, and what each may do
//!                           patch/<ID>/promotion     what a promotion was
//! ```
//! Readers have a limit for every length and an error that names the line. They accept a value only if this program
//! could have written it. The statements of a stage follow its owner's wishes by nature. Nothing is opened here.

mod base;
mod base_line;
mod cache;
mod compared;
mod error;
mod identity;
mod left_out;
mod mounts;
mod name;
mod places;
mod promotion;
mod scope;
mod stages;

pub use base::{Base, BaseError, BaseHeader, BaseObjects, MOST_OBJECTS, write_base};
pub use base_line::{BaseObject, BaseState};
pub use cache::{CacheSide, CachedFile, CachedFiles, ReadFile, StageCache, write_cache};
pub use compared::ComparedAttributes;
pub use error::StageFileError;
pub use identity::StageIdentity;
pub use left_out::{LeftOut, LeftReason};
pub use mounts::{MountWord, MountWordError, parse_mounts};
pub use name::{StageId, StageName, StageNameError};
pub use places::{
    BASE_OF_NEW, BASES, CACHE, DIRECTORIES, DIRECTORY, EXCLUDED, IDENTITY, INSIDE, LOCK, LONGEST_RECORD,
    MOUNTS, REFRESHING, SCRATCH, UNFINISHED, base_name, promotion_record, stages_record,
};
pub use promotion::PromotionRecord;
pub use scope::{Scope, ScopeError, staged_path};
pub use stages::{FIRST_BASE, ListedStage, StageRights, StagesRecord};
