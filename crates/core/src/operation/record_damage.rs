//! Damaged records: contradictions ([`agreement`]) and lost lines of `contents`. If `contents` changed since the last
//! run, its stamp tells how many lines each package had. Missing ones are computed from the delivered copy and the
//! patches; an existing object without a line is a loss, unless a run gave it up.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::BufReader;

use super::failure::Failure;
use super::root_and_policy::RootAndPolicy;
use patchadm_changeset::format::contents_stamp::OwnerCounts;
use patchadm_changeset::format::manifest::{UndoManifest, decode};
use patchadm_changeset::format::run::Run;
use patchadm_changeset::records::{LastRecords, stamped};
use patchadm_inputs::database::agreement::{contents_digest, last_records, lost_copies};
use patchadm_inputs::database::undo_data::{OldRecords, UndoData};
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordView, agreement, all, contents, installed, ledger, places,
};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine};
use patchadm_inputs::stage::{LONGEST_RECORD, StagesRecord};
use patchadm_planning::plan::package::package_records::is_of_patch;
use patchadm_rootfs::{FileType, Interrupt, InterruptibleRead};
use patchadm_svr4::format::contents::{ContentsReader, is_comment};
use patchadm_svr4::format::params;
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{ContentsLine, ObjectPath, OwningPackage, Params, PkgInst, variables};
use patchadm_svr4::patch::PatchId;

const MOST_TOLD: usize = 5;

pub(in crate::operation) fn find_damage(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
) -> Result<Vec<RecordDamage>, Failure> {
    find_damage_of(view, workers, interrupt, |_| true)
}

pub(in crate::operation) fn find_damage_of(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
    is_meant: impl Fn(&PkgInst) -> bool + Sync,
) -> Result<Vec<RecordDamage>, Failure> {
    let mut found = agreement::find_damage_of(view, workers, interrupt, &is_meant)?;
    if found.is_empty() {
        found.extend(lost_lines(view, interrupt)?);
    }
    let copies = lost_copies(view)?;
    found.extend(copies.into_iter().filter(|damage| damage.package().is_none_or(&is_meant)));
    Ok(found)
}

/// Such a list stops only changes of stages.
pub(in crate::operation) fn damage_of_stages(view: &RecordView<'_>) -> Result<Option<RecordDamage>, Failure> {
    let text = view.read(&places::stage_list(), LONGEST_RECORD)?.unwrap_or_default();
    let fault = StagesRecord::parse(&text).err();
    Ok(fault.map(|fault| RecordDamage::of_stages(view.root(), fault.reason).in_line(fault.line as u64)))
}

/// Fails if `contents` contradicts the packages or has lost lines. Ignores packages for which `is_passed_over` holds. A
/// signal ends it.
pub(in crate::operation) fn must_agree(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
    is_passed_over: impl Fn(&PkgInst) -> bool,
) -> Result<(), Failure> {
    agreement::must_agree(view, workers, interrupt, is_passed_over)?;
    lost_lines(view, interrupt)?.map_or(Ok(()), |damage| Err(DatabaseError::from(damage).into()))
}

fn lost_lines(view: &RecordView<'_>, interrupt: Interrupt<'_>) -> Result<Option<RecordDamage>, Failure> {
    let Some(file) = contents::open(view).map_err(DatabaseError::from)?.filter(|_| view.is_live()) else {
        return Ok(None);
    };
    if stamped::fitting(view, &file).is_some() {
        return Ok(None);
    }
    let Some(last) = last_records(view)? else { return Ok(None) };
    let Some(before) = last.owners().filter(|_| !stamped::is_about(&last.stamp, &file)) else {
        return Ok(None);
    };
    if contents_digest(view, interrupt)? == Some(last.stamp.b3) {
        return Ok(None);
    }
    let lines = lines_now(BufReader::with_capacity(1 << 18, InterruptibleRead::new(file, interrupt)));
    Failure::unless_interrupted(interrupt)?;
    let Some((now, paths)) = lines else { return Ok(None) };
    let lost = LostLines { view, last, before: &before, now: &now, paths: &paths, interrupt }.find()?;
    if lost.is_empty() {
        return Ok(None);
    }
    let lost: Vec<String> = lost.iter().map(|path| view.root().show(path)).collect();
    let told: Vec<&str> = lost.iter().take(MOST_TOLD).map(String::as_str).collect();
    let more = if lost.len() > MOST_TOLD { " …" } else { "" };
    let count = lost.len();
    let reason = format!(
        "{count} objects of packages exist without the line that they had after run {}: {}{more}",
        last.stamp.run,
        told.join(" ")
    );
    Ok(Some(RecordDamage::of_contents(view.root(), reason)))
}

