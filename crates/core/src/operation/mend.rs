//! Rebuilds damaged records from their remains: pkgchk(1M) `-f`. One transaction per record; objects stay untouched. A
//! damaged record is kept beside the new one as `NAME.damaged`.
//! - *pkginfo*: from the copy of the last delivered package, the newest patch's undo archive, and the ledger. The
//!   newest patch is the one whose archive lists all others; without it nothing is done.
//! - *contents*: from the pkgmaps of the packages, the lines of each patch in order, and readable lines of the damaged
//!   file. Packages that are gone are removed; a line goes with its last owner.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use chrono::{DateTime, Duration};

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::record_damage::RegainedLines;
use crate::operation::record_damage::find_damage;
use crate::operation::record_damage::{PatchTraces, SpooledCopy, bound_undo};
use crate::operation::session::{Caller, RootAndPolicy, Session};
use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_inputs::database::agreement::is_closed;
use patchadm_inputs::database::contents::{lines_at, lines_of_package, lines_of_packages, open_readable};
use patchadm_inputs::database::history::{HistoryEntry, history};
use patchadm_inputs::database::undo_data::OldRecords;
use patchadm_inputs::database::{RecordDamage, RecordRepair, RecordView, all, installed, ledger};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine};
use patchadm_inputs::native::{ADOPTED, NATIVE_STAMP, NativeManager, NativeOrigin, is_native_parameter};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::package::package_records::{
    installed_params, is_of_patch, patched_params, with_patch_info,
};
use patchadm_planning::plan::refusal::Wording;
use patchadm_planning::plan::{LedgerArchive, LedgerChange};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::{Dir, FileType, Interrupt, InterruptibleRead, Root};
use patchadm_svr4::format::contents::{ContentsError, ContentsReader, is_comment};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, OwningPackage, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchInfo, PatchRecords};
use patchadm_svr4::places;

const COMMAND: &str = "pkgchk";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendedRecord {
    pub damage: RecordDamage,
    pub is_made: bool,
    /// Everything in it could be determined.
    pub is_whole: bool,
    /// Tells what could not be determined, the sources, or why it was not made.
    pub said: Vec<String>,
}

