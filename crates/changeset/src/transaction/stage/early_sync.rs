//! Flushes staged objects to the disk while the processor still has work, so that the sync before publication has
//! little left to wait for. Correctness does not depend on it: that sync always follows.

use std::thread::{Scope, ScopedJoinHandle};

use crate::transaction::error::Cause;
use crate::transaction::stage::domains::OpenDomains;
use patchadm_rootfs::Root;

/// The fewest bytes worth a flush of their own.
const WORTH_IT: u64 = 8 << 20;

/// A sync running in a thread, or none.
#[derive(Debug)]
pub(crate) struct EarlySync<'scope>(Option<ScopedJoinHandle<'scope, Result<(), Cause>>>);

impl<'scope> EarlySync<'scope> {
    /// Starts the sync if `bytes` staged bytes are worth it and there is more than one worker thread.
    pub(crate) fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        root: &Root,
        domains: &'env OpenDomains,
        bytes: u64,
    ) -> Self {
        let is_worth_it = bytes >= WORTH_IT && root.workers() > 1;
        Self(is_worth_it.then(|| scope.spawn(|| domains.sync())))
    }

    /// Waits for the sync to end. The kernel reports an error to a descriptor only once, so it must not be lost here.
    pub(crate) fn end(self) -> Result<(), Cause> {
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
    use crate::format::run::Run;
    use patchadm_rootfs::{ChangeCall, Door};

    /// How many syncs an early one of so many bytes makes, and what it comes to, where every sync fails.
    fn early(bytes: u64, is_for_many: bool) -> (usize, bool) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let door = Door::watched(move |step| {
            if step.call != ChangeCall::SyncFileSystem {
                return Ok(());
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Err(Errno::IO)
        });
        let root = Root::open_with(dir.path(), if is_for_many { door.for_many() } else { door }).unwrap();
        let domains = OpenDomains::begin(&root, &Run { number: 1, nonce: 7 }, &[]).unwrap();
        let ended = std::thread::scope(|scope| EarlySync::begin(scope, &root, &domains, bytes).end());
        (count.load(Ordering::Relaxed), ended.is_ok())
    }

    #[test]
    fn an_error_of_the_disk_is_not_lost_by_asking_early() {
        let expected = if patchadm_rootfs::cores() > 1 { (1, false) } else { (0, true) };
        assert_eq!(early(WORTH_IT, true), expected);
    }

    #[test]
    fn little_is_not_synced_early_and_nothing_where_the_order_is_looked_at() {
        assert_eq!(early(WORTH_IT - 1, true), (0, true));
        assert_eq!(early(WORTH_IT, false), (0, true));
    }
}
