//! Records made anew from their remains: pkgchk(1M) `-f`.
//!
//! There is one transaction for each record, so that a crash leaves the root as it was or with the record. No object is
//! touched. A record that was damaged, and not only lost, is kept beside the new one as `NAME.damaged`.
//!
//! ```text
//! pkginfo   of a package
//! contents  of the root
//! owners    packages in it that are gone
//! saved     what somebody may want to look at
//! ```

mod contents;
mod owners;
mod pkginfo;
mod saved;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::record_damage::find_damage;
use crate::operation::session::Session;
use patchadm_inputs::database::{RecordDamage, RecordRepair, RecordView};
use patchadm_inputs::native::NativeManager;
use patchadm_planning::plan::refusal::Wording;
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::PkgInst;

use saved::kept;

pub(in crate::operation) use pkginfo::can_be_mended;

pub(in crate::operation) use saved::set_aside_unless_file;

/// The name of this work in journal and history.
const COMMAND: &str = "pkgchk";

/// A record that was made anew, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendedRecord {
    /// Its damage.
    pub damage: RecordDamage,
    /// Whether it was made.
    pub is_made: bool,
    /// Whether everything in it could be determined.
    pub is_whole: bool,
    /// What could not be determined, what was used, or why it was not made, in whole sentences.
    pub said: Vec<String>,
}

/// The repair of the damaged record of a package that has the name of one adopted from dpkg or rpm: it is registered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationRepair<'d> {
    /// A refresh registers this package again: something may be left that says which package of its manager it is.
    Refresh(&'d PkgInst, NativeManager),
    /// This package is adopted again, by the name that its manager has for it.
    Adoption(&'d PkgInst, NativeManager),
}

impl<'d> RegistrationRepair<'d> {
    /// Returns the repair where the record is that of a registration and stops changes.
    pub fn of(damage: &'d RecordDamage) -> Option<Self> {
        let package = damage.package()?;
        let manager = NativeManager::of_package_name(package)?;
        match &damage.repair {
            RecordRepair::Package(_) => Some(Self::Refresh(package, manager)),
            RecordRepair::Installation(_) | RecordRepair::EmptyDirectory(_) | RecordRepair::Owner { .. } => {
                Some(Self::Adoption(package, manager))
            }
            RecordRepair::LostCopy { .. } | RecordRepair::Contents | RecordRepair::Stages => None,
        }
    }
}

/// Makes the damaged records of these packages anew, or of all packages and `contents` if none is chosen. Packages that are
/// gone leave `contents`, but one that was there after the last run only if it is chosen: its directory may come back.
pub(super) fn mend(
    session: &Session<'_>,
    is_chosen: Option<&dyn Fn(&PkgInst) -> bool>,
) -> Result<Vec<MendedRecord>, Failure> {
    let root = &session.ground.root;
    let find = || find_damage(&RecordView::live(root), root.workers(), session.caller.interrupt);
    let (mut mended, mut gone) = (Vec::new(), owners::GoneOwners::default());
    for damage in find()?.into_iter().filter(RecordDamage::stops_changes) {
        let Some(package) = damage.package().cloned() else { continue };
        if is_chosen.is_some_and(|is_chosen| !is_chosen(&package)) {
            continue;
        }
        let again = "install the package again, or put its directory back from a backup";
        let said = match damage.repair {
            RecordRepair::Package(_) => pkginfo::mend(session, &package)?,
            RecordRepair::Owner { lost_after: Some(run), .. } if is_chosen.is_none() => {
                let pkgchk = Wording::of_classic(root.prefix()).command("pkgchk", &format!("-f {package}"));
                pkginfo::Mending::given_up(format!(
                    "its directory was there after run {run}: {again}; or, if it was removed, take it out of contents with {pkgchk}"
                ))
            }
            RecordRepair::Owner { .. } => {
                gone.add(package, damage);
                continue;
            }
            _ => pkginfo::Mending::given_up(format!("nothing is left of its records: {again}")),
        };
        mended.push(said.of(damage));
    }
    let of_contents: Vec<RecordDamage> =
        find()?.into_iter().filter(|damage| damage.package().is_none()).collect();
    mended.extend(if is_chosen.is_none() && !of_contents.is_empty() {
        contents::mend(session, of_contents, gone)?
    } else {
        owners::mend(session, gone)?
    });
    Ok(mended)
}

/// Restores the damaged pkginfo of a package that was adopted from dpkg or rpm, and leaves its registration stale. Returns
/// notes, or the reason why that is impossible.
pub(super) fn mend_registration(
    session: &Session<'_>,
    package: &PkgInst,
) -> Result<Result<Vec<String>, String>, Failure> {
    Ok(pkginfo::mend(session, package)?.outcome())
}

/// Returns a plan that writes records and changes no object.
fn plan_of(session: &Session<'_>, package: &PkgInst, records: Vec<RecordChange>) -> Plan {
    let empty = Plan::empty(COMMAND, session.caller.now.trailer(COMMAND, package));
    Plan { packages: vec![package.clone()], records, ..empty }
}

/// Carries out a change of records.
fn write(session: &Session<'_>, package: &PkgInst, records: Vec<RecordChange>) -> Result<(), Failure> {
    session.perform(&plan_of(session, package, records), &mut NoContent, None, String::new()).map(drop)
}