/// How a damaged record of an adopted package is repaired: it is registered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationRepair<'d> {
    /// A refresh registers it: remains may tell its native package.
    Refresh(&'d PkgInst, NativeManager),
    /// Adopted again, under its manager's name.
    Adoption(&'d PkgInst, NativeManager),
}

impl<'d> RegistrationRepair<'d> {
    /// `None` unless the record is a registration and stops changes.
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

/// Rebuilds damaged records of these packages, or all records if none is chosen. Packages that are gone leave
/// `contents`; one that was there after the last run only if chosen, since its directory may come back.
pub(super) fn mend(
    session: &Session<'_>,
    is_chosen: Option<&dyn Fn(&PkgInst) -> bool>,
) -> Result<Vec<MendedRecord>, Failure> {
    let root = &session.ground.root;
    let find = || find_damage(&RecordView::live(root), root.workers(), session.caller.interrupt);
    let (mut mended, mut gone) = (Vec::new(), GoneOwners::default());
    for damage in find()?.into_iter().filter(RecordDamage::stops_changes) {
        let Some(package) = damage.package().cloned() else { continue };
        if is_chosen.is_some_and(|is_chosen| !is_chosen(&package)) {
            continue;
        }
        let again = "install the package again, or restore its directory from a backup";
        let said = match damage.repair {
            RecordRepair::Package(_) => mend_pkginfo(session, &package)?,
            RecordRepair::Owner { lost_after: Some(run), .. } if is_chosen.is_none() => {
                let pkgchk = Wording::of_classic(root.prefix()).command("pkgchk", &format!("-f {package}"));
                Mending::given_up(format!(
                    "its directory existed after run {run}: {again}; or, if it was removed, remove it from contents with {pkgchk}"
                ))
            }
            RecordRepair::Owner { .. } => {
                gone.add(package, damage);
                continue;
            }
            _ => Mending::given_up(format!("none of its records are left: {again}")),
        };
        mended.push(said.of(damage));
    }
    let of_contents: Vec<RecordDamage> =
        find()?.into_iter().filter(|damage| damage.package().is_none()).collect();
    mended.extend(if is_chosen.is_none() && !of_contents.is_empty() {
        mend_contents(session, of_contents, gone)?
    } else {
        remove_owners(session, gone)?
    });
    Ok(mended)
}

/// Restores the damaged pkginfo of an adopted package, and leaves its registration stale. Returns notes, or why it is
/// impossible.
pub(super) fn mend_registration(
    session: &Session<'_>,
    package: &PkgInst,
) -> Result<Result<Vec<String>, String>, Failure> {
    Ok(mend_pkginfo(session, package)?.outcome())
}

fn plan_of(session: &Session<'_>, package: &PkgInst, records: Vec<RecordChange>) -> Plan {
    let empty = Plan::empty(COMMAND, session.caller.now.trailer(COMMAND, package));
    Plan { packages: vec![package.clone()], records, ..empty }
}

fn write(session: &Session<'_>, package: &PkgInst, records: Vec<RecordChange>) -> Result<(), Failure> {
    session.perform(&plan_of(session, package, records), &mut NoContent, None, String::new()).map(drop)
}

/// A patch is recorded within this time after its run began.
const SECONDS: i64 = 120;

struct Mending {
    is_made: bool,
    is_whole: bool,
    said: Vec<String>,
}

impl Mending {
    fn given_up(why: impl Into<String>) -> Self {
        Self { is_made: false, is_whole: false, said: vec![why.into()] }
    }

    fn of(self, damage: RecordDamage) -> MendedRecord {
        let Self { is_made, is_whole, said } = self;
        MendedRecord { damage, is_made, is_whole, said }
    }

    fn outcome(self) -> Result<Vec<String>, String> {
        if self.is_made { Ok(self.said) } else { Err(self.said.join("; ")) }
    }
}

fn mend_pkginfo(session: &Session<'_>, package: &PkgInst) -> Result<Mending, Failure> {
    match regained(&session.ground, session.caller, package)? {
        Ok(regained) => regained.write(session, package),
        Err(why) => Ok(Mending::given_up(why)),
    }
}

pub(in crate::operation) fn can_be_mended(
    ground: &RootAndPolicy,
    caller: &Caller<'_>,
    package: &PkgInst,
) -> Result<bool, Failure> {
    Ok(regained(ground, caller, package)?.is_ok())
}

/// Returns the parameters, or why the remains are not enough.
fn regained(
    ground: &RootAndPolicy,
    caller: &Caller<'_>,
    package: &PkgInst,
) -> Result<Result<RegainedPkginfo, String>, Failure> {
    let manager = NativeManager::of_package_name(package);
    let again = match manager {
        Some(manager) => {
            let adopt = Wording::of_verbs(ground.root.prefix()).verb(&format!("adopt --{manager} NAME"));
            format!("register {package} again with {adopt}")
        }
        None => {
            format!("install {package} again with patchadm pkgadd")
        }
    };
    let Some(copy) = SpooledCopy::of(ground, package)? else {
        return Ok(Err(format!("save/pspool/{package} has no copy of what was delivered: {again}")));
    };
    let traces = PatchTraces::of(ground, package, caller.interrupt)?;
    let lost = LostPkginfo { ground, caller, package, copy, traces };
    let regained = if lost.traces.patches().is_empty() { lost.unpatched()? } else { lost.patched()? };
    Ok(match regained {
        Ok(regained) => match regained.registered(&lost.copy.params) {
            regained if manager.is_some() && regained.params.get(ADOPTED).is_none() => {
                Err(format!("the package it was adopted from is unknown: {again}"))
            }
            regained => Ok(regained),
        },
        Err(why) => Err(format!("the list of its patches is uncertain: {why}; {again}")),
    })
}

struct LostPkginfo<'a> {
    ground: &'a RootAndPolicy,
    caller: &'a Caller<'a>,
    package: &'a PkgInst,
    copy: SpooledCopy,
    traces: PatchTraces,
}

/// With the parameters that could not be determined.
struct RegainedPkginfo {
    params: Params,
    unknown: Vec<String>,
    /// Its patch's record has changed, so it must be bound anew.
    adopted: Option<LedgerArchive>,
}

impl RegainedPkginfo {
    /// The native package may have changed since, so it counts as installed again.
    fn registered(mut self, delivered: &Params) -> Self {
        for (name, value) in delivered.iter().filter(|(name, _)| is_native_parameter(name)) {
            if self.params.get(name).is_none() {
                self.params.set(name, value);
            }
        }
        if NativeOrigin::of(&self.params).is_some() {
            self.params.set(NATIVE_STAMP, "unknown");
        }
        self
    }

    fn write(self, session: &Session<'_>, package: &PkgInst) -> Result<Mending, Failure> {
        let path = places::pkginfo(package);
        let kept = kept(&session.ground.root, &path)?;
        let bytes = params::write(&self.params);
        let mut records = vec![RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None }];
        if let Some(adopted) = self.adopted {
            records.push(RecordChange::Ledger(LedgerChange {
                adopted: vec![adopted],
                ..LedgerChange::of(package)
            }));
        }
        let shown = kept.as_ref().map(|kept| kept.shown.clone());
        records.extend(kept.and_then(|kept| kept.change));
        write(session, package, records)?;
        let mut said = self.unknown;
        let is_whole = said.is_empty();
        said.extend(shown.map(|shown| format!("the damaged file is kept as {shown}")));
        Ok(Mending { is_made: true, is_whole, said })
    }
}

