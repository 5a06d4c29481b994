//! What follows the switch: finishing a run, rolling it back, recovering one that died.

pub(crate) mod damage_report;
pub(crate) mod finish;
pub(crate) mod put_back;
pub(crate) mod recovery;
pub(crate) mod set_id;
pub(crate) mod strays;
