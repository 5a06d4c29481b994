//! `patchadm-make publish`: puts patches into a depot, and updates its index.

use std::fs;
use std::path::{Path, PathBuf};

use patchadm_cli::arguments::verbs::{DryRunOption, RootlessOptions};
use patchadm_cli::arguments::{days, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::hinted;
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::depots::{DepotError, DepotLocation};
use patchadm_core::operation::publish::{PublishRequest, PublishState, PublishWork, publish};
use patchadm_core::operation::signing::sign_index;
use patchadm_planning::plan::refusal::Wording;
use patchadm_producing::ends::{directory_above, is_patch};
use patchadm_producing::publication::{
    DAYS, IndexKey, PublicationReport, missing_of_earlier, read_key, refused, signing,
};

const USAGE: &str = "patchadm-make publish [option...] work depot\n\
    patchadm-make publish --refresh [option...] depot\n\
    patchadm-make publish --finish [--key file] depot";

const MOST_DAYS: u32 = 36_500;

/// Add patches to a depot, and update its index
#[derive(clap::Parser)]
struct PublishArgs {
    /// Sign the index with the secret key in FILE; if it is a public key, leave signing to the owner of the key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read the password of the secret key from the first line of FILE
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// Set how long the index is trusted, such as 30d, or never [default: 30d]
    #[arg(long, value_name = "DURATION", value_parser = expiry)]
    expires: Option<Expiry>,
    /// Allow unsigned patches and, without --key, an unsigned index
    #[arg(long)]
    unsigned: bool,
    /// Publish the index that was signed elsewhere
    #[arg(long, conflicts_with_all = ["refresh", "unsigned", "expires"])]
    finish: bool,
    /// Publish only a new index with a new date
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the patches (not with --refresh or --finish), then the depot
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Days(u32),
    Never,
}

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let days = days(text)?;
    let is_possible = (1..=MOST_DAYS).contains(&days);
    is_possible.then_some(Expiry::Days(days)).ok_or_else(|| format!("not between 1d and {MOST_DAYS}d"))
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PublishArgs = parse(call, USAGE)?;
    let (work, depot) = args.work_and_depot()?;
    must_be_no_patch(call, work, &depot)?;
    let key = read_key(call, args.key.as_deref(), args.password_file.clone())?;
    let now = call.surroundings.now;
    let sign = |text: &[u8]| match &key {
        IndexKey::Secret(key) => sign_index(key, text, now.timestamp()),
        IndexKey::None | IndexKey::Public(_) => Vec::new(),
    };
    let busy = call.busy("publishing");
    let published = with_signals(|interrupt| {
        let request = PublishRequest {
            depot: &depot,
            work,
            expires: args.days(),
            may_be_unsigned: args.unsigned,
            is_dry_run: args.dry_run.dry_run,
            now,
            signing: signing(&key, &sign, args.unsigned),
            missing_of_earlier: &missing_of_earlier,
            interrupt: &|| interrupt(),
        };
        publish(&request, &mut |_| false)
    })?;
    drop(busy);
    let published = published.map_err(|error| refused(&error))?;
    let exit = if published.state == PublishState::Unsigned { Exit::SIGNATURE } else { Exit::OK };
    Ok(Reply::new(exit, PublicationReport::of(&published, &depot, call.surroundings.began)))
}

/// Refuses a patch in place of the directory that contains it, because its files would be taken for damaged patches; and
/// in place of the depot, because a patch with more files does not match its signature.
fn must_be_no_patch(call: &Invocation, work: PublishWork<'_>, depot: &Path) -> Result<(), Stop> {
    let is_patch_as_depot =
        is_patch(depot) || directories_in(depot).any(|path| path.join("pkginfo").is_file());
    let (message, hint) = match work {
        PublishWork::Patches(work) if work.is_file() || is_patch(work) || holds_only_packages(work) => {
            let shown = work.display();
            let message = format!("`{shown}` is a patch: publish takes the directory that contains patches");
            (message, publication_of(call, work, (work, depot), depot))
        }
        _ if !is_patch_as_depot && !depot.is_file() => return Ok(()),
        _ => {
            let kind = if is_patch_as_depot { "patch" } else { "file" };
            let hint = match work {
                PublishWork::Patches(work) if could_be_depot(work) => {
                    publication_of(call, depot, (work, depot), work)
                }
                _ => "specify the directory of a depot, or a new one".to_owned(),
            };
            (format!("`{}` is a {kind}, not a depot", depot.display()), hint)
        }
    };
    Err(Stop::Usage { message: hinted(&message, &hint), usage: USAGE })
}

/// Returns the command that publishes the directory above a patch `into` a depot, instead of these operands.
fn publication_of(call: &Invocation, patch: &Path, (work, depot): (&Path, &Path), into: &Path) -> String {
    let above = directory_above(patch);
    // A depot in the same directory would be taken for a patch.
    let is_beside_depot = directory_above(into) == above;
    let directory: &Path = if is_beside_depot { Path::new("WORK") } else { &above };
    let words = call.arguments.iter().map(|word| match Path::new(word) {
        word if word == work => directory,
        word if word == depot => into,
        word => word,
    });
    let words: Vec<String> = words.map(|word| Wording::quoted(&word.to_string_lossy())).collect();
    let command = format!("`patchadm publish {}`", words.join(" "));
    if is_beside_depot { format!("move the patch to a directory WORK, then run {command}") } else { command }
}

/// True if patches and a depot may be named in the wrong order.
fn could_be_depot(work: &Path) -> bool {
    let is_empty = || fs::read_dir(work).is_ok_and(|mut entries| entries.next().is_none());
    work.join("objects").is_dir() || is_empty()
}

fn directories_in(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// Directories in a directory of patches are patches.
fn holds_only_packages(work: &Path) -> bool {
    let mut directories = directories_in(work).peekable();
    directories.peek().is_some() && directories.all(|path| path.join("pkginfo").is_file())
}

impl PublishArgs {
    fn work_and_depot(&self) -> Result<(PublishWork<'_>, PathBuf), Stop> {
        let usage = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
        let without = match (self.finish, self.refresh) {
            (true, _) => Some(PublishWork::Finish),
            (false, true) => Some(PublishWork::Refresh),
            (false, false) => None,
        };
        let (work, depot) = match (self.directories.as_slice(), without) {
            ([depot] | [_, depot], Some(work)) => (work, depot),
            ([work, depot], None) => (PublishWork::Patches(work), depot),
            ([_], None) => return Err(usage("no depot specified")),
            ([], _) => return Err(usage("no patches and no depot specified")),
            ([_, _, more, ..], _) => {
                return Err(usage(&format!("unexpected argument <{}>", more.display())));
            }
        };
        match DepotLocation::parse(depot.as_os_str()) {
            Ok(DepotLocation::Directory(depot)) => Ok((work, depot)),
            Ok(DepotLocation::Address(address)) => {
                Err(usage(&DepotError::FileAddress(address.to_string()).to_string()))
            }
            Err(error) => Err(usage(&error.to_string())),
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
    fn an_expiry_has_bounds() {
        assert_eq!(expiry("1d"), Ok(Expiry::Days(1)));
        assert_eq!(expiry("100y"), Ok(Expiry::Days(36_500)));
        assert_eq!(expiry("never"), Ok(Expiry::Never));
        for text in ["0d", "36501d", "-1d", "30", "12h", "soon", ""] {
            assert!(expiry(text).is_err(), "{text}");
        }
    }
}
