//! The number of bytes that this process has digested: in debug builds only, for the test that no byte is digested
//! twice.

use std::sync::atomic::{AtomicU64, Ordering};

static DIGESTED: AtomicU64 = AtomicU64::new(0);

/// Counts digested bytes.
pub(crate) fn note(bytes: &[u8]) {
    DIGESTED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}

/// Returns the number of bytes that this process has digested so far.
pub fn digested_bytes() -> u64 {
    DIGESTED.load(Ordering::Relaxed)
}
