//! The distfiles of packages are looked at, and fetched, before their tasks begin.

use patchadm_bulk_values::conf::LimitName;
use patchadm_bulk_values::journal::{FailureCause, PackageOutcome, PackageState};
use patchadm_bulk_values::records::Record;
use patchadm_bulk_values::result::Key;
use patchadm_bulk_values::schedule::Outcome;

use super::decision::limits_of;
use super::driver_fetch::DriverFetch;
use super::master::Master;
use super::messages::RunMessage;
use super::request::{RunError, Tell};
use crate::fetching::{WantedDistfile, must_be_within, provide};

/// How many packages have their distfiles fetched at a time.
const MOST_AT_A_TIME: usize = 4;

impl Master<'_> {
    /// Puts a package aside until its distfiles are there; tells whether it did.
    pub(super) fn awaits_distfiles(&mut self, index: u32, record: &Record, key: Key) -> bool {
        if record.distfiles().is_empty() || self.fetches.done.contains(&index) {
            return false;
        }
        self.fetches.waiting.push_back((index, key));
        self.start_fetches();
        true
    }

    fn start_fetches(&mut self) {
        while self.fetches.at_work < MOST_AT_A_TIME {
            let Some((index, key)) = self.fetches.waiting.pop_front() else { return };
            let Some(record) = self.records.get(index) else { continue };
            let wanted = WantedDistfile::of(record);
            let by_driver = DriverFetch::of(self.request, record);
            let conf = &self.request.work.conf;
            let most = limits_of(conf, record).ok().and_then(|limits| limits.get(LimitName::Disk));
            let directory = conf.distfiles.clone();
            let sources = self.request.sources.clone();
            let (sender, ended) = (self.messages.sender.clone(), self.ends.clone());
            self.fetches.at_work += 1;
            std::thread::spawn(move || {
                let interrupt = || ended.load(std::sync::atomic::Ordering::Relaxed).then_some(2);
                let fetched = must_be_within(&wanted, most).and_then(|()| {
                    let missing = provide(&directory, &wanted, &sources, &interrupt);
                    match (missing.first(), by_driver) {
                        (None, _) => Ok(()),
                        (Some(first), None) => Err(first.to_string()),
                        (Some(_), Some(driver)) => driver.fetch(&missing, &directory, &interrupt),
                    }
                });
                // If nobody listens any more, the run is over.
                let _ = sender.send(RunMessage::Fetched { package: index, key, fetched });
            });
        }
    }

    /// Goes on with a package whose distfiles were looked at.
    pub(super) fn fetched(
        &mut self,
        (index, key): (u32, Key),
        fetched: Result<(), String>,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        self.fetches.at_work = self.fetches.at_work.saturating_sub(1);
        self.fetches.done.insert(index);
        if self.is_ending.is_some() {
            // Whatever came of it: the package is open as before.
            self.schedule.finished(index, Outcome::Deferred);
            return Ok(());
        }
        self.start_fetches();
        match fetched {
            Ok(()) => {
                self.fetches.ready.push_back(index);
                Ok(())
            }
            Err(detail) => {
                let outcome = PackageOutcome {
                    key: Some(key),
                    cause: Some(FailureCause::Distfile),
                    detail: Some(detail),
                    ..PackageOutcome::of(PackageState::Failed)
                };
                self.finish(index, outcome, tell)
            }
        }
    }
}
