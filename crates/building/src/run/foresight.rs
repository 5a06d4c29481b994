//! Predicts the next run's outcomes before anything is built.

use std::collections::{BTreeMap, HashMap};

use patchadm_bulk_values::journal::PackageOutcome;
use patchadm_bulk_values::resolve::ResolvedState;
use patchadm_bulk_values::result::{Digest, InputDifference, KeyInputs};
use patchadm_bulk_values::schedule::{Outcome, Schedule};
use patchadm_rootfs::RootError;

use super::decision::{DecidedTask, Decision, DecisionInput, decide, inputs_of_success};
use crate::driver::Driver;
use crate::keys::KeyMaker;
use crate::pool::PoolEntry;

const MOST_NAMED: usize = 10;

const NAMED_INPUTS: usize = 3;

#[derive(Debug)]
pub(super) enum Fate {
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
    input: DecisionInput<'a>,
    keys: KeyMaker<'a>,
    pub(super) results: HashMap<u32, PoolEntry>,
    pub(super) fates: BTreeMap<u32, Fate>,
}

impl<'a> Foresight<'a> {
    /// The packages include all dependencies.
    pub(super) fn of(
        input: DecisionInput<'a>,
        (driver, base): (&Driver, Digest),
        packages: impl Iterator<Item = u32>,
    ) -> Result<Self, RootError> {
        let keys = KeyMaker::of(input.conf, driver, base);
        let mut foresight = Self { input, keys, results: HashMap::new(), fates: BTreeMap::new() };
        let mut open = Vec::new();
        for index in packages {
            match foresight.known_reason(index) {
                Some(reason) => _ = foresight.fates.insert(index, Fate::Stuck(reason)),
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
            schedule.finished(index, Outcome::Done);
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
                Some(format!("it needs what cannot be built: {}{more}", names.join(", ")))
            }
            Some(ResolvedState::Open) => None,
            None => Some("it has no record".to_owned()),
        }
    }

    fn fate_of(&mut self, index: u32) -> Result<Fate, RootError> {
        let mut is_first = None;
        for need in self.input.resolution.to_install(index) {
            match self.fates.get(&need) {
                Some(Fate::Result) => {}
                Some(Fate::Task(task)) if task.unchecked.is_some() => {}
                Some(Fate::Task(_) | Fate::After(_) | Fate::First) => {
                    is_first.get_or_insert(need);
                }
                Some(Fate::Remembered { run, .. }) => {
                    return Ok(Fate::Stuck(format!(
                        "it needs {}, which failed in run {run}",
                        self.input.records.name_of(need)
                    )));
                }
                Some(Fate::Stuck(_)) | None => {
                    return Ok(Fate::Stuck(format!(
                        "it needs {}, which is not built",
                        self.input.records.name_of(need)
                    )));
                }
            }
        }
        if let Some(need) = is_first {
            let was_built = self.input.known.success(&self.input.records.name_of(index)).is_some();
            return Ok(if was_built { Fate::After(need) } else { Fate::First });
        }
        let pool = self.input.pool;
        Ok(match decide(&self.input, &mut self.keys, index, &self.results, &mut |key| pool.find(key))? {
            Decision::Unbuildable(_, reason) => Fate::Stuck(reason),
            Decision::Remembered { run, outcome, inputs } => Fate::Remembered { run, outcome, inputs },
            Decision::Result(entry) => {
                self.results.insert(index, *entry);
                Fate::Result
            }
            Decision::Task(mut task) => {
                if let Some(entry) = &mut task.unchecked {
                    self.results.insert(index, (**entry).clone());
                }
                Fate::Task(task)
            }
        })
    }

    pub(super) fn why(&self, index: u32) -> Result<String, RootError> {
        Ok(match self.fates.get(&index) {
            Some(Fate::Result) => "its result is there".to_owned(),
            Some(Fate::Task(task)) => self.why_task(index, task)?,
            Some(Fate::After(need)) => {
                format!(
                    "{} is built first, and the bytes of its result decide",
                    self.input.records.name_of(*need)
                )
            }
            Some(Fate::First) => "it was never built".to_owned(),
            Some(Fate::Remembered { run, outcome, .. }) => {
                let cause = outcome.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
                format!(
                    "it failed in run {run}{cause}, and nothing has changed since; --retry tries it again"
                )
            }
            Some(Fate::Stuck(reason)) => reason.clone(),
            None => "it is not wanted".to_owned(),
        })
    }

    fn why_task(&self, index: u32, task: &DecidedTask) -> Result<String, RootError> {
        if task.is_rebuilt {
            return Ok("it is asked for".to_owned());
        }
        if task.unchecked.is_some() {
            return Ok("its result is there, and is to be checked".to_owned());
        }
        if let Some(damage) = &task.damage {
            return Ok(damage.clone());
        }
        let Some(key) = self.input.known.success(&self.input.records.name_of(index)) else {
            return Ok("it was never built".to_owned());
        };
        if *key == task.key {
            return Ok("its result is not in the pool any more".to_owned());
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
