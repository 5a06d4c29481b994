//! Open patches: read except for the content of their objects.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::signatures::SignatureRequest;
use crate::operation::depots::digest_of_patch;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::after_run::{AfterRun, reboot_advice};
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::patches::prepared::{PreparationReport, PreparationRequest};
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::session::RootAndPolicy;
use crate::operation::trial::{TrialOutcome, TrialRequest};
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{ExchangeReport, Recovered};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_inputs::inventory::{Installed, Touched};
use patchadm_inputs::policy::Edited;
use patchadm_inputs::sign::Demand;
use patchadm_inputs::source::{
    Bundle, Image, PackageImage, SharedRoom, SourceError, SourceProblem, open_signed_until,
};
use patchadm_planning::analyze::AnalysisRequest;
use patchadm_planning::plan::concern::touched_by_patch;
use patchadm_planning::plan::edits::EditableFiles;
use patchadm_planning::resolve::{
    InstalledPackages, Offer, OfferedPackage, Resolution, ResolverInput, SetOutcome, SetRequest, SetVerdict,
    resolve,
};
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchList, PatchMacros};

/// Missing options fall back to the policy.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// Paths or addresses; not used with a depot.
    pub patches: Vec<PathBuf>,
    /// `None` if the patches are named by their paths.
    pub depot: Option<DepotOperands>,
    /// For a set; its patches and depot are not used.
    pub choices: SetRequest,
    pub no_undo: bool,
    /// Host directory for undo data.
    pub undo_dir: Option<PathBuf>,
    /// Compression of undo data.
    pub undo_format: Option<UndoFormat>,
    pub edited: Option<Edited>,
    /// For files of type `e` if edited files stop a patch.
    pub editable: EditableFiles,
    pub overridden: Vec<ObjectPath>,
    pub preserved: Vec<ObjectPath>,
    /// Apply applied patches again (`-u`).
    pub unconditional: bool,
    pub signature: SignatureRequest,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    /// For the history.
    pub note: Option<String>,
    /// Their changes should become visible at once.
    pub exchanges: Vec<ObjectPath>,
    /// Prompting is allowed.
    pub conversation: bool,
    pub scripts: PatchScriptRequest,
    pub shlibs: LibraryRequest,
    pub plan_file: PlanFileRequest,
    pub preparation: PreparationRequest,
    /// The trial, and the check after the patches.
    pub trial: TrialRequest,
}

#[derive(Clone, Debug, Default)]
pub struct DepotOperands {
    /// As named; `None` for the policy's.
    pub depot: Option<OsString>,
    pub patches: PatchOperands,
}

#[derive(Clone, Debug)]
pub enum PatchOperands {
    /// Ids, or files that list ids; empty for everything current.
    Words(Vec<OsString>),
    /// Patches that an analysis of the root lists as missing, possibly none.
    Missing(Box<AnalysisRequest>),
}

impl Default for PatchOperands {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

/// In order of application.
#[derive(Debug, Default)]
pub struct ApplyReport {
    pub recovered: Recovered,
    pub preparation: PreparationReport,
    pub patches: Vec<PatchOutcome>,
    /// Per directory, actual or projected.
    pub exchanges: Vec<ExchangeReport>,
    pub after: AfterRun,
    pub trial: Option<TrialOutcome>,
    /// A sentence, if the depot has neither an index nor patches.
    pub empty_depot: Option<String>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is read-only, or belongs to another user.
    pub refused: Option<Failure>,
}

pub(in crate::operation::patches) struct ApplyOperand {
    pub(in crate::operation::patches) device: OpenDevice,
    pub(in crate::operation::patches) id: Option<PatchId>,
}

impl ApplyOperand {
    /// Reads a patch whose signature meets all demands. Plans read all of a signed patch, since no run will. All patches
    /// of a command share the room.
    pub(in crate::operation::patches) fn read(
        path: &Path,
        separator: &str,
        demands: &[Demand],
        (request, room, interrupt): (&ApplyRequest, &SharedRoom, Interrupt<'_>),
    ) -> Result<Self, Failure> {
        let (source, mut image) = open_signed_until(path, demands, room, interrupt)?;
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
                device.source.verify(&device.image, interrupt)?;
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

    pub(in crate::operation::patches) fn refused(&self, failure: Failure) -> PatchOutcome {
        let refused = PatchOutcome::refused(self.shown_id(), reboot_advice(&self.device.image), failure);
        PatchOutcome { signature: self.device.image.signature.record(), ..refused }
    }

    pub(in crate::operation::patches) fn not_without(&self, other: &str) -> PatchOutcome {
        self.refused(Failure::NotWithout(other.to_owned()))
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
            SourceProblem::BadForm(_)
                | SourceProblem::Foreign(_)
                | SourceProblem::HoldsPatches(_)
                | SourceProblem::Signature(_)
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
    Some(format!("has the manifest of patch {signed}, but is {}", other.as_deref().unwrap_or("no patch")))
}

/// Skips invalid parameters.
fn delivered(device: &OpenDevice, separator: &str) -> impl Iterator<Item = PatchMacros> {
    let packages = device.image.packages.iter();
    packages.filter_map(move |package| PatchMacros::from_params(&package.params, separator).ok()?)
}

pub(in crate::operation::patches) struct OpenedPatches {
    pub(in crate::operation::patches) operands: Vec<ApplyOperand>,
    pub(in crate::operation::patches) unread: Vec<PatchOutcome>,
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
