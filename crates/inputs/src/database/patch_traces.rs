//! The check that a pkginfo lists the patches that left other traces in the root.
//!
//! A pkginfo that was cut at the end of a line is still valid. The evidence is what runs of this program left beside
//! it: a save directory, `PATCH_INFO` and a line of the ledger belong together with a place in PATCHLIST. Without a
//! line of the ledger nothing is concluded: other tools leave save directories of patches that they did not finish, and
//! take away lines, directories and records of those that they back out.

use std::collections::HashSet;

use super::{DatabaseError, RecordDamage, RecordView, installed, ledger, places};
use crate::format::ledger::{Ledger, LedgerLine};
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The start of the value in which old tools record a patch that they backed out.
const BACKED_OUT: &[u8] = b"backed out";

/// Refuses parameters that lack a patch, or the record of one. What is wrong with the ledger is told by who needs it.
pub(super) fn must_be_listed(
    view: &RecordView<'_>,
    package: &PkgInst,
    params: &Params,
) -> Result<(), DatabaseError> {
    let suspects = Suspects::of(view, package, params)?;
    if suspects.is_empty() || installed::is_at_work(view, package)? {
        return Ok(());
    }
    let Ok(ledger) = ledger::read(view, package) else { return Ok(()) };
    match suspects.fault(&ledger) {
        None => Ok(()),
        Some(reason) => Err(RecordDamage::of_pkginfo(view.root(), package, reason).into()),
    }
}

/// The patches that are named in one place and not in another.
struct Suspects {
    /// With a save directory, or a record, and in no list.
    unlisted: Vec<String>,
    /// In the list, without record.
    unrecorded: Vec<String>,
}

impl Suspects {
    fn of(view: &RecordView<'_>, package: &PkgInst, params: &Params) -> Result<Self, DatabaseError> {
        let list = params.text("PATCHLIST");
        let listed: HashSet<&str> = list.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
        let records = params.iter().filter(|(_, value)| !value.starts_with(BACKED_OUT));
        let recorded: HashSet<&str> =
            records.filter_map(|(name, _)| name.strip_prefix("PATCH_INFO_")).collect();
        let saved = view.list(&places::save(package))?.unwrap_or_default();
        let saved = saved.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let saved = saved.filter(|name| PatchId::new(name).is_ok());
        let mut unlisted: Vec<String> = saved.filter(|name| !listed.contains(name.as_str())).collect();
        unlisted.extend(recorded.difference(&listed).map(|name| (*name).to_owned()));
        unlisted.retain(|name| !has_other_spelling(&listed, name));
        let mut unrecorded: Vec<String> =
            listed.difference(&recorded).map(|name| (*name).to_owned()).collect();
        unrecorded.retain(|name| !has_other_spelling(&recorded, name));
        unlisted.sort();
        unrecorded.sort();
        Ok(Self { unlisted, unrecorded })
    }

    fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.unrecorded.is_empty()
    }

    /// Returns the missing record, for the first patch that a run of this program applied.
    fn fault(&self, ledger: &Ledger) -> Option<String> {
        let unlisted = self.unlisted.iter().find_map(|name| line_of(ledger, name));
        let unlisted = unlisted.map(|line| {
            let run = line.applied_by.as_ref().unwrap_or(&line.run);
            format!("PATCHLIST lacks {}, which run {run} applied: lines are missing", line.patch)
        });
        unlisted.or_else(|| {
            let line = self.unrecorded.iter().find_map(|name| line_of(ledger, name))?;
            Some(format!("it has no PATCH_INFO_{}: lines are missing", line.patch))
        })
    }
}

/// Tells whether a patch is among others that may be spelt differently.
fn has_other_spelling(others: &HashSet<&str>, name: &str) -> bool {
    PatchId::new(name)
        .is_ok_and(|id| others.iter().any(|other| PatchId::new(other).is_ok_and(|other| other == id)))
}

fn line_of<'l>(ledger: &'l Ledger, name: &str) -> Option<&'l LedgerLine> {
    let id = PatchId::new(name).ok()?;
    ledger.lines().iter().find(|line| PatchId::new(&line.patch).is_ok_and(|other| other == id))
}
