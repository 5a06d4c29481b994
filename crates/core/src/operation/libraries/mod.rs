//! The shared libraries of a root: what is there, who loads what, and what stays for whom.

mod config;
pub mod scan;

pub use config::loader_settings;
