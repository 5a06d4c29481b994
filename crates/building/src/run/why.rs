//! Reasons for a package's state: dependencies, and inputs changed since its last success.

use patchadm_bulk_values::journal::{BuildState, PackageOutcome};
use patchadm_bulk_values::resolve::ResolvedState;
use patchadm_bulk_values::result::{Blake3Digest, InputDifference, KeyInputs, ResultKey};
use serde::Serialize;

use super::RunError;
use super::decision::{BuildDecisionInput, Foresight, PredictedOutcome, inputs_of_success, named_inputs};
use super::journal::{KnownRuns, known_runs};
use crate::driver::Driver;
use crate::pool::Pool;
use crate::tree::ResolvedTree;
use crate::work::BulkWork;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeededPackage {
    /// As in its record.
    pub pattern: String,
    /// `None` without a match.
    pub package: Option<String>,
    pub state: Option<BuildState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageReasons {
    pub package: String,
    /// In the last run that reached it.
    pub state: BuildState,
    /// The current key, else that of the last run; `None` if it never got one.
    pub key: Option<ResultKey>,
    pub reason: String,
    /// In the order of its record.
    pub needs: Vec<NeededPackage>,
    /// Direct and indirect.
    pub needed_by: u64,
    #[serde(skip)]
    pub dependents: Vec<String>,
    /// Differences from the last success with another key, most relevant first.
    pub differs: Vec<InputDifference>,
}

/// Explains a package's state. Trusts the last scan, but reads the recipe's files.
pub fn why(
    work: &BulkWork,
    (driver, base): (&Driver, Blake3Digest),
    tree: &ResolvedTree,
    package: u32,
) -> Result<PackageReasons, RunError> {
    let known = known_runs(work, false)?;
    let pool = Pool::open(&work.conf.pool)?;
    let input = BuildDecisionInput {
        conf: &work.conf,
        records: &tree.records,
        resolution: &tree.resolution,
        pool: &pool,
        known: &known,
        rebuild: &[],
        retries: false,
    };
    let graph = tree.resolution.graph();
    let with_needs = graph.with_needs(&[package]);
    let foresight = Foresight::of(input, (driver, base), with_needs.into_iter())?;
    let story = PackageStory { id: &work.id, tree, known: &known, pool: &pool, foresight: &foresight };
    let (key, differs) = story.key_and_differences(package)?;
    let mut dependents: Vec<String> =
        graph.dependents(package).iter().map(|index| tree.pkgname(*index)).collect();
    dependents.sort();
    Ok(PackageReasons {
        package: tree.pkgname(package),
        state: story.state(package),
        key,
        reason: story.reason(package, &differs)?,
        needs: story.needs(package),
        needed_by: graph.with_dependents(&[package]).len().saturating_sub(1) as u64,
        dependents,
        differs,
    })
}

struct PackageStory<'a> {
    id: &'a str,
    tree: &'a ResolvedTree,
    known: &'a KnownRuns,
    pool: &'a Pool,
    foresight: &'a Foresight<'a>,
}

impl PackageStory<'_> {
    /// Returns the outcome in the last run, otherwise the package's own last one.
    fn outcome(&self, package: u32) -> Option<&PackageOutcome> {
        let name = self.tree.pkgname(package);
        let of_last = self.known.last.as_ref().and_then(|(state, _)| state.packages.get(&name));
        of_last.or_else(|| self.known.outcomes.get(&name).map(|(_, outcome)| outcome))
    }

    fn state(&self, package: u32) -> BuildState {
        let name = self.tree.pkgname(package);
        if self.known.unfinished().is_some_and(|(state, _)| state.running.contains_key(&name)) {
            return BuildState::Running;
        }
        match (self.tree.resolution.state(package), self.outcome(package)) {
            (Some(ResolvedState::Prefailed(_)), _) => BuildState::Prefailed,
            (Some(ResolvedState::IndirectPrefailed(_)), None) => BuildState::IndirectPrefailed,
            (_, Some(outcome)) => outcome.state,
            (_, None) => BuildState::Open,
        }
    }

    /// Returns the current key, and the differences from the last success with another key.
    fn key_and_differences(
        &self,
        package: u32,
    ) -> Result<(Option<ResultKey>, Vec<InputDifference>), RunError> {
        let result = self.foresight.results.get(&package).map(|entry| &entry.result.inputs);
        let inputs: Option<&KeyInputs> = match self.foresight.fates.get(&package) {
            Some(PredictedOutcome::Result) => result,
            Some(PredictedOutcome::Task(task)) => Some(&task.inputs),
            Some(PredictedOutcome::Remembered { inputs, .. }) => Some(inputs),
            _ => None,
        };
        let Some(inputs) = inputs else {
            return Ok((self.outcome(package).and_then(|outcome| outcome.key), Vec::new()));
        };
        let key = inputs.key();
        let before = inputs_of_success(self.pool, self.success_with_another_key(package, &key))?;
        Ok((Some(key), before.map(|before| inputs.differences_from(&before)).unwrap_or_default()))
    }

    fn success_with_another_key(&self, package: u32, key: &ResultKey) -> Option<&ResultKey> {
        let name = self.tree.pkgname(package);
        let last = self.known.success(&name)?;
        if last != key {
            return Some(last);
        }
        // A package that was not rebuilt had no reason for it.
        let was_built = self.outcome(package).is_some_and(|outcome| outcome.state == BuildState::Done);
        self.known.earlier_success(&name).filter(|_| was_built)
    }

    fn needs(&self, package: u32) -> Vec<NeededPackage> {
        let Some(record) = self.tree.records.get(package) else { return Vec::new() };
        let found = self.tree.resolution.found(package).iter().copied().chain(std::iter::repeat(None));
        let needs = record.all_depends().iter().zip(found).map(|(dependency, found)| NeededPackage {
            pattern: dependency.pattern.to_string(),
            package: found.map(|index| self.tree.pkgname(index)),
            state: found.map(|index| self.state(index)),
        });
        needs.collect()
    }

    fn reason(&self, package: u32, differs: &[InputDifference]) -> Result<String, RunError> {
        let why = self.foresight.why(package)?;
        let entry = self.foresight.results.get(&package);
        Ok(match self.foresight.fates.get(&package).zip(Some(entry)) {
            Some((PredictedOutcome::Result, Some(entry))) => {
                let of_run = if entry.result.work == self.id {
                    format!("run {}", entry.result.run)
                } else {
                    "another bulk build".to_owned()
                };
                if differs.is_empty() {
                    format!("its result of {of_run} exists, and nothing that it depends on has changed since")
                } else {
                    format!("it was built in {of_run}, since this had changed: {}", named_inputs(differs))
                }
            }
            Some((PredictedOutcome::Task(_) | PredictedOutcome::First, _)) => {
                format!("the next run builds it: {why}")
            }
            Some((PredictedOutcome::After(_), _)) => format!("the next run may build it: {why}"),
            _ => why,
        })
    }
}
