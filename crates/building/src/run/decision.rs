//! Decides about a package whose dependencies are done: use a result, repeat a failure, or run its task. Predicts the same
//! for all packages before anything is built.

use std::collections::{BTreeMap, HashMap};

use patchadm_bulk_values::conf::{Configuration, LimitChanges, Limits};
use patchadm_bulk_values::journal::{BuildState, PackageOutcome, TreeFault, is_tried_again};
use patchadm_bulk_values::records::{RecipeRecord, Records};
use patchadm_bulk_values::resolve::{DependencyResolution, ResolvedState};
use patchadm_bulk_values::result::{Blake3Digest, BuildResult, InputDifference, KeyInputs, ResultKey};
use patchadm_bulk_values::schedule::{Schedule, TaskOutcome};
use patchadm_rootfs::RootError;

use super::journal::KnownRuns;
use crate::driver::Driver;
use crate::keys::{KeyMaker, has_network, means, source_date_epoch};
use crate::pool::{FoundResult, Pool, PoolEntry};
use crate::sources::ExpectedDistfile;
use crate::task::{TASK_FORMAT, TaskOrder};
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
pub(super) enum BuildDecision {
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
) -> Result<BuildDecision, RootError> {
    let Some(record) = input.records.get(index) else {
        return Ok(BuildDecision::Unbuildable(TreeFault::Recipe, "it has no record".to_owned()));
    };
    let limits = match limits_of(input.conf, record) {
        Ok(limits) => limits,
        Err(reason) => return Ok(BuildDecision::Unbuildable(TreeFault::Recipe, reason)),
    };
    let install = input.resolution.to_install(index);
    let install: Vec<&BuildResult> =
        install.iter().filter_map(|need| results.get(need)).map(|entry| &entry.result).collect();
    let inputs = match keys.inputs(input.records, record, &install) {
        Ok(inputs) => inputs,
        Err(reason) => return Ok(BuildDecision::Unbuildable(TreeFault::Recipe, reason)),
    };
    if let Err(too_many) = inputs.must_fit() {
        return Ok(BuildDecision::Unbuildable(TreeFault::Scan, too_many.to_string()));
    }
    let key = inputs.key();
    let is_rebuilt = is_rebuilt(input.rebuild, record);
    let found = if is_rebuilt { FoundResult::Nothing } else { find(&key)? };
    let (unchecked, damage) = match found {
        FoundResult::Result(entry) if entry.result.check >= input.conf.check => {
            return Ok(BuildDecision::Result(entry));
        }
        FoundResult::Result(entry) => (Some(entry), None),
        FoundResult::Damaged(reason) => (None, Some(reason)),
        FoundResult::Nothing => (None, None),
    };
    if let Some((run, outcome)) = input.known.outcomes.get(record.pkgname().as_str()) {
        let is_failure = outcome.state == BuildState::Failed && outcome.key == Some(key);
        if is_failure && !is_rebuilt && !is_tried_again(outcome, &limits, input.retries) {
            return Ok(BuildDecision::Remembered { run: *run, outcome: Box::new(outcome.clone()), inputs });
        }
    }
    Ok(BuildDecision::Task(Box::new(DecidedTask { key, inputs, limits, unchecked, damage, is_rebuilt })))
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

const MOST_NAMED: usize = 10;

const NAMED_INPUTS: usize = 3;

#[derive(Debug)]
pub(super) enum PredictedOutcome {
    Result,
    Task(Box<DecidedTask>),
    /// This one is built if that package's result changes.
    After(u32),
    /// Never built before; built after its dependencies.
    First,
    Remembered {
        run: u64,
        outcome: Box<PackageOutcome>,
        inputs: KeyInputs,
    },
    Stuck(String),
}

pub(super) struct Foresight<'a> {
    input: BuildDecisionInput<'a>,
    keys: KeyMaker<'a>,
    pub(super) results: HashMap<u32, PoolEntry>,
    pub(super) fates: BTreeMap<u32, PredictedOutcome>,
}

impl<'a> Foresight<'a> {
    /// The packages include all dependencies.
    pub(super) fn of(
        input: BuildDecisionInput<'a>,
        (driver, base): (&Driver, Blake3Digest),
        packages: impl Iterator<Item = u32>,
    ) -> Result<Self, RootError> {
        let keys = KeyMaker::of(input.conf, driver, base);
        let mut foresight = Self { input, keys, results: HashMap::new(), fates: BTreeMap::new() };
        let mut open = Vec::new();
        for index in packages {
            match foresight.known_reason(index) {
                Some(reason) => _ = foresight.fates.insert(index, PredictedOutcome::Stuck(reason)),
                None => open.push(index),
            }
        }
        open.sort_unstable();
        let is_task = |index: u32| open.binary_search(&index).is_ok();
        // Any order that puts dependencies first.
        let mut schedule = Schedule::new(input.resolution.graph(), &[], &[], is_task);
        while let Some(index) = schedule.next_ready() {
            let fate = foresight.fate_of(index)?;
            foresight.fates.insert(index, fate);
            schedule.finished(index, TaskOutcome::Done);
        }
        Ok(foresight)
    }

