//! Sending what is staged to the disk while the processor still has work, so that the sync before the journal is
//! published has little left to wait for. Nothing rests on it: that sync comes in any case.

use std::thread::{Scope, ScopedJoinHandle};

use super::error::Cause;
use super::sites::Sites;
use crate::root::Root;

/// Fewer bytes are on the disk soon enough; a flush of its own would cost more.
const WORTH_IT: u64 = 8 << 20;

/// A sync that goes on in a thread, or none.
#[derive(Debug)]
pub(super) struct EarlySync<'scope>(Option<ScopedJoinHandle<'scope, Result<(), Cause>>>);

impl<'scope> EarlySync<'scope> {
    /// Begins it, where `bytes` that were staged are worth it and one thread need not do everything.
    pub(super) fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        root: &Root,
        sites: &'env Sites,
        bytes: u64,
    ) -> Self {
        let is_worth_it = bytes >= WORTH_IT && root.workers() > 1;
        Self(is_worth_it.then(|| scope.spawn(|| sites.sync())))
    }

    /// Waits for its end. The kernel tells a descriptor of an error once: it must not be lost here.
    pub(super) fn end(self) -> Result<(), Cause> {
        let failed = |_| Cause::Internal("the thread of a sync failed".to_owned());
        self.0.map_or(Ok(()), |thread| thread.join().map_err(failed)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::io::Errno;

    use super::*;
    use crate::format::journal::Run;
    use crate::root::{Call, Door};

    /// How many syncs an early one of so many bytes makes, and what it comes to, where every sync fails.
    fn early(bytes: u64, is_for_many: bool) -> (usize, bool) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let door = Door::watched(move |step| {
            if step.call != Call::SyncFileSystem {
                return Ok(());
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Err(Errno::IO)
        });
        let root = Root::open_with(dir.path(), if is_for_many { door.for_many() } else { door }).unwrap();
        let sites = Sites::begin(&root, &Run { number: 1, nonce: 7 }, &[]).unwrap();
        let ended = std::thread::scope(|scope| EarlySync::begin(scope, &root, &sites, bytes).end());
        (count.load(Ordering::Relaxed), ended.is_ok())
    }

    #[test]
    fn an_error_of_the_disk_is_not_lost_by_asking_early() {
        let expected = if crate::package::cores() > 1 { (1, false) } else { (0, true) };
        assert_eq!(early(WORTH_IT, true), expected);
    }

    #[test]
    fn little_is_not_synced_early_and_nothing_where_the_order_is_looked_at() {
        assert_eq!(early(WORTH_IT - 1, true), (0, true));
        assert_eq!(early(WORTH_IT, false), (0, true));
    }
}
