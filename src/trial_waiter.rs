//! Somebody who waits for the end of a trial: a timer of the system's manager, or a process of this program.
//!
//! The waiter decides nothing. It comes back when the trial should be over and does what any other command would do first;
//! if it is killed, the next command or the boot does it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use patchadm_cli::arguments::RootOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply};
use patchadm_cli::surroundings::Surroundings;
use patchadm_core::operation::trial::{end_expired_trial, trial_status};
use patchadm_inputs::trial::{TrialRecord, TrialState};
use patchadm_rootfs::Root;
use patchadm_svr4::places;

/// The name of the command that waits.
pub(crate) const WAITER: &str = "__trial";

/// The directory that is there where the system's manager can run timers.
const MANAGER: &str = "/run/systemd/system";

/// The longest sleep between two readings of the record.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The sleep between two looks whether the record is still there: who undoes or confirms a run takes it away.
const LOOK: Duration = Duration::from_secs(1);

/// The seconds that the waiter waits for another command to finish.
const WAIT: &str = "600";

/// Lets somebody wait for the end of a trial. Without anybody, the next command ends it.
pub(crate) fn wait_for_end(surroundings: &Surroundings, root: &Root, record: &TrialRecord) {
    if root.is_system()
        && rustix::process::geteuid().is_root()
        && Path::new(MANAGER).is_dir()
        && set_timer(surroundings, record)
    {
        return;
    }
    // Nobody who waits is no failure: the record tells when the trial is over.
    let _ = start_waiter(root, record);
}

/// Sets a timer of the system's manager, which outlives the session of the user. Tells whether that went well.
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

/// Starts a process of this program that waits. It makes a session of its own, and nobody waits for it: it is a child of
/// the first process when this one ends.
fn start_waiter(root: &Root, record: &TrialRecord) -> std::io::Result<()> {
    let place: PathBuf = std::fs::canonicalize(root.prefix())?;
    Command::new("/proc/self/exe")
        .arg(WAITER)
        .arg("-R")
        .arg(place)
        .arg(&record.run)
        .current_dir("/")
        .env_remove("PATCHADM_RUN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// Sleeps as long as the record is there.
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
    /// The run on trial
    run: String,
}

/// Waits for the end of a trial, and ends it. It is over when its record is, or is about another run.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: WaiterArgs = patchadm_cli::arguments::parse(call, "patchadm __trial -R root run")?;
    // A process that leads a group already cannot have a session of its own; it waits nevertheless.
    let _ = rustix::process::setsid();
    loop {
        let root = args.root.open(call)?;
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
