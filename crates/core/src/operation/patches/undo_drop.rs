//! `patchadm undo-data drop`: deletes undo data, except the manifest and the list of paths, in one run. Limits of age
//! and size start with the oldest patches, spare the newest revision of a base, and ignore archives outside the root.
//! Other tools' undo data stays: nothing else describes its patch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset, TimeDelta};
use serde::Serialize;

use super::later_patches::LedgerCache;
use super::undo_change::{begin_undo_change, foresee_undo_change, named_patches};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::plan_file::PlanFault;
use crate::operation::queries::applied_patches::OrderOnRoot;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use crate::operation::trial::{begin_with_trial, on_trial};
use crate::operation::undo_list::{PackageSpace, PatchSpace, UndoForm, stored_space, undo_spaces};
use patchadm_changeset::format::escaped::{as_text, each_as_text};
use patchadm_changeset::format::manifest::{KEPT_MANIFEST, UndoManifest};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::undo_data::{ArchiveError, OldRecords, UndoData, UndoReader};
use patchadm_inputs::database::{RecordView, installed, saves};
use patchadm_inputs::format::ledger::{LedgerUndo, SNAPSHOT};
use patchadm_inputs::inventory::Save;
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::patch::backout_records::info_of_others;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{
    LedgerChange, LedgerRewrite, Plan, RecordChange, RewrittenArchive, UndoArchive, UndoPart,
};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::format::params;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};
use patchadm_svr4::places;

#[derive(Clone, Debug, Default)]
pub struct UndoDropRequest {
    /// As typed.
    pub ids: Vec<String>,
    /// Undo data of all patches that are not effective.
    pub superseded: bool,
    /// Number of newest patches that keep their undo data.
    pub keep: Option<usize>,
    /// Spare the newest revision of each patch.
    pub limits: UndoLimits,
    /// Directory of moved archives outside the root.
    pub undo_dir: Option<PathBuf>,
    pub dry_run: bool,
    /// The patches of the plan that must still hold.
    pub expected: Option<Vec<PatchOfDrop>>,
}

#[derive(Debug, Default)]
pub struct UndoDropReport {
    pub recovered: Recovered,
    /// In the order of listings.
    pub patches: Vec<PatchOfDrop>,
    pub receipt: Option<Receipt>,
    /// Bytes beyond the requested size, which only named patches would free.
    pub excess: u64,
    /// Within a limit, but made by another tool.
    pub foreign: Vec<PatchId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatchOfDrop {
    #[serde(serialize_with = "as_text")]
    pub id: PatchId,
    pub verdict: DropVerdict,
    /// Packages with undo data; empty if there was none.
    #[serde(serialize_with = "each_as_text")]
    pub packages: Vec<PkgInst>,
    /// Bytes of its archives and their old files.
    pub freed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DropVerdict {
    Planned,
    Committed,
}

/// If one patch is refused, nothing is changed.
pub fn drop_undo_data(
    root: &Root,
    request: &UndoDropRequest,
    caller: &Caller<'_>,
) -> Result<UndoDropReport, Failure> {
    let undo_dir = request.undo_dir.as_deref();
    if request.dry_run {
        let planned = foresee_undo_change(root, undo_dir, caller, |ground| {
            UndoDropPlanner::of(ground)?.plan(request, caller)
        })?;
        let PlannedUndoDrop { patches, excess, foreign, .. } = planned;
        return Ok(UndoDropReport { patches, excess, foreign, ..UndoDropReport::default() });
    }
    let begin = |ground, caller| begin_with_trial(ground, caller, &[]);
    let (session, found) = begin_undo_change(root, undo_dir, caller, begin)?;
    let planned = UndoDropPlanner::of(&session.ground)?.plan(request, caller)?;
    if request.expected.as_ref().is_some_and(|expected| *expected != planned.patches) {
        return Err(PlanFault::OtherUndoData.into());
    }
    // Without undo data, a trial could not be reverted.
    let given_up = |record: &&TrialRecord| {
        let is_on_trial = |patch: &PatchOfDrop| record.patches.contains(&patch.id.to_string());
        planned.patches.iter().any(is_on_trial)
    };
    if let Some(record) = found.record().filter(given_up) {
        return Err(on_trial(record, caller));
    }
    let receipt = match &planned.plan {
        Some(plan) => Some(session.perform(plan, &mut NoContent, None, String::new())?),
        None => None,
    };
    let PlannedUndoDrop { mut patches, excess, foreign, .. } = planned;
    for patch in &mut patches {
        patch.verdict = DropVerdict::Committed;
    }
    Ok(UndoDropReport { recovered: session.recovered, patches, receipt, excess, foreign })
}

pub(super) fn plan_within_limits(
    session: &Session<'_>,
    limits: UndoLimits,
) -> Result<PlannedUndoDrop, Failure> {
    let request = UndoDropRequest { limits, ..UndoDropRequest::default() };
    UndoDropPlanner::of(&session.ground)?.plan(&request, session.caller)
}

pub(super) struct PlannedUndoDrop {
    pub(super) patches: Vec<PatchOfDrop>,
    pub(super) plan: Option<Plan>,
    excess: u64,
    foreign: Vec<PatchId>,
}

struct UndoDropPlanner<'a> {
    ground: &'a RootAndPolicy,
    applied: AppliedPatches,
    ledgers: LedgerCache,
}

impl<'a> UndoDropPlanner<'a> {
    fn of(ground: &'a RootAndPolicy) -> Result<Self, Failure> {
        let applied = ground.recorded(&ground.packages()?)?;
        Ok(Self { ground, applied, ledgers: LedgerCache::default() })
    }

