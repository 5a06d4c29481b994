//! The entry of every request to apply patches: those offered by path or by a depot are selected for the root and
//! applied.
//!
//! ```text
//!   operands or ids ─► offers ─► resolve ─► fetch ─► apply, as any other patches ─► verdicts on all that were named or pulled in
//! ```
//! Everything before `apply` happens without the root's lock. A patch refused under the lock is left out, with the
//! patches that require it. Paths, and patches of directories or archives, are offered like those of a depot.

mod depot;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::operation::analysis::facts_of_root;
use crate::operation::depots::{
    DepotError, DepotLocation, DepotProgress, FetchSession, PatchWork, fetch_operand, is_address,
    is_on_network,
};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{
    ApplyOperand, ApplyReport, ApplyRequest, DepotOperands, OpenedPatches, PatchChoice, PatchOperands,
    apply_opened, demands, is_set, must_be_vouched_for, name_natives, opens_as_set, resolved,
};
use crate::operation::patches::outcome::{PatchOutcome, SetMembership};
use crate::operation::patches::preparation::prepare;
use crate::operation::queries::applied_patches::PatchesError;
use crate::operation::root_and_policy::plan_on_foreseen_root;
use crate::operation::session::{
    Caller, Execution, RootAndPolicy, Session, may_change, must_have_database, shown_to_anybody,
};
use depot::{FetchedPatch, FetchedPatches, SetDepot, fetch_planned};
use patchadm_inputs::depot::DepotPatch;
use patchadm_inputs::http::Address;
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::sign::Demand;
use patchadm_inputs::source::{Bundle, BundlePatches, Image, PackageImage, SharedRoom, SourceProblem};
use patchadm_planning::analyze::{AnalysisRequest, analyse, from_depot};
use patchadm_planning::plan::patch::validate::declared;
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};
use patchadm_planning::resolve::{
    Offer, OfferedPackage, Resolution, SetOutcome, SetRequest, SetVerdict, is_excluded,
};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::patch::PatchId;

/// Errors concern the whole root or depot; each patch has its own report. A `session` fetches addresses and depots, and
/// requirements from the policy's depot; its files live until it ends.
pub fn apply_patches(
    root: &Root,
    request: &ApplyRequest,
    session: Option<&FetchSession<'_>>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if let Some(of_depot) = &request.depot {
        let session = session.ok_or(Failure::NoDepot { ignored: None, last: None })?;
        let bundle = bundle_named(of_depot.depot.as_deref(), caller.interrupt)?;
        return match (bundle, &of_depot.patches) {
            (Some(bundle), PatchOperands::Words(ids)) => {
                apply_named(root, request, None, caller, |offered| {
                    offered.open(&bundle, Some(session))?;
                    session.tell(DepotProgress::Ended);
                    let shown = bundle.display().to_string();
                    if let Some(named) = words(&offered.offers, offered.separator, &shown, ids)? {
                        offered.named = named;
                    }
                    Ok(())
                })
            }
            _ => apply_of_depot(root, request, of_depot, session, caller),
        };
    }
    let patches = match session {
        Some(session) => fetched(root, request, session)?,
        None => request.patches.clone(),
    };
    apply_named(root, request, session, caller, |offered| {
        let all = patches.len();
        for (done, path) in patches.iter().enumerate() {
            if let Some(session) = session {
                session.tell(DepotProgress::Patch { doing: PatchWork::Reading, done, all });
            }
            offered.open(path, session)?;
        }
        if let Some(session) = session {
            session.tell(DepotProgress::Ended);
        }
        Ok(())
    })
}

/// Refuses networks if no key can vouch for them.
fn fetched(root: &Root, request: &ApplyRequest, session: &FetchSession<'_>) -> Result<Vec<PathBuf>, Failure> {
    if let Some(address) = request.patches.iter().find(|patch| is_on_network(patch.as_os_str())) {
        // The error hides a password in the address.
        let address = Address::parse(&address.to_string_lossy()).map_err(DepotError::from)?;
        // Applying reports an unreadable policy.
        if let Ok(ground) = RootAndPolicy::of(root) {
            let demands = demands(&ground, &request.signature)?;
            must_be_vouched_for(&ground, &demands, &request.signature, &address.to_string())?;
        }
    }
    let mut patches = request.patches.clone();
    for patch in patches.iter_mut().filter(|patch| is_address(patch.as_os_str())) {
        *patch = fetch_operand(patch.as_os_str(), session)?;
    }
    Ok(patches)
}

