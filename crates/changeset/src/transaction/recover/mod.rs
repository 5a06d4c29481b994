pub(crate) mod discard;
pub(crate) mod finish;
pub(crate) mod foreseen;
pub(crate) mod left_to_owner;
pub(crate) mod recovery;
pub(crate) mod set_id;
pub(crate) mod strays;
