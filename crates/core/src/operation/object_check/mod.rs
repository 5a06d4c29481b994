//! Compares objects with their records, and repairs differences: pkgchk(1M). A check is one query of the records,
//! repeated if a run interferes, so that objects and records are of the same moment. A repair holds the lock instead.

mod compare;
pub mod device;
mod fix;
mod scope;
#[cfg(test)]
mod tests;

use crate::operation::failure::Failure;
use crate::operation::mend::{MendedRecord, mend};
use crate::operation::queries::select::PackagePattern;
use crate::operation::record_damage::find_damage_of;
use crate::operation::session::{Caller, RootAndPolicy, Session, must_have_database};
use crate::operation::trial::begin_change;
use compare::{ObjectComparison, OverriddenAttributes};
use fix::NativeFiles;
use patchadm_inputs::database::{RecordDamage, RecordReader, RecordView, contents, read_consistently};
use patchadm_rootfs::{Interrupt, Root, WorkMeter, WorkStep, WorkUnit, accounts_of, never, side_by_side};
use patchadm_svr4::package::{Accounts, ContentsLine, PkgInst};
use patchadm_svr4::places;
use scope::CheckMap;

pub use compare::{
    CheckedAspects, CheckedObject, Difference, ObjectCheckError, ObjectCheckReport, ObjectFinding,
    UnfixedReason, UnmatchedOperands,
};
pub(super) use compare::{DeliveredFile, DeliveredFiles};
pub use scope::{CheckScope, MapFiles, PathPattern};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectCheckRequest {
    pub scope: CheckScope,
    pub aspects: CheckedAspects,
    /// A pkgmap that replaces the database.
    pub map: Option<MapFiles>,
    /// Threads; 0 counts as 1.
    pub workers: usize,
}

/// Objects per unit of work: enough to stay in one directory, few enough that no thread waits long for the last one.
const SHARE: usize = 64;

/// Lists records without examining objects: `pkgchk -l`.
pub fn recorded<'a>(
    reader: impl Into<RecordReader<'a>>,
    request: &ObjectCheckRequest,
) -> Result<(Vec<ContentsLine>, UnmatchedOperands), ObjectCheckError> {
    let records = CheckedRecords::of(request)?;
    read_consistently(reader, |view| {
        records.must_be_sound(view, &never)?;
        records.lines(view)
    })
}

/// `host` is the running system, whose accounts count if the root has none.
pub fn check_objects<'a>(
    reader: impl Into<RecordReader<'a>>,
    host: &Root,
    request: &ObjectCheckRequest,
) -> Result<ObjectCheckReport, ObjectCheckError> {
    let records = CheckedRecords::of(request)?;
    read_consistently(reader, |view| {
        if view.is_during_run() {
            return Err(ObjectCheckError::Unfinished(view.root().prefix().display().to_string()));
        }
        let damage = records.must_be_sound(view, &never)?;
        Ok(ObjectCheckReport { damage, ..records.compare(view, host, None, &DeliveredFiles::default())? })
    })
}

/// For callers that read the records already and know more of some files.
pub(super) fn check_delivered(
    view: &RecordView<'_>,
    host: &Root,
    request: &ObjectCheckRequest,
    delivered: &DeliveredFiles,
    meter: Option<&WorkMeter>,
) -> Result<ObjectCheckReport, ObjectCheckError> {
    let step =
        meter.map(|meter| Ok::<_, ObjectCheckError>(meter.begin(WorkUnit::Objects, line_count(view)?)));
    let step = step.transpose()?;
    CheckedRecords { step, ..CheckedRecords::of(request)? }.compare(view, host, None, delivered)
}

fn line_count(view: &RecordView<'_>) -> Result<u64, ObjectCheckError> {
    let mut lines = 0;
    contents::scan(view, |_| {
        lines += 1;
        false
    })?;
    Ok(lines)
}

/// Repairs differences that need no change of content, under the lock. The report lists what is left. Damaged records
/// are rebuilt first; then no object is touched.
pub fn check_and_fix(
    root: &Root,
    request: &ObjectCheckRequest,
    caller: &Caller<'_>,
) -> Result<ObjectCheckReport, ObjectCheckError> {
    let records = CheckedRecords::of(request)?;
    must_have_database(root)?;
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    let mended = records.mend(&session)?;
    if !mended.is_empty() {
        return Ok(ObjectCheckReport {
            mended,
            recovered: session.recovered,
            ..ObjectCheckReport::default()
        });
    }
    let view = RecordView::live(root);
    let damage = records.must_be_sound(&view, caller.interrupt)?;
    let delivered = DeliveredFiles::default();
    let fixes = Some((&session.ground, caller.interrupt));
    let report = records.compare(&view, &session.ground.host, fixes, &delivered)?;
    // An interrupted read is no difference.
    Failure::unless_interrupted(caller.interrupt).map_err(ObjectCheckError::Operation)?;
    Ok(ObjectCheckReport { recovered: session.recovered, damage, ..report })
}

struct CheckedRecords<'a> {
    request: &'a ObjectCheckRequest,
    /// `None` for the database.
    map: Option<CheckMap>,
    step: Option<WorkStep>,
}

impl<'a> CheckedRecords<'a> {
    fn of(request: &'a ObjectCheckRequest) -> Result<Self, ObjectCheckError> {
        Ok(Self { request, map: request.map.as_ref().map(CheckMap::read).transpose()?, step: None })
    }