    /// In the order of listings; also returns what limits did not reach.
    fn chosen(
        &self,
        request: &UndoDropRequest,
        caller: &Caller<'_>,
    ) -> Result<(Vec<PatchId>, LimitChoice), Failure> {
        let mut chosen = named_patches(&request.ids, self.ground, &self.applied, Command::Commit)?;
        if request.superseded {
            let all = self.applied.iter().map(|patch| &patch.id);
            chosen.extend(all.filter(|id| !self.applied.is_effective(id)));
        }
        if let Some(keep) = request.keep {
            chosen.extend(OrderOnRoot::of(&self.applied).newest_first().into_iter().skip(keep));
        }
        let (root, now) = (&self.ground.root, &caller.now);
        let limited = LimitedRoot { root, applied: &self.applied, ledgers: &self.ledgers, now };
        let by_limit = limited.choose(&request.limits, &chosen)?;
        let listed = self.applied.iter().map(|patch| &patch.id);
        let is_chosen = |id: &&PatchId| chosen.contains(id) || by_limit.chosen.contains(*id);
        Ok((listed.filter(is_chosen).cloned().collect(), by_limit))
    }

    fn plan(&self, request: &UndoDropRequest, caller: &Caller<'_>) -> Result<PlannedUndoDrop, Failure> {
        let (mut patches, mut given_up) = (Vec::new(), GivenUp::to(RewrittenArchive::GivenUp));
        let (chosen, LimitChoice { excess, foreign, .. }) = self.chosen(request, caller)?;
        for id in chosen {
            let of = self.applied.get(&id).map(|patch| patch.packages.clone()).unwrap_or_default();
            let verdict = DropVerdict::Planned;
            let mut committed = PatchOfDrop { id, verdict, packages: Vec::new(), freed: 0 };
            for package in of {
                if let Some(freed) = self.give_up(
                    (&committed.id, &package),
                    request.undo_dir.as_deref(),
                    &mut given_up,
                    caller.interrupt,
                )? {
                    committed.freed += freed;
                    committed.packages.push(package);
                }
            }
            patches.push(committed);
        }
        let with_undo = patches.iter().filter(|patch| !patch.packages.is_empty());
        let ids = with_undo.map(|patch| patch.id.to_string()).collect();
        let plan = given_up.into_plan(Command::Commit, ids, caller);
        Ok(PlannedUndoDrop { patches, plan, excess, foreign })
    }

