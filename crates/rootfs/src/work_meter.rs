//! How far work is: counted by the threads that do it, read by whoever shows it to a person.
//!
//! Work that takes long has steps, one after another. A step says what is counted and how many there are when it begins, and
//! is advanced by whoever does a part of it. Nobody waits for anybody: what is read may be a moment old, and a step that is
//! over may still be advanced by a reader that outlives it, which changes nothing about the next one.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a step counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkUnit {
    /// Bytes that are read or written.
    Bytes,
    /// Documents, each read as a whole.
    Files,
    /// Objects of packages.
    Objects,
    /// Entries of a set of packages, or locations of a tree of recipes: each is a package, or makes some.
    Packages,
    /// Patches that are looked at one after another.
    Patches,
}

/// Knows the step that some work is in. Clones are the same meter.
#[derive(Clone, Debug, Default)]
pub struct WorkMeter(Arc<Mutex<Option<WorkStep>>>);

impl WorkMeter {
    /// Begins a step of so many units, which ends the one before.
    pub fn begin(&self, unit: WorkUnit, units: u64) -> WorkStep {
        let step = WorkStep(Arc::new(CountedWork { unit, units, done: AtomicU64::new(0) }));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(step.clone());
        step
    }

    /// Returns the step that the work is in; `None` while nothing can be counted.
    pub fn step(&self) -> Option<WorkStep> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A step of some work. Clones are the same step.
#[derive(Clone, Debug)]
pub struct WorkStep(Arc<CountedWork>);

#[derive(Debug)]
struct CountedWork {
    unit: WorkUnit,
    units: u64,
    done: AtomicU64,
}

impl WorkStep {
    /// Says that so many units more are done.
    pub fn advance(&self, units: u64) {
        self.0.done.fetch_add(units, Ordering::Relaxed);
    }

    /// Returns a reader whose bytes count for the step as they are read.
    pub fn counting<R: Read>(&self, inner: R) -> CountedRead<'_, R> {
        CountedRead { inner, step: self }
    }

    /// Returns what is counted.
    pub fn unit(&self) -> WorkUnit {
        self.0.unit
    }

    /// Returns the number of units in all.
    pub fn units(&self) -> u64 {
        self.0.units
    }

    /// Returns the number of units that are done: no more than there are, even if something was read twice.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed).min(self.0.units)
    }

    /// Tells whether this is that step.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A reader whose bytes count for a step.
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

#[cfg(test)]
mod tests {
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