/// Returns the bundle named like a depot: an archive of patches, or a directory without an index but with `patch_order`
/// or patches one level below.
fn bundle_named(depot: Option<&OsStr>, interrupt: Interrupt<'_>) -> Result<Option<PathBuf>, Failure> {
    let Some(Ok(DepotLocation::Directory(path))) = depot.map(DepotLocation::parse) else { return Ok(None) };
    let has = |name: &str| path.join(name).exists();
    let may_be = if path.is_dir() {
        !has("index.json") && !has("objects") && (has("patch_order") || has("patches"))
    } else {
        path.is_file()
    };
    let is_set = may_be && opens_as_set(&path, interrupt)?;
    Ok(is_set.then_some(path))
}

/// With a session, takes requirements from the policy's depot. A dry run works for callers who may not change the root,
/// too.
fn apply_named(
    root: &Root,
    request: &ApplyRequest,
    session: Option<&FetchSession<'_>>,
    caller: &Caller<'_>,
    take: impl FnOnce(&mut OfferedOperands<'_>) -> Result<(), Failure>,
) -> Result<ApplyReport, Failure> {
    let work = || {
        let ground = RootAndPolicy::of(root)?;
        let demands = demands(&ground, &request.signature)?;
        let separator = ground.policy.separator.clone();
        let mut offered = OfferedOperands::new((request, caller.interrupt), &demands, &separator);
        take(&mut offered)?;
        apply_offered(root, request, ground, offered, session, caller)
    };
    if request.dry_run {
        return shown_to_anybody(root, work, |report, refused| ApplyReport {
            refused: Some(refused),
            ..report
        });
    }
    may_change(root)?;
    work()
}

/// Unpacked files exist until then.
fn apply_offered(
    root: &Root,
    request: &ApplyRequest,
    ground: RootAndPolicy,
    mut offered: OfferedOperands<'_>,
    session: Option<&FetchSession<'_>>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let is_of_signature = |outcome: &PatchOutcome| {
        let Err(Failure::Source(error)) = &outcome.result else { return false };
        matches!(error.problem, SourceProblem::Signature(_))
    };
    let is_from_file = request.plan_file.expected.as_ref().is_some_and(|expected| expected.path.is_some());
    if is_from_file
        && let Some(place) = offered.unread.iter().position(is_of_signature)
        && let Err(failure) = offered.unread.swap_remove(place).result
    {
        // The plan depends on this patch.
        return Err(failure);
    }
    let is_single = offered.is_single() && request.choices == SetRequest::default();
    offered.identify_contents();
    let choices = SetRequest {
        named: Some(std::mem::take(&mut offered.named)),
        depot: offered.place.clone(),
        again: request.unconditional,
        ..request.choices.clone()
    };
    let serving = session.filter(|_| ground.policy.depot.is_some() && !choices.no_requires);
    let report = if choices.all_or_nothing
        && let Some(first) = offered.unread.first()
    {
        let untried = |operand: &ApplyOperand| operand.not_without(&first.id);
        ApplyReport { patches: offered.operands.iter().map(untried).collect(), ..ApplyReport::default() }
    } else if let Some(session) = serving
        && lacks_patches(root, &ground, &offered.offers, &choices)?
    {
        let operands = (std::mem::take(&mut offered.operands), std::mem::take(&mut offered.offers));
        let operands = (operands, offered.room.clone());
        let ground = (ground, offered.demands.to_vec());
        apply_served(root, ground, (request, &choices), operands, session, caller)?
    } else if is_single && let Some(operand) = offered.operands.pop() {
        let done = apply_opened(root, ground, request, &OpenedPatches::one(operand), caller, &|_| Ok(()));
        return done.map(|done| done.report);
    } else {
        let operands = std::mem::take(&mut offered.operands);
        let choice = PatchChoice::Resolve { offers: offered.offers.clone(), request: choices.clone() };
        let opened = OpenedPatches { operands, unread: Vec::new(), choice };
        let done = apply_opened(root, ground, request, &opened, caller, &|_| Ok(()))?;
        match done.resolution {
            None => done.report,
            Some(resolution) => {
                let (offers, fetched) = (&*offered.offers, Vec::new());
                let set = SetReport { offers, operands: 0, fetched, choices: &choices };
                with_natives(root, with_verdicts(done.report, resolution, set), offers)
            }
        }
    };
    let OfferedOperands { unread, bundles, .. } = offered;
    drop(bundles);
    Ok(ApplyReport { patches: report.patches.into_iter().chain(unread).collect(), ..report })
}

