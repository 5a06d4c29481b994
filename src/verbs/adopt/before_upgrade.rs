//! `patchadm adopt --before-upgrade`: effects of apt's next upgrade on applied patches.

use std::io::{BufReader, stdin};

use serde::Serialize;

use super::AdoptArgs;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::overtaken::OvertakenEntry;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::overtaken::{ForeseenUpgrade, foresee_upgrade};
use patchadm_inputs::format::overtaken::OvertakenState;
use patchadm_inputs::native::{UpcomingError, upcoming_changes};
use patchadm_inputs::policy::NativeUpgrade;

/// A fix would be lost, and the policy stops the upgrade. Nothing else ends with the code of a refusal.
const STOPPED: Exit = Exit::of_verb(ExitCause::NativeChanged);

/// The same for the hook of version 0.1.
const STOPPED_FOR_OLD_HOOK: Exit = Exit::passed_on(69, ExitCause::NativeChanged);

/// Ends with 3 only if the policy stops the upgrade. Any other problem is a busy root or a failure, and apt goes on.
pub(super) fn run(call: &mut Invocation, args: &AdoptArgs) -> anyhow::Result<Reply> {
    foresee(call, args).map_err(|error| {
        let exit = Exit::of(&error);
        match exit.cause() {
            ExitCause::Locked | ExitCause::Signal => error,
            cause => {
                let exit = Exit::passed_on(Exit::of_verb(ExitCause::Internal).verb_code(), cause);
                Stop::Refused { exit, message: format!("{error:#}") }.into()
            }
        }
    })
}

fn foresee(call: &mut Invocation, args: &AdoptArgs) -> anyhow::Result<Reply> {
    let root = args.native_root(&call.surroundings).open(call)?;
    let upcoming = match upcoming_changes(BufReader::new(stdin().lock())) {
        Ok(upcoming) => upcoming,
        Err(error @ UpcomingError::Version(_)) => {
            call.output.error(&format!("{error}; the effect of the upgrade on patches is unknown"))?;
            return Ok(Reply::about(&root, Exit::OK, ForeseenReply::default()));
        }
        Err(error) => {
            let exit = Exit::of_verb(ExitCause::DamagedInput);
            return Err(Stop::Refused { exit, message: error.to_string() }.into());
        }
    };
    let time = call.surroundings.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let foreseen =
        foresee_upgrade(&root, &upcoming.changes, &time).map_err(|failed| query_refused(&root, &failed))?;
    let mut reply = ForeseenReply::of(&foreseen, call.surroundings.native_upgrade.as_deref());
    reply.is_by_apt = upcoming.is_by_apt;
    if args.foresee {
        call.output.note(
            "`--foresee` is called `--before-upgrade` now; `patchadm setup hooks install` replaces an apt hook that uses it",
        )?;
        reply.exit = if reply.stopped { STOPPED_FOR_OLD_HOOK } else { reply.exit };
    }
    Ok(Reply::about(&root, reply.exit, reply))
}

#[derive(Debug, Serialize)]
struct ForeseenReply {
    ending: Vec<OvertakenEntry>,
    standing: Vec<String>,
    stopped: bool,
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    is_by_apt: bool,
}

impl Default for ForeseenReply {
    fn default() -> Self {
        Self { ending: Vec::new(), standing: Vec::new(), stopped: false, exit: Exit::OK, is_by_apt: true }
    }
}

impl ForeseenReply {
    /// `word` is the environment's value, which replaces the policy's.
    fn of(foreseen: &ForeseenUpgrade, word: Option<&str>) -> Self {
        let is_lost = foreseen.ending.iter().any(|one| one.state.is_lost());
        let stops = foreseen.policy == NativeUpgrade::Stop && word != Some("warn");
        let stopped = is_lost && stops;
        Self {
            ending: foreseen.ending.iter().map(OvertakenEntry::of).collect(),
            standing: foreseen.standing.iter().map(ToString::to_string).collect(),
            stopped,
            exit: if stopped { STOPPED } else { Exit::OK },
            is_by_apt: true,
        }
    }

    fn sentences(&self) -> Vec<String> {
        let sentence = |one: &OvertakenEntry| {
            let OvertakenEntry { id, name, version, .. } = one;
            match one.outcome {
                OvertakenState::Contained => {
                    format!("{id} would end: its fix is contained in {name} {version}")
                }
                OvertakenState::Removed => format!("{id} would be removed with {name}"),
                OvertakenState::Accepted => {
                    format!("{id} would be lost to {name} {version}, which was accepted")
                }
                OvertakenState::PartlyLost => {
                    format!("{id} would be PARTLY LOST to {name} {version}")
                }
                _ => format!(
                    "{id} would be LOST to {name} {version}: that version is not known to have its fix"
                ),
            }
        };
        let ending = self.ending.iter().map(sentence);
        let standing = self.standing.iter().map(|id| format!("{id} would remain in part"));
        let mut all: Vec<String> = ending.chain(standing).collect();
        if self.stopped {
            let lost = self.ending.iter().filter(|one| one.outcome.is_lost());
            let accept: Vec<String> = lost.map(|one| format!("--accept {}", one.id)).collect();
            all.push(format!(
                "native_upgrade=stop in the policy stops the upgrade; to continue: `patchadm adopt --refresh {}`, \
                 or PATCHADM_NATIVE_UPGRADE=warn in the environment",
                accept.join(" ")
            ));
        }
        all
    }
}

impl CommandReport for ForeseenReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        // apt has many upgrades without an effect.
        if self.is_by_apt || !self.ending.is_empty() || !self.standing.is_empty() {
            return Ok(());
        }
        Ok(output.line("No applied patch is affected.")?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        self.sentences().iter().try_for_each(|line| Ok(output.complain(format!("patchadm: {line}\n"))?))
    }
}
