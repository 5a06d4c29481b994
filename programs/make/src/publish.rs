//! `patchadm-make publish`: puts patches into a depot, and updates its index.

use std::path::{Path, PathBuf};

use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::publish::{PublishRequest, PublishState, PublishWork, publish};
use patchadm_core::operation::signing::sign_index;
use patchadm_producing::publication::{DAYS, IndexKey, PublicationReport, read_key, refused, signing};

const USAGE: &str = "patchadm-make publish [option...] work depot\n\
    patchadm-make publish --refresh [option...] depot\n\
    patchadm-make publish --finish [--key file] depot";

const MOST_DAYS: u32 = 36_500;

/// Put patches into a depot, and its index in place
#[derive(clap::Parser)]
struct PublishArgs {
    /// The key of the index: with a secret key it is signed at once, with a public one elsewhere
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Take the first line of this file as the password of the secret key
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// How many days the index is believed: 30 where nothing is said, or never for no end
    #[arg(long, value_name = "DAYS", value_parser = days)]
    expires: Option<Expiry>,
    /// Take patches without a signature, and without a key leave the index unsigned
    #[arg(long)]
    unsigned: bool,
    /// Put the index in place that was signed elsewhere
    #[arg(long, conflicts_with_all = ["refresh", "unsigned", "expires"])]
    finish: bool,
    /// Publish no patches, only a new version of the index with a new date
    #[arg(long)]
    refresh: bool,
    /// Say what would be published, write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the patches, which --refresh and --finish do without; and the depot
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Days(u32),
    Never,
}

fn days(text: &str) -> Result<Expiry, String> {
    match text.parse() {
        Ok(days) if (1..=MOST_DAYS).contains(&days) => Ok(Expiry::Days(days)),
        _ if text == "never" => Ok(Expiry::Never),
        _ => Err(format!("neither a number of days from 1 to {MOST_DAYS} nor never")),
    }
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PublishArgs = parse(call, USAGE)?;
    let (work, depot) = args.work_and_depot()?;
    let key = read_key(call, args.key.as_deref(), args.password_file.clone())?;
    let now = call.surroundings.now;
    let sign = |text: &[u8]| match &key {
        IndexKey::Secret(key) => sign_index(key, text, now.timestamp()),
        IndexKey::None | IndexKey::Public(_) => Vec::new(),
    };
    let published = with_signals(|interrupt| {
        let request = PublishRequest {
            depot,
            work,
            expires: args.days(),
            may_be_unsigned: args.unsigned,
            is_dry_run: args.dry_run,
            now,
            signing: signing(&key, &sign, args.unsigned),
            interrupt: &|| interrupt(),
        };
        publish(&request, &mut |_| false)
    })?;
    let published = published.map_err(|error| refused(&error))?;
    let exit = if published.state == PublishState::Unsigned { Exit::SIGNATURE } else { Exit::OK };
    Ok(Reply::new(exit, PublicationReport::of(&published, depot, call.surroundings.began)))
}

impl PublishArgs {
    fn work_and_depot(&self) -> Result<(PublishWork<'_>, &Path), Stop> {
        let usage = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
        let without = match (self.finish, self.refresh) {
            (true, _) => Some(PublishWork::Finish),
            (false, true) => Some(PublishWork::Refresh),
            (false, false) => None,
        };
        match (self.directories.as_slice(), without) {
            ([depot] | [_, depot], Some(work)) => Ok((work, depot)),
            ([work, depot], None) => Ok((PublishWork::Patches(work), depot)),
            ([_], None) => Err(usage("no depot is named")),
            ([], _) => Err(usage("neither patches nor a depot are named")),
            ([_, _, more, ..], _) => Err(usage(&format!("<{}> is one word too many", more.display()))),
        }
    }

    fn days(&self) -> Option<u32> {
        match self.expires {
            None => Some(DAYS),
            Some(Expiry::Days(days)) => Some(days),
            Some(Expiry::Never) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_days_has_bounds() {
        assert_eq!(days("1"), Ok(Expiry::Days(1)));
        assert_eq!(days("36500"), Ok(Expiry::Days(36_500)));
        assert_eq!(days("never"), Ok(Expiry::Never));
        for text in ["0", "36501", "-1", "soon", ""] {
            assert!(days(text).is_err(), "{text}");
        }
    }
}
