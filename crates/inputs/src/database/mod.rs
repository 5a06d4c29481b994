//! The package database of a root, `var/sadm`. Everything here reads, without a lock: a [`RecordView`] shows all
//! records as before or all as after a run. Functions over a view are called through [`read_consistently`]; the holder
//! of the lock uses a [`RecordView::live`].
//!
//! ```text
//! places                            where the records are
//! installed  contents  history      each kind of record
//! policy                            the settings of the root
//! error  agreement                  faults of records, and their consistency
//! saves                             the save directories of a package
//! all                               every package at once
//! pieces                            every line of contents, by several threads
//! ledger                            the undo archives that runs of the root made
//! undo_data                         saved objects: found, read, verified
//! survey                            everything that a plan needs, as an Inventory
//! ```

pub mod agreement;
pub mod all;
mod error;
pub mod history;
pub mod installed;
pub mod ledger;
mod ledger_draft;
pub mod pieces;
pub mod policy;
pub mod saves;
pub mod survey;
pub mod undo_data;

use places::{class_scripts, install, packages, patches, stages};

pub use error::{DatabaseError, RecordDamage, RecordRepair};
pub use ledger_draft::RootLedgers;
pub use patchadm_changeset::records::{
    IdentityFault, OpenRun, RecordError, RecordReader, RecordView, ViewError, contents, has_journal,
    identity_fault, last_run, marker, open_run, read_consistently,
};
use patchadm_rootfs::RecordPlaces;
use patchadm_svr4::package::ObjectPath;
pub use patchadm_svr4::places;
pub use places::own_directory;
#[cfg(debug_assertions)]
pub use survey::package_reads;

// Owner and mode of these places decide if the records of a root are trusted.

fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Whoever may write there decides the effects of the superuser's changes.
pub fn records() -> RecordPlaces {
    RecordPlaces {
        tree: places::records(),
        used: vec![install(), packages(), patches(), own_directory(), stages()],
        objects: vec![stages(), places::undo_directories()],
        elsewhere: vec![fixed("/etc/patchadm"), fixed("/etc/passwd"), fixed("/etc/group"), class_scripts()],
    }
}

/// Returns the place of the host's policy, which binds the superuser.
pub fn host_policy() -> RecordPlaces {
    RecordPlaces {
        tree: fixed("/etc/patchadm"),
        used: Vec::new(),
        objects: Vec::new(),
        elsewhere: Vec::new(),
    }
}