    fn is_whole(&self) -> bool {
        let CheckScope { packages, categories, paths } = &self.request.scope;
        let names_none = packages.iter().all(|pattern| *pattern == PackagePattern::All);
        self.map.is_none() && names_none && categories.is_empty() && paths.is_empty()
    }

    /// Rebuilds damaged records of the named packages, or of all.
    fn mend(&self, session: &Session<'_>) -> Result<Vec<MendedRecord>, Failure> {
        if self.is_whole() {
            return mend(session, None);
        }
        let packages = &self.request.scope.packages;
        if self.map.is_some() || packages.is_empty() {
            return Ok(Vec::new());
        }
        mend(session, Some(&|name| packages.iter().any(|pattern| pattern.fits(name.as_str()))))
    }

    /// Refuses records that disagree: all if the whole root is checked, otherwise `contents` and the named packages.
    /// Scripts see records in transition. Returns damage that stops nothing.
    fn must_be_sound(
        &self,
        view: &RecordView<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<RecordDamage>, ObjectCheckError> {
        let is_within = !view.is_live() && !view.is_during_run();
        if self.map.is_some() || is_within {
            return Ok(Vec::new());
        }
        let packages = &self.request.scope.packages;
        let is_whole = self.is_whole();
        let is_meant =
            |name: &PkgInst| is_whole || packages.iter().any(|pattern| pattern.fits(name.as_str()));
        let found = find_damage_of(view, self.request.workers.max(1), interrupt, is_meant);
        let mut found = found.map_err(ObjectCheckError::Operation)?;
        found.retain(|damage| damage.package().is_none_or(is_meant));
        let (stopping, others): (Vec<_>, Vec<_>) = found.into_iter().partition(RecordDamage::stops_changes);
        if stopping.is_empty() { Ok(others) } else { Err(ObjectCheckError::Damaged(stopping)) }
    }

    fn lines(
        &self,
        view: &RecordView<'_>,
    ) -> Result<(Vec<ContentsLine>, UnmatchedOperands), ObjectCheckError> {
        let scope = &self.request.scope;
        if let Some(map) = &self.map {
            return map.lines(view, scope);
        }
        scope.lines(view, self.request.workers)
    }

    fn compare(
        &self,
        view: &RecordView<'_>,
        host: &Root,
        fixes: Option<(&RootAndPolicy, Interrupt<'_>)>,
        delivered: &DeliveredFiles,
    ) -> Result<ObjectCheckReport, ObjectCheckError> {
        // Whoever repairs has decided whom to trust.
        let root = view.root().clone();
        let root = if fixes.is_some() { root } else { root.wary_of_links() };
        let interrupt: Interrupt<'_> = match fixes {
            Some((_, interrupt)) => interrupt,
            None => &never,
        };
        let fixes = fixes.map(|(ground, _)| ground);
        let accounts = owners_of(view, host);
        if accounts.is_err() {
            // Damage of the records comes first.
            self.lines(view)?;
        }
        let accounts = accounts?;
        let ObjectCheckRequest { aspects, scope, workers, .. } = self.request;
        let follows_links = self.map.is_none();
        let accounts = accounts.as_ref();
        let overridden = if follows_links {
            OverriddenAttributes::of(view, fixes.is_some())?
        } else {
            OverriddenAttributes::default()
        };
        let comparison = ObjectComparison {
            root: &root,
            accounts,
            aspects: *aspects,
            delivered,
            follows_links,
            overridden,
            interrupt,
        };
        if self.map.is_none() && fixes.is_none() && !aspects.exclusive {
            let compared = scope.each(view, *workers, self.step.as_ref(), || {
                let mut walk = comparison.walk();
                move |line: ContentsLine| walk.checked(&line)
            })?;
            if let Some((checked, unknown)) = compared {
                return Ok(ObjectCheckReport { checked, unknown, ..ObjectCheckReport::default() });
            }
        }
        let (lines, unknown) = self.lines(view)?;
        let native = fixes.map(|ground| NativeFiles::of(ground, &lines, comparison.interrupt)).transpose()?;
        let (mut checked, mut fixed) = match &native {
            Some(native) => fix::fix_all(&comparison, &lines, native),
            None => (in_parallel(&comparison, &lines, *workers), 0),
        };
        if aspects.exclusive {
            let hidden = fix::hidden(view, &comparison, &lines, native.as_ref())?;
            let is_removed = |object: &&CheckedObject| native.is_some() && object.findings.is_empty();
            fixed += hidden.iter().filter(is_removed).count();
            checked.extend(hidden);
        }
        Ok(ObjectCheckReport { checked, fixed, unknown, ..ObjectCheckReport::default() })
    }
}

fn owners_of(view: &RecordView<'_>, host: &Root) -> Result<Option<Accounts>, ObjectCheckError> {
    let is_unprivileged = view.look(&places::unprivileged())?.is_some();
    Ok((!is_unprivileged).then(|| accounts_of(view.root(), host)).transpose()?)
}

/// The order of results does not depend on the number of threads.
fn in_parallel(
    comparison: &ObjectComparison<'_>,
    lines: &[ContentsLine],
    workers: usize,
) -> Vec<CheckedObject> {
    let shares: Vec<&[ContentsLine]> = lines.chunks(SHARE).collect();
    let checked = side_by_side(workers, shares.len(), || {
        let mut walk = comparison.walk();
        let shares = &shares;
        move |at| -> Vec<CheckedObject> {
            let share = shares.get(at).copied().unwrap_or_default();
            share.iter().map(|line| walk.checked(line)).collect()
        }
    });
    checked.into_iter().flatten().collect()
}