struct LostLines<'a> {
    view: &'a RecordView<'a>,
    last: &'a LastRecords,
    before: &'a OwnerCounts,
    now: &'a OwnerCounts,
    paths: &'a BTreeSet<ObjectPath>,
    interrupt: Interrupt<'a>,
}

impl LostLines<'_> {
    /// Returns existing objects that had a line and have none now.
    fn find(&self) -> Result<BTreeSet<ObjectPath>, Failure> {
        let fewer = self.fewer_lines()?;
        if fewer.is_empty() {
            return Ok(BTreeSet::new());
        }
        let ground = RootAndPolicy::of(self.view.root())?;
        let delivered = self.missed(&fewer, &delivered_lines(&ground, &fewer)?)?;
        // Undo archives list what patches added and removed; read only if a line may be missing.
        let has_patches = fewer.values().any(|params| !params.text("PATCHLIST").trim().is_empty());
        if delivered.is_empty() && !has_patches {
            return Ok(delivered);
        }
        self.missed(&fewer, &regained_lines(&ground, &fewer, self.interrupt)?)
    }

    fn missed(
        &self,
        packages: &BTreeMap<PkgInst, Params>,
        lines: &BTreeMap<ObjectPath, ContentsLine>,
    ) -> Result<BTreeSet<ObjectPath>, Failure> {
        let mut missed = BTreeSet::new();
        for line in lines.values().filter(|line| !self.paths.contains(&line.path)) {
            Failure::unless_interrupted(self.interrupt)?;
            let is_given_up = packages.keys().filter(|package| line.is_owned_by(package)).all(|package| {
                self.last.packages().get(package).is_some_and(|bound| bound.given_up.contains(&line.path))
            });
            if !is_given_up && is_there(self.view, line, self.paths)? {
                missed.insert(line.path.clone());
            }
        }
        Ok(missed)
    }

    fn fewer_lines(&self) -> Result<BTreeMap<PkgInst, Params>, Failure> {
        let mut fewer = BTreeMap::new();
        for name in self.before.names().filter(|name| self.now.count(name) < self.before.count(name)) {
            let package = std::str::from_utf8(name).ok().and_then(|name| PkgInst::new(name).ok());
            let Some(package) = package else { continue };
            // A package that another tool removed owns nothing.
            if let Some(params) = all::records_of(self.view, &package)?.params()? {
                fewer.insert(package, params);
            }
        }
        Ok(fewer)
    }
}

/// `None` if a line is invalid, which is reported elsewhere.
fn lines_now(file: impl std::io::BufRead) -> Option<(OwnerCounts, BTreeSet<ObjectPath>)> {
    let (mut owners, mut paths) = (OwnerCounts::default(), BTreeSet::new());
    let mut reader = ContentsReader::new(file);
    while let Some(raw) = reader.next_line().ok()? {
        if !is_comment(raw) {
            owners.note(raw);
            paths.insert(ContentsLine::parse(raw).ok()?.path);
        }
    }
    Some((owners, paths))
}

/// A directory counts if something below it has a line: other tools leave non-empty directories.
fn is_there(
    view: &RecordView<'_>,
    line: &ContentsLine,
    paths: &BTreeSet<ObjectPath>,
) -> Result<bool, Failure> {
    let Some(seen) = view.look(&line.path)? else { return Ok(false) };
    let is_directory = line.object.ftype.is_directory();
    let is_needed = || paths.range(line.path.clone()..).next().is_some_and(|next| next.is_below(&line.path));
    Ok(is_directory == (seen.file_type == FileType::Directory) && (!is_directory || is_needed()))
}

