//! The notes a run keeps of itself: the journal, the notes beside it, and the requests of its scripts.

pub(crate) mod history_file;
pub(crate) mod installf_queue;
pub(crate) mod journal_file;
pub(crate) mod root_id_file;
pub(crate) mod run_notes;
