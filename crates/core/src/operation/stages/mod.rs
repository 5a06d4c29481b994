//! Stages: copies of directories of a root in which software is built for hours, and which go live as a patch.
//!
//! ```text
//!  root ──── walk ──► copy ──► stage          new
//!  root ─┐
//!        ├── tree ──► what differs            status, promote, refresh
//!  stage ┘
//! ```

mod attributes;
mod copy;
pub mod error;
pub mod list;
mod nesting;
pub mod new;
mod new_directory;
pub mod own_files;
pub mod promote;
pub mod records;
pub mod tree;
mod walk;

pub use error::StageError;
pub use walk::TreeRequest;
