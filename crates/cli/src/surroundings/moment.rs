//! The clocks by which a trial is judged.

use chrono::Utc;
use rustix::time::{ClockId, clock_gettime};

use super::Surroundings;
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::trial::Moment;
use std::path::Path;
use std::time::Instant;

/// The kernel's id of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const LONGEST_ID: u64 = 64;

impl Surroundings {
    /// The command begins now: time spent on questions does not count.
    pub fn begin_now(&mut self) {
        self.began = Instant::now();
        self.now = self.moment().wall;
    }

    /// Returns the clocks as they stand now. `SOURCE_DATE_EPOCH` fixes the clock on the wall alone.
    pub fn moment(&self) -> Moment {
        let is_fixed = std::env::var_os("SOURCE_DATE_EPOCH").is_some_and(|epoch| !epoch.is_empty());
        let wall = if is_fixed { self.now } else { Utc::now() };
        let boot = read_small(Path::new(BOOT_ID), LONGEST_ID).ok();
        let boot = boot.and_then(|text| String::from_utf8(text).ok()).map(|text| text.trim().to_owned());
        let since_boot = clock_gettime(ClockId::Boottime);
        let milliseconds = i128::from(since_boot.tv_sec) * 1000 + i128::from(since_boot.tv_nsec) / 1_000_000;
        Moment { wall, boot, since_boot: u64::try_from(milliseconds).unwrap_or_default() }
    }
}
