//! Patches without scripts of their own, one after another: one run.
//!
//! All that they touch is surveyed once. Each is planned against what the one before leaves, which is computed
//! ([`Ahead`]); the plans become one ([`together()`]), which is carried out with one switch and one commit. A patch that
//! is refused is left out; one that cannot be planned exactly before the others are done ends the run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Applied, Circumstances, Operand, log_of, report_on};
use crate::inventory::{Installed, Touched};
use crate::operation::content::{ManySources, OneSource};
use crate::operation::failure::Failure;
use crate::operation::log::of_installation;
use crate::operation::patches::in_use::in_use_of_each;
use crate::operation::session::{Session, chapter};
use crate::package::{Digest, ObjectPath, PackagePath, PkgInst, Sums};
use crate::plan::ahead::{Ahead, Made};
use crate::plan::concern::brings_scripts;
use crate::plan::parts::Scripted;
use crate::plan::refusal::{Command, Reason};
use crate::plan::together::{Single, together};
use crate::plan::{Action, Body, Member, NewObject, Plan};
use crate::transaction::{Cause, Left, Phase, Receipt, TransactionError};

/// An operand that takes part in a run, or is left out of it.
struct Gathered<'o> {
    operand: &'o Operand,
    planned: Result<Taken, Failure>,
}

/// A patch that takes part.
struct Taken {
    scripted: Scripted,
    made: Made,
}

/// Applies all operands, run by run, until one fails; what became of each.
pub(super) fn apply_all(
    session: &Session<'_>,
    circumstances: &Circumstances<'_>,
    operands: &[Operand],
) -> Vec<Applied> {
    let mut report: Vec<Applied> = Vec::new();
    let mut alone = BTreeSet::new();
    while let Some(first) = operands.get(report.len()) {
        let at = report.len();
        let stretch = stretch(session, circumstances, operands, at, &alone);
        let gathered = match stretch {
            [_, _, ..] => gather(session, circumstances, stretch),
            _ => Vec::new(),
        };
        let done = if gathered.is_empty() {
            vec![super::apply_one(session, circumstances, first)]
        } else {
            match carry_out(session, gathered) {
                Ok(done) => done,
                Err(culprits) => {
                    alone.extend(culprits.into_iter().map(|place| at + place));
                    continue;
                }
            }
        };
        let stops = done.iter().any(|applied| ends_all(&applied.result));
        report.extend(done);
        if stops {
            break;
        }
    }
    report
}

/// Whether nothing more is tried: the root or the machine is at fault, not a source.
fn ends_all(result: &Result<Option<Receipt>, Failure>) -> bool {
    matches!(result, Err(Failure::Transaction(error)) if !is_of_source(error))
}

/// Whether a source is not what it says it is, and nothing was changed.
fn is_of_source(error: &TransactionError) -> bool {
    error.left == Left::Unchanged
        && matches!(error.cause, Cause::Corrupt { .. } | Cause::Missing { .. } | Cause::Source(_))
}

/// The operands from `at` on that may be one run as far as their scripts go.
fn stretch<'o>(
    session: &Session<'_>,
    circumstances: &Circumstances<'_>,
    operands: &'o [Operand],
    at: usize,
    alone: &BTreeSet<usize>,
) -> &'o [Operand] {
    let rest = operands.get(at..).unwrap_or_default();
    if rest.len() < 2 {
        return rest;
    }
    // What is wrong with the database is said where the first operand is planned.
    let Ok(installed) = session.ground.packages() else { return &[] };
    let stands_alone = |place: usize, operand: &Operand| {
        alone.contains(&(at + place))
            || brings_scripts(&operand.device.image, &installed, &circumstances.choice)
    };
    let end = rest.iter().enumerate().position(|(place, operand)| stands_alone(place, operand));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest)
}

/// Plans operands from the first on, as many as can be one run. None where the first has to be surveyed by itself: also
/// where the survey fails, which is then that operand's matter.
fn gather<'o>(
    session: &Session<'_>,
    circumstances: &Circumstances<'_>,
    operands: &'o [Operand],
) -> Vec<Gathered<'o>> {
    let Ok((mut ahead, last_touched)) = look_ahead(session, circumstances, operands) else {
        return Vec::new();
    };
    let mut gathered = Vec::new();
    for (place, operand) in operands.iter().enumerate() {
        let touched = touched(operand, &ahead.inventory.packages);
        if ahead.ends_before(&touched) {
            break;
        }
        let none = BTreeMap::new();
        let planned = circumstances.plan_against(&session.ground, operand, &mut ahead.inventory, &none);
        let planned = match planned {
            Ok(scripted) if scripted.has_scripts() || ahead.ends_with(&touched, &scripted.plan) => break,
            Err(Failure::Refused(refusal)) if is_of_room(&refusal.reason) => {
                return without_room(gathered, operands, &refusal.reason);
            }
            Ok(scripted) => {
                if let Err(reason) = ahead.check_room(&scripted.plan) {
                    return without_room(gathered, operands, &reason);
                }
                let is_chained = |path: &ObjectPath| last_touched.get(path).is_some_and(|last| *last > place);
                let digests = digests(operand, &scripted.plan, is_chained);
                let made = ahead.go_on(&scripted.plan, &digests);
                Ok(Taken { scripted, made })
            }
            Err(failure) => Err(failure),
        };
        gathered.push(Gathered { operand, planned });
    }
    gathered
}

