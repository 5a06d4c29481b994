//! The reasons why a cache cannot be used.

use patchadm_rootfs::RootError;

/// The reason a cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A call on it failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A user other than the caller owns it or may use it.
    #[error("the cache {0} is not the caller's own, with mode 0700")]
    NotPrivate(String),
    /// Another command fetches the same object, and for too long.
    #[error("{0} is being fetched by another command")]
    Held(String),
    /// The caller wants it to end.
    #[error("ended by signal {0}")]
    Interrupted(i32),
}