impl LostPkginfo<'_> {
    fn unpatched(&self) -> Result<Result<RegainedPkginfo, String>, Failure> {
        if is_of_patch(&self.copy.params) {
            return Ok(Err("it was patched, but nothing of the patch is left".to_owned()));
        }
        if self.traces.ledger.is_none() {
            return Ok(Err("its ledger is damaged".to_owned()));
        }
        let mut delivered = self.copy.params.clone();
        let mut unknown = Vec::new();
        match self.base(&delivered)? {
            Some(base) => {
                delivered.set("BASEDIR", base.as_bytes());
            }
            None => {
                unknown.push(
                    "BASEDIR was taken from the delivered package: contents does not record it".to_owned(),
                );
            }
        }
        let run = self.history_of(|entry| {
            entry.command == "pkgadd" && entry.packages.iter().any(|name| name == self.package.as_str())
        });
        let when = run.as_ref().and_then(|entry| self.moment(&entry.time, 0));
        let params = installed_params(self.package, &delivered, when.as_ref().unwrap_or(&self.caller.now));
        if when.is_none() {
            unknown
                .push("the time of installation is unknown: INSTDATE is set to the current time".to_owned());
        }
        let environment = "LANG, LC_*, TZ, PATH and OAMBASE of the installation are unknown";
        unknown.push(environment.to_owned());
        if self.copy.has_answers() {
            unknown.push(format!("the answers of the scripts of {} are unknown", self.package));
        }
        Ok(Ok(RegainedPkginfo { params, unknown, adopted: None }))
    }

    /// Uses what the newest patch found and delivered.
    fn patched(&self) -> Result<Result<RegainedPkginfo, String>, Failure> {
        let separator = &self.ground.policy.separator;
        let Some((line, found)) = self.newest(separator) else {
            let patches: Vec<String> = self.traces.patches().iter().map(ToString::to_string).collect();
            return Ok(Err(format!(
                "no undo archive shows which of {} was applied last",
                patches.join(", ")
            )));
        };
        let Some(id) = PatchId::new(&line.patch).ok() else {
            return Ok(Err("its ledger is damaged".to_owned()));
        };
        let (found, untold) = self.with_patch_info(&found);
        let with = |now: &Now| patched_params(self.package, &found, &self.copy.params, &id, separator, now);
        if with(&self.caller.now).is_none() {
            return Ok(Err(format!("save/pspool/{} is not what {id} delivered", self.package)));
        }
        let entry = self.history_of(|entry| entry.run == line.run);
        let is_recorded = |params: &Params| ledger::info(params, &line.patch) == Some(line.info);
        let mut exact = None;
        for host in self.hosts(&found, separator) {
            let moments = (0..=SECONDS).filter_map(|seconds| self.moment(&entry.as_ref()?.time, seconds));
            let mut moments = moments.map(|now| Now { host: host.clone(), ..now });
            exact = exact.or_else(|| moments.find_map(|now| with(&now).filter(is_recorded)));
        }
        let mut unknown: Vec<String> = untold
            .iter()
            .map(|patch| format!("the time and source of {patch} are unknown: it has no PATCH_INFO"))
            .collect();
        let is_exact = exact.is_some();
        let guessed = || entry.as_ref().and_then(|entry| self.moment(&entry.time, 0));
        let params = exact.or_else(|| with(&guessed().unwrap_or_else(|| self.caller.now.clone())));
        let Some(params) = params else { return Ok(Err("its parameters are invalid".to_owned())) };
        let mut adopted = None;
        if !is_exact {
            unknown.push(format!("the time and source of {id} are unknown: PATCH_INFO_{id} is a guess"));
            adopted = self.binding(line)?;
        }
        if self.copy.has_answers() {
            unknown.push(format!("the answers of the scripts of {id} are unknown"));
        }
        Ok(Ok(RegainedPkginfo { params, unknown, adopted }))
    }

    /// Returns the newest patch's line and the parameters that it found: its archive alone lists all other patches.
    fn newest(&self, separator: &str) -> Option<(&LedgerLine, Params)> {
        let all = self.traces.patches();
        let lines = self.traces.ledger.iter().flat_map(Ledger::lines);
        let mut newest = lines.filter_map(|line| {
            let id = PatchId::new(&line.patch).ok()?;
            let found = found_by(self.traces.archives.get(&line.patch)?)?;
            let before = PatchRecords::from_params(self.package, &found, separator).ok()?;
            let others: BTreeSet<PatchId> = before.list.iter().cloned().collect();
            let is_newest = !others.contains(&id) && others.len() + 1 == all.len() && others.is_subset(&all);
            is_newest.then_some((line, found))
        });
        newest.next().filter(|_| newest.next().is_none())
    }

    /// Returns the parameters that a patch found, with `PATCH_INFO` of earlier patches from later ones, and the patches
    /// without a known value. The ledger's digest proves a value.
    fn with_patch_info(&self, found: &Params) -> (Params, Vec<String>) {
        let list = found.text("PATCHLIST").into_owned();
        let is_recorded = |patch: &str, value: &[u8]| {
            let told: Params = [("PATCHLIST", patch.as_bytes()), (&*format!("PATCH_INFO_{patch}"), value)]
                .into_iter()
                .collect();
            let line = self.traces.ledger.as_ref().and_then(|ledger| ledger.line(patch));
            line.is_some_and(|line| ledger::info(&told, patch) == Some(line.info))
        };
        let older: Vec<Params> = self.traces.archives.values().filter_map(found_by).collect();
        let (mut told, mut untold) = (Vec::new(), Vec::new());
        for patch in list.split_whitespace() {
            let name = format!("PATCH_INFO_{patch}");
            if found.get(&name).is_some() {
                continue;
            }
            let saved = older.iter().filter_map(|params| params.get(&name));
            let in_manifests = self.traces.patch_info.iter().filter(|(id, _)| id == patch);
            let mut values = saved.chain(in_manifests.map(|(_, value)| value.as_slice()));
            match values.find(|value| is_recorded(patch, value)) {
                Some(value) => told.push((name, value.to_vec())),
                None => untold.push(patch.to_owned()),
            }
        }
        (with_patch_info(found, told), untold)
    }

    fn binding(&self, line: &LedgerLine) -> Result<Option<LedgerArchive>, Failure> {
        let Some((undo, _)) = bound_undo(self.ground, self.package, line, self.caller.interrupt) else {
            return Ok(None);
        };
        let (b3, size) = undo.digest(self.caller.interrupt)?;
        let (patch, files, place) = (line.patch.clone(), line.files(), Some(undo.location()));
        Ok(Some(LedgerArchive { patch, b3, size, files, place }))
    }

    fn hosts(&self, found: &Params, separator: &str) -> BTreeSet<String> {
        let records = PatchRecords::from_params(self.package, found, separator).ok();
        let infos = records.into_iter().flat_map(|records| records.infos.into_values());
        let hosts = infos.filter_map(|info| match info {
            PatchInfo::Installed(info) => Some(info.host),
            _ => None,
        });
        hosts.chain([self.caller.now.host.clone()]).collect()
    }

    fn history_of(&self, is_meant: impl Fn(&HistoryEntry) -> bool) -> Option<HistoryEntry> {
        let entries = history(&RecordView::live(&self.ground.root)).ok()?;
        entries.into_iter().rev().find(|entry| entry.result == "done" && is_meant(entry))
    }

    /// In the time zone of this machine.
    fn moment(&self, time: &str, seconds: i64) -> Option<Now> {
        let now = &self.caller.now;
        let utc = DateTime::parse_from_rfc3339(time)
            .ok()?
            .naive_utc()
            .checked_add_signed(Duration::seconds(seconds))?;
        Some(Now { utc, local: utc.checked_add_signed(now.local - now.utc)?, host: now.host.clone() })
    }

    /// Returns the directory of relative paths: the delivered one, or the one where `contents` has its objects; `None`
    /// if neither has them all.
    fn base(&self, delivered: &Params) -> Result<Option<ObjectPath>, Failure> {
        let lines = lines_of_package(&RecordView::live(&self.ground.root), self.package)?;
        let owned = paths_of(lines.values(), self.package);
        let Ok(map) = Pkgmap::parse(&self.copy.pkgmap) else { return Ok(None) };
        let relative: Vec<&[u8]> = map
            .entries
            .iter()
            .filter(|entry| !entry.is_information() && !entry.path.is_absolute())
            .map(|entry| entry.path.as_bytes())
            .filter(|path| !path.contains(&b'$'))
            .collect();
        let fits = |base: &ObjectPath| {
            relative.iter().all(|path| base.join(path).is_ok_and(|path| owned.contains(&path)))
        };
        let said = ObjectPath::new(delivered.text("BASEDIR").trim().as_bytes()).ok();
        if let Some(said) = said.filter(&fits) {
            return Ok(Some(said));
        }
        let Some(first) = relative.first() else { return Ok(None) };
        let end = [b"/", *first].concat();
        let bases = owned.iter().filter_map(|path| {
            let base = path.as_bytes().strip_suffix(end.as_slice())?;
            ObjectPath::new(if base.is_empty() { b"/" } else { base }).ok()
        });
        Ok(bases.into_iter().find(|base| fits(base)))
    }
}

