//! Acknowledges a signal at once, while the work goes on to its next question. Before its commit, a run is rolled back;
//! after it, the run is finished and only later steps are left out. The moment of the signal decides.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::SigId;
use signal_hook::low_level;

use super::caller::{SIGNALS, with_counted_signals};
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};
use patchadm_inputs::input_file::HeldSignals;
use patchadm_svr4::package::control::printable;

/// Possible effects of a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RunPhase {
    /// Nothing is changed yet.
    #[default]
    Before,
    /// The run can be rolled back.
    UnderWay,
    Commits,
}

pub struct EndingRun<'a> {
    signal: &'a (dyn Fn() -> Option<i32> + Sync),
    count: &'a (dyn Fn() -> usize + Sync),
    course: Mutex<RunCourse>,
}

/// The phase of a run, and its last phase when the first signal came: the acknowledgement may come late.
#[derive(Clone, Copy, Debug, Default)]
struct RunCourse {
    phase: RunPhase,
    of_signal: Option<RunPhase>,
}

impl<'a> EndingRun<'a> {
    /// `signal` returns the first signal, and `count` the number of signals.
    pub fn new(signal: &'a (dyn Fn() -> Option<i32> + Sync), count: &'a (dyn Fn() -> usize + Sync)) -> Self {
        Self { signal, count, course: Mutex::default() }
    }

    /// Returns how many signals came.
    pub fn signal_count(&self) -> usize {
        (self.count)()
    }

    pub fn observe(&self, event: ProgressEvent) {
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let came = (self.signal)().is_some();
        course.phase = match event {
            ProgressEvent::Begins(RunActivity::Planning, _) | ProgressEvent::Ends => {
                if came && course.phase != RunPhase::Before {
                    course.of_signal = course.of_signal.or(Some(course.phase));
                }
                RunPhase::Before
            }
            ProgressEvent::Advances(_) => course.phase,
            // An earlier signal rolls back.
            ProgressEvent::Commits if !came => RunPhase::Commits,
            ProgressEvent::Begins(..) | ProgressEvent::Commits => RunPhase::UnderWay,
        };
    }

    /// Returns `None` while a run is being committed.
    pub fn interrupt(&self) -> Option<i32> {
        let signal = (self.signal)()?;
        let course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        (course.phase != RunPhase::Commits).then_some(signal)
    }

    /// Says what becomes of the command after a signal.
    pub fn acknowledgement(&self) -> &'static str {
        let course = *self.course.lock().unwrap_or_else(PoisonError::into_inner);
        match course.of_signal.unwrap_or(course.phase) {
            RunPhase::Before => "Interrupted; ending…",
            RunPhase::UnderWay => "Interrupted; rolling back…",
            RunPhase::Commits => "Too late to stop: finishing…",
        }
    }
}

/// For a command on several roots.
pub const OF_MANY: &str = "Interrupted; the roots in progress are being rolled back or finished…";

pub fn acknowledge(speaks_as: &str, words: &str) {
    let line = format!("{speaks_as}: {words}\n");
    // If standard error cannot be written to, there is no one to tell.
    let _ = io::stderr().write_all(&printable(line.as_bytes()));
}

/// A command may have several runs: its plan is one.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Like [`with_counted_signals`]. A thread calls `tell` when a signal comes, once in this process; never if the process
/// may open too few files for that.
pub fn with_acknowledged_signals<T>(
    tell: impl Fn(&EndingRun<'_>) + Sync,
    work: impl FnOnce(&EndingRun<'_>) -> T,
) -> anyhow::Result<T> {
    let Ok((mut told, teller, of_signals)) = waking_ends() else {
        return with_counted_signals(|signal, count| work(&EndingRun::new(signal, count)));
    };
    with_counted_signals(|signal, count| {
        let run = EndingRun::new(signal, count);
        let mut end = WatchEnd { teller: &teller, ids: Vec::new() };
        // After the flag: the woken thread must find it set.
        for (signal, teller) in SIGNALS.into_iter().zip(of_signals) {
            end.ids.push(low_level::pipe::register(signal, teller)?);
        }
        Ok(thread::scope(|scope| {
            let _end = end;
            let (run, tell) = (&run, &tell);
            // The thread starts with signals held: they go to the thread that waits for an answer.
            let held = HeldSignals::hold();
            scope.spawn(move || {
                // A signal may have come before. The read also returns when the work ends.
                let is_awake = signal().is_some() || told.read_exact(&mut [0]).is_ok();
                if is_awake && signal().is_some() && !IS_TOLD.swap(true, Ordering::SeqCst) {
                    tell(run);
                }
            });
            drop(held);
            work(run)
        }))
    })?
}

/// Opens the end that wakes the telling thread, the end that the work writes to, and one for each signal.
fn waking_ends() -> io::Result<(UnixStream, UnixStream, Vec<UnixStream>)> {
    let (told, teller) = UnixStream::pair()?;
    let of_signals = SIGNALS.iter().map(|_| teller.try_clone()).collect::<io::Result<_>>()?;
    Ok((told, teller, of_signals))
}

/// Ends the thread, even if the work panics.
struct WatchEnd<'a> {
    teller: &'a UnixStream,
    ids: Vec<SigId>,
}

impl Drop for WatchEnd<'_> {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            low_level::unregister(id);
        }
        let mut teller = self.teller;
        // A thread that has told already no longer listens.
        let _ = teller.write_all(&[0]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI32;

    use super::*;

    #[test]
    fn a_signal_rolls_back_until_the_run_commits_and_the_words_say_so() {
        let came = AtomicI32::new(0);
        let signal = || Some(came.load(Ordering::SeqCst)).filter(|signal| *signal != 0);
        let run = EndingRun::new(&signal, &|| 0);
        assert_eq!((run.interrupt(), run.acknowledgement()), (None, "Interrupted; ending…"));
        for doing in [RunActivity::Staging, RunActivity::Saving, RunActivity::Switching] {
            run.observe(ProgressEvent::Begins(doing, 1));
            assert_eq!(run.acknowledgement(), "Interrupted; rolling back…", "{doing:?}");
        }
        run.observe(ProgressEvent::Commits);
        came.store(2, Ordering::SeqCst);
        assert_eq!((run.interrupt(), run.acknowledgement()), (None, "Too late to stop: finishing…"));
        run.observe(ProgressEvent::Ends);
        assert_eq!(run.interrupt(), Some(2), "what follows the run is left out");
        assert_eq!(run.acknowledgement(), "Too late to stop: finishing…", "whoever tells comes late");
    }

    #[test]
    fn a_signal_that_came_before_the_commit_keeps_its_right() {
        let run = EndingRun::new(&|| Some(15), &|| 0);
        run.observe(ProgressEvent::Begins(RunActivity::Switching, 1));
        run.observe(ProgressEvent::Commits);
        assert_eq!((run.interrupt(), run.acknowledgement()), (Some(15), "Interrupted; rolling back…"));
    }
}