/// True for requirements that are neither applied nor offered.
fn lacks_patches(
    root: &Root,
    ground: &RootAndPolicy,
    offers: &[Offer],
    choices: &SetRequest,
) -> Result<bool, Failure> {
    if must_have_database(root).is_err() {
        // Applying says so, or adopts a native package.
        return Ok(false);
    }
    let resolve = |shown: &Root| resolved(&ground.of_shown(shown), offers, choices);
    let (resolution, _) = plan_on_foreseen_root(root, resolve)?;
    let lacks = |outcome: &SetOutcome| {
        let SetOutcome::LeftOut(reason) = outcome else { return false };
        let required = |reason: &SetReason| {
            matches!(reason, SetReason::RequiredNowhere { .. } | SetReason::RequiredRefused { .. })
        };
        matches!(reason, Reason::Required(_)) || matches!(reason, Reason::InSet(reason) if required(reason))
    };
    Ok(resolution.verdicts.iter().any(|verdict| lacks(&verdict.outcome)))
}

/// Adds requirements from the policy's depot.
fn apply_served(
    root: &Root,
    (ground, demands): (RootAndPolicy, Vec<Demand>),
    request: (&ApplyRequest, &SetRequest),
    ((operands, mut offers), room): ((Vec<ApplyOperand>, Vec<Offer>), SharedRoom),
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let depot = SetDepot::open(root, None, (&ground, demands), &request.0.signature, session)?;
    let mut entries: Vec<&DepotPatch> = depot.depot.patches();
    let served = depot.offers(&entries)?;
    // Patches named by path win.
    let is_other = |offer: &Offer| offers.iter().all(|named| named.id != offer.id);
    let is_served: Vec<bool> = served.iter().map(is_other).collect();
    let mut kept = is_served.iter();
    entries.retain(|_| kept.next().copied().unwrap_or(false));
    offers.extend(served.into_iter().zip(&is_served).filter(|(_, kept)| **kept).map(|(offer, _)| offer));
    let offered = DepotOffers { depot: &depot, offers, operands, entries, room };
    apply_offers(root, ground, request, offered, session, caller)
}

fn apply_of_depot(
    root: &Root,
    request: &ApplyRequest,
    of_depot: &DepotOperands,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if !request.dry_run {
        may_change(root)?;
    }
    let ground = RootAndPolicy::of(root)?;
    let demands = demands(&ground, &request.signature)?;
    let named = of_depot.depot.as_deref();
    let depot = SetDepot::open(root, named, (&ground, demands), &request.signature, session)?;
    let is_named = matches!(of_depot.patches, PatchOperands::Words(_));
    if !is_named || !request.preparation.is_adopting(&ground.policy) {
        must_have_database(root)?;
    }
    let empty_depot = match depot.depot.must_have_patches() {
        Err(error) if matches!(&of_depot.patches, PatchOperands::Words(ids) if ids.is_empty()) => {
            return Err(error.into());
        }
        found => found.err().map(|error| error.to_string()),
    };
    let entries: Vec<&DepotPatch> = depot.depot.patches();
    let offers = depot.offers(&entries)?;
    let named = match &of_depot.patches {
        PatchOperands::Words(ids) => words(&offers, &ground.policy.separator, &depot.named, ids)?,
        PatchOperands::Missing(analysis) => {
            let request = (&**analysis, &request.choices);
            Some(missing_patches((root, &ground.policy), &depot, &offers, request)?)
        }
    };
    let choices = SetRequest { named, ..request.choices.clone() };
    let (operands, room) = (Vec::new(), SharedRoom::default());
    let offered = DepotOffers { depot: &depot, offers, operands, entries, room };
    let report = apply_offers(root, ground, (request, &choices), offered, session, caller)?;
    Ok(ApplyReport { empty_depot, ..report })
}

/// Patches that were read, and those of a depot.
struct DepotOffers<'a> {
    depot: &'a SetDepot,
    /// First of the operands, then of the entries.
    offers: Vec<Offer>,
    operands: Vec<ApplyOperand>,
    entries: Vec<&'a DepotPatch>,
    /// Of the operands.
    room: SharedRoom,
}

