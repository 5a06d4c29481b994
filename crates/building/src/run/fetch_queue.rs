//! The packages that wait for their distfiles.

use std::collections::{HashSet, VecDeque};

use patchadm_bulk_values::result::Key;

/// The packages whose distfiles are looked at.
#[derive(Debug, Default)]
pub(super) struct FetchQueue {
    /// Those that wait, each with its key, for the outcome of what fails.
    pub(super) waiting: VecDeque<(u32, Key)>,
    /// Those that are looked at now.
    pub(super) at_work: usize,
    /// Those that may begin.
    pub(super) ready: VecDeque<u32>,
    /// Those that need not be looked at any more.
    pub(super) done: HashSet<u32>,
}

impl FetchQueue {
    /// Takes the next package that may begin and that the caller has room for.
    pub(super) fn next_ready_if(&mut self, has_room: impl Fn(u32) -> bool) -> Option<u32> {
        let place = self.ready.iter().position(|index| has_room(*index))?;
        self.ready.remove(place)
    }

    /// Tells whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.at_work == 0 && self.ready.is_empty()
    }
}