    /// Returns why a package can never be built.
    fn known_reason(&self, index: u32) -> Option<String> {
        match self.input.resolution.state(index) {
            Some(ResolvedState::Prefailed(reason)) => Some(reason.to_string()),
            Some(ResolvedState::IndirectPrefailed(because)) => {
                let names = because.named.iter().map(|index| self.input.records.name_of(*index));
                let names: Vec<String> = names.take(MOST_NAMED).collect();
                let more = u64::from(because.count) - names.len() as u64;
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                Some(format!("it needs packages that cannot be built: {}{more}", names.join(", ")))
            }
            Some(ResolvedState::Open) => None,
            None => Some("it has no record".to_owned()),
        }
    }

    fn fate_of(&mut self, index: u32) -> Result<PredictedOutcome, RootError> {
        let mut is_first = None;
        for need in self.input.resolution.to_install(index) {
            match self.fates.get(&need) {
                Some(PredictedOutcome::Result) => {}
                Some(PredictedOutcome::Task(task)) if task.unchecked.is_some() => {}
                Some(PredictedOutcome::Task(_) | PredictedOutcome::After(_) | PredictedOutcome::First) => {
                    is_first.get_or_insert(need);
                }
                Some(PredictedOutcome::Remembered { run, .. }) => {
                    return Ok(PredictedOutcome::Stuck(format!(
                        "it needs {}, which failed in run {run}",
                        self.input.records.name_of(need)
                    )));
                }
                Some(PredictedOutcome::Stuck(_)) | None => {
                    return Ok(PredictedOutcome::Stuck(format!(
                        "it needs {}, which is not built",
                        self.input.records.name_of(need)
                    )));
                }
            }
        }
        if let Some(need) = is_first {
            let was_built = self.input.known.success(&self.input.records.name_of(index)).is_some();
            return Ok(if was_built { PredictedOutcome::After(need) } else { PredictedOutcome::First });
        }
        let pool = self.input.pool;
        Ok(match decide(&self.input, &mut self.keys, index, &self.results, &mut |key| pool.find(key))? {
            BuildDecision::Unbuildable(_, reason) => PredictedOutcome::Stuck(reason),
            BuildDecision::Remembered { run, outcome, inputs } => {
                PredictedOutcome::Remembered { run, outcome, inputs }
            }
            BuildDecision::Result(entry) => {
                self.results.insert(index, *entry);
                PredictedOutcome::Result
            }
            BuildDecision::Task(mut task) => {
                if let Some(entry) = &mut task.unchecked {
                    self.results.insert(index, (**entry).clone());
                }
                PredictedOutcome::Task(task)
            }
        })
    }

    pub(super) fn why(&self, index: u32) -> Result<String, RootError> {
        Ok(match self.fates.get(&index) {
            Some(PredictedOutcome::Result) => "its result exists".to_owned(),
            Some(PredictedOutcome::Task(task)) => self.why_task(index, task)?,
            Some(PredictedOutcome::After(need)) => {
                format!(
                    "{} is built first, and the bytes of its result decide",
                    self.input.records.name_of(*need)
                )
            }
            Some(PredictedOutcome::First) => "it was never built".to_owned(),
            Some(PredictedOutcome::Remembered { run, outcome, .. }) => {
                let cause = outcome.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
                format!(
                    "it failed in run {run}{cause}, and nothing has changed since; --retry tries it again"
                )
            }
            Some(PredictedOutcome::Stuck(reason)) => reason.clone(),
            None => "it was not requested".to_owned(),
        })
    }

    fn why_task(&self, index: u32, task: &DecidedTask) -> Result<String, RootError> {
        if task.is_rebuilt {
            return Ok("it was requested".to_owned());
        }
        if task.unchecked.is_some() {
            return Ok("its result exists, but must be checked".to_owned());
        }
        if let Some(damage) = &task.damage {
            return Ok(damage.clone());
        }
        let Some(key) = self.input.known.success(&self.input.records.name_of(index)) else {
            return Ok("it was never built".to_owned());
        };
        if *key == task.key {
            return Ok("its result is no longer in the pool".to_owned());
        }
        let Some(before) = inputs_of_success(self.input.pool, Some(key))? else {
            return Ok("something has changed since its last success, and its result is gone".to_owned());
        };
        Ok(format!(
            "changed since its last success: {}",
            named_inputs(&task.inputs.differences_from(&before))
        ))
    }
}

pub(super) fn named_inputs(differing: &[InputDifference]) -> String {
    let named: Vec<&str> =
        differing.iter().take(NAMED_INPUTS).map(|difference| difference.input.as_str()).collect();
    match differing.len().saturating_sub(NAMED_INPUTS) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
