//! The common parts of the program's processes: the channel between two of them, what one inherits, and what one has used.
//!
//! This module starts no process and does not know their work.

mod channel;
mod inherited;
mod key_filter;
mod session_keyring;
mod times;

pub(crate) use channel::MessageChannel;
pub use inherited::close_inherited;
pub(crate) use key_filter::refuse_calls_about_keys;
pub use session_keyring::leave_session_keyring;
pub(crate) use times::ProcessTimes;