/// Only applying needs the root's lock. Without a patch, locks and remembers nothing.
fn apply_offers(
    root: &Root,
    ground: RootAndPolicy,
    (request, choices): (&ApplyRequest, &SetRequest),
    offered: DepotOffers<'_>,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let DepotOffers { depot, offers, operands, entries, room } = offered;
    let own = operands.len();
    let choices = SetRequest { depot: Some(depot.named.clone()), ..choices.clone() };
    let packages: Vec<_> = offers.iter().flat_map(|offer| offer.packages.clone()).collect();
    let resolve = |shown: &Root| {
        let ground = ground.of_shown(shown);
        let prepared = prepare(&ground, Execution::Foresee, &request.preparation, &packages, caller)?;
        resolved(prepared.after.as_ref().unwrap_or(&ground), &offers, &choices)
    };
    // An interrupted run is recovered before patches are applied. The run reports the preparation.
    let (resolution, _) = plan_on_foreseen_root(root, resolve)?;
    let fetched = fetch_planned(&depot.depot, (own, &entries), &resolution, session)?;
    let opened = if choices.all_or_nothing && fetched.iter().any(Result::is_err) {
        OpenedPatches { operands: Vec::new(), unread: Vec::new(), choice: PatchChoice::default() }
    } else {
        let read = |path: &Path| {
            let how = (request, &room, caller.interrupt);
            ApplyOperand::read(path, &ground.policy.separator, &depot.demands, how)
        };
        opened(&offers, &resolution, &fetched, operands, choices.all_or_nothing, read)?
    };
    let remember = |locked: &Session<'_>| depot.remember(locked, session);
    let mut report = apply_opened(root, ground, request, &opened, caller, &remember)?.report;
    report.patches.extend(opened.unread);
    let set = SetReport { offers: &offers, operands: own, fetched, choices: &choices };
    Ok(with_natives(root, with_verdicts(report, resolution, set), &offers))
}

/// Refuses a patch with an unexpected id. In one transaction, one failure refuses all.
fn opened(
    offers: &[Offer],
    resolution: &Resolution,
    fetched: &FetchedPatches,
    operands: Vec<ApplyOperand>,
    all_or_nothing: bool,
    read: impl Fn(&Path) -> Result<ApplyOperand, Failure>,
) -> Result<OpenedPatches, Failure> {
    let mut named: Vec<Option<ApplyOperand>> = operands.into_iter().map(Some).collect();
    let (mut operands, mut unread) = (Vec::new(), Vec::new());
    for (verdict, fetched) in resolution.planned().zip(fetched) {
        let Some(Offer { id, .. }) = verdict.offer.and_then(|place| offers.get(place)) else { continue };
        let path = match fetched {
            Err(_) => continue,
            Ok(FetchedPatch::Path(path)) => path,
            Ok(FetchedPatch::Operand(place)) => {
                operands.extend(named.get_mut(*place).and_then(Option::take));
                continue;
            }
        };
        let failure = match read(path) {
            Ok(operand) if operand.id.as_ref() == Some(id) => {
                operands.push(operand);
                continue;
            }
            Ok(operand) => {
                let reason = format!("the depot lists it as {id}, but it is {}", operand.shown_id());
                Reason::BadPatch(reason).of(Command::Patchadd, id).into()
            }
            Err(failure) if failure.signal().is_some() => return Err(failure),
            Err(failure) => failure,
        };
        unread.push(PatchOutcome::refused(id.to_string(), None, failure));
    }
    if all_or_nothing && let Some(first) = unread.first().map(|first| first.id.clone()) {
        unread.extend(operands.drain(..).map(|operand| operand.not_without(&first)));
    }
    let is_left_out = |verdict: &&SetVerdict| verdict.outcome != SetOutcome::Planned;
    let left_out = resolution.verdicts.iter().filter(is_left_out).cloned().collect();
    let (void, because) = (resolution.void(), resolution.because());
    let choice = PatchChoice::InOrder { void, because, all_or_nothing, left_out };
    Ok(OpenedPatches { operands, unread, choice })
}

struct SetReport<'a> {
    offers: &'a [Offer],
    /// Number of offers from operands beside the depot.
    operands: usize,
    /// Empty if nothing had to be fetched.
    fetched: FetchedPatches,
    choices: &'a SetRequest,
}

