//! A patch that patchadd(1M) is called with, read but for the content of its objects.

use std::collections::BTreeMap;
use std::path::Path;

use super::request::{ApplyOutcome, ApplyRequest};
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::depots::digest_of_patch;
use crate::operation::device::OpenDevice;
use crate::operation::failure::{Failure, is_of_source, is_undone_for_source};
use crate::operation::patches::in_use::InUse;
use crate::operation::patches::reboot;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::inventory::{Installed, Touched};
use patchadm_inputs::sign::Demand;
use patchadm_inputs::source::{Bundle, Image, PackageImage, SourceError, SourceProblem, open_signed_until};
use patchadm_planning::plan::concern::touched_by_patch;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::resolve::OfferedPackage;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{PatchId, PatchMacros};

/// A patch that was read.
pub(in crate::operation::patches) struct ApplyOperand {
    pub(in crate::operation::patches) device: OpenDevice,
    pub(in crate::operation::patches) id: Option<PatchId>,
}

impl ApplyOperand {
    /// Reads a patch whose signature meets all demands, until a signal comes. A plan reads all of a signed one, for there will be
    /// no run that does.
    pub(in crate::operation::patches) fn read(
        path: &Path,
        separator: &str,
        demands: &[Demand],
        (request, interrupt): (&ApplyRequest, Interrupt<'_>),
    ) -> Result<Self, Failure> {
        let (source, mut image) = open_signed_until(path, demands, interrupt)?;
        image.signature.is_waived = request.signature.is_waiver();
        source.check_room_to_plan(&image)?;
        image.sha256 = evidence(path, &image, separator);
        let device = OpenDevice::whole(source, image);
        let id = delivered(&device, separator).map(|delivered| delivered.id).next();
        let signature = &device.image.signature;
        if let Some(signed) = &signature.patch {
            if let Some(reason) = other_id(&device, separator, signed) {
                let verdict = signature.verdict.clone().but_bad(reason);
                return Err(SourceError::signature(path, verdict).into());
            }
            if request.dry_run {
                device.source.verify_until(&device.image, interrupt)?;
            }
        }
        Ok(Self { device, id })
    }

    /// The id as messages have it; the name of the source where the patch has none.
    pub(in crate::operation::patches) fn shown_id(&self) -> String {
        self.id.as_ref().map_or_else(|| self.device.image.name.clone(), ToString::to_string)
    }

    /// The packages that the patch is for.
    pub(super) fn packages(&self) -> Vec<OfferedPackage> {
        let package = |package: &PackageImage| {
            let value = |name: &str| package.params.text(name).trim().to_owned();
            OfferedPackage { pkg: value("PKG"), arch: value("ARCH"), version: value("VERSION") }
        };
        self.device.image.packages.iter().map(package).collect()
    }

    /// What the patch touches of a root with these packages. A patch without an id has no directory in the database.
    pub(super) fn touched(&self, installed: &BTreeMap<PkgInst, Installed>) -> Touched {
        let directory = self.id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        touched_by_patch(&self.device.image, &directory, installed)
    }

    /// The outcome of the patch where it could not be planned.
    pub(in crate::operation::patches) fn refused(&self, failure: Failure) -> ApplyOutcome {
        let refused = ApplyOutcome::refused(self.shown_id(), reboot::advice(&self.device.image), failure);
        ApplyOutcome { signature: self.device.image.signature.record(), ..refused }
    }

    /// The outcome of the patch where it is not tried, because `other` does not go in with it.
    pub(in crate::operation::patches) fn not_without(&self, other: &str) -> ApplyOutcome {
        self.refused(Failure::NotWithout(other.to_owned()))
    }

    /// The outcome of the patch, with the plan by which it was applied. Where its source turned out not to be what it says
    /// it is, that is told as it is told before anything is done.
    pub(super) fn carried_out(
        &self,
        scripted: PatchPlan,
        in_use: InUse,
        result: Result<Receipt, Failure>,
    ) -> ApplyOutcome {
        match &result {
            Err(Failure::Transaction(error)) if is_of_source(error) || is_undone_for_source(error) => {
                match self.device.source.verify(&self.device.image) {
                    // Of a run that had begun nothing else takes the place of its own reason.
                    Err(damage) if is_of_source(error) || damage.is_exchange() => self.refused(damage.into()),
                    _ => self.applied(scripted, in_use, result.map(Some)),
                }
            }
            _ => self.applied(scripted, in_use, result.map(Some)),
        }
    }

    /// The outcome of the patch, with the plan by which it was applied, or would be.
    pub(super) fn applied(
        &self,
        scripted: PatchPlan,
        in_use: InUse,
        result: Result<Option<Receipt>, Failure>,
    ) -> ApplyOutcome {
        let mut scripted = scripted;
        scripted.plan.notes.extend(in_use.note.map(str::to_owned));
        ApplyOutcome {
            id: self.shown_id(),
            scripts: scripted.scripts(),
            missing: scripted.missing,
            moved: scripted.moved,
            lists: scripted.lists,
            delivered: BTreeMap::new(),
            texts: ChangedTexts::new(),
            signature: self.device.image.signature.record(),
            plan: Some(scripted.plan),
            plan_over_edits: None,
            reboot: reboot::advice(&self.device.image),
            in_use: in_use.processes,
            libraries: scripted.libraries,
            kept: Vec::new(),
            set: None,
            result,
        }
    }
}

/// The digest by which the root will know which patch brought a fix; `None` of a patch that does not say what it fixes, so
/// that only others are read twice, and of what can be read once only.
fn evidence(path: &Path, image: &Image, separator: &str) -> Option<String> {
    let brings_fixes = image.patch_macros(separator).is_ok_and(|macros| !macros.fixes.is_empty());
    let can_be_read_again = path.is_file() || path.is_dir();
    (brings_fixes && can_be_read_again).then(|| digest_of_patch(path).ok()).flatten()
}

/// Returns whether what cannot be read as a patch is a set of patches, or fails if a signal came.
pub(in crate::operation::patches) fn is_set(
    path: &Path,
    failure: &Failure,
    interrupt: Interrupt<'_>,
) -> Result<bool, Failure> {
    let Failure::Source(error) = failure else { return Ok(false) };
    // What can be read once only has been.
    let may_be = (path.is_file() || path.is_dir())
        && matches!(
            error.problem,
            SourceProblem::BadForm(_) | SourceProblem::HoldsPatches(_) | SourceProblem::Signature(_)
        );
    if may_be { opens_as_set(path, interrupt) } else { Ok(false) }
}

/// Returns whether a path can be opened as a set of patches, or fails if a signal came.
pub(in crate::operation::patches) fn opens_as_set(
    path: &Path,
    interrupt: Interrupt<'_>,
) -> Result<bool, Failure> {
    let opened = Bundle::open(path, interrupt);
    Failure::unless_interrupted(interrupt)?;
    Ok(opened.is_ok_and(|bundle| bundle.is_some_and(|bundle| bundle.is_set())))
}

/// What is wrong if the packages are not of the patch that was signed.
fn other_id(device: &OpenDevice, separator: &str, signed: &str) -> Option<String> {
    let mut ids = device.image.packages.iter().map(|package| {
        let delivered = PatchMacros::from_params(&package.params, separator).ok().flatten();
        delivered.map(|delivered| delivered.id.to_string())
    });
    let other = ids.find(|id| id.as_deref() != Some(signed))?;
    Some(format!("has a manifest of patch {signed}, and is {}", other.as_deref().unwrap_or("no patch")))
}

/// What each package says of the patch, where that makes sense.
fn delivered(device: &OpenDevice, separator: &str) -> impl Iterator<Item = PatchMacros> {
    let packages = device.image.packages.iter();
    packages.filter_map(move |package| PatchMacros::from_params(&package.params, separator).ok()?)
}
