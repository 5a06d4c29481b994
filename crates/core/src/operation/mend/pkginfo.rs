//! Rebuilding the pkginfo of a package: from the copy of what was last delivered, from the records that the newest patch
//! found, which are in its undo archive, and from the ledger.
//!
//! Which patches are applied has to be certain: the newest patch is the one whose undo archive lists all others. If there is
//! a patch but no such archive, nothing is done.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration};

use super::contents::paths_of;
use super::{MendedRecord, kept, write};
use crate::operation::failure::Failure;
use crate::operation::record_damage::{PatchTraces, SpooledCopy, bound_undo};
use crate::operation::session::{Caller, RootAndPolicy, Session};
use patchadm_inputs::database::contents::lines_of_package;
use patchadm_inputs::database::history::{HistoryEntry, history};
use patchadm_inputs::database::undo_data::OldRecords;
use patchadm_inputs::database::{RecordDamage, RecordView, ledger};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine};
use patchadm_inputs::native::{ADOPTED, NATIVE_STAMP, NativeManager, NativeOrigin, is_native_parameter};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::package::package_records::{
    installed_params, is_of_patch, patched_params, with_patch_info,
};
use patchadm_planning::plan::refusal::Wording;
use patchadm_planning::plan::{LedgerArchive, LedgerChange, RecordChange};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchInfo, PatchRecords};
use patchadm_svr4::places;

/// The seconds within which a patch was recorded after its run began.
const SECONDS: i64 = 120;

/// The outcome of rebuilding a pkginfo.
pub(super) struct Mending {
    is_made: bool,
    is_whole: bool,
    said: Vec<String>,
}

impl Mending {
    /// Returns the outcome when nothing was done, for this reason.
    pub(super) fn given_up(why: impl Into<String>) -> Self {
        Self { is_made: false, is_whole: false, said: vec![why.into()] }
    }

    pub(super) fn of(self, damage: RecordDamage) -> MendedRecord {
        let Self { is_made, is_whole, said } = self;
        MendedRecord { damage, is_made, is_whole, said }
    }

    /// Returns the notes, or why it was not made.
    pub(super) fn outcome(self) -> Result<Vec<String>, String> {
        if self.is_made { Ok(self.said) } else { Err(self.said.join("; ")) }
    }
}

/// Rebuilds the pkginfo of a package, if its list of patches is certain.
pub(super) fn mend(session: &Session<'_>, package: &PkgInst) -> Result<Mending, Failure> {
    match regained(&session.ground, session.caller, package)? {
        Ok(regained) => regained.write(session, package),
        Err(why) => Ok(Mending::given_up(why)),
    }
}

/// Tells whether the pkginfo of a package can be rebuilt.
pub(in crate::operation) fn can_be_mended(
    ground: &RootAndPolicy,
    caller: &Caller<'_>,
    package: &PkgInst,
) -> Result<bool, Failure> {
    Ok(regained(ground, caller, package)?.is_ok())
}

/// Returns the parameters of a package from what is left of its records, or why that is not enough.
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
        None => format!("install {package} again with pkgadd"),
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
                Err(format!("nothing says from which package it was adopted: {again}"))
            }
            regained => Ok(regained),
        },
        Err(why) => Err(format!("the list of its patches is not certain: {why}; {again}")),
    })
}

/// A pkginfo that was lost, and the remaining data.
struct LostPkginfo<'a> {
    ground: &'a RootAndPolicy,
    caller: &'a Caller<'a>,
    package: &'a PkgInst,
    copy: SpooledCopy,
    traces: PatchTraces,
}

/// The regained parameters, and those that could not be determined.
struct RegainedPkginfo {
    params: Params,
    unknown: Vec<String>,
    /// The archive that has to be bound anew, because the record of its patch has changed.
    adopted: Option<LedgerArchive>,
}

