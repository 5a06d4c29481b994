//! Open patches: read except for the content of their objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ApplyOutcome, ApplyRequest};
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::depots::{digest_of_patch, is_on_network};
use crate::operation::device::OpenDevice;
use crate::operation::failure::{Failure, is_of_source, is_undone_for_source};
use crate::operation::patches::after_run::reboot_advice;
use crate::operation::running::InUse;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::inventory::{Installed, Touched};
use patchadm_inputs::password::without_password;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::sign::{Demand, DemandWord, KeyDirectory, KeyDirectoryError, KeyRing};
use patchadm_inputs::source::{Bundle, Image, PackageImage, SourceError, SourceProblem, open_signed_until};
use patchadm_planning::plan::concern::touched_by_patch;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::resolve::{
    InstalledPackages, Offer, OfferedPackage, Resolution, ResolverInput, SetOutcome, SetRequest, SetVerdict,
    resolve,
};
use patchadm_rootfs::{Interrupt, Root, strange_above};
use patchadm_svr4::package::{ObjectPath, PkgInst};
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

/// Missing demands come from the policy.
#[derive(Clone, Debug, Default)]
pub struct SignatureRequest {
    pub word: Option<DemandWord>,
    /// A host directory with trusted keys, instead of the root's.
    pub keys: Option<PathBuf>,
    /// Demanded by a plan file, so it can only make the policy stricter.
    pub is_of_plan: bool,
    /// Allow patches without a trusted signature, even from a network (`--allow-unsigned`).
    pub allows_unsigned: bool,
}

impl SignatureRequest {
    /// A bad signature is refused nevertheless.
    #[must_use]
    pub fn allowing_unsigned(self, allows_unsigned: bool) -> Self {
        let word = if allows_unsigned { Some(DemandWord::Warn) } else { self.word };
        Self { word, allows_unsigned, ..self }
    }

    pub(super) fn is_waiver(&self) -> bool {
        self.word == Some(DemandWord::Off) && !self.is_of_plan
    }
}

/// Returns the root's demand, and the host's if its policy bounds the root. Untrustworthy keys are an error, unless
/// nobody asks for signatures.
pub fn demands(ground: &RootAndPolicy, request: &SignatureRequest) -> Result<Vec<Demand>, Failure> {
    if request.is_waiver() {
        return Ok(Vec::new());
    }
    if request.is_of_plan {
        return stricter(ground, request);
    }
    let (root, host) = (&ground.root, &ground.host);
    let mut demands = vec![demand(root, &ground.policy, request)?];
    if let Some(bounds) = &ground.bounds {
        // The host's keys concern its own patches, unless its policy includes other roots.
        if bounds.signature.is_some() {
            demands.push(demand(host, bounds, &of_host(request))?);
        }
    }
    demands.retain(|demand| demand.word != DemandWord::Off);
    Ok(demands)
}

/// A plan file's word counts if it is stricter, and its keys must accept the patch, too.
fn stricter(ground: &RootAndPolicy, of_plan: &SignatureRequest) -> Result<Vec<Demand>, Failure> {
    let mut all = demands(ground, &SignatureRequest::default().allowing_unsigned(of_plan.allows_unsigned))?;
    let Some(word) = of_plan.word.or(of_plan.keys.as_ref().map(|_| DemandWord::Warn)) else { return Ok(all) };
    if word == DemandWord::Off {
        return Ok(all);
    }
    if all.is_empty() || of_plan.keys.is_some() {
        let own = SignatureRequest { word: Some(word), is_of_plan: false, ..of_plan.clone() };
        all.push(demand(&ground.root, &ground.policy, &own)?);
        return Ok(all);
    }
    for demand in &mut all {
        demand.word = demand.word.max(word);
    }
    Ok(all)
}

/// Requests for signatures by the root's keys do not apply to the host, which may have none. Its policy still decides.
fn of_host(request: &SignatureRequest) -> SignatureRequest {
    let is_about_root = request.word == Some(DemandWord::Require) && request.keys.is_none();
    if is_about_root { SignatureRequest::default() } else { request.clone() }
}

/// Refuses sources on a network if the root trusts no key, unless caller or policy waive signatures.
pub fn must_be_vouched_for(
    ground: &RootAndPolicy,
    demands: &[Demand],
    request: &SignatureRequest,
    address: &str,
) -> Result<(), Failure> {
    let is_said =
        request.allows_unsigned || request.is_waiver() || ground.policy.signature == Some(DemandWord::Off);
    if is_said || is_vouched_for(demands) {
        return Ok(());
    }
    Err(Failure::Unvouched(without_password(address)))
}

/// A demand without keys rejects everything.
fn is_vouched_for(demands: &[Demand]) -> bool {
    demands.iter().any(|demand| demand.word == DemandWord::Require || !demand.keys.keys.is_empty())
}

pub fn lacks_trust(ground: &RootAndPolicy) -> Result<bool, Failure> {
    let Some(depot) = ground.policy.depot.as_deref().filter(|depot| is_on_network(depot.as_ref())) else {
        return Ok(false);
    };
    let request = SignatureRequest::default();
    Ok(must_be_vouched_for(ground, &demands(ground, &request)?, &request, depot).is_err())
}

fn demand(root: &Root, policy: &Policy, request: &SignatureRequest) -> Result<Demand, Failure> {
    let word = request.word.or(policy.signature);
    if word == Some(DemandWord::Off) {
        return Ok(Demand { word: DemandWord::Off, keys: KeyRing::default() });
    }
    let keys = match &request.keys {
        Some(directory) => named_keys(directory)?,
        None => KeyDirectory::new(root, &policy.keys).read_for_verdict(policy.names_keys)?,
    };
    let by_keys = if keys.keys.is_empty() { DemandWord::Off } else { DemandWord::Require };
    Ok(Demand { word: word.unwrap_or(by_keys), keys })
}

fn named_keys(directory: &Path) -> Result<KeyRing, Failure> {
    let root = match Root::open(directory) {
        Err(error) if error.is_not_found() => {
            return Err(KeyDirectoryError::Absent(directory.display().to_string()).into());
        }
        root => root?,
    };
    if let Some(strange) = strange_above(directory)? {
        let (path, whose) = (directory.display().to_string(), "the caller's");
        return Err(KeyDirectoryError::NotTheRoots { path, whose, reason: strange.to_string() }.into());
    }
    Ok(KeyDirectory::new(&root, &ObjectPath::root()).of_caller().read_for_verdict(true)?)
}
