//! Options that put a run on trial, and let a command check it.

use patchadm_core::operation::trial::{CheckRequest, TrialRequest};
use patchadm_inputs::trial::{MOST_REBOOTS, TrialDuration};

/// The seconds that a check may take where nothing is said.
const CHECK_SECONDS: u64 = 60;

/// The most seconds that a check may take: a day.
const MOST_CHECK_SECONDS: u64 = 24 * 60 * 60;

/// Options that put a run on trial, and let a command check it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TrialOptions {
    /// Back everything out after this time (30s, 10m, 2h, 1d) unless `patchadm confirm` keeps it
    #[arg(long, value_name = "DURATION", value_parser = TrialDuration::parse, conflicts_with = "no_undo")]
    trial: Option<TrialDuration>,
    /// Let the trial go on after this many boots instead of none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_REBOOTS)), requires = "trial")]
    trial_reboots: Option<u32>,
    /// Run this shell command afterwards, and back everything out unless it succeeds
    #[arg(long, value_name = "COMMAND", value_parser = command, conflicts_with = "no_undo")]
    probe: Option<String>,
    /// Give that command this many seconds, 60 where nothing is said
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MOST_CHECK_SECONDS), requires = "probe")]
    probe_timeout: Option<u64>,
}

fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(text.to_owned())
}

impl TrialOptions {
    /// Returns the request of these options.
    pub fn request(self) -> TrialRequest {
        let limit = self.probe_timeout.unwrap_or(CHECK_SECONDS);
        let check = self.probe.map(|command| CheckRequest { command, limit });
        TrialRequest { duration: self.trial, reboots: self.trial_reboots.unwrap_or_default(), check }
    }
}
