//! The ledgers of packages, each read once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_svr4::package::PkgInst;

/// The ledgers of a root that were read: the lines that count.
#[derive(Default)]
pub(super) struct LedgerCache(RefCell<BTreeMap<PkgInst, Rc<Ledger>>>);

impl LedgerCache {
    /// Returns the ledger of a package.
    pub(super) fn of(&self, view: &RecordView<'_>, package: &PkgInst) -> Result<Rc<Ledger>, ArchiveError> {
        if let Some(known) = self.0.borrow().get(package) {
            return Ok(known.clone());
        }
        let read = Rc::new(ledger::counting(view, package)?);
        self.0.borrow_mut().insert(package.clone(), read.clone());
        Ok(read)
    }
}
