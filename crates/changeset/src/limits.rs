//! Limits on undo archives, which may belong to an untrusted owner.

/// Bytes of the manifest, and of the old records: both have a line or more for each object.
pub const LARGEST_MANIFEST: u64 = 256 << 20;

/// For recovery, which reads what the interrupted run wrote.
pub(crate) const LARGEST_OWN_MANIFEST: u64 = 1 << 30;

/// Bytes after a datastream, such as tape padding. Compressed padding can be very long.
pub const LARGEST_REST: u64 = 16 << 20;
