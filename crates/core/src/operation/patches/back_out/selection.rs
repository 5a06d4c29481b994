//! Which patches of a root a backout is about: those that are named, what requires them, or all that came later.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime};

use super::brought::with_brought;
use super::request::BackOutRequest;
use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::run_of;
use crate::operation::patches::order_on_root::OrderOnRoot;
use crate::operation::patches::undone_run::named_run;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// The patches that go: `named`, with everything that requires them where that is wanted, and what came after a point.
pub(super) fn selected(
    ground: &RootAndPolicy,
    request: &BackOutRequest,
    applied: &AppliedPatches,
    named: Vec<PatchId>,
) -> Result<Vec<PatchId>, Failure> {
    if let Some(run) = &request.undone {
        run.must_stand(&ground.root, applied)?;
    }
    let mut ids = with_brought(ground, applied, named)?;
    if let Some(point) = &request.down_to {
        for id in with_brought(ground, applied, after(ground, applied, point)?)? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    if request.with_dependents {
        ids = with_dependents(applied, ids);
    }
    Ok(ids)
}

/// Patches with all that could not stay without them.
fn with_dependents(applied: &AppliedPatches, mut ids: Vec<PatchId>) -> Vec<PatchId> {
    let mut at = 0;
    while let Some(id) = ids.get(at).cloned() {
        for unmet in applied.dependents_after_removal(&id) {
            if !ids.contains(&unmet.patch) {
                ids.push(unmet.patch);
            }
        }
        at += 1;
    }
    ids
}

/// The patches that were applied after a patch, a date or a run.
fn after(ground: &RootAndPolicy, applied: &AppliedPatches, point: &str) -> Result<Vec<PatchId>, Failure> {
    let order = OrderOnRoot::of(applied);
    let view = RecordView::live(&ground.root);
    if let Some(run) = run_named(&view, point) {
        let is_later = |id: &PatchId| {
            let packages = applied.get(id).map(|patch| patch.packages.as_slice()).unwrap_or_default();
            let mut runs = packages
                .iter()
                .filter_map(|package| run_of(&ledger::counting(&view, package).ok()?, id.as_str()));
            runs.next().is_some_and(|number| number > run)
        };
        return Ok(order.all().filter(|id| is_later(id)).cloned().collect());
    }
    if let Some(end) = end_of(point) {
        return Ok(order.all().filter(|id| order.date(id).is_some_and(|date| date > end)).cloned().collect());
    }
    let id = PatchId::parse(point, &ground.policy.separator).ok().filter(|id| applied.get(id).is_some());
    let Some(id) = id else {
        let shown = point.escape_debug();
        return Err(Failure::BadId(format!("<{shown}> is neither an applied patch, nor a date, nor a run")));
    };
    Ok(order.all().filter(|other| order.is_after(other, &id)).cloned().collect())
}

/// The number of the run that a word names: by its name, or by a number that the history has.
fn run_named(view: &RecordView<'_>, word: &str) -> Option<u64> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let known = || named_run(&readable_history(view), word).and_then(Run::parse);
    Run::parse(word).or_else(|| if is_number { known() } else { None }).map(|run| run.number)
}

/// The moment that a date means: that of an RFC 3339 text, or the end of a day.
fn end_of(text: &str) -> Option<DateTime<FixedOffset>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment);
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let end = day.and_time(NaiveTime::from_hms_opt(23, 59, 59)?);
    Some(end.and_utc().fixed_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_end() {
        let end = end_of("2026-11-20").unwrap();
        assert_eq!(end.to_rfc3339(), "2026-11-20T23:59:59+00:00");
        assert_eq!(end_of("2026-11-20T07:00:00+01:00").unwrap().to_rfc3339(), "2026-11-20T07:00:00+01:00");
        assert_eq!(end_of("100-01"), None);
    }
}