fn found_by(old: &OldRecords) -> Option<Params> {
    params::parse(&old.get(&b"pkginfo"[..])?.bytes).ok().filter(|params| !params.is_empty())
}

const MOST_TOLD: usize = 20;

const LOST: &str = "objects that installf registered or removef removed, and parent directories made for objects, are not in \
                    the records of the packages";

fn mend_contents(
    session: &Session<'_>,
    damage: Vec<RecordDamage>,
    mut gone: GoneOwners,
) -> Result<Vec<MendedRecord>, Failure> {
    let root = &session.ground.root;
    let view = RecordView::live(root);
    let mut regained = RegainedLines::default();
    match all::params_of_all(&view) {
        Ok(packages) => regained.packages(&session.ground, &packages, session.caller.interrupt)?,
        // The patches of a package decide about its lines.
        Err(error) => {
            let why = format!("it will be rebuilt when the records of all packages are readable: {error}");
            let not_made =
                |damage| MendedRecord { damage, is_made: false, is_whole: false, said: vec![why.clone()] };
            let of_contents = damage.into_iter().take(1).map(not_made);
            return Ok(of_contents.chain(gone.given_up(&why)).collect());
        }
    }
    let readable = readable_lines(&view, &mut gone, session.caller.interrupt);
    Failure::unless_interrupted(session.caller.interrupt)?;
    let is_lost = readable.is_empty();
    let mut said = Vec::new();
    if !is_lost {
        let new: Vec<String> = regained
            .lines
            .keys()
            .filter(|path| !readable.contains_key(*path))
            .map(|path| root.show(path))
            .collect();
        said.push(match readable.len() {
            1 => "1 readable line is kept".to_owned(),
            count => format!("{count} readable lines are kept"),
        });
        if !new.is_empty() {
            let shown: Vec<&str> = new.iter().take(MOST_TOLD).map(String::as_str).collect();
            let more = if new.len() > MOST_TOLD { " …" } else { "" };
            let what = match new.len() {
                1 => "1 object is recorded again as packages and patches delivered it".to_owned(),
                count => format!("{count} objects are recorded again as packages and patches delivered them"),
            };
            said.push(format!("{what}: {}{more}", shown.join(" ")));
        }
    }
    said.push(LOST.to_owned());
    said.append(&mut regained.unknown);
    let log = root.show(&places::pkglog());
    let (of_log, of_contents): (Vec<_>, Vec<_>) = damage.iter().partition(|damage| damage.file == log);
    let mut damaged = Vec::new();
    if !of_contents.is_empty() {
        damaged.extend(kept(root, &places::contents())?);
    }
    if !of_log.is_empty() {
        damaged.extend(kept(root, &places::pkglog())?);
    }
    said.extend(damaged.iter().map(|kept| format!("the damaged file is kept as {}", kept.shown)));
    let package = installed::packages(&view)?.pop().or_else(|| gone.last().cloned());
    let Some(package) = package else { return Ok(Vec::new()) };
    let mut texts: BTreeMap<ObjectPath, Vec<u8>> =
        regained.lines.iter().map(|(path, line)| (path.clone(), line.write())).collect();
    texts.extend(readable.into_iter().map(|(path, line)| (path, line.text)));
    let mut bytes = Vec::new();
    for text in texts.values() {
        bytes.extend_from_slice(text);
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&session.caller.now.trailer(COMMAND, &package).write());
    let path = places::contents();
    let made = RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None };
    let kept = damaged.into_iter().filter_map(|kept| kept.change);
    write(session, &package, std::iter::once(made).chain(kept).collect())?;
    let is_whole = regained.is_whole;
    let mut damage = damage.into_iter();
    let first = damage.next().map(|damage| MendedRecord { damage, is_made: true, is_whole, said });
    let others =
        damage.map(|damage| MendedRecord { damage, is_made: true, is_whole: true, said: Vec::new() });
    Ok(first.into_iter().chain(others).chain(gone.mended()).collect())
}