/// Adds the outcomes of all other patches.
fn with_verdicts(report: ApplyReport, resolution: Resolution, set: SetReport<'_>) -> ApplyReport {
    let SetReport { offers, operands, fetched, choices } = set;
    let mut done: HashMap<String, PatchOutcome> =
        report.patches.into_iter().map(|outcome| (outcome.id.clone(), outcome)).collect();
    let mut fetched = fetched.into_iter();
    let missing = resolution.planned().zip(fetched.as_slice()).find(|(_, fetched)| fetched.is_err());
    let missing = missing.map(|(verdict, _)| verdict.id.clone());
    let mut patches: Vec<PatchOutcome> = Vec::new();
    for verdict in resolution.verdicts {
        let outcome = match &verdict.outcome {
            SetOutcome::Planned => match (fetched.next(), &missing) {
                (Some(Err(error)), _) => refused(&verdict, error.into()),
                (_, Some(missing)) if choices.all_or_nothing => {
                    refused(&verdict, Failure::NotWithout(missing.clone()))
                }
                _ => match done.remove(&verdict.id) {
                    Some(outcome) => with_reason(outcome, &verdict, offers, &patches),
                    None => continue,
                },
            },
            SetOutcome::LeftOut(reason) => done
                .remove(&verdict.id)
                .unwrap_or_else(|| refused(&verdict, refusal(reason.clone(), &verdict.id))),
            SetOutcome::NotTried(by) => refused(&verdict, Failure::NotWithout(by.clone())),
        };
        let is_operand = verdict.offer.is_some_and(|place| place < operands);
        let depot = choices.depot.clone().filter(|_| !is_operand);
        patches.push(PatchOutcome { set: Some(membership(&verdict, depot)), ..outcome });
    }
    ApplyReport { patches, ..report }
}

/// Names the native packages that are the reason why patches do not apply.
fn with_natives(root: &Root, mut report: ApplyReport, offers: &[Offer]) -> ApplyReport {
    let is_missing = |one: &PatchOutcome| {
        let Err(Failure::Refused(refusal)) = &one.result else { return false };
        matches!(*refusal.reason, Reason::NotInstalled(_))
    };
    if report.patches.iter().any(is_missing)
        && let Ok(ground) = RootAndPolicy::of(root)
    {
        let packages_of = |id: &str| {
            let offer = offers.iter().find(|offer| offer.id.as_str() == id);
            offer.map(|offer| offer.packages.clone()).unwrap_or_default()
        };
        name_natives(&ground, &packages_of, &mut report.patches);
    }
    report
}

fn membership(verdict: &SetVerdict, depot: Option<String>) -> SetMembership {
    SetMembership {
        is_named: verdict.is_named,
        because: verdict.because.iter().map(ToString::to_string).collect(),
        depot,
    }
}

fn refused(verdict: &SetVerdict, failure: Failure) -> PatchOutcome {
    PatchOutcome::refused(verdict.id.clone(), None, failure)
}

fn refusal(reason: Reason, id: &str) -> Failure {
    reason.of(Command::Patchadd, &id).into()
}

fn with_reason(
    outcome: PatchOutcome,
    verdict: &SetVerdict,
    offers: &[Offer],
    before: &[PatchOutcome],
) -> PatchOutcome {
    let requirement = match &outcome.result {
        Err(Failure::Refused(refusal)) => match &*refusal.reason {
            Reason::Required(requirement) => requirement.clone(),
            _ => return outcome,
        },
        _ => return outcome,
    };
    let is_provider = |one: &&PatchOutcome| {
        let mut same = offers.iter().filter(|offer| offer.id.as_str() == one.id);
        same.any(|offer| requirement.is_met_by(&offer.id, &offer.obsoletes))
    };
    let reason = before.iter().filter(is_provider).find_map(|one| one.result.as_ref().err());
    let Some(reason) = reason.map(sentence) else { return outcome };
    let reason = Reason::InSet(SetReason::RequiredRefused { requirement, reason });
    PatchOutcome { result: Err(refusal(reason, &verdict.id)), ..outcome }
}

fn sentence(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => refusal.why(),
        other => other.to_string(),
    }
}