    /// Returns the bytes; `None` if there is no undo data.
    fn give_up(
        &self,
        (id, package): (&PatchId, &PkgInst),
        moved_to: Option<&Path>,
        given_up: &mut GivenUp,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<u64>, Failure> {
        let ground = self.ground;
        let view = RecordView::live(&ground.root);
        let name = installed::saved_as(&view, package, id)?;
        let saves = saves::saves(&view, package).map_err(Failure::Database)?;
        let Some(save) = saves.get(&name).filter(|save| save.has_archive()) else { return Ok(None) };
        let ledger = self.ledgers.of(&view, package)?;
        let reader = ground.undo_data(&view, moved_to);
        let found = reader.find_with(package, &name, &ledger)?;
        let of = GivenUpPatch { command: Command::Commit, id, package, name: &name };
        given_up.take(ground, &reader, of, save, found, interrupt).map(Some)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct UndoLimits {
    /// Seconds since the application of a patch.
    pub older_than: Option<u64>,
    /// Bytes in the root.
    pub shrink_to: Option<u64>,
    /// Number of newest patches that keep their undo data.
    pub keep_newest: Option<usize>,
}

#[derive(Debug, Default)]
struct LimitChoice {
    pub(super) chosen: BTreeSet<PatchId>,
    /// Bytes beyond the limit after all deletions.
    pub(super) excess: u64,
    pub(super) foreign: Vec<PatchId>,
}

struct LimitedRoot<'a> {
    pub(super) root: &'a Root,
    pub(super) applied: &'a AppliedPatches,
    pub(super) ledgers: &'a LedgerCache,
    pub(super) now: &'a Now,
}

impl UndoLimits {
    pub fn is_none(&self) -> bool {
        self.older_than.is_none() && self.shrink_to.is_none() && self.keep_newest.is_none()
    }
}

impl LimitedRoot<'_> {
    pub(super) fn choose(
        &self,
        limits: &UndoLimits,
        given_up: &BTreeSet<&PatchId>,
    ) -> Result<LimitChoice, Failure> {
        let mut choice = LimitChoice::default();
        if limits.is_none() {
            return Ok(choice);
        }
        let spaces = undo_spaces(self.root)?;
        let order = OrderOnRoot::of(self.applied);
        let candidates = self.candidates(&spaces, &order, given_up, &mut choice)?;
        if let Some(age) = limits.older_than {
            let old = candidates.iter().filter(|one| is_older(order.date(&one.id), age, self.now));
            choice.chosen.extend(old.map(|one| one.id.clone()));
        }
        if let Some(keep) = limits.keep_newest {
            let kept: BTreeSet<&PatchId> = order.newest_first().into_iter().take(keep).collect();
            let beyond = candidates.iter().filter(|one| !kept.contains(&one.id));
            choice.chosen.extend(beyond.map(|one| one.id.clone()));
        }
        if let Some(most) = limits.shrink_to {
            let stays = |one: &&PatchSpace| !given_up.contains(&one.id) && !choice.chosen.contains(&one.id);
            let mut bytes: u64 = spaces.iter().filter(stays).map(PatchSpace::freeable).sum();
            for one in candidates {
                if bytes > most && choice.chosen.insert(one.id.clone()) {
                    bytes -= one.freeable();
                }
            }
            choice.excess = bytes.saturating_sub(most);
        }
        Ok(choice)
    }

    /// The oldest first.
    fn candidates<'s>(
        &self,
        spaces: &'s [PatchSpace],
        order: &OrderOnRoot<'_>,
        given_up: &BTreeSet<&PatchId>,
        choice: &mut LimitChoice,
    ) -> Result<Vec<&'s PatchSpace>, Failure> {
        let mut candidates = Vec::new();
        for one in spaces.iter().filter(|one| !one.is_newest && !given_up.contains(&one.id)) {
            let mut forms = one.undo.iter().filter_map(|undo| undo.space.form);
            if one.freeable() == 0 || forms.any(|form| form == UndoForm::Outside) {
                continue;
            }
            if self.is_foreign(one)? {
                choice.foreign.push(one.id.clone());
            } else {
                candidates.push(one);
            }
        }
        let newest_first =
            order.newest_first_of(candidates.iter().filter_map(|one| self.id(&one.id)).collect());
        let places: HashMap<&PatchId, usize> = newest_first.into_iter().zip(0..).collect();
        candidates.sort_by_key(|one| std::cmp::Reverse(places.get(&one.id).copied()));
        Ok(candidates)
    }

    fn id(&self, id: &PatchId) -> Option<&PatchId> {
        self.applied.get(id).map(|patch| &patch.id)
    }