/// A line of the existing file, literal unless another line of its path was merged into it.
struct ReadableLine {
    line: ContentsLine,
    text: Vec<u8>,
}

fn readable_lines(
    view: &RecordView<'_>,
    gone: &mut GoneOwners,
    interrupt: Interrupt<'_>,
) -> BTreeMap<ObjectPath, ReadableLine> {
    let mut lines: BTreeMap<ObjectPath, ReadableLine> = BTreeMap::new();
    // Another object in its place has no lines.
    let Ok(Some(file)) = open_readable(view) else { return lines };
    let is_closed = file.metadata().is_ok_and(|seen| is_closed(&file, seen.len()));
    let file = InterruptibleRead::new(file, interrupt);
    let mut reader = ContentsReader::new(BufReader::with_capacity(1 << 18, file));
    let (mut last, mut later) = (None, BTreeMap::<ObjectPath, Vec<OwningPackage>>::new());
    loop {
        let raw = match reader.next_line() {
            Ok(Some(raw)) => Some(raw),
            // Its rest is read as lines of its own, which are no lines of objects either.
            Err(ContentsError::LineTooLong(_)) => None,
            Ok(None) | Err(_) => break,
        };
        last = None;
        let Some(raw) = raw else { continue };
        let Ok(line) = ContentsLine::parse(raw) else { continue };
        if is_comment(raw) {
            continue;
        }
        last = Some(line.path.clone());
        match lines.entry(line.path.clone()) {
            Entry::Occupied(_) => later.entry(line.path).or_default().extend(line.owners),
            Entry::Vacant(free) => {
                let text = raw.to_vec();
                free.insert(ReadableLine { line, text });
            }
        }
    }
    for (path, owners) in later {
        if let Some(known) = lines.get_mut(&path) {
            known.line.adopt_owners(owners);
            known.text = known.line.write();
        }
    }
    // A cut line may name the wrong package.
    if let Some(cut) = last.filter(|_| !is_closed) {
        lines.remove(&cut);
    }
    let without_gone = |(path, readable): (ObjectPath, ReadableLine)| {
        if !gone.own(&readable.line) {
            return Some((path, readable));
        }
        let line = gone.leave(view.root(), readable.line)?;
        let text = line.write();
        Some((path, ReadableLine { line, text }))
    };
    lines.into_iter().filter_map(without_gone).collect()
}

