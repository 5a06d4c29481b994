//! Decides about a package whose dependencies are done: use a result, repeat a failure, or run its task.

use std::collections::HashMap;

use patchadm_bulk_values::conf::{Configuration, LimitChanges, Limits};
use patchadm_bulk_values::journal::{BuildState, PackageOutcome, TreeFault, is_tried_again};
use patchadm_bulk_values::records::{RecipeRecord, Records};
use patchadm_bulk_values::resolve::DependencyResolution;
use patchadm_bulk_values::result::{Blake3Digest, BuildResult, KeyInputs, ResultKey};
use patchadm_rootfs::RootError;

use super::journal::KnownRuns;
use crate::keys::{KeyMaker, has_network, means, source_date_epoch};
use crate::pool::{FoundResult, Pool, PoolEntry};
use crate::sources::ExpectedDistfile;
use crate::task::order::{TASK_FORMAT, TaskOrder};
use crate::tree::record_text;
use crate::work::BulkWork;

#[derive(Clone, Copy)]
pub(super) struct BuildDecisionInput<'a> {
    pub(super) conf: &'a Configuration,
    pub(super) records: &'a Records,
    pub(super) resolution: &'a DependencyResolution,
    pub(super) pool: &'a Pool,
    pub(super) known: &'a KnownRuns,
    pub(super) rebuild: &'a [String],
    pub(super) retries: bool,
}

#[derive(Debug)]
pub(super) enum Decision {
    /// A fault of the tree.
    Unbuildable(TreeFault, String),
    Result(Box<PoolEntry>),
    /// It failed with the same inputs in this run.
    Remembered {
        run: u64,
        outcome: Box<PackageOutcome>,
        inputs: KeyInputs,
    },
    Task(Box<DecidedTask>),
}

#[derive(Debug)]
pub(super) struct DecidedTask {
    pub(super) key: ResultKey,
    pub(super) inputs: KeyInputs,
    pub(super) limits: Limits,
    /// An existing result that still needs the required check.
    pub(super) unchecked: Option<Box<PoolEntry>>,
    /// Why the pool's entry is damaged.
    pub(super) damage: Option<String>,
    pub(super) is_rebuilt: bool,
}

pub(super) type FindResult<'f> = &'f mut dyn FnMut(&ResultKey) -> Result<FoundResult, RootError>;

/// `results` are those of its dependencies; `find` looks up its own.
pub(super) fn decide(
    input: &BuildDecisionInput<'_>,
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
        let is_failure = outcome.state == BuildState::Failed && outcome.key == Some(key);
        if is_failure && !is_rebuilt && !is_tried_again(outcome, &limits, input.retries) {
            return Ok(Decision::Remembered { run: *run, outcome: Box::new(outcome.clone()), inputs });
        }
    }
    Ok(Decision::Task(Box::new(DecidedTask { key, inputs, limits, unchecked, damage, is_rebuilt })))
}

/// Fails if the record raises a limit too far.
pub(super) fn limits_of(conf: &Configuration, record: &RecipeRecord) -> Result<Limits, String> {
    let words: Vec<String> = record.limits().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let changes = LimitChanges::parse(&words.join(" ")).map_err(|error| format!("LIMITS: {error}"))?;
    conf.limits_of(&changes, |pattern| means(pattern, record)).map_err(|error| error.to_string())
}

fn is_rebuilt(rebuild: &[String], record: &RecipeRecord) -> bool {
    let name = record.pkgname();
    let names = [name.as_str(), name.name(), record.location().as_str()];
    rebuild.iter().any(|named| names.contains(&named.as_str()))
}

/// Returns the inputs of the last success, if the pool still has its result.
pub(super) fn inputs_of_success(
    pool: &Pool,
    key: Option<&ResultKey>,
) -> Result<Option<KeyInputs>, RootError> {
    let Some(key) = key else { return Ok(None) };
    Ok(pool.find(key)?.into_entry().map(|entry| entry.result.inputs))
}

pub(super) struct OrderInput<'a> {
    pub(super) work: &'a BulkWork,
    pub(super) base: Blake3Digest,
    pub(super) records: &'a Records,
    pub(super) resolution: &'a DependencyResolution,
    pub(super) results: &'a HashMap<u32, PoolEntry>,
    pub(super) run: u64,
    pub(super) slot: &'a str,
    pub(super) jobs: u32,
    pub(super) time: String,
    /// Start of the command that performs the run, RFC 3339.
    pub(super) began: &'a str,
    pub(super) previous: Option<ResultKey>,
    pub(super) is_local: bool,
}

pub(super) fn task_order(
    input: &OrderInput<'_>,
    index: u32,
    (key, inputs): (ResultKey, KeyInputs),
    limits: Limits,
    checks_only: bool,
) -> TaskOrder {
    let (conf, record) = (&input.work.conf, input.records.get(index));
    let pkgname = |index: &u32| input.records.get(*index).map(RecipeRecord::pkgname);
    let install = input.resolution.to_install(index);
    let keys = install.iter().filter_map(|need| {
        let entry = input.results.get(need)?;
        Some((entry.result.pkgname.clone(), entry.result.key))
    });
    let is_run = |place: usize| record.is_some_and(|record| record.is_run_depends(place));
    let needs = input.resolution.found(index).iter().enumerate();
    let needs = needs.filter(|(place, _)| is_run(*place)).filter_map(|(_, found)| pkgname(&(*found)?));
    let variables = record.map(RecipeRecord::multi_version).unwrap_or_default().into_iter();
    TaskOrder {
        task: TASK_FORMAT,
        work: input.work.path.to_string_lossy().into_owned(),
        run: input.run,
        package: pkgname(&index).map(ToString::to_string).unwrap_or_default(),
        location: record.map(|record| record.location().to_string()).unwrap_or_default(),
        key,
        inputs,
        record: record_text(input.records, input.resolution, index),
        distfiles: record.map(ExpectedDistfile::of).unwrap_or_default(),
        install: keys.collect(),
        needs: needs.map(ToString::to_string).collect(),
        limits,
        jobs: input.jobs,
        slot: input.slot.to_owned(),
        source_date_epoch: record.map(|record| source_date_epoch(conf, record)).unwrap_or_default(),
        has_network: record.is_some_and(|record| has_network(conf, record)),
        base: input.base.to_string(),
        checks_only,
        time: input.time.clone(),
        began: input.began.to_owned(),
        varies: record.map(|record| record.varies().map(str::to_owned).collect()).unwrap_or_default(),
        previous: input.previous,
        is_local: input.is_local,
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}
