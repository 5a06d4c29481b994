//! The common parts of the program's processes: the channel between two of them, and what one inherits.
//!
//! This module starts no process and does not know their work.

mod channel;
mod inherited;

pub(crate) use channel::MessageChannel;
pub use inherited::close_inherited;
