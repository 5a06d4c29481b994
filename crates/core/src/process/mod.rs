//! The common parts of the program's processes: the channel between two of them, what one inherits, and what one has used
//! or mapped.
//!
//! This module starts no process and does not know their work.

mod call_filter;
mod channel;
mod inherited;
mod mapped_file;
mod session_keyring;
mod times;

pub(crate) use call_filter::refuse_keys_and_user_namespaces;
pub(crate) use channel::MessageChannel;
pub use inherited::close_inherited;
pub use mapped_file::MappedFile;
pub use session_keyring::leave_session_keyring;
pub(crate) use times::ProcessTimes;