    /// True if another tool made it, or the ledger does not tell.
    fn is_foreign(&self, patch: &PatchSpace) -> Result<bool, Failure> {
        let view = RecordView::live(self.root);
        for PackageSpace { package, .. } in patch.undo.iter().filter(|undo| undo.space.form.is_some()) {
            let name = installed::saved_as(&view, package, &patch.id)?;
            let ledger = self.ledgers.of(&view, package)?;
            let line = ledger.line(&name).map(|line| &line.undo);
            if !matches!(line, Some(LedgerUndo::Kept { is_classic: false, .. })) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// False for a patch without a date. `age` is in seconds.
pub(super) fn is_older(date: Option<DateTime<FixedOffset>>, age: u64, now: &Now) -> bool {
    let age = i64::try_from(age).ok().and_then(TimeDelta::try_seconds);
    let limit = age.and_then(|age| now.utc.and_utc().checked_sub_signed(age));
    limit.zip(date).is_some_and(|(limit, date)| date < limit)
}

/// Undo data that leaves a root, deleted or exported: only the manifest and the list of paths stay, for neighboring
/// patches.
pub(super) struct GivenUp {
    archive: RewrittenArchive,
    records: Vec<RecordChange>,
    undo: Vec<UndoArchive>,
    discard: Vec<PathBuf>,
    notes: Vec<String>,
    ledgers: BTreeMap<PkgInst, LedgerChange>,
}

#[derive(Clone, Copy)]
pub(super) struct GivenUpPatch<'a> {
    pub(super) command: Command,
    pub(super) id: &'a PatchId,
    pub(super) package: &'a PkgInst,
    pub(super) name: &'a str,
}

impl GivenUp {
    pub(super) fn to(archive: RewrittenArchive) -> Self {
        Self {
            archive,
            records: Vec::new(),
            undo: Vec::new(),
            discard: Vec::new(),
            notes: Vec::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// Compares bytes with the ledger. Returns bytes, with old files.
    pub(super) fn take(
        &mut self,
        ground: &RootAndPolicy,
        reader: &UndoReader<'_>,
        of: GivenUpPatch<'_>,
        save: &Save,
        found: UndoData,
        interrupt: Interrupt<'_>,
    ) -> Result<u64, Failure> {
        let view = RecordView::live(&ground.root);
        let size = if found.is_remote() {
            found.allocated().unwrap_or_else(|_| found.size())
        } else {
            save.allocated
        };
        let stays = found.why_it_stays(&ground.root, &reader.outside);
        if found.is_remote() && stays.is_none() {
            self.discard.push(PathBuf::from(found.path()));
        }
        self.notes.extend(stays);
        let found = found.telling(&view)?;
        let manifest = found.bound_manifest(interrupt)?.ok_or_else(|| {
            let reason = "another program made it, and nothing else records the paths of the patch";
            let (package, reason) = (of.package.clone(), reason.to_owned());
            Reason::BadUndoData { package, reason }.of(of.command, of.id)
        })?;
        let records = found.records(&manifest)?;
        let stored = stored_space(&ground.root, &manifest)?;
        let manifest = with_patch_info(manifest, &records);
        self.add(&ground.root, of.package, of.name, save, manifest)?;
        Ok(size.saturating_add(stored))
    }

    /// `None` if there is no undo data.
    pub(super) fn into_plan(
        self,
        command: Command,
        patches: Vec<String>,
        caller: &Caller<'_>,
    ) -> Option<Plan> {
        let packages: Vec<PkgInst> = self.ledgers.keys().cloned().collect();
        let last = packages.last()?;
        let ledgers = self.ledgers.into_values().map(RecordChange::Ledger);
        let empty = Plan::empty(command.name(), caller.now.trailer("patchadm", last));
        Some(Plan {
            patches,
            packages,
            records: self.records.into_iter().chain(ledgers).collect(),
            undo: self.undo,
            discard: self.discard,
            notes: self.notes,
            ..empty
        })
    }

    fn add(
        &mut self,
        root: &Root,
        package: &PkgInst,
        name: &str,
        save: &Save,
        manifest: UndoManifest,
    ) -> Result<(), Failure> {
        let at = |file: &str| saved_file(package, name, file);
        let (view, archive) = (RecordView::live(root), self.undo.len());
        let parts = [(KEPT_MANIFEST, UndoPart::Manifest), ("undo.paths", UndoPart::Paths)];
        for (file, part) in parts {
            self.records.push(RecordChange::Undo { path: at(file)?, archive, part });
        }
        let files = save.archive.iter().map(String::as_str);
        let files = files.chain(save.remote.as_ref().map(|_| "remote"));
        for file in files.chain(["undo.b3"]) {
            let path = at(file)?;
            if view.look(&path).map_err(ArchiveError::from)?.is_some() {
                self.records.push(RecordChange::RemoveFile(path));
            }
        }
        let snapshot = SNAPSHOT.split_once('/').map_or(SNAPSHOT, |(directory, _)| directory);
        if root.list(&at(snapshot)?)?.is_some() {
            self.records.push(RecordChange::RemoveTree(at(snapshot)?));
        }
        let change = self.ledgers.entry(package.clone()).or_insert_with(|| LedgerChange::of(package));
        let (patch, archive) = (name.to_owned(), self.archive);
        change.rewritten.push(LedgerRewrite { patch, archive, is_adopted: false });
        self.undo.push(kept(package, name, manifest));
        Ok(())
    }
}

pub(super) fn saved_file(package: &PkgInst, patch: &str, file: &str) -> Result<ObjectPath, Failure> {
    let save = places::save(package).join(patch.as_bytes());
    let path = save.and_then(|save| save.join(file.as_bytes()));
    path.map_err(|error| Failure::BadId(format!("{patch}: {error}")))
}

/// Adds lines about other patches from the saved pkginfo, which may be recorded nowhere else.
fn with_patch_info(mut manifest: UndoManifest, records: &OldRecords) -> UndoManifest {
    let saved = records.get(&b"pkginfo"[..]).and_then(|file| params::parse(&file.bytes).ok());
    if let Some(saved) = saved {
        manifest.header.patch_info = info_of_others(&manifest, &saved);
    }
    manifest
}

/// Keeps the manifest without saved contents.
fn kept(package: &PkgInst, name: &str, mut manifest: UndoManifest) -> UndoArchive {
    for record in manifest.objects.iter_mut().chain(&mut manifest.shlibs) {
        record.member = None;
    }
    UndoArchive::manifest_only(package.clone(), name.to_owned(), manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_changeset::RecordFile;
    use patchadm_rootfs::Timestamp;
    use patchadm_svr4::package::Mode;

    #[test]
    fn an_age_is_counted_back_from_now_and_none_is_too_long() {
        let moment = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let utc = moment("2026-11-20T12:00:00Z").naive_utc();
        let now = Now { utc, local: utc, host: "here".to_owned() };
        let day = 86_400;
        let old = |date: Option<&str>, age| is_older(date.map(moment), age, &now);
        assert!(old(Some("2026-11-19T11:59:59Z"), day));
        assert!(!old(Some("2026-11-19T12:00:00Z"), day), "it is exactly as old");
        assert!(!old(Some("2026-11-19T11:30:00-01:00"), day));
        assert!(!old(None, 0), "nobody knows how old it is");
        for age in [u64::MAX, i64::MAX.unsigned_abs(), 1 << 45] {
            assert!(!old(Some("1970-01-01T00:00:00Z"), age), "{age}");
        }
    }

    #[test]
    fn the_manifest_that_stays_has_the_lines_of_the_pkginfo_that_goes() {
        let header = serde_json::json!({
            "manifest": 1, "patch": "300-01", "package": "X", "root": "0123456789abcdef",
            "obsoletes": [], "parameters": [], "made_records": [], "patch_info": {"200-01": "b"},
        });
        let header = serde_json::from_value(header).unwrap();
        let manifest = UndoManifest { header, objects: Vec::new(), shlibs: Vec::new() };
        let pkginfo = "PKG=X\nPATCHLIST=100-01 200-01\nPATCH_INFO_100-01=a\nPATCH_INFO_900-01=backed out\n";
        let file = RecordFile {
            bytes: Vec::from(pkginfo).into(),
            mode: Mode::of(0o644),
            mtime: Timestamp::whole(1),
        };
        let kept = with_patch_info(manifest, &BTreeMap::from([(b"pkginfo".to_vec(), file)]));
        let lines: Vec<String> =
            kept.header.patch_info.iter().map(|(id, text)| format!("{id} {text}")).collect();
        assert_eq!(lines, ["100-01 a", "200-01 b"]);
    }
}
