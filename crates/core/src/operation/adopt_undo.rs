//! `recover --adopt-undo`: binds undo archives that the ledger does not know, if they fit the records and the tree. A
//! fit does not prove the origin: an archive of an earlier application of the same patch fits, too. So the operator
//! must name the patch, and adopted archives give no rights back that the object lacks.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::content::NoContent;
use super::failure::Failure;
use super::session::{Caller, RootAndPolicy, may_change, must_have_database};
use crate::operation::patches::undo_directory;
use crate::operation::queries::runs::REMOVING;
use crate::operation::trial::begin_change;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, StateDifferences, UndoManifest};
use patchadm_changeset::format::outside_path::OutsidePath;
use patchadm_changeset::format::run::Run;
use patchadm_changeset::format::undo_sidecars::UndoDigest;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_inputs::database::ledger::{self, LedgerFault};
use patchadm_inputs::database::undo_data::{ArchiveError, UndoData};
use patchadm_inputs::database::{DatabaseError, RecordView, installed, marker};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine, UndoLocation};
use patchadm_planning::plan::{LedgerArchive, LedgerChange, Plan, RecordChange};
use patchadm_rootfs::{Digest, FileType, Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// In bytes.
const LARGEST_DIGEST: u64 = 4096;

const COMMAND: &str = "recover";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedUndo {
    pub patch: String,
    pub package: PkgInst,
    /// Named by the `undo.b3` beside the archive; a hint.
    pub run: Option<String>,
    /// Start of that run, RFC 3339, according to the history.
    pub made: Option<String>,
    /// The package's record of the patch.
    pub recorded: String,
    /// Paths at which it does not fit, or another reason; `None` if it fits.
    pub differs: Option<String>,
    /// It names another root.
    pub is_foreign: bool,
    pub is_adopted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableUndo {
    /// Includes patch and package.
    pub reason: String,
    /// An earlier version of the program can read its form.
    pub is_earlier: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptionReport {
    /// Archives that no line of the ledger binds.
    pub archives: Vec<AdoptedUndo>,
    /// Undo data that is lost unless it is restored.
    pub unreadable: Vec<UnreadableUndo>,
    pub is_changed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct AdoptionRequest<'a> {
    /// Patches whose archives are bound. If empty, all archives are listed and none is bound.
    pub ids: &'a [String],
    /// Bind archives that name another root, too.
    pub takes_foreign: bool,
    /// Directory with archives outside the root.
    pub undo_dir: Option<&'a Path>,
}

/// Binds the archives of the named patches. Skips bound archives and those of other tools. Fails before it binds
/// anything if another user could exchange an archive.
pub fn adopt_undo(
    root: &Root,
    request: AdoptionRequest<'_>,
    caller: &Caller<'_>,
) -> Result<AdoptionReport, Failure> {
    let AdoptionRequest { ids, takes_foreign, undo_dir } = request;
    may_change(root)?;
    must_have_database(root)?;
    let session = begin_change(RootAndPolicy::of(root)?.naming(undo_dir), caller)?;
    let separator = &session.ground.policy.separator;
    let named = ids.iter().map(|id| PatchId::parse(id, separator));
    let named: Vec<PatchId> =
        named.collect::<Result<_, _>>().map_err(|error| Failure::BadId(error.to_string()))?;
    let adopter = Adopter {
        ground: &session.ground,
        named,
        takes_foreign,
        marker: marker(root)?,
        undo_dir,
        history: readable_history(&RecordView::live(root)),
        interrupt: caller.interrupt,
    };
    let (mut all, mut records, mut packages) = (Vec::new(), Vec::new(), Vec::new());
    let mut unreadable = Vec::new();
    for package in installed::packages(&RecordView::live(root)).map_err(Failure::Database)? {
        let (adoptions, change) = adopter.package(&package, &mut unreadable)?;
        all.extend(adoptions);
        if let Some(change) = change {
            records.push(RecordChange::Ledger(change));
            packages.push(package);
        }
    }
    let Some(last) = packages.last() else {
        return Ok(AdoptionReport { archives: all, unreadable, is_changed: false });
    };
    let empty = Plan::empty(COMMAND, caller.now.trailer(COMMAND, last));
    let plan = Plan {
        patches: all.iter().filter(|one| one.is_adopted).map(|one| one.patch.clone()).collect(),
        packages,
        records,
        ..empty
    };
    session.perform(&plan, &mut NoContent, None, String::new())?;
    Ok(AdoptionReport { archives: all, unreadable, is_changed: true })
}

struct Adopter<'a> {
    ground: &'a RootAndPolicy,
    named: Vec<PatchId>,
    takes_foreign: bool,
    /// `None` if the root has no marker.
    marker: Option<String>,
    undo_dir: Option<&'a Path>,
    history: Vec<HistoryEntry>,
    interrupt: Interrupt<'a>,
}

/// An archive of this program, or the manifest kept in its place.
struct AdoptableUndo {
    patch: PatchId,
    saved_as: String,
    /// `None` for a patch without undo data; only the manifest is kept.
    archive: Option<UndoData>,
    manifest: UndoManifest,
    b3: Digest,
    size: u64,
}

impl AdoptableUndo {
    /// True if the ledger's line names the archive already. A manifest replaces no archive.
    fn is_settled(&self, line: Option<&LedgerLine>) -> bool {
        let archive = line.and_then(LedgerLine::archive).map(|(known, _)| known);
        match self.archive {
            Some(_) => archive == Some(self.b3),
            None => archive.is_some() || line.and_then(|line| line.manifest) == Some(self.b3),
        }
    }
}

impl Adopter<'_> {
    fn package(
        &self,
        package: &PkgInst,
        unreadable: &mut Vec<UnreadableUndo>,
    ) -> Result<(Vec<AdoptedUndo>, Option<LedgerChange>), Failure> {
        let view = RecordView::live(&self.ground.root);
        let Some(params) = installed::params(&view, package)? else { return Ok((Vec::new(), None)) };
        let (ledger, is_anew) = match ledger::counting(&view, package) {
            Ok(ledger) => (ledger, false),
            Err(LedgerFault::Damaged { .. }) => {
                self.must_be_replaceable(&view, package)?;
                (Ledger::default(), true)
            }
            Err(fault) => return Err(ArchiveError::from(fault).into()),
        };
        let candidates = self.candidates(package, &params, unreadable)?;
        let mut change = LedgerChange { is_anew, ..LedgerChange::at(places::ledger(package), package) };
        let mut adoptions = Vec::new();
        for (place, candidate) in candidates.iter().enumerate() {
            let later = candidates.get(place + 1..).unwrap_or_default();
            let (b3, size) = (candidate.b3, candidate.size);
            if candidate.is_settled(ledger.line(&candidate.saved_as)) {
                continue;
            }
            let is_named = self.named.contains(&candidate.patch);
            if !self.named.is_empty() && !is_named {
                continue;
            }
            if let Some(archive) = &candidate.archive {
                self.check_place(archive)?;
            }
            let run = self.run(package, &candidate.saved_as)?;
            let other = self.other_root(candidate);
            let is_foreign = other.is_some();
            let differs = match other {
                Some(other) => Some(other),
                None => {
                    self.differs(candidate, later)?.or_else(|| self.ended_since(candidate, run.as_deref()))
                }
            };
            let is_adopted = is_named && (!is_foreign || self.takes_foreign);
            if is_adopted {
                let place = candidate.archive.as_ref().map(UndoData::location);
                let patch = candidate.saved_as.clone();
                let files = candidate.manifest.stored_bytes();
                change.adopted.push(LedgerArchive { patch, b3, size, files, place });
            }
            adoptions.push(AdoptedUndo {
                patch: candidate.saved_as.clone(),
                package: package.clone(),
                made: run.as_ref().and_then(|run| self.time_of(run)),
                run,
                recorded: params.text(&format!("PATCH_INFO_{}", candidate.saved_as)).into_owned(),
                differs,
                is_foreign,
                is_adopted,
            });
        }
        let is_named = candidates.iter().any(|candidate| self.named.contains(&candidate.patch));
        let is_changed = is_anew && (is_named || candidates.is_empty()) || !change.adopted.is_empty();
        Ok((adoptions, Some(change).filter(|_| is_changed)))
    }

    /// Refuses to replace another object, which may have contents.
    fn must_be_replaceable(&self, view: &RecordView<'_>, package: &PkgInst) -> Result<(), Failure> {
        let path = places::ledger(package);
        match view.look(&path).map_err(DatabaseError::from)? {
            Some(seen) if seen.file_type != FileType::Regular => Err(Failure::BadFile(format!(
                "{} is not a file: move it away, then run this again",
                self.ground.root.show(&path)
            ))),
            _ => Ok(()),
        }
    }

    /// Returns archives and manifests in the order in which the patches were applied. Skips unreadable ones, which
    /// cannot be bound.
    fn candidates(
        &self,
        package: &PkgInst,
        params: &Params,
        unreadable: &mut Vec<UnreadableUndo>,
    ) -> Result<Vec<AdoptableUndo>, Failure> {
        let view = RecordView::live(&self.ground.root);
        let applied = installed::patch_records(view.root(), package, params, &self.ground.policy.separator)?;
        let mut candidates = Vec::new();
        for patch in &applied.list {
            let saved_as = installed::saved_as(&view, package, patch)?;
            let reader = self.ground.undo_data(&view, self.undo_dir);
            let patch = patch.clone();
            if let Ok(archive) = reader.find_with(package, &saved_as, &Ledger::default()) {
                let manifest = match archive.verify_unbound(self.interrupt) {
                    Ok(Some(manifest)) => manifest,
                    Ok(None) => continue,
                    Err(error @ ArchiveError::Interrupted(_)) => return Err(error.into()),
                    Err(error) => {
                        unreadable.push(UnreadableUndo {
                            is_earlier: matches!(error, ArchiveError::Earlier { .. }),
                            reason: format!("patch {patch}, package {package}: {error}"),
                        });
                        continue;
                    }
                };
                let ((b3, size), archive) = (archive.digest(self.interrupt)?, Some(archive));
                candidates.push(AdoptableUndo { patch, saved_as, archive, manifest, b3, size });
            } else if let Some((manifest, b3, size)) = reader.unbound_manifest(package, &saved_as)? {
                let archive = None;
                candidates.push(AdoptableUndo { patch, saved_as, archive, manifest, b3, size });
            }
        }
        Ok(candidates)
    }

    /// Refuses an archive that another user could exchange. In roots other than `/`, records are checked wherever they
    /// are read.
    fn check_place(&self, archive: &UndoData) -> Result<(), Failure> {
        let root = &self.ground.root;
        let path = ObjectPath::new(archive.path().as_bytes())
            .map_err(|error| Failure::BadFile(error.to_string()))?;
        if let UndoLocation::Host(path) = archive.location() {
            let directory = OutsidePath::parse(&path).map(|place| place.directory);
            return undo_directory::must_be_private(&self.ground.host, directory.unwrap_or(&path));
        }
        if !root.is_system() || !root.is_privileged() {
            return Ok(());
        }
        match root.strange_on_the_way(&path)? {
            None => Ok(()),
            Some(strange) => {
                Err(Failure::BadFile(format!("{strange}: the undo archive could be another one")))
            }
        }
    }

    fn other_root(&self, candidate: &AdoptableUndo) -> Option<String> {
        let (own, named) = (self.marker.as_ref()?, &candidate.manifest.header.root);
        (own != named).then(|| format!("it belongs to another root (its marker is {named})"))
    }

    /// Returns the first paths at which an archive does not fit the next archive of the chain, or the existing object.
    fn differs(&self, candidate: &AdoptableUndo, later: &[AdoptableUndo]) -> Result<Option<String>, Failure> {
        let mut of_later: HashMap<&str, &ObjectRecord> = HashMap::new();
        for record in later.iter().flat_map(|one| &one.manifest.objects).filter(|record| !record.kept) {
            of_later.entry(record.path.as_str()).or_insert(record);
        }
        let mut paths = BTreeSet::new();
        for record in candidate
            .manifest
            .objects
            .iter()
            .filter(|record| record.is_changed() && !record.kept && !record.is_as_found())
        {
            let Some(path) = record.object_path() else { continue };
            // In the next archive of the chain that has the path.
            let found = match of_later.get(record.path.as_str()) {
                Some(later) => later.was.clone(),
                None => self.live(&path)?,
            };
            if !StateDifferences::is_found(record.became.as_ref(), found.as_ref()) {
                paths.insert(self.ground.root.show(&path));
            }
        }
        let shown: Vec<String> = paths.iter().take(3).cloned().collect();
        Ok((!paths.is_empty()).then(|| format!("{} (of {} paths)", shown.join(", "), paths.len())))
    }

    /// Returns a remark if the application that made the archive was backed out since: the archive fits only because
    /// the same patch was applied again.
    fn ended_since(&self, candidate: &AdoptableUndo, run: Option<&str>) -> Option<String> {
        let number = |run: &str| Run::parse(run).map(|run| run.number);
        let made = number(run?)?;
        let ends = |entry: &&HistoryEntry| {
            entry.result == "done"
                && REMOVING.contains(&entry.command.as_str())
                && entry.patches.contains(&candidate.saved_as)
                && number(&entry.run).is_some_and(|number| number > made)
        };
        let later = self.history.iter().find(ends)?;
        Some(format!("run {} has reversed the change it was made for", later.run))
    }

    fn time_of(&self, run: &str) -> Option<String> {
        self.history.iter().find(|entry| entry.run == run).map(|entry| entry.time.clone())
    }

    fn live(&self, path: &ObjectPath) -> Result<Option<RecordedState>, Failure> {
        let root = &self.ground.root;
        let live = root.live_at_until(&root.resolver().locate(path)?, self.interrupt);
        Ok(live.map_err(Failure::or_interrupted(self.interrupt))?.as_ref().map(RecordedState::of))
    }

    /// Returns the run named by the digest file beside an archive.
    fn run(&self, package: &PkgInst, saved_as: &str) -> Result<Option<String>, Failure> {
        let path = places::save(package).join(saved_as.as_bytes()).and_then(|save| save.join(b"undo.b3"));
        let Ok(path) = path else { return Ok(None) };
        let text = RecordView::live(&self.ground.root).read(&path, LARGEST_DIGEST)?;
        Ok(text.and_then(|text| UndoDigest::parse(&text)).map(|digest| digest.run))
    }
}
