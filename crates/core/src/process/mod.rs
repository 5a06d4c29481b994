//! What processes of the program have in common: the channel between two of them, and what one inherits.
//!
//! It starts no process and knows nothing of what they do.

mod channel;
mod inherited;

pub(crate) use channel::MessageChannel;
pub use inherited::close_inherited;
