//! Locks a root, after the package managers whose packages it has adopted.
//! ```text
//!   dpkg's lock ─► rpm's lock ─► ours        one of them busy: all are given back, wait, from the start
//! ```
//! Waiting starts over without any lock, so that programs with another order cannot deadlock.

use std::collections::BTreeSet;

use patchadm_inputs::database::{DatabaseError, RecordView, all};
use patchadm_inputs::native::{NativeManager, NativeOrigin};
use patchadm_rootfs::{ForeignLock, Lock, LockError, LockHolder, Root};

#[derive(Debug, Default)]
pub(super) struct NativeLocks {
    _held: Vec<ForeignLock>,
}

/// Locks a root, and excludes the managers of adopted packages and `also`. `wait` gets the holder of a busy lock; it
/// waits and decides whether to try again.
pub(super) fn lock_root(
    root: &Root,
    program: &str,
    also: &[NativeManager],
    wait: &dyn Fn(&LockHolder) -> bool,
) -> Result<(Lock, NativeLocks), LockError> {
    let managers = managers_with_lock(root, also);
    loop {
        match lock_at_once(root, program, &managers) {
            Err(LockError::Held { holder, .. }) if wait(&holder) => {}
            done => return done,
        }
    }
}

fn lock_at_once(
    root: &Root,
    program: &str,
    managers: &BTreeSet<NativeManager>,
) -> Result<(Lock, NativeLocks), LockError> {
    let mut held = Vec::new();
    for manager in managers {
        let Some(file) = manager.lock_file(root)? else { continue };
        held.extend(ForeignLock::take(root, &file)?);
    }
    let lock = Lock::take(root, program, |_| false)?;
    Ok((lock, NativeLocks { _held: held }))
}

/// Returns the managers with a lock file that are in `also` or whose packages are adopted. Without a lock file, reads
/// no package.
fn managers_with_lock(root: &Root, also: &[NativeManager]) -> BTreeSet<NativeManager> {
    // An unreadable place counts: locking reports the defect.
    let has_lock = |manager: &NativeManager| {
        manager
            .lock_file(root)
            .and_then(|file| file.map_or(Ok(false), |file| ForeignLock::is_there(root, &file)))
            .unwrap_or(true)
    };
    let mut managers: BTreeSet<NativeManager> = NativeManager::ALL.into_iter().filter(has_lock).collect();
    if managers.iter().any(|manager| !also.contains(manager)) {
        let adopted = adopted_managers(root);
        managers.retain(|manager| also.contains(manager) || adopted.contains(manager));
    }
    managers
}

/// Skips unreadable packages: the command that needs them reports the defect.
fn adopted_managers(root: &Root) -> BTreeSet<NativeManager> {
    let origins = all::each(&RecordView::live(root), |package| {
        let params = package.params().ok().flatten();
        Ok::<_, DatabaseError>(params.and_then(|params| NativeOrigin::of(&params)))
    });
    origins.unwrap_or_default().into_iter().map(|origin| origin.manager).collect()
}
