//! Waits for the end of a trial: a timer of the system's manager, or a process of this program.
//!
//! The waiter decides nothing: when the trial should be over it does what any other command would do first. If it is
//! killed, the next command or the boot does it. The process opens the root by its path, which may by then lead to a tree
//! of somebody else: it goes on only in the directory in which the trial began, and checks its owner as any command does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::RootOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Surroundings;
use patchadm_core::operation::trial::{end_expired_trial, trial_status};
use patchadm_core::operation::whose_root::RootStanding;
use patchadm_inputs::trial::{TrialRecord, TrialState};
use patchadm_rootfs::Root;
use patchadm_svr4::places;

pub(crate) const WAITER: &str = "__trial";

/// Exists if the system's manager can run timers.
const MANAGER: &str = "/run/systemd/system";

/// Between two readings of the record.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Between two checks for the record, which disappears when somebody undoes or confirms the run.
const LOOK: Duration = Duration::from_secs(1);

/// Seconds to wait for another command to finish.
const WAIT: &str = "600";

/// Starts a waiter for the end of a trial. Without one, the next command ends it.
pub(crate) fn wait_for_end(surroundings: &Surroundings, root: &Root, record: &TrialRecord) {
    if root.is_system()
        && rustix::process::geteuid().is_root()
        && Path::new(MANAGER).is_dir()
        && set_timer(surroundings, record)
    {
        return;
    }
    // A missing waiter is no failure: the record tells when the trial is over.
    let _ = start_waiter(root, record);
}

/// Sets a timer of the system's manager, which outlives the user's session. Returns true on success.
fn set_timer(surroundings: &Surroundings, record: &TrialRecord) -> bool {
    let Some(binary) = &surroundings.binary else { return false };
    // The trial began with the run; the timer must not be early.
    let left = match record.state(&surroundings.moment()) {
        TrialState::Running { left } => left.div_ceil(1000),
        TrialState::Over(_) => 1,
    };
    let number = record.run.split_once('-').map_or(record.run.as_str(), |(number, _)| number);
    let timer = Command::new("systemd-run")
        .args(["--quiet", "--collect", "--timer-property=AccuracySec=1s"])
        .arg(format!("--unit=patchadm-trial-{number}"))
        .arg(format!("--description=The end of the trial of run {}", record.run))
        .arg(format!("--on-active={left}"))
        .arg(binary)
        .args(["-R", "/", "recover", "--wait", WAIT])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    timer.is_ok_and(|status| status.success())
}

/// Starts a waiting process in its own session. It outlives this one as a child of the first process.
fn start_waiter(root: &Root, record: &TrialRecord) -> std::io::Result<()> {
    let place: PathBuf = std::fs::canonicalize(root.prefix())?;
    let directory = root.identity().map_err(std::io::Error::other)?;
    Command::new("/proc/self/exe")
        .arg0("patchadm")
        .arg(WAITER)
        .arg("-R")
        .arg(place)
        .args(root.is_trusted().then_some("--trust-root"))
        .arg(&record.run)
        .arg(directory)
        .current_dir("/")
        .env_remove("PATCHADM_RUN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

fn sleep_beside(record: &Path, mut left: Duration) {
    while !left.is_zero() && record.symlink_metadata().is_ok() {
        thread::sleep(left.min(LOOK));
        left = left.saturating_sub(LOOK);
    }
}

/// The words of the command that waits.
#[derive(clap::Parser)]
struct WaiterArgs {
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// The run on trial
    run: String,
    /// The identity of the root directory
    directory: String,
}

impl WaiterArgs {
    /// Opens the root if it is still the same and may be changed.
    fn open(&self, call: &Invocation) -> anyhow::Result<Root> {
        let root = self.root.open(call)?;
        let refused = |reason: String| {
            let message = format!(
                "{}: the next command will end the trial of run {}: {reason}",
                root.prefix().display(),
                self.run
            );
            call.surroundings.log_warning(&message);
            Stop::Refused { exit: Exit::failed(ExitCause::NoRights), message }
        };
        if root.identity()? != self.directory {
            return Err(refused("the directory was replaced".to_owned()).into());
        }
        let standing = self.owner.standing(&call.surroundings, root.clone());
        match standing.map_err(|failed| refused(failed.to_string()))? {
            RootStanding::Owner(_) => Err(refused("only its owner can do this".to_owned()).into()),
            RootStanding::Caller(root) => {
                root.look_at_records().map_err(|error| refused(error.to_string()))?;
                Ok(root)
            }
        }
    }
}

/// Waits until the record ends or is about another run, then ends the trial.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: WaiterArgs = patchadm_cli::arguments::parse(call, "patchadm __trial -R root run directory")?;
    // A process group leader cannot have its own session; it waits nevertheless.
    let _ = rustix::process::setsid();
    loop {
        let root = args.open(call)?;
        let now = call.surroundings.moment();
        let status = trial_status(&root, &now)?.filter(|status| status.record.run == args.run);
        match status.map(|status| status.record.state(&now)) {
            None => return Ok(Reply::silent(Exit::OK)),
            Some(TrialState::Running { left }) => {
                let record = root.prefix().join(OsStr::from_bytes(places::trial_record().relative()));
                // Nothing of the root is held open meanwhile.
                drop(root);
                sleep_beside(&record, Duration::from_millis(left.saturating_add(10)).min(LONGEST_SLEEP));
            }
            Some(TrialState::Over(_)) => {
                let wait = WAIT.parse().ok();
                // It began long ago, and the run begins now.
                call.surroundings.now = now.wall;
                call.change(&root, "recover", wait, |caller| end_expired_trial(&root, caller))??;
                return Ok(Reply::silent(Exit::OK));
            }
        }
    }
}
