//! What a task is told.

use patchadm_bulk::conf::{LimitChanges, Limits};
use patchadm_bulk::records::Record;
use patchadm_bulk::result::{Key, KeyInputs};

use super::master::Master;
use crate::fetching::WantedDistfile;
use crate::keys::{has_network, means, source_date_epoch};
use crate::task::order::{TASK_FORMAT, TaskOrder};

impl Master<'_> {
    /// Returns the limits of a package; the reason where its record asks for more than it may.
    pub(super) fn limits(&self, record: &Record) -> Result<Limits, String> {
        let words: Vec<String> =
            record.limits().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let asked = LimitChanges::parse(&words.join(" ")).map_err(|error| format!("LIMITS: {error}"))?;
        let conf = &self.request.work.conf;
        conf.limits_of(&asked, |pattern| means(pattern, record)).map_err(|error| error.to_string())
    }

    /// Returns the order of a task.
    pub(super) fn order(
        &self,
        index: u32,
        (key, inputs): (Key, KeyInputs),
        limits: Limits,
        (slot, checks_only): (usize, bool),
    ) -> TaskOrder {
        let request = self.request;
        let record = self.records.get(index);
        let pkgname = |index: &u32| self.records.get(*index).map(Record::pkgname);
        let depends: Vec<_> = self.resolution.depends(index).iter().filter_map(pkgname).collect();
        let mut text = Vec::new();
        if let Some(record) = record {
            // Writing to memory cannot fail.
            let _ = self.records.write_record(record, &depends, &mut text);
        }
        let install = self.resolution.to_install(index);
        let keys = install.iter().filter_map(|need| {
            let entry = self.entries.get(need)?;
            Some((entry.result.pkgname.clone(), entry.result.key))
        });
        let is_run = |place: usize| record.is_some_and(|record| record.is_run_depends(place));
        let needs = self.resolution.found(index).iter().enumerate();
        let needs = needs.filter(|(place, _)| is_run(*place)).filter_map(|(_, found)| pkgname(&(*found)?));
        let epoch = record.map(|record| source_date_epoch(&request.work.conf, record)).unwrap_or_default();
        TaskOrder {
            task: TASK_FORMAT,
            work: request.work.path.to_string_lossy().into_owned(),
            run: self.run,
            package: pkgname(&index).map(ToString::to_string).unwrap_or_default(),
            location: record.map(|record| record.location().to_string()).unwrap_or_default(),
            key,
            inputs,
            record: String::from_utf8_lossy(&text).into_owned(),
            distfiles: record.map(WantedDistfile::of).unwrap_or_default(),
            install: keys.collect(),
            needs: needs.map(ToString::to_string).collect(),
            limits,
            jobs: self.jobs(slot),
            slot: self.slots.get(slot).map(|used| used.slot.name.clone()).unwrap_or_default(),
            source_date_epoch: epoch,
            has_network: record.is_some_and(|record| has_network(&request.work.conf, record)),
            base: request.base.1.to_string(),
            checks_only,
            time: (request.time)(),
            variables: record
                .map(|record| record.multi_version())
                .unwrap_or_default()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// Returns how many jobs a task of a slot may run.
    fn jobs(&self, slot: usize) -> u32 {
        let Some(state) = self.slots.get(slot) else { return 1 };
        let count = state.slot.count.max(1);
        if !state.slot.is_local() {
            return (state.slot.cores.unwrap_or(count) / count).max(1);
        }
        let cores = self.request.work.conf.cores.unwrap_or(self.request.cores);
        let is_local = |slot: usize| self.slots.get(slot).is_some_and(|used| used.slot.is_local());
        let running = self.running.values().filter(|task| is_local(task.slot)).count();
        let tasks = u32::try_from(running + self.schedule.ready() + 1).unwrap_or(u32::MAX);
        (cores / count.min(tasks).max(1)).max(1)
    }
}