fn is_of_room(reason: &Reason) -> bool {
    matches!(reason, Reason::NoSpace { .. })
}

/// All of them refused, because there is no room for all of them: those that came first would be applied alone otherwise.
/// What was refused already stays so for its own reason.
fn without_room<'o>(
    gathered: Vec<Gathered<'o>>,
    operands: &'o [Operand],
    reason: &Reason,
) -> Vec<Gathered<'o>> {
    let refusal = |operand: &Operand| reason.clone().of(Command::Patchadd, &operand.shown_id());
    let mut known = gathered.into_iter();
    let refused = operands.iter().map(|operand| match known.next() {
        Some(one) if one.planned.is_err() => one,
        _ => Gathered { operand, planned: Err(refusal(operand).into()) },
    });
    refused.collect()
}

/// The survey of everything that the operands touch, and the last operand that touches each path.
fn look_ahead(
    session: &Session<'_>,
    circumstances: &Circumstances<'_>,
    operands: &[Operand],
) -> Result<(Ahead, HashMap<ObjectPath, usize>), Failure> {
    let installed = session.ground.packages()?;
    let (mut all, mut last) = (Touched::default(), HashMap::new());
    for (place, operand) in operands.iter().enumerate() {
        let touched = touched(operand, &installed);
        last.extend(touched.paths.iter().map(|path| (path.clone(), place)));
        all.paths.extend(touched.paths);
        all.not_directories.extend(touched.not_directories);
        all.packages.extend(touched.packages);
    }
    let inventory = session.ground.survey_with(installed, &all, None)?;
    Ok((Ahead::new(inventory, all, circumstances.caller.occasion.timestamp()), last))
}

fn touched(operand: &Operand, installed: &BTreeMap<PkgInst, Installed>) -> Touched {
    Touched::by_patch(&operand.device.image, &operand.name_of_directory(), installed)
}

/// The digests of the files of a plan that are replaced, or looked at, by a later patch. A file that is not what the
/// pkgmap says has none: staging says what is wrong with it.
fn digests(
    operand: &Operand,
    plan: &Plan,
    is_chained: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, Digest> {
    let mut wanted: BTreeMap<(usize, PackagePath), (&ObjectPath, &Member)> = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| is_chained(&change.path)) {
        if let Action::Add(NewObject { body: Body::Member(member), .. })
        | Action::Replace(NewObject { body: Body::Member(member), .. }) = &change.action
        {
            wanted.insert((member.package, member.path.clone()), (&change.path, member));
        }
    }
    let mut digests = BTreeMap::new();
    if wanted.is_empty() {
        return digests;
    }
    let device = &operand.device;
    let mut is_wanted = |package: usize, path: &PackagePath| wanted.contains_key(&(package, path.clone()));
    let read =
        device.source.stream::<Failure>(&device.image, &mut is_wanted, &mut |package, path, _, data| {
            if let (Ok(sums), Some((at, member))) = (Sums::of(data), wanted.get(&(package, path.clone())))
                && (sums.size, sums.cksum) == (member.size, member.cksum)
            {
                digests.insert((*at).clone(), sums.sha256);
            }
            Ok(())
        });
    if read.is_err() {
        digests.clear();
    }
    digests
}

