//! The number of threads that work in parallel, and the division of work among them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

/// The largest useful number of threads: they share one disk, and each needs buffers.
const MOST: usize = 8;

/// Returns the number of threads for work that every core can share, at least 1. It affects only the time, never the
/// results. The system is asked once: its answer is spread over half a dozen files.
pub fn cores() -> usize {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    *KNOWN.get_or_init(|| available_parallelism().map_or(1, usize::from).min(MOST))
}

/// Processes pieces of work with this many threads, each with a worker of its own, and returns the results in the
/// order of the pieces. The caller's thread is one of them. A panic in a worker becomes one in the caller.
pub fn side_by_side<R: Send, W: FnMut(usize) -> R>(
    threads: usize,
    pieces: usize,
    worker: impl Fn() -> W + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let share = || {
        let (mut work, mut done) = (worker(), Vec::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= pieces {
                return done;
            }
            done.push((at, work(at)));
        }
    };
    let threads = threads.min(pieces);
    let mut done = if threads < 2 {
        share()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.flatten().collect::<Vec<_>>()
        })
    };
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_the_order_of_the_pieces_however_many_threads_there_are() {
        for threads in [0, 1, 3, 100] {
            let made = side_by_side(threads, 50, || |at: usize| at * 2);
            assert_eq!(made, (0..50).map(|at| at * 2).collect::<Vec<_>>(), "{threads}");
        }
        assert!(side_by_side(3, 0, || |at: usize| at).is_empty());
    }
}