pub(super) type Lines = BTreeMap<ObjectPath, ContentsLine>;

/// Includes the lines of patches, as far as known. A signal ends it.
pub(super) fn regained_lines(
    ground: &RootAndPolicy,
    packages: &BTreeMap<PkgInst, Params>,
    interrupt: Interrupt<'_>,
) -> Result<Lines, Failure> {
    let mut regained = RegainedLines::default();
    regained.packages(ground, packages, interrupt)?;
    Ok(regained.lines)
}

/// Uses the copies of the last delivery, regardless of later patches.
pub(super) fn delivered_lines(
    ground: &RootAndPolicy,
    packages: &BTreeMap<PkgInst, Params>,
) -> Result<Lines, Failure> {
    let mut regained = RegainedLines::default();
    for (package, params) in packages {
        let copy = SpooledCopy::of(ground, package)?;
        regained.delivered(package, params, copy.as_ref());
    }
    Ok(regained.lines)
}

struct AppliedTo<'p> {
    run: u64,
    package: &'p PkgInst,
    manifest: UndoManifest,
}

pub(super) struct RegainedLines {
    pub(super) lines: Lines,
    pub(super) unknown: Vec<String>,
    pub(super) is_whole: bool,
}

impl Default for RegainedLines {
    fn default() -> Self {
        Self { lines: Lines::new(), unknown: Vec::new(), is_whole: true }
    }
}

impl RegainedLines {
    pub(super) fn packages(
        &mut self,
        ground: &RootAndPolicy,
        packages: &BTreeMap<PkgInst, Params>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), Failure> {
        let mut applied = Vec::new();
        for (package, params) in packages {
            let traces = PatchTraces::of(ground, package, interrupt)?;
            let patches = installed::patch_records(&ground.root, package, params, &ground.policy.separator)?;
            let patches: Vec<PatchId> = patches.list.iter().cloned().collect();
            self.base(ground, package, params, &patches, &traces)?;
            self.patches(ground, package, (&patches, &traces), interrupt, &mut applied);
            // An interrupted digest does not make an archive unknown.
            Failure::unless_interrupted(interrupt)?;
        }
        // The patches of one package are in order already.
        applied.sort_by_key(|one| one.run);
        for one in &applied {
            self.apply(one, packages);
        }
        Ok(())
    }

    fn base(
        &mut self,
        ground: &RootAndPolicy,
        package: &PkgInst,
        params: &Params,
        patches: &[PatchId],
        traces: &PatchTraces,
    ) -> Result<(), Failure> {
        let mut copy = SpooledCopy::of(ground, package)?;
        let archives = traces.archives.iter().rev();
        let archives: HashMap<PatchId, _> =
            archives.filter_map(|(name, old)| Some((PatchId::new(name).ok()?, old))).collect();
        for patch in patches.iter().rev() {
            copy = match (copy, archives.get(patch)) {
                (Some(copy), Some(old)) => copy.before(package, old).or(Some(copy)),
                (copy, _) => copy,
            };
        }
        if !self.delivered(package, params, copy.as_ref().filter(|copy| !is_of_patch(&copy.params))) {
            self.is_whole = false;
            self.unknown.push(format!(
                "the original objects of package {package} are unknown: reinstall it with patchadm pkgadd"
            ));
        }
        Ok(())
    }

    /// Returns false without a valid copy.
    fn delivered(&mut self, package: &PkgInst, params: &Params, copy: Option<&SpooledCopy>) -> bool {
        let made = copy.and_then(|copy| {
            let map = Pkgmap::parse(&copy.pkgmap).ok()?;
            let classes = params.text("CLASSES").into_owned();
            let classes: HashSet<&str> = classes.split_whitespace().collect();
            let is_chosen = |entry: &&PkgmapEntry| classes.contains(entry.object.class.as_str());
            let entries = map.entries.iter().filter(|entry| !entry.is_information()).filter(is_chosen);
            entries.map(|entry| line(entry, params, package)).collect::<Option<Vec<_>>>()
        });
        let Some(made) = made else { return false };
        for line in made {
            match self.lines.get_mut(&line.path) {
                Some(known) => known.adopt_owners(line.owners),
                None => drop(self.lines.insert(line.path.clone(), line)),
            }
        }
        true
    }