/// Patches and bundles by path, as offers. Each is read once.
struct OfferedOperands<'a> {
    operands: Vec<ApplyOperand>,
    offers: Vec<Offer>,
    /// Ids of operands; for a bundle those of its `patch_order`, otherwise all.
    named: Vec<String>,
    /// As the user named it.
    place: Option<String>,
    unread: Vec<PatchOutcome>,
    /// Dropping them removes unpacked files.
    bundles: Vec<BundlePatches>,
    /// All images stay in memory.
    room: SharedRoom,
    request: &'a ApplyRequest,
    interrupt: Interrupt<'a>,
    demands: &'a [Demand],
    separator: &'a str,
}

impl<'a> OfferedOperands<'a> {
    fn new(
        (request, interrupt): (&'a ApplyRequest, Interrupt<'a>),
        demands: &'a [Demand],
        separator: &'a str,
    ) -> Self {
        Self {
            operands: Vec::new(),
            offers: Vec::new(),
            named: Vec::new(),
            place: None,
            unread: Vec::new(),
            bundles: Vec::new(),
            room: SharedRoom::default(),
            request,
            interrupt,
            demands,
            separator,
        }
    }

    /// Adds a patch, or a file with several patches, unpacked if needed. Fails if that is impossible, or on a signal.
    fn open(&mut self, path: &Path, session: Option<&FetchSession<'_>>) -> Result<(), Failure> {
        match self.read(path) {
            Ok(operand) => {
                let id = self.offer(path, operand);
                self.named.extend(id);
            }
            Err(failure) if failure.signal().is_some() => return Err(failure),
            Err(failure) if is_set(path, &failure, self.interrupt)? => {
                match (Bundle::open(path, self.interrupt)?, session) {
                    (Some(bundle), Some(session)) => self.open_bundle(path, bundle, session)?,
                    _ => self.leave_out(path, failure),
                }
            }
            Err(failure) => self.leave_out(path, failure),
        }
        Ok(())
    }

    /// True for one patch and no bundle.
    fn is_single(&self) -> bool {
        self.operands.len() == 1 && self.unread.is_empty() && self.bundles.is_empty()
    }

