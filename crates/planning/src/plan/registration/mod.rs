//! The effects of installf(1M) and removef(1M) on a root: objects registered, made final and given up.

pub mod installf;
pub mod installf_queue;
pub mod removef;
pub mod settle;
