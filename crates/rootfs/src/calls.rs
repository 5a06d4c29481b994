//! System calls that need no root.

use super::{Result, RootError};

/// The most symbolic links on one path (`MAXSYMLINKS`).
pub(crate) const MOST_LINKS: usize = 40;

/// Tells whether a user has an account on this machine.
pub(crate) fn has_account(uid: u32) -> bool {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).is_ok_and(|user| user.is_some())
}

/// Repeats a call that a signal interrupted.
pub(crate) fn again<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}

/// Returns sixty-four unguessable bits, for names that must be unique.
pub fn random() -> Result<u64> {
    let mut bytes = [0u8; 8];
    again(|| rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())).map_err(
        |errno| RootError::Call { action: "read random bytes from", path: "the kernel".to_owned(), errno },
    )?;
    Ok(u64::from_ne_bytes(bytes))
}
