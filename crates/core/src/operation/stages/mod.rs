//! Stages: copies of directories of a root that go live as a patch.
//!
//! ```text
//!  root ──── walk ──► copy ──► stage          new
//!  root ─┐
//!        ├── tree ──► compared                status, promote, refresh
//!  stage ┘
//! ```

mod compared;
mod copy;
mod drop;
mod enter;
pub mod error;
pub mod list;
pub mod new;
pub mod own_files;
pub mod promote;
pub mod records;
pub mod refresh;
mod transfer;
pub mod tree;

pub use drop::{DropError, DroppedStage, drop_stage};
pub use enter::{EnterError, EnterRequest, StageView, enter_stage};
pub use error::StageError;
pub use error::{ForeignStage, Undertaking};
pub use own_files::StageRecord;
pub use tree::TreeRequest;