    fn patches<'p>(
        &mut self,
        ground: &RootAndPolicy,
        package: &'p PkgInst,
        (patches, traces): (&[PatchId], &PatchTraces),
        interrupt: Interrupt<'_>,
        applied: &mut Vec<AppliedTo<'p>>,
    ) {
        let (mut run, mut unknown) = (0, Vec::new());
        let lines = traces.ledger.as_ref().map(Ledger::by_id).unwrap_or_default();
        for patch in patches {
            let line = lines.get(patch).copied();
            let number = line.and_then(|line| Run::parse(&line.run)).map(|run| run.number);
            run = number.unwrap_or(run).max(run);
            let manifest = line.and_then(|line| {
                let view = RecordView::live(&ground.root);
                let alone = Ledger::of_line(line.clone());
                let reader = ground.undo_data(&view, None);
                reader.known_manifest(package, &line.patch, &alone, interrupt).ok()?
            });
            match manifest {
                Some(manifest) => applied.push(AppliedTo { run, package, manifest }),
                None => unknown.push(patch.to_string()),
            }
        }
        if !unknown.is_empty() {
            self.is_whole = false;
            let patches = unknown.join(" ");
            self.unknown.push(format!("the changes of {patches} in package {package} are unknown"));
        }
    }

    fn apply(&mut self, one: &AppliedTo<'_>, packages: &BTreeMap<PkgInst, Params>) {
        for record in one.manifest.objects.iter().filter(|record| record.line != record.new_line) {
            let Some(path) = record.object_path() else { continue };
            let new = record.new_line.as_ref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
            let known = self.lines.remove(&path);
            let mut line = match (new, known) {
                (Some(new), known) => {
                    let mut line = new;
                    if let Some(known) = known {
                        line.adopt_owners(known.owners);
                    }
                    line
                }
                (None, Some(mut known)) => {
                    known.owners.retain(|owner| owner.package != *one.package);
                    known
                }
                (None, None) => continue,
            };
            line.owners.retain(|owner| packages.contains_key(&owner.package));
            if !line.owners.is_empty() {
                self.lines.insert(path, line);
            }
        }
    }
}

/// `None` if it is invalid with these parameters.
fn line(entry: &PkgmapEntry, params: &Params, package: &PkgInst) -> Option<ContentsLine> {
    let base = match params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => ObjectPath::root(),
        Some(path) => ObjectPath::new(path).ok()?,
    };
    let path = entry.path.resolve(&base, |name| variables::value(params, name)).ok()?;
    let object = variables::expand_object(&entry.object, params).ok()?.into_owned();
    Some(ContentsLine { path, volume: None, object, owners: vec![OwningPackage::new(package.clone())] })
}

/// Files needed from the spooled copy.
const SPOOLED: [&str; 2] = ["pkginfo", "pkgmap"];

/// 1 GiB.
const LARGEST_MAP: u64 = 1 << 30;

pub(in crate::operation) struct PatchTraces {
    /// All lines, valid or not; `None` if unreadable.
    pub(in crate::operation) ledger: Option<Ledger>,
    /// Names of save directories.
    pub(in crate::operation) saved: BTreeSet<String>,
    pub(in crate::operation) archives: BTreeMap<String, OldRecords>,
    pub(in crate::operation) patch_info: Vec<(String, Vec<u8>)>,
}