fn paths_of<'l>(
    lines: impl IntoIterator<Item = &'l ContentsLine>,
    package: &PkgInst,
) -> BTreeSet<ObjectPath> {
    lines.into_iter().filter(|line| line.is_owned_by(package)).map(|line| line.path.clone()).collect()
}

#[derive(Default)]
struct GoneOwners(BTreeMap<PkgInst, GoneOwner>);

struct GoneOwner {
    damage: RecordDamage,
    notes: Vec<String>,
}

impl GoneOwners {
    fn add(&mut self, package: PkgInst, damage: RecordDamage) {
        self.0.insert(package, GoneOwner { damage, notes: Vec::new() });
    }

    fn last(&self) -> Option<&PkgInst> {
        self.0.keys().next_back()
    }

    fn own(&self, line: &ContentsLine) -> bool {
        line.owners.iter().any(|owner| self.0.contains_key(&owner.package))
    }

    /// Removes gone packages from a line, with notes. `None` if nobody else owns it.
    fn leave(&mut self, root: &Root, mut line: ContentsLine) -> Option<ContentsLine> {
        let (gone, others): (Vec<_>, Vec<_>) =
            line.owners.into_iter().partition(|owner| self.0.contains_key(&owner.package));
        line.owners = others;
        let path = root.show(&line.path);
        let owners: Vec<&str> = line.owners.iter().map(|owner| owner.package.as_str()).collect();
        for owner in gone {
            let note = if owners.is_empty() {
                format!("{path}: the line is deleted; the object stays, and no package owns it")
            } else {
                format!(
                    "{path}: {} is removed from the line, which {} still owns",
                    owner.package,
                    owners.join(" ")
                )
            };
            self.0.entry(owner.package).and_modify(|gone| gone.notes.push(note));
        }
        (!line.owners.is_empty()).then_some(line)
    }

