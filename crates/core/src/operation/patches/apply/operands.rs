//! Open patches: read except for the content of their objects.

use std::collections::BTreeMap;
use std::path::Path;

use super::request::{ApplyOutcome, ApplyRequest};
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::depots::digest_of_patch;
use crate::operation::device::OpenDevice;
use crate::operation::failure::{Failure, is_of_source, is_undone_for_source};
use crate::operation::patches::after_run::reboot_advice;
use crate::operation::patches::in_use::InUse;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::inventory::{Installed, Touched};
use patchadm_inputs::sign::Demand;
use patchadm_inputs::source::{Bundle, Image, PackageImage, SourceError, SourceProblem, open_signed_until};
use patchadm_planning::plan::concern::touched_by_patch;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::resolve::{
    InstalledPackages, Offer, OfferedPackage, Resolution, ResolverInput, SetOutcome, SetRequest, SetVerdict,
    resolve,
};
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{PatchId, PatchList, PatchMacros};

pub(in crate::operation::patches) struct ApplyOperand {
    pub(in crate::operation::patches) device: OpenDevice,
    pub(in crate::operation::patches) id: Option<PatchId>,
}

impl ApplyOperand {
    /// Reads a patch whose signature meets all demands. Plans read all of a signed patch, since no run will.
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

    /// The name of the source if the patch has no id.
    pub(in crate::operation::patches) fn shown_id(&self) -> String {
        self.id.as_ref().map_or_else(|| self.device.image.name.clone(), ToString::to_string)
    }

    pub(super) fn packages(&self) -> Vec<OfferedPackage> {
        let package = |package: &PackageImage| {
            let value = |name: &str| package.params.text(name).trim().to_owned();
            OfferedPackage { pkg: value("PKG"), arch: value("ARCH"), version: value("VERSION") }
        };
        self.device.image.packages.iter().map(package).collect()
    }

    /// A patch without an id has no directory in the database.
    pub(super) fn touched(&self, installed: &BTreeMap<PkgInst, Installed>) -> Touched {
        let directory = self.id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        touched_by_patch(&self.device.image, &directory, installed)
    }

    pub(in crate::operation::patches) fn refused(&self, failure: Failure) -> ApplyOutcome {
        let refused = ApplyOutcome::refused(self.shown_id(), reboot_advice(&self.device.image), failure);
        ApplyOutcome { signature: self.device.image.signature.record(), ..refused }
    }

    pub(in crate::operation::patches) fn not_without(&self, other: &str) -> ApplyOutcome {
        self.refused(Failure::NotWithout(other.to_owned()))
    }

    /// A damaged source is reported as before a run.
    pub(super) fn performed(
        &self,
        patch_plan: PatchPlan,
        in_use: InUse,
        result: Result<Receipt, Failure>,
    ) -> ApplyOutcome {
        match &result {
            Err(Failure::Transaction(error)) if is_of_source(error) || is_undone_for_source(error) => {
                match self.device.source.verify(&self.device.image) {
                    // The reason of a run that had begun stays.
                    Err(damage) if is_of_source(error) || damage.is_exchange() => self.refused(damage.into()),
                    _ => self.applied(patch_plan, in_use, result.map(Some)),
                }
            }
            _ => self.applied(patch_plan, in_use, result.map(Some)),
        }
    }

    pub(super) fn applied(
        &self,
        patch_plan: PatchPlan,
        in_use: InUse,
        result: Result<Option<Receipt>, Failure>,
    ) -> ApplyOutcome {
        let mut patch_plan = patch_plan;
        patch_plan.plan.notes.extend(in_use.note.map(str::to_owned));
        ApplyOutcome {
            id: self.shown_id(),
            scripts: patch_plan.scripts(),
            replaced_edits: patch_plan.replaced_edits,
            missing: patch_plan.missing,
            moved: patch_plan.moved,
            lists: patch_plan.lists,
            delivered: BTreeMap::new(),
            texts: ChangedTexts::new(),
            signature: self.device.image.signature.record(),
            plan: Some(patch_plan.plan),
            refused_plan: None,
            reasons: None,
            reboot: reboot_advice(&self.device.image),
            in_use: in_use.processes,
            libraries: patch_plan.libraries,
            kept: Vec::new(),
            set: None,
            result,
        }
    }
}

/// Returns the digest that identifies the patch of a fix. `None` if the patch names no fix, which saves a second
/// reading, or its source can be read only once.
fn evidence(path: &Path, image: &Image, separator: &str) -> Option<String> {
    let brings_fixes = image.patch_macros(separator).is_ok_and(|macros| !macros.fixes.is_empty());
    let can_be_read_again = path.is_file() || path.is_dir();
    (brings_fixes && can_be_read_again).then(|| digest_of_patch(path).ok()).flatten()
}

/// Fails if a signal came.
pub(in crate::operation::patches) fn is_set(
    path: &Path,
    failure: &Failure,
    interrupt: Interrupt<'_>,
) -> Result<bool, Failure> {
    let Failure::Source(error) = failure else { return Ok(false) };
    // A pipe cannot be read again.
    let may_be = (path.is_file() || path.is_dir())
        && matches!(
            error.problem,
            SourceProblem::BadForm(_) | SourceProblem::HoldsPatches(_) | SourceProblem::Signature(_)
        );
    if may_be { opens_as_set(path, interrupt) } else { Ok(false) }
}

