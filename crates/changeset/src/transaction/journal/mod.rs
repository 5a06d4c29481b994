//! What a run writes down about itself: the journal, the notes beside it, the requests of its scripts.

pub(crate) mod failed_requests;
pub(crate) mod installf_queue;
pub(crate) mod journal_file;
pub(crate) mod run_notes;