    fn mended(self) -> impl Iterator<Item = MendedRecord> {
        self.0.into_values().map(|GoneOwner { damage, notes }| MendedRecord {
            damage,
            is_made: true,
            is_whole: true,
            said: notes,
        })
    }

    fn given_up(self, why: &str) -> impl Iterator<Item = MendedRecord> {
        self.0.into_values().map(move |GoneOwner { damage, .. }| MendedRecord {
            damage,
            is_made: false,
            is_whole: false,
            said: vec![why.to_owned()],
        })
    }
}

fn remove_owners(session: &Session<'_>, mut gone: GoneOwners) -> Result<Vec<MendedRecord>, Failure> {
    let packages: BTreeSet<PkgInst> = gone.0.keys().cloned().collect();
    let Some(last) = packages.last() else { return Ok(Vec::new()) };
    let root = &session.ground.root;
    let view = RecordView::live(root);
    let named = lines_of_packages(&view, &packages)?;
    let paths = named.into_values().flat_map(BTreeMap::into_keys).collect();
    let mut contents = ContentsEdits::new();
    for (path, line) in lines_at(&view, &paths, &[])? {
        contents.insert(path, gone.leave(root, line).map(Box::new));
    }
    let before = kept(root, &places::contents())?;
    let copy = before.iter().filter_map(|kept| kept.change.clone()).collect();
    let plan = plan_of(session, last, copy);
    let plan = Plan { packages: packages.iter().cloned().collect(), contents, ..plan };
    session.perform(&plan, &mut NoContent, None, String::new())?;
    let mut mended: Vec<MendedRecord> = gone.mended().collect();
    if let (Some(last), Some(kept)) = (mended.last_mut(), before) {
        last.said.push(format!("the previous file is kept as {}", kept.shown));
    }
    Ok(mended)
}