/// Carries out what was gathered, as one run; the places of operands that have to go alone, where it turns out that a
/// source is not what it says it is.
fn carry_out(session: &Session<'_>, gathered: Vec<Gathered<'_>>) -> Result<Vec<Applied>, Vec<usize>> {
    let taken: Vec<(&Operand, &Taken)> =
        gathered.iter().filter_map(|one| Some((one.operand, one.planned.as_ref().ok()?))).collect();
    let plans: Vec<&Plan> = taken.iter().map(|(_, taken)| &taken.scripted.plan).collect();
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use_of_each(&session.ground.root, &plans);
    let done = perform(session, &taken);
    if let Some(Err(error)) = &done
        && taken.len() > 1
        && is_of_source(error)
    {
        let is_bad = |one: &Gathered<'_>| {
            let device = &one.operand.device;
            one.planned.is_ok() && device.source.verify(&device.image).is_err()
        };
        let bad: Vec<usize> =
            gathered.iter().enumerate().filter(|(_, one)| is_bad(one)).map(|(place, _)| place).collect();
        return Err(if bad.is_empty() { (0..gathered.len()).collect() } else { bad });
    }
    let results: Vec<Result<Receipt, Arc<TransactionError>>> = match done {
        Some(Ok(receipt)) => receipts(session, receipt, &plans).into_iter().map(Ok).collect(),
        Some(Err(error)) => plans.iter().map(|_| Err(error.clone())).collect(),
        None => Vec::new(),
    };
    let mut results = results.into_iter().zip(in_use);
    let reported = gathered.into_iter().map(|one| match one.planned {
        Err(failure) => report_on(one.operand, None, Vec::new(), Err(failure)),
        Ok(taken) => {
            let (result, in_use) = results.next().unwrap_or_else(|| (Err(lost()), Vec::new()));
            let result = result.map(Some).map_err(Failure::Transaction);
            report_on(one.operand, Some(taken.scripted), in_use, result)
        }
    });
    Ok(reported.collect())
}

/// There is a result for every patch of a run.
fn lost() -> Arc<TransactionError> {
    let cause = Cause::Internal("a patch of the run has no result".to_owned());
    Arc::new(TransactionError { phase: Phase::Commit, cause, left: Left::InDoubt })
}

/// Carries out what all of them do; none where there is nobody to do it for.
fn perform(
    session: &Session<'_>,
    taken: &[(&Operand, &Taken)],
) -> Option<Result<Receipt, Arc<TransactionError>>> {
    let chapters = taken.iter().map(|(_, taken)| {
        let plan = &taken.scripted.plan;
        chapter(plan, log_of(plan), of_installation(plan))
    });
    let sources = taken
        .iter()
        .map(|(operand, _)| OneSource { source: &operand.device.source, image: &operand.device.image });
    let mut content = ManySources(sources.collect());
    let mut packages = 0;
    let mut singles = Vec::new();
    for (operand, taken) in taken {
        singles.push(Single { plan: &taken.scripted.plan, made: &taken.made, packages });
        packages += operand.device.image.packages.len();
    }
    let plan = together(&singles)?;
    let done = session.perform_together(&plan, &mut content, chapters.collect());
    Some(done.map_err(|failure| match failure {
        Failure::Transaction(error) => error,
        Failure::Root(error) => unchanged(Cause::Root(error)),
        other => unchanged(Cause::Internal(other.to_string())),
    }))
}

fn unchanged(cause: Cause) -> Arc<TransactionError> {
    Arc::new(TransactionError { phase: Phase::Prepare, cause, left: Left::Unchanged })
}

/// What the run did for each of its patches.
fn receipts(session: &Session<'_>, all: Receipt, plans: &[&Plan]) -> Vec<Receipt> {
    let mut archives = 0;
    let mut receipts: Vec<Receipt> = Vec::new();
    for plan in plans {
        let own = all.undo.range(archives..archives + plan.undo.len());
        let undo = own.map(|(place, size)| (place - archives, *size)).collect();
        archives += plan.undo.len();
        receipts.push(Receipt { run: all.run.clone(), bytes: bytes(plan), undo, notes: Vec::new() });
    }
    for note in all.notes {
        let is_about = |plan: &&Plan| {
            let mut gone =
                plan.changes.iter().filter(|change| matches!(change.action, Action::RemoveDirectory));
            gone.any(|change| {
                let shown = session.ground.root.show(&change.path);
                note.strip_prefix(&shown).is_some_and(|rest| rest.starts_with(' '))
            })
        };
        let place = plans.iter().rposition(is_about).unwrap_or(plans.len().saturating_sub(1));
        if let Some(receipt) = receipts.get_mut(place) {
            receipt.notes.push(note);
        }
    }
    receipts
}

/// Bytes of the objects that a patch delivers, and of the edited files that are kept for it.
fn bytes(plan: &Plan) -> u64 {
    let size = |path: &ObjectPath| {
        let change = plan.changes.iter().find(|change| change.path == *path);
        change.and_then(|change| change.old.as_ref()?.size()).unwrap_or(0)
    };
    let bytes = plan.changes.iter().map(|change| match &change.action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => member.size,
            Body::CopyOf(path) => size(path),
            _ => 0,
        },
        _ => 0,
    });
    bytes.sum()
}
