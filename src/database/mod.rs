//! The package database of a root, `var/sadm`: what is installed, and who owns which object.
//!
//! Everything here reads; changes are staged and switched by `transaction`. Readers take no lock: a [`View`] shows all
//! records as before or all as after, at any moment of a run, also after a crash. A question about the records is a
//! function over a view, asked through [`read_consistently`]; whoever holds the lock asks a [`View::live`].
//!
//! ```text
//! places                            where the records are
//! view                              one moment of them
//! installed  contents  history      each kind of record        policy   of the root
//! archive                           undo archives: found, read, verified
//! survey                            all of it that a plan needs, as an Inventory
//! ```

pub mod places;
mod view;

pub use places::own_directory;
pub use view::{View, ViewError, marker, read_consistently};
