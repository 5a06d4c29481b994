//! The caller of a changing operation: clock, user, signals, and the wait for the lock.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;

use crate::surroundings::Surroundings;
use crate::surroundings::events::tell_of_runs;
use crate::surroundings::recovery::RecoveryNews;
use patchadm_changeset::transaction::ProgressEvent;
use patchadm_core::operation::session::Caller;
use patchadm_inputs::database::history::HistoryEntry;
use patchadm_inputs::database::policy;
use patchadm_inputs::program_run::{ending, ending_signal};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::{INTERRUPTED, LockHolder, Root};
use patchadm_svr4::package::control::printable;

/// Between two looks at a held lock.
const PAUSE: Duration = Duration::from_millis(100);

/// In seconds: a hook of a package manager does not wait longer.
pub const HOOK_WAIT: u64 = 5;

/// They ask a command to end: it rolls back first.
pub(super) const SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

pub fn now(surroundings: &Surroundings) -> Now {
    let seconds = surroundings.now.timestamp();
    Now {
        utc: surroundings.now.naive_utc(),
        local: surroundings.zone.at(seconds),
        host: surroundings.machine.node.clone(),
    }
}

/// As requested, else as the policy of the root says. The operation reports an invalid policy.
pub fn lock_wait_seconds(root: &Root, asked: Option<u64>) -> u64 {
    asked.unwrap_or_else(|| policy::of_root(root).map_or(0, |policy| policy.wait))
}

/// The turn of a root to be changed.
pub struct RootTurn<'a> {
    pub surroundings: &'a Surroundings,
    /// As lock, journal and history name the command.
    pub program: &'static str,
    /// Begins messages about waiting.
    pub speaks_as: String,
    /// Seconds to wait for a held lock.
    pub wait: u64,
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub recovery: &'a RecoveryNews,
}

impl RootTurn<'_> {
    /// The caller's time begins now.
    pub fn with_caller<T>(
        &self,
        progress: &(dyn Fn(ProgressEvent) + Sync),
        work: impl FnOnce(&Caller<'_>) -> T,
    ) -> T {
        let began = Instant::now();
        let lock_wait = LockWait::begin(self.surroundings, &self.speaks_as, self.wait);
        work(&Caller {
            program: self.program,
            now: now(self.surroundings),
            time: self.surroundings.now.to_rfc3339_opts(SecondsFormat::Secs, true),
            user: Surroundings::user(),
            wait: &|holder| (self.interrupt)().is_none() && lock_wait.goes_on(holder),
            interrupt: self.interrupt,
            progress,
            told: &|root, entries| self.tell_of_runs(root, entries),
            did_first: &|first| self.recovery.hear(first),
            moment: &|| self.surroundings.moment(),
            shown_time: &|moment, is_short| self.surroundings.zone.deadline(moment, is_short),
            scripts: self.surroundings.script_settings(),
            elapsed: &|| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            undoes: None,
            is_hook: false,
            typed: self.surroundings.typed.clone(),
            note: None,
            exchanges: Vec::new(),
        })
    }
}

impl RootTurn<'_> {
    /// Sends events of runs to the machine, and prints events that are lost.
    fn tell_of_runs(&self, root: &Root, entries: &[HistoryEntry]) {
        let Surroundings { events, zone, now, is_quiet, .. } = self.surroundings;
        let lost = tell_of_runs(events, zone.at(now.timestamp()), root, entries);
        for sentence in lost.iter().filter(|_| !is_quiet) {
            let line = format!("{}: note: {sentence}\n", self.speaks_as);
            // If standard error cannot be written to, there is no one to tell.
            let _ = std::io::stderr().write_all(&printable(line.as_bytes()));
        }
    }
}

/// True if caught signals end the program again, as if no handler were set.
static END_THE_PROGRAM: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Signals belong to the process and are never forgotten: one that comes during a plan also ends the run after it.
static UNCOUNTED: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Handlers are set once: with two, one signal could count twice.
static ARE_CAUGHT: Mutex<bool> = Mutex::new(false);

fn catch_signals() -> anyhow::Result<()> {
    let mut are_caught = ARE_CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
    END_THE_PROGRAM.store(false, Ordering::SeqCst);
    if !*are_caught {
        for signal in SIGNALS {
            let number = usize::try_from(signal)?;
            signal_hook::flag::register_conditional_default(signal, END_THE_PROGRAM.clone())?;
            signal_hook::flag::register_usize(signal, UNCOUNTED.clone(), number)?;
            signal_hook::flag::register_usize(signal, ending(), number)?;
        }
        *are_caught = true;
    }
    Ok(())
}

fn count_signals() {
    if UNCOUNTED.swap(0, Ordering::SeqCst) != 0 {
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
}

fn first_signal() -> Option<i32> {
    count_signals();
    ending_signal()
}

fn signal_count() -> usize {
    count_signals();
    COUNT.load(Ordering::SeqCst)
}

/// Like [`with_signals`]. Afterwards signals end the program at once again, also one that successful work has not seen.
pub fn with_signals_for_now<T, E>(
    work: impl FnOnce(&(dyn Fn() -> Option<i32> + Sync)) -> Result<T, E>,
) -> anyhow::Result<Result<T, E>> {
    let done = with_signals(work)?;
    END_THE_PROGRAM.store(true, Ordering::SeqCst);
    if done.is_ok()
        && let Some(signal) = first_signal()
    {
        // Its temporary files end with it.
        drop(done);
        signal_hook::low_level::emulate_default_handler(signal)?;
        anyhow::bail!("{INTERRUPTED}");
    }
    Ok(done)
}

/// `work` gets a function that returns the first signal that asked this process for its end, if one came, even before;
/// signals do nothing else.
pub fn with_signals<T>(work: impl FnOnce(&(dyn Fn() -> Option<i32> + Sync)) -> T) -> anyhow::Result<T> {
    with_counted_signals(|interrupt, _| work(interrupt))
}

/// Like [`with_signals`], with a second function that returns how many signals came. Signals between two calls count
/// as one.
pub fn with_counted_signals<T>(
    work: impl FnOnce(&(dyn Fn() -> Option<i32> + Sync), &(dyn Fn() -> usize + Sync)) -> T,
) -> anyhow::Result<T> {
    catch_signals()?;
    Ok(work(&first_signal, &signal_count))
}

/// Waits for a lock, and says so once.
pub struct LockWait<'a> {
    /// `None` is never: beyond any clock.
    until: Option<Instant>,
    was_reported: Cell<bool>,
    is_quiet: bool,
    speaks_as: &'a str,
}

impl<'a> LockWait<'a> {
    pub fn begin(surroundings: &Surroundings, speaks_as: &'a str, seconds: u64) -> Self {
        Self {
            until: Instant::now().checked_add(Duration::from_secs(seconds)),
            was_reported: Cell::new(false),
            is_quiet: surroundings.is_quiet,
            speaks_as,
        }
    }

    /// Sleeps a little. Returns false if the time is over.
    pub fn goes_on(&self, holder: &LockHolder) -> bool {
        let left = self.until.map_or(PAUSE, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        if !self.is_quiet && !self.was_reported.replace(true) {
            let line = format!("{}: waiting for {} to finish\n", self.speaks_as, holder.describe());
            // If standard error cannot be written to, there is no one to tell.
            let _ = std::io::stderr().write_all(&printable(line.as_bytes()));
        }
        thread::sleep(PAUSE.min(left));
        true
    }
}
