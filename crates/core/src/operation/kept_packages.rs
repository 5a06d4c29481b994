//! Lists kept libraries, and removes unneeded ones in a run (`patchadm libs`).

use super::content::NoContent;
use super::failure::Failure;
use super::libraries::{KeptLibraryState, KeptLook, look_at_kept, plan_to_prune};
use super::session::{Caller, RootAndPolicy, must_agree, must_have_database, without_lock};
use crate::operation::trial::begin_change;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::PkgInst;

#[derive(Clone, Debug, Default)]
pub struct KeptRequest {
    /// All if empty.
    pub packages: Vec<String>,
    /// Remove libraries that are missing or unneeded.
    pub prune: bool,
    pub dry_run: bool,
}

#[derive(Debug, Default)]
pub struct KeptReport {
    pub look: KeptLook,
    /// Removed, or would be.
    pub pruned: Vec<KeptLibraryState>,
    pub receipt: Option<Receipt>,
    pub recovered: Recovered,
    /// Names of unknown packages.
    pub unknown: Vec<String>,
    /// Tells what stays because a package of dpkg or rpm owns it now.
    pub notes: Vec<String>,
}

pub fn kept_packages(root: &Root, request: &KeptRequest, caller: &Caller<'_>) -> Result<KeptReport, Failure> {
    must_have_database(root)?;
    let ground = RootAndPolicy::of(root)?;
    let when = (&caller.now, caller.interrupt);
    if !request.prune || request.dry_run {
        return without_lock(root, || shown(&ground, request, when));
    }
    let session = begin_change(ground, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let packages = match named(request, &look_at_kept(&session.ground, when, true)?) {
        Ok(packages) => packages,
        Err(unknown) => return Ok(KeptReport { unknown, ..KeptReport::default() }),
    };
    let (look, planned) = plan_to_prune(&session.ground, when, &packages, true)?;
    let mut report = KeptReport { look, ..KeptReport::default() };
    if let Some(planned) = planned {
        report.receipt = Some(session.perform(&planned.plan, &mut NoContent, None, String::new())?);
        (report.pruned, report.notes) = (planned.pruned, planned.plan.notes);
    }
    Ok(KeptReport { recovered: session.recovered, ..report })
}

fn shown(
    ground: &RootAndPolicy,
    request: &KeptRequest,
    when: (&Now, Interrupt<'_>),
) -> Result<KeptReport, Failure> {
    let mut look = look_at_kept(ground, when, false)?;
    let packages = match named(request, &look) {
        Ok(packages) => packages,
        Err(unknown) => return Ok(KeptReport { unknown, ..KeptReport::default() }),
    };
    let mut report = KeptReport::default();
    if request.prune {
        let (_, planned) = plan_to_prune(ground, when, &packages, false)?;
        if let Some(planned) = planned {
            (report.pruned, report.notes) = (planned.pruned, planned.plan.notes);
        }
    }
    let is_meant = |package: &PkgInst| packages.is_empty() || packages.contains(package);
    look.libraries.retain(|library| is_meant(&library.package));
    look.packages.retain(|package, _| is_meant(package));
    Ok(KeptReport { look, ..report })
}

fn named(request: &KeptRequest, look: &KeptLook) -> Result<Vec<PkgInst>, Vec<String>> {
    let find = |name: &String| look.packages.keys().find(|package| package.as_str() == name);
    let unknown: Vec<String> = request.packages.iter().filter(|name| find(name).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    Ok(request.packages.iter().filter_map(find).cloned().collect())
}
