//! The package database of a root, `var/sadm`: what is installed, and who owns which object.
//!
//! Everything here reads; changes are staged and switched by `transaction`. Readers take no lock: a [`View`] shows all
//! records as before or all as after, at any moment of a run, also after a crash.

mod view;

pub use view::{View, ViewError, own_directory, read_consistently};
