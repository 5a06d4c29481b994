//! The work after the switch: finishing a run, rolling it back, recovering a dead one, and giving up a lost journal.

pub(crate) mod copies;
pub(crate) mod damage_report;
pub(crate) mod discard;
pub(crate) mod finish;
pub(crate) mod foreseen;
pub(crate) mod keep_stage;
pub(crate) mod left_to_owner;
pub(crate) mod put_back;
pub(crate) mod recovery;
pub(crate) mod set_id;
pub(crate) mod staged_proof;
pub(crate) mod stored_files;
pub(crate) mod strays;
pub(crate) mod switch_findings;
