//! Long work: threads that share it, a meter of its progress, and its interruption by a signal.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, available_parallelism};

/// More threads do not help: they share one disk, and each needs buffers.
const MOST: usize = 8;

/// Returns the number of processors that the program may use. Cached: the system reads half a dozen files to answer.
pub fn processors() -> usize {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    *KNOWN.get_or_init(|| available_parallelism().map_or(1, usize::from))
}

/// Returns the number of threads for shareable work, at least 1.
pub fn cores() -> usize {
    processors().min(MOST)
}

/// Gives each thread its own worker, and returns the results in the order of the pieces. The caller's thread is one of
/// them. A panic in a worker becomes one in the caller.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkUnit {
    Bytes,
    Files,
    Objects,
    /// Entries of a set of packages, or locations of a tree of recipes.
    Packages,
    Patches,
}

/// Clones share the current step.
#[derive(Clone, Debug, Default)]
pub struct WorkMeter(Arc<Mutex<Option<WorkStep>>>);

impl WorkMeter {
    /// Replaces the previous step.
    pub fn begin(&self, unit: WorkUnit, units: u64) -> WorkStep {
        let step = WorkStep(Arc::new(CountedWork { unit, units, done: AtomicU64::new(0) }));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(step.clone());
        step
    }

    /// Returns the current step; `None` while nothing can be counted.
    pub fn step(&self) -> Option<WorkStep> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Clones are the same step.
#[derive(Clone, Debug)]
pub struct WorkStep(Arc<CountedWork>);

#[derive(Debug)]
struct CountedWork {
    unit: WorkUnit,
    units: u64,
    done: AtomicU64,
}

impl WorkStep {
    pub fn advance(&self, units: u64) {
        self.0.done.fetch_add(units, Ordering::Relaxed);
    }

    /// Wraps a reader, so that its bytes advance the step.
    pub fn counting<R: Read>(&self, inner: R) -> CountedRead<'_, R> {
        CountedRead { inner, step: self }
    }

    pub fn unit(&self) -> WorkUnit {
        self.0.unit
    }

    pub fn units(&self) -> u64 {
        self.0.units
    }

    /// Returns the number of units done, at most the total, even if something was read twice.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed).min(self.0.units)
    }

    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug)]
pub struct CountedRead<'a, R> {
    inner: R,
    step: &'a WorkStep,
}

impl<R: Read> Read for CountedRead<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.step.advance(count as u64);
        Ok(count)
    }
}

/// Returns the signal that asks the work to end, if one came.
pub type Interrupt<'a> = &'a (dyn Fn() -> Option<i32> + Sync);

/// Why work ended after a signal. The exit code tells which signal it was.
pub const INTERRUPTED: &str = "interrupted";

/// For uninterruptible work.
pub fn never() -> Option<i32> {
    None
}

/// Fails once a signal came. The caller asks `interrupt` for the signal.
pub struct InterruptibleRead<'a, R> {
    inner: R,
    interrupt: Interrupt<'a>,
}

impl<'a, R> InterruptibleRead<'a, R> {
    pub fn new(inner: R, interrupt: Interrupt<'a>) -> Self {
        Self { inner, interrupt }
    }
}

impl<R: Read> Read for InterruptibleRead<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.interrupt)() {
            None => self.inner.read(buffer),
            Some(_) => Err(io::Error::other(INTERRUPTED)),
        }
    }
}

impl<R: Seek> Seek for InterruptibleRead<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod cores_tests {
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

#[cfg(test)]
mod work_meter_tests {
    use super::*;
    use crate::side_by_side;

    #[test]
    fn what_threads_do_is_counted_in_the_step_that_they_do_it_for() {
        let meter = WorkMeter::default();
        assert!(meter.step().is_none());
        let first = meter.begin(WorkUnit::Bytes, 100);
        side_by_side(3, 50, || |_| first.advance(2));
        assert_eq!((first.done(), first.units(), first.unit()), (100, 100, WorkUnit::Bytes));
        let second = meter.begin(WorkUnit::Objects, 10);
        first.advance(7);
        assert_eq!(first.done(), 100, "twice is not more than all");
        let shown = meter.clone().step().unwrap();
        assert!(shown.is(&second) && !shown.is(&first));
        assert_eq!(shown.done(), 0);
    }
}
