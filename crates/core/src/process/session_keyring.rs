//! The session keyring of a process: keys of the kernel that a program inherits from whoever starts it.

use std::io;

use keyutils_raw::{KEY_SPEC_SESSION_KEYRING, keyctl_get_keyring_id, keyctl_join_session_keyring};
use rustix::io::Errno;

/// Leaves the session keyring of the caller for a new, empty one. No key of the caller reaches programs that this process
/// starts afterwards; the keyrings of its thread and of itself do not outlive the start of a program.
///
/// Each process calls this before it gives rights away, and gives none away if it fails. Without keys in the kernel, or with
/// a filter that refuses every call about keys, there are none to be had either.
pub fn leave_session_keyring() -> io::Result<()> {
    let Err(error) = keyctl_join_session_keyring(None) else { return Ok(()) };
    match Errno::from_raw_os_error(error.0) {
        Errno::NOSYS => Ok(()),
        Errno::PERM if is_filtered() => Ok(()),
        errno => Err(io::Error::other(format!("cannot make a new session keyring: {errno}"))),
    }
}

/// Tells whether a filter refuses calls about keys: this one asks for nothing that needs a permission.
fn is_filtered() -> bool {
    keyctl_get_keyring_id(KEY_SPEC_SESSION_KEYRING, false)
        .is_err_and(|error| Errno::from_raw_os_error(error.0) == Errno::PERM)
}
