//! Stages: copies of directories of a root, in which software is built for hours, and which go live as a patch.
//!
//! ```text
//!  root ──── walk ──► copy ──► stage          new
//!  root ─┐
//!        ├── tree ──► what differs            status, promote, refresh
//!  stage ┘
//! ```

mod attributes;
mod completed_refresh;
mod copy;
mod drop;
mod enter;
pub mod error;
mod foreign_stage;
mod kept_objects;
pub mod list;
mod mounts_below;
mod nesting;
pub mod new;
mod new_directory;
mod other_writer;
pub mod own_files;
pub mod promote;
pub mod records;
pub mod refresh;
mod rights;
mod shell;
pub mod tree;
mod walk;

pub use drop::{DropError, DroppedStage, drop_stage};
pub use enter::{EnterError, EnterRequest, StageView, enter_stage};
pub use error::StageError;
pub use foreign_stage::{ForeignStage, Undertaking};
pub use own_files::StageRecord;
pub use walk::TreeRequest;