    fn open_bundle(
        &mut self,
        path: &Path,
        bundle: Bundle,
        session: &FetchSession<'_>,
    ) -> Result<(), Failure> {
        let patches = bundle.patches(&session.place_to_unpack()?, self.interrupt)?;
        let mut ids = Vec::new();
        let all = patches.paths.len();
        for (done, path) in patches.paths.iter().enumerate() {
            session.tell(DepotProgress::Patch { doing: PatchWork::Reading, done, all });
            match self.read(path) {
                Ok(operand) => ids.extend(self.offer(path, operand)),
                Err(failure) if failure.signal().is_some() => return Err(failure),
                Err(failure) => self.leave_out(path, failure),
            }
        }
        self.named.extend(patches.texts.order.clone().unwrap_or(ids));
        self.place.get_or_insert_with(|| path.display().to_string());
        self.bundles.push(patches);
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<ApplyOperand, Failure> {
        let how = (self.request, &self.room, self.interrupt);
        ApplyOperand::read(path, self.separator, self.demands, how)
    }

    fn offer(&mut self, path: &Path, operand: ApplyOperand) -> Option<String> {
        match offer_of(path, &operand.device.image, self.separator) {
            Ok(offer) => {
                let id = offer.id.to_string();
                self.offers.push(offer);
                self.operands.push(operand);
                Some(id)
            }
            Err(failure) => {
                self.unread.push(operand.refused(failure));
                None
            }
        }
    }

    fn leave_out(&mut self, path: &Path, failure: Failure) {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.unread.push(PatchOutcome::refused(name, None, failure));
    }

    /// Patches that occur twice are compared by content, regardless of form and place.
    fn identify_contents(&mut self) {
        let mut count: HashMap<PatchId, usize> = HashMap::new();
        for offer in &self.offers {
            *count.entry(offer.id.clone()).or_default() += 1;
        }
        for (offer, operand) in self.offers.iter_mut().zip(&self.operands) {
            if count.get(&offer.id).is_some_and(|number| *number > 1) {
                offer.content = content(&operand.device.image);
            }
        }
    }
}

/// Comparable content: packages with sums of objects, and other files except the README.
fn content(image: &Image) -> String {
    let package = |one: &PackageImage| {
        format!("{}{}", one.pkginfo_bytes.escape_ascii(), one.pkgmap_bytes.escape_ascii())
    };
    let mut packages: Vec<String> = image.packages.iter().map(package).collect();
    packages.sort();
    format!("{}{:?}{:?}", packages.concat(), image.patchinfo, image.hooks)
}

/// Combines all packages.
fn offer_of(path: &Path, image: &Image, separator: &str) -> Result<Offer, Failure> {
    let macros = declared(image, separator)
        .map_err(|reason| Failure::from(reason.of(Command::Patchadd, &image.name)))?;
    let packages = image.packages.iter().map(|package| {
        let text = |name| package.params.text(name).into_owned();
        OfferedPackage { pkg: text("PKG"), arch: text("ARCH"), version: text("VERSION") }
    });
    Ok(Offer {
        id: macros.id,
        requires: macros.requires,
        obsoletes: macros.obsoletes,
        incompatibles: macros.incompatibles,
        packages: packages.collect(),
        is_withdrawn: false,
        content: path.display().to_string(),
        source: path.display().to_string(),
    })
}

/// In bytes.
const LARGEST_LIST: u64 = 4 << 20;

const MOST_IDS: usize = 100_000;

/// `None` without operands.
fn words(
    offers: &[Offer],
    separator: &str,
    depot: &str,
    operands: &[OsString],
) -> Result<Option<Vec<String>>, Failure> {
    if operands.is_empty() {
        return Ok(None);
    }
    let ids: HashSet<&PatchId> = offers.iter().map(|offer| &offer.id).collect();
    let bases: HashSet<&str> = offers.iter().map(|offer| offer.id.base()).collect();
    let is_offered = |word: &str| {
        bases.contains(word) || PatchId::parse(word, separator).is_ok_and(|id| ids.contains(&id))
    };
    let mut words = Vec::new();
    for operand in operands {
        match operand.to_str() {
            Some(word) if is_offered(word) => words.push(word.to_owned()),
            _ if Path::new(operand).is_file() => words.extend(listed(Path::new(operand))?),
            Some(word) if could_be_id(word, separator) => words.push(word.to_owned()),
            _ => {
                let operand = operand.to_string_lossy().into_owned();
                return Err(Failure::NotInDepot { operand, depot: depot.to_owned() });
            }
        }
    }
    Ok(Some(words))
}

fn could_be_id(word: &str, separator: &str) -> bool {
    PatchId::parse(word, separator).is_ok()
        || PatchId::parse(&format!("{word}{separator}1"), separator).is_ok()
}

/// The first word of each line; `#` begins a comment.
fn listed(path: &Path) -> Result<Vec<String>, Failure> {
    let text = read_start(path, LARGEST_LIST).and_then(|text| {
        String::from_utf8(text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
    });
    let shown = path.display().to_string();
    let refused = |reason: String| Failure::from(Reason::BadPatch(reason).of(Command::Patchadd, &shown));
    let text = text.map_err(|error| refused(format!("it cannot be read as a list of ids: {error}")))?;
    let lines = text.lines().filter_map(|line| line.split_whitespace().next());
    let words: Vec<String> =
        lines.filter(|word| !word.starts_with('#')).take(MOST_IDS + 1).map(str::to_owned).collect();
    if text.len() as u64 > LARGEST_LIST || words.len() > MOST_IDS {
        return Err(refused(format!("it lists more than {MOST_IDS} ids")));
    }
    Ok(words)
}

/// Returns missing patches by base, and patches named in addition. Excludes requirements, which the resolver adds with
/// their reason, and bases that an option or the policy excludes.
fn missing_patches(
    (root, policy): (&Root, &Policy),
    depot: &SetDepot,
    offers: &[Offer],
    (request, choices): (&AnalysisRequest, &SetRequest),
) -> Result<Vec<String>, Failure> {
    let facts = facts_of_root(root).map_err(|error| match error {
        PatchesError::Database(error) => Failure::from(error),
        PatchesError::Policy(error) => error.into(),
    })?;
    let groups = AnalysisRequest { named: Vec::new(), with_requirements: false, ..request.clone() };
    let analysis = analyse(&from_depot(depot.depot.index()), &facts, &groups);
    let free = offers.iter().filter(|offer| !is_excluded(choices, policy, &offer.id));
    let free: HashSet<&str> = free.map(|offer| offer.id.base()).collect();
    let missing = analysis.patches.into_iter().filter(|patch| patch.is_missing).map(|patch| patch.base);
    let missing = missing.filter(|base| free.contains(base.as_str()));
    Ok(missing.chain(request.named.iter().cloned()).collect())
}