const MOST: u32 = 1000;

/// 256 MiB.
const LARGEST: u64 = 256 << 20;

/// The copy of a damaged record, and the change that writes it; `None` if it was renamed at once.
struct KeptRecord {
    shown: String,
    change: Option<RecordChange>,
}

/// Keeps the object as `NAME.damaged`, `NAME.damaged.2`, …: a file by a change of the rebuilding run, any other object
/// by a rename. `None` if it is missing, empty or too large.
fn kept(root: &Root, path: &ObjectPath) -> Result<Option<KeptRecord>, Failure> {
    let physical = root.resolver().locate(path)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(None) };
    let Some(seen) = dir.look(physical.name())? else { return Ok(None) };
    let Some(name) = free_name(&dir, physical.name())? else { return Ok(None) };
    let shown = root.show(&dir.at(&name));
    if seen.file_type != FileType::Regular {
        dir.rename(physical.name(), &name)?;
        return Ok(Some(KeptRecord { shown, change: None }));
    }
    if seen.size == 0 || seen.size > LARGEST {
        return Ok(None);
    }
    let Some(bytes) = RecordView::live(root).read(path, LARGEST)? else { return Ok(None) };
    let change =
        RecordChange::Write { path: dir.at(&name), bytes, mode: Mode::of(0o644), mtime: Some(seen.mtime) };
    Ok(Some(KeptRecord { shown, change: Some(change) }))
}

pub(in crate::operation) fn set_aside_unless_file(root: &Root, path: &ObjectPath) -> Result<(), Failure> {
    let physical = root.resolver().locate(path)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(()) };
    match dir.look(physical.name())? {
        Some(seen) if seen.file_type != FileType::Regular => kept(root, path).map(drop),
        _ => Ok(()),
    }
}

fn free_name(dir: &Dir, name: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    for number in 1..=MOST {
        let suffix = if number == 1 { String::new() } else { format!(".{number}") };
        let name = [name, b".damaged", suffix.as_bytes()].concat();
        if dir.look(&name)?.is_none() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
