use patchadm_core::operation::trial::{TrialCheckRequest, TrialRequest};
use patchadm_inputs::trial::{MOST_REBOOTS, TrialDuration};

const CHECK_SECONDS: u64 = 60;

/// Options that put a run on trial, and let a command check it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TrialOptions {
    /// Revert the change after this time, such as 10m, unless you confirm it
    #[arg(long, value_name = "DURATION", value_parser = TrialDuration::parse, conflicts_with = "no_undo")]
    trial: Option<TrialDuration>,
    /// Survive this many reboots [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_REBOOTS)), requires = "trial")]
    trial_reboots: Option<u32>,
    /// Run this shell command (60 s at most); revert the change if it fails
    #[arg(long, value_name = "COMMAND", value_parser = command, conflicts_with = "no_undo")]
    probe: Option<String>,
}

fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(text.to_owned())
}

impl TrialOptions {
    pub fn request(self) -> TrialRequest {
        let check = self.probe.map(|command| TrialCheckRequest { command, limit: CHECK_SECONDS });
        TrialRequest { duration: self.trial, reboots: self.trial_reboots.unwrap_or_default(), check }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_may_take_a_minute() {
        let options = TrialOptions { probe: Some("true".to_owned()), ..TrialOptions::default() };
        assert_eq!(options.request().check.map(|check| check.limit), Some(60));
    }
}
