//! Flushes staged objects to the disk while the processor still has work, so that the sync before publication has
//! little left to wait for. Correctness does not depend on it: that sync always follows.

use std::sync::mpsc::{SyncSender, sync_channel};
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

    /// Returns a sync that starts on a message over the channel, if `bytes` staged bytes will be worth it. It never
    /// starts once the channel is dropped.
    pub(crate) fn when_told<'env>(
        scope: &'scope Scope<'scope, 'env>,
        root: &Root,
        domains: &'env OpenDomains,
        bytes: u64,
    ) -> (Self, Option<SyncSender<()>>) {
        if bytes < WORTH_IT || root.workers() < 2 {
            return (Self(None), None);
        }
        let (start, told) = sync_channel(1);
        let sync = scope.spawn(move || told.recv().map_or(Ok(()), |()| domains.sync()));
        (Self(Some(sync)), Some(start))
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

    /// Returns a root on which every sync fails and is counted, with a stage.
    fn failing(is_for_many: bool) -> (Root, OpenDomains, Arc<AtomicUsize>) {
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
        (root, domains, count)
    }

    /// Returns the number of syncs that an early sync of this many bytes makes, and its result.
    fn early(bytes: u64, is_for_many: bool) -> (usize, bool) {
        let (root, domains, count) = failing(is_for_many);
        let ended = std::thread::scope(|scope| EarlySync::begin(scope, &root, &domains, bytes).end());
        (count.load(Ordering::Relaxed), ended.is_ok())
    }

    #[test]
    fn a_sync_that_waits_is_made_when_it_is_told_to_and_never_otherwise() {
        let told = |is_told: bool| {
            let (root, domains, count) = failing(true);
            let ended = std::thread::scope(|scope| {
                let (early, start) = EarlySync::when_told(scope, &root, &domains, WORTH_IT);
                match start {
                    Some(start) if is_told => start.send(()).unwrap(),
                    start => drop(start),
                }
                early.end()
            });
            (count.load(Ordering::Relaxed), ended.is_ok())
        };
        let synced = if patchadm_rootfs::cores() > 1 { (1, false) } else { (0, true) };
        assert_eq!([told(true), told(false)], [synced, (0, true)]);
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