impl PatchTraces {
    pub(in crate::operation) fn of(
        ground: &RootAndPolicy,
        package: &PkgInst,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, Failure> {
        let view = RecordView::live(&ground.root);
        let names = view.list(&places::save(package))?.unwrap_or_default();
        let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let saved: BTreeSet<String> = names.filter(|name| PatchId::new(name).is_ok()).collect();
        let ledger = ledger::read(&view, package).ok();
        let (mut archives, mut patch_info) = (BTreeMap::new(), Vec::new());
        for line in ledger.iter().flat_map(Ledger::lines) {
            Failure::unless_interrupted(interrupt)?;
            let alone = Ledger::of_line(line.clone());
            let kept = ground.undo_data(&view, None).kept_manifest(package, &line.patch, &alone);
            let kept = kept.ok().flatten();
            let manifest = match bound_undo(ground, package, line, interrupt).filter(|_| kept.is_none()) {
                Some((undo, manifest)) => {
                    let records = undo.records(&manifest).ok();
                    archives.extend(records.map(|records| (line.patch.clone(), records)));
                    Some(manifest)
                }
                None => kept,
            };
            let told = manifest.into_iter().flat_map(|manifest| manifest.header.patch_info);
            patch_info.extend(told.map(|(id, value)| (id, decode(&value).into_owned())));
        }
        Failure::unless_interrupted(interrupt)?;
        Ok(Self { ledger, saved, archives, patch_info })
    }

    pub(in crate::operation) fn patches(&self) -> BTreeSet<PatchId> {
        let lines = self.ledger.iter().flat_map(Ledger::patches);
        lines.chain(&self.saved).filter_map(|name| PatchId::new(name).ok()).collect()
    }
}

/// `None` if it differs from the line, or a signal came.
pub(in crate::operation) fn bound_undo(
    ground: &RootAndPolicy,
    package: &PkgInst,
    line: &LedgerLine,
    interrupt: Interrupt<'_>,
) -> Option<(UndoData, UndoManifest)> {
    let view = RecordView::live(&ground.root);
    let alone = Ledger::of_line(line.clone());
    let undo = ground.undo_data(&view, None).find_with(package, &line.patch, &alone).ok()?;
    let undo = undo.telling(&view).ok()?;
    let manifest = undo.bound_manifest(interrupt).ok()??;
    Some((undo, manifest))
}

pub(in crate::operation) struct SpooledCopy {
    pub(in crate::operation) params: Params,
    pub(in crate::operation) pkgmap: Vec<u8>,
}

/// Scripts whose answers become parameters.
const ANSWERING: [&[u8]; 2] = [b"request", b"checkinstall"];

impl SpooledCopy {
    pub(in crate::operation) fn of(
        ground: &RootAndPolicy,
        package: &PkgInst,
    ) -> Result<Option<Self>, Failure> {
        let view = RecordView::live(&ground.root);
        let mut files = Vec::new();
        for name in SPOOLED {
            let Ok(path) = places::package(package).join(&name_of(package, name)) else { return Ok(None) };
            let limit = if name == "pkgmap" { LARGEST_MAP } else { LARGEST_FILE as u64 };
            let Some(bytes) = view.read(&path, limit)? else { return Ok(None) };
            files.push(bytes);
        }
        let [pkginfo, pkgmap] = files.as_slice() else { return Ok(None) };
        Ok(Self::parse(pkginfo, pkgmap.clone()))
    }

    /// Returns the copy from before a patch, whose archive has the replaced files.
    pub(in crate::operation) fn before(&self, package: &PkgInst, old: &OldRecords) -> Option<Self> {
        let [pkginfo, pkgmap] = SPOOLED.map(|name| old.get(&name_of(package, name)));
        if pkginfo.is_none() && pkgmap.is_none() {
            return None;
        }
        let params = match pkginfo {
            Some(file) => params::parse(&file.bytes).ok()?,
            None => self.params.clone(),
        };
        Some(Self { params, pkgmap: pkgmap.map_or_else(|| self.pkgmap.clone(), |file| file.bytes.to_vec()) })
    }

    pub(in crate::operation) fn has_answers(&self) -> bool {
        let map = Pkgmap::parse(&self.pkgmap);
        map.is_ok_and(|map| {
            map.entries
                .iter()
                .any(|entry| entry.is_information() && ANSWERING.contains(&entry.path.as_bytes()))
        })
    }

    fn parse(pkginfo: &[u8], pkgmap: Vec<u8>) -> Option<Self> {
        let params = params::parse(pkginfo).ok().filter(|params| !params.is_empty())?;
        Some(Self { params, pkgmap })
    }
}

fn name_of(package: &PkgInst, name: &str) -> Vec<u8> {
    format!("save/pspool/{package}/{name}").into_bytes()
}