impl RegainedPkginfo {
    /// Adds the registration from the copy of an adopted package. Its native package may have changed since, so it counts as
    /// installed again.
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
    /// Rebuilds the pkginfo of a package with no known patch.
    fn unpatched(&self) -> Result<Result<RegainedPkginfo, String>, Failure> {
        if is_of_patch(&self.copy.params) {
            return Ok(Err("it was patched, and nothing of the patch is left".to_owned()));
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
                unknown
                    .push("BASEDIR is that of the delivered package: contents does not tell it".to_owned());
            }
        }
        let run = self.history_of(|entry| {
            entry.command == "pkgadd" && entry.packages.iter().any(|name| name == self.package.as_str())
        });
        let when = run.as_ref().and_then(|entry| self.moment(&entry.time, 0));
        let params = installed_params(self.package, &delivered, when.as_ref().unwrap_or(&self.caller.now));
        if when.is_none() {
            unknown.push("when it was installed is not known: INSTDATE is that of now".to_owned());
        }
        let environment = "LANG, LC_*, TZ, PATH and OAMBASE as they were at the installation are not known";
        unknown.push(environment.to_owned());
        if self.copy.has_answers() {
            unknown.push(format!("what scripts of {} answered is not known", self.package));
        }
        Ok(Ok(RegainedPkginfo { params, unknown, adopted: None }))
    }

    /// Rebuilds the pkginfo of a patched package: from what the newest patch found and delivered.
    fn patched(&self) -> Result<Result<RegainedPkginfo, String>, Failure> {
        let separator = &self.ground.policy.separator;
        let Some((line, found)) = self.newest(separator) else {
            let patches: Vec<String> = self.traces.patches().iter().map(ToString::to_string).collect();
            return Ok(Err(format!("no undo archive tells which of {} came last", patches.join(", "))));
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
            .map(|patch| {
                format!("when and from where {patch} was applied is not known: it has no PATCH_INFO")
            })
            .collect();
        let is_exact = exact.is_some();
        let guessed = || entry.as_ref().and_then(|entry| self.moment(&entry.time, 0));
        let params = exact.or_else(|| with(&guessed().unwrap_or_else(|| self.caller.now.clone())));
        let Some(params) = params else { return Ok(Err("its parameters make no sense".to_owned())) };
        let mut adopted = None;
        if !is_exact {
            unknown.push(format!(
                "when and from where {id} was applied is not known: PATCH_INFO_{id} is made up"
            ));
            adopted = self.binding(line)?;
        }
        if self.copy.has_answers() {
            unknown.push(format!("what scripts of {id} answered is not known"));
        }
        Ok(Ok(RegainedPkginfo { params, unknown, adopted }))
    }

    /// Returns the line of the newest patch, and the parameters that it found: those of the one archive that lists all other
    /// patches.
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

    /// Returns the parameters that a patch found, with the `PATCH_INFO` of earlier patches, which later patches have; and
    /// the patches for which it is not known. A value is believed if the ledger has its digest.
    fn with_patch_info(&self, found: &Params) -> (Params, Vec<String>) {
        let list = found.text("PATCHLIST").into_owned();
        let lines: Vec<&LedgerLine> = self.traces.ledger.iter().flat_map(Ledger::lines).collect();
        let is_recorded = |patch: &str, value: &[u8]| {
            let told: Params = [("PATCHLIST", patch.as_bytes()), (&*format!("PATCH_INFO_{patch}"), value)]
                .into_iter()
                .collect();
            let line = lines.iter().find(|line| line.patch == patch);
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

    /// Returns the archive of a line, to be bound to another record of its patch.
    fn binding(&self, line: &LedgerLine) -> Result<Option<LedgerArchive>, Failure> {
        let Some((undo, _)) = bound_undo(self.ground, self.package, line, self.caller.interrupt) else {
            return Ok(None);
        };
        let (b3, size) = undo.digest(self.caller.interrupt)?;
        let (patch, files, place) = (line.patch.clone(), line.files(), Some(undo.location()));
        Ok(Some(LedgerArchive { patch, b3, size, files, place }))
    }

    /// Returns the machines from which patches of the package were applied, and this one.
    fn hosts(&self, found: &Params, separator: &str) -> BTreeSet<String> {
        let records = PatchRecords::from_params(self.package, found, separator).ok();
        let infos = records.into_iter().flat_map(|records| records.infos.into_values());
        let hosts = infos.filter_map(|info| match info {
            PatchInfo::Installed(info) => Some(info.host),
            _ => None,
        });
        hosts.chain([self.caller.now.host.clone()]).collect()
    }

    /// Returns the last run of the history that `is_meant` accepts.
    fn history_of(&self, is_meant: impl Fn(&HistoryEntry) -> bool) -> Option<HistoryEntry> {
        let entries = history(&RecordView::live(&self.ground.root)).ok()?;
        entries.into_iter().rev().find(|entry| entry.result == "done" && is_meant(entry))
    }

    /// Returns the moment this many seconds after one of the history, in the time zone of this machine.
    fn moment(&self, time: &str, seconds: i64) -> Option<Now> {
        let now = &self.caller.now;
        let utc = DateTime::parse_from_rfc3339(time)
            .ok()?
            .naive_utc()
            .checked_add_signed(Duration::seconds(seconds))?;
        Some(Now { utc, local: utc.checked_add_signed(now.local - now.utc)?, host: now.host.clone() })
    }

    /// Returns the directory of the package's relative paths: the delivered one, or the one below which `contents` has its
    /// objects; `None` if neither has them all.
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

/// Returns the pkginfo that a patch found, from its undo archive.
fn found_by(old: &OldRecords) -> Option<Params> {
    params::read(&old.get(&b"pkginfo"[..])?.bytes).ok().filter(|params| !params.is_empty())
}
