//! Memory that the sources of one command share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::SourceProblem;
use patchadm_rootfs::human;

/// As much as one source may hold.
pub(super) const MOST_HELD: u64 = 1 << 30;

/// A limit for names and package files of all sources that are read with it. Bytes return when their image is dropped.
#[derive(Clone, Debug)]
pub struct SharedRoom {
    limit: u64,
    left: Arc<AtomicU64>,
}

impl Default for SharedRoom {
    fn default() -> Self {
        Self::of(MOST_HELD)
    }
}

impl SharedRoom {
    pub fn of(limit: u64) -> Self {
        Self { limit, left: Arc::new(AtomicU64::new(limit)) }
    }

    fn take(&self, bytes: u64) -> Result<(), SourceProblem> {
        let rest = |left: u64| left.checked_sub(bytes);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok() {
            return Ok(());
        }
        let limit = human(self.limit);
        let reason = format!(
            "with the sources read before, it holds more than {limit} of names and package files; specify fewer at once"
        );
        Err(SourceProblem::Io { file: None, error: io::Error::new(io::ErrorKind::OutOfMemory, reason) })
    }
}

/// Part of a shared room.
#[derive(Debug, Default)]
pub(super) struct RoomTaken {
    room: Option<SharedRoom>,
    bytes: u64,
}

impl RoomTaken {
    pub(super) fn of(room: Option<SharedRoom>) -> Self {
        Self { room, bytes: 0 }
    }

    pub(super) fn take(&mut self, bytes: u64) -> Result<(), SourceProblem> {
        if let Some(room) = &self.room {
            room.take(bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if let Some(room) = &self.room {
            room.left.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for RoomTaken {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
