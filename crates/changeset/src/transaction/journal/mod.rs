pub(crate) mod history_file;
pub(crate) mod installf_queue;
pub(crate) mod journal_file;
pub(crate) mod root_id_file;
pub(crate) mod run_notes;