/// Fails if a signal came.
pub(in crate::operation::patches) fn opens_as_set(
    path: &Path,
    interrupt: Interrupt<'_>,
) -> Result<bool, Failure> {
    let opened = Bundle::open(path, interrupt);
    Failure::unless_interrupted(interrupt)?;
    Ok(opened.is_ok_and(|bundle| bundle.is_some_and(|bundle| bundle.is_set())))
}

/// Fails if the packages are not those of the signed patch.
fn other_id(device: &OpenDevice, separator: &str, signed: &str) -> Option<String> {
    let mut ids = device.image.packages.iter().map(|package| {
        let delivered = PatchMacros::from_params(&package.params, separator).ok().flatten();
        delivered.map(|delivered| delivered.id.to_string())
    });
    let other = ids.find(|id| id.as_deref() != Some(signed))?;
    Some(format!("has a manifest of patch {signed}, and is {}", other.as_deref().unwrap_or("no patch")))
}

/// Skips invalid parameters.
fn delivered(device: &OpenDevice, separator: &str) -> impl Iterator<Item = PatchMacros> {
    let packages = device.image.packages.iter();
    packages.filter_map(move |package| PatchMacros::from_params(&package.params, separator).ok()?)
}

pub(in crate::operation::patches) struct OpenedPatches {
    pub(in crate::operation::patches) operands: Vec<ApplyOperand>,
    pub(in crate::operation::patches) unread: Vec<ApplyOutcome>,
    pub(in crate::operation::patches) choice: PatchChoice,
}

pub(in crate::operation::patches) enum PatchChoice {
    InOrder {
        /// Required patches that do not concern this root count as met.
        void: PatchList,
        /// For each patch that nobody named: the patch that requires it.
        because: BTreeMap<String, String>,
        /// One transaction, or nothing.
        all_or_nothing: bool,
        left_out: Vec<SetVerdict>,
    },
    /// The offers are those of the patches, in order.
    Resolve { offers: Vec<Offer>, request: SetRequest },
}

pub(super) struct OrderedPatches<'w> {
    pub(super) operands: Vec<&'w ApplyOperand>,
    pub(super) void: PatchList,
    pub(super) because: BTreeMap<String, String>,
    pub(super) is_together: bool,
    /// `None` if it was not asked.
    pub(super) resolution: Option<Resolution>,
}

impl Default for PatchChoice {
    fn default() -> Self {
        Self::InOrder {
            void: PatchList::new(),
            because: BTreeMap::new(),
            all_or_nothing: false,
            left_out: Vec::new(),
        }
    }
}

impl OpenedPatches {
    pub(in crate::operation::patches) fn one(operand: ApplyOperand) -> Self {
        Self { operands: vec![operand], unread: Vec::new(), choice: PatchChoice::default() }
    }

    pub(super) fn packages(&self) -> Vec<OfferedPackage> {
        self.operands.iter().flat_map(ApplyOperand::packages).collect()
    }

    pub(super) fn ordered(&self, ground: &RootAndPolicy) -> Result<OrderedPatches<'_>, Failure> {
        let (offers, request) = match &self.choice {
            PatchChoice::InOrder { void, because, all_or_nothing, .. } => {
                return Ok(OrderedPatches {
                    operands: self.operands.iter().collect(),
                    void: void.clone(),
                    because: because.clone(),
                    is_together: *all_or_nothing,
                    resolution: None,
                });
            }
            PatchChoice::Resolve { offers, request } => (offers, request),
        };
        let resolution = resolved(ground, offers, request)?;
        let operands = resolution.planned().filter_map(|verdict| self.operands.get(verdict.offer?));
        Ok(OrderedPatches {
            operands: operands.collect(),
            void: resolution.void(),
            because: resolution.because(),
            is_together: request.all_or_nothing,
            resolution: Some(resolution),
        })
    }

    /// Includes verdicts from before and after locking.
    pub(super) fn left_out<'a>(
        &'a self,
        ordered: &'a OrderedPatches<'_>,
    ) -> impl Iterator<Item = &'a SetVerdict> {
        let before: &[SetVerdict] = match &self.choice {
            PatchChoice::InOrder { left_out, .. } => left_out,
            PatchChoice::Resolve { .. } => &[],
        };
        let after = ordered.resolution.iter().flat_map(|resolution| &resolution.verdicts);
        before.iter().chain(after).filter(|verdict| verdict.outcome != SetOutcome::Planned)
    }
}

pub(in crate::operation::patches) fn resolved(
    ground: &RootAndPolicy,
    offers: &[Offer],
    choices: &SetRequest,
) -> Result<Resolution, Failure> {
    let packages = ground.packages()?;
    let applied = ground.recorded(&packages)?;
    let installed =
        InstalledPackages::of(packages.iter().map(|(instance, installed)| (instance, &installed.params)));
    Ok(resolve(&ResolverInput {
        offers,
        applied: &applied,
        installed: &installed,
        policy: &ground.policy,
        request: choices,
    }))
}
