//! What becomes of a package when the results of all that it needs are known: its result is there, it failed like this before,
//! or its task is to run.

use std::collections::HashMap;

use patchadm_bulk_values::conf::{Configuration, LimitChanges, Limits};
use patchadm_bulk_values::journal::{PackageOutcome, PackageState, TreeFault, is_tried_again};
use patchadm_bulk_values::records::{Record, Records};
use patchadm_bulk_values::resolve::Resolution;
use patchadm_bulk_values::result::{BuildResult, Key, KeyInputs};
use patchadm_rootfs::RootError;

use super::journal_file::KnownRuns;
use crate::keys::{KeyMaker, means};
use crate::pool::{FoundResult, Pool, PoolEntry};

/// What decides about packages.
#[derive(Clone, Copy)]
pub(super) struct DecisionInput<'a> {
    pub(super) conf: &'a Configuration,
    pub(super) records: &'a Records,
    pub(super) resolution: &'a Resolution,
    pub(super) pool: &'a Pool,
    pub(super) known: &'a KnownRuns,
    /// The packages that are built although their results are there.
    pub(super) rebuild: &'a [String],
    /// Whether failures of earlier runs are tried again.
    pub(super) retries: bool,
}

/// What becomes of a package.
#[derive(Debug)]
pub(super) enum Decision {
    /// It cannot be built, by this fault and reason of its own.
    Unbuildable(TreeFault, String),
    /// Its result is there.
    Result(Box<PoolEntry>),
    /// It failed with the same inputs in this run.
    Remembered { run: u64, outcome: Box<PackageOutcome>, inputs: KeyInputs },
    /// Its task is to run.
    Task(Box<DecidedTask>),
}

/// A task that is to run.
#[derive(Debug)]
pub(super) struct DecidedTask {
    pub(super) key: Key,
    pub(super) inputs: KeyInputs,
    pub(super) limits: Limits,
    /// The result that is there and was not checked as it is wanted now: only that is done.
    pub(super) unchecked: Option<Box<PoolEntry>>,
    /// Why what is in the pool under its key is not believed.
    pub(super) damage: Option<String>,
    /// Whether it is built although its result may be there.
    pub(super) is_rebuilt: bool,
}

/// Looks for the result of a key.
pub(super) type FindResult<'f> = &'f mut dyn FnMut(&Key) -> Result<FoundResult, RootError>;

/// Decides about a package; `results` are those of all that it needs, and `find` looks for its own.
pub(super) fn decide(
    input: &DecisionInput<'_>,
    keys: &mut KeyMaker<'_>,
    index: u32,
    results: &HashMap<u32, PoolEntry>,
    find: FindResult<'_>,
) -> Result<Decision, RootError> {
    let Some(record) = input.records.get(index) else {
        return Ok(Decision::Unbuildable(TreeFault::Recipe, "it has no record".to_owned()));
    };
    let limits = match limits_of(input.conf, record) {
        Ok(limits) => limits,
        Err(reason) => return Ok(Decision::Unbuildable(TreeFault::Recipe, reason)),
    };
    let install = input.resolution.to_install(index);
    let install: Vec<&BuildResult> =
        install.iter().filter_map(|need| results.get(need)).map(|entry| &entry.result).collect();
    let inputs = match keys.inputs(input.records, record, &install) {
        Ok(inputs) => inputs,
        Err(reason) => return Ok(Decision::Unbuildable(TreeFault::Recipe, reason)),
    };
    if let Err(too_many) = inputs.must_fit() {
        return Ok(Decision::Unbuildable(TreeFault::Scan, too_many.to_string()));
    }
    let key = inputs.key();
    let is_rebuilt = is_rebuilt(input.rebuild, record);
    let found = if is_rebuilt { FoundResult::Nothing } else { find(&key)? };
    let (unchecked, damage) = match found {
        FoundResult::Result(entry) if entry.result.check >= input.conf.check => {
            return Ok(Decision::Result(entry));
        }
        FoundResult::Result(entry) => (Some(entry), None),
        FoundResult::Damaged(reason) => (None, Some(reason)),
        FoundResult::Nothing => (None, None),
    };
    if let Some((run, outcome)) = input.known.outcomes.get(record.pkgname().as_str()) {
        let is_failure = outcome.state == PackageState::Failed && outcome.key == Some(key);
        if is_failure && !is_rebuilt && !is_tried_again(outcome, &limits, input.retries) {
            return Ok(Decision::Remembered { run: *run, outcome: Box::new(outcome.clone()), inputs });
        }
    }
    Ok(Decision::Task(Box::new(DecidedTask { key, inputs, limits, unchecked, damage, is_rebuilt })))
}

/// Returns the limits of a package; the reason where its record asks for more than it may.
pub(super) fn limits_of(conf: &Configuration, record: &Record) -> Result<Limits, String> {
    let words: Vec<String> = record.limits().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let asked = LimitChanges::parse(&words.join(" ")).map_err(|error| format!("LIMITS: {error}"))?;
    conf.limits_of(&asked, |pattern| means(pattern, record)).map_err(|error| error.to_string())
}

fn is_rebuilt(rebuild: &[String], record: &Record) -> bool {
    let name = record.pkgname();
    let names = [name.as_str(), name.name(), record.location().as_str()];
    rebuild.iter().any(|named| names.contains(&named.as_str()))
}

/// Returns the inputs of a package's last success, as far as its result is still in the pool.
pub(super) fn inputs_of_success(pool: &Pool, key: Option<&Key>) -> Result<Option<KeyInputs>, RootError> {
    let Some(key) = key else { return Ok(None) };
    Ok(match pool.find(key)? {
        FoundResult::Result(entry) => Some(entry.result.inputs),
        FoundResult::Nothing | FoundResult::Damaged(_) => None,
    })
}
