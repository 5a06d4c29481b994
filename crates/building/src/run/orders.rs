//! What a task is told.

use std::collections::HashMap;

use patchadm_bulk_values::conf::Limits;
use patchadm_bulk_values::records::{Record, Records};
use patchadm_bulk_values::resolve::Resolution;
use patchadm_bulk_values::result::{Digest, Key, KeyInputs};

use super::master::Master;
use crate::fetching::WantedDistfile;
use crate::keys::{has_network, source_date_epoch};
use crate::pool::PoolEntry;
use crate::task::order::{TASK_FORMAT, TaskOrder};
use crate::tree::record_text;
use crate::work::Work;

/// What the order of a task is made of, besides what was decided about it.
pub(super) struct OrderInput<'a> {
    pub(super) work: &'a Work,
    /// The digest of the base.
    pub(super) base: Digest,
    pub(super) records: &'a Records,
    pub(super) resolution: &'a Resolution,
    /// The results of all that the package needs.
    pub(super) results: &'a HashMap<u32, PoolEntry>,
    pub(super) run: u64,
    pub(super) slot: &'a str,
    pub(super) jobs: u32,
    /// The time, RFC 3339.
    pub(super) time: String,
    /// When the command began that carries the run out, RFC 3339.
    pub(super) began: &'a str,
    /// The key of the last success of the package.
    pub(super) previous: Option<Key>,
    /// Whether the slot is on the machine of the run.
    pub(super) is_local: bool,
}

/// Returns the order of a task.
pub(super) fn task_order(
    input: &OrderInput<'_>,
    index: u32,
    (key, inputs): (Key, KeyInputs),
    limits: Limits,
    checks_only: bool,
) -> TaskOrder {
    let (conf, record) = (&input.work.conf, input.records.get(index));
    let pkgname = |index: &u32| input.records.get(*index).map(Record::pkgname);
    let install = input.resolution.to_install(index);
    let keys = install.iter().filter_map(|need| {
        let entry = input.results.get(need)?;
        Some((entry.result.pkgname.clone(), entry.result.key))
    });
    let is_run = |place: usize| record.is_some_and(|record| record.is_run_depends(place));
    let needs = input.resolution.found(index).iter().enumerate();
    let needs = needs.filter(|(place, _)| is_run(*place)).filter_map(|(_, found)| pkgname(&(*found)?));
    let variables = record.map(Record::multi_version).unwrap_or_default().into_iter();
    TaskOrder {
        task: TASK_FORMAT,
        work: input.work.path.to_string_lossy().into_owned(),
        run: input.run,
        package: pkgname(&index).map(ToString::to_string).unwrap_or_default(),
        location: record.map(|record| record.location().to_string()).unwrap_or_default(),
        key,
        inputs,
        record: record_text(input.records, input.resolution, index),
        distfiles: record.map(WantedDistfile::of).unwrap_or_default(),
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

impl Master<'_> {
    /// Returns the order of a task.
    pub(super) fn order(
        &self,
        index: u32,
        decided: (Key, KeyInputs),
        limits: Limits,
        (slot, checks_only): (usize, bool),
    ) -> TaskOrder {
        let input = OrderInput {
            work: self.request.work,
            base: self.request.base.1,
            records: self.records,
            resolution: self.resolution,
            results: &self.entries,
            run: self.run,
            slot: self.slots.get(slot).map(|used| used.slot.name.as_str()).unwrap_or_default(),
            jobs: self.jobs(slot),
            time: (self.request.time)(),
            began: &self.began,
            previous: self.known.success(&self.records.name_of(index)).copied(),
            is_local: self.slots.is_local(slot),
        };
        task_order(&input, index, decided, limits, checks_only)
    }

    /// Returns how many jobs a task of a slot may run.
    fn jobs(&self, slot: usize) -> u32 {
        let Some(state) = self.slots.get(slot) else { return 1 };
        let count = state.slot.count.max(1);
        if !state.slot.is_local() {
            return (state.slot.cores.unwrap_or(count) / count).max(1);
        }
        let cores = self.request.work.conf.cores.unwrap_or(self.request.cores);
        let running = self.running.values().filter(|task| self.slots.is_local(task.slot)).count();
        let tasks = u32::try_from(running + self.schedule.ready() + 1).unwrap_or(u32::MAX);
        (cores / count.min(tasks).max(1)).max(1)
    }
}
