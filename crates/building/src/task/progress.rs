//! Events and signs of life of a task, and supervision of disk space.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use patchadm_bulk_values::journal::FailureCause;
use patchadm_rootfs::{Dir, RootError, Timestamp, random};
use patchadm_svr4::package::Mode;

use super::{StepError, TaskError, TaskEvent, TaskFailure};
use crate::space::{is_full, is_full_or_over_quota};
use crate::work::{PROGRAM, build_directory};

pub(super) struct TaskTeller {
    shared: Arc<Mutex<EventOutput>>,
    is_ended: Arc<AtomicBool>,
}

struct EventOutput {
    out: Box<dyn Write + Send>,
    memory: u64,
    log: u64,
}

impl EventOutput {
    fn tell(&mut self, event: &TaskEvent) -> io::Result<()> {
        let line = serde_json::to_vec(event).unwrap_or_default();
        self.out.write_all(&[&line[..], b"\n"].concat())?;
        self.out.flush()
    }
}

impl TaskTeller {
    /// `is_ended` is set once nobody listens.
    pub(super) fn over(out: Box<dyn Write + Send>, is_ended: Arc<AtomicBool>) -> Self {
        let output = EventOutput { out, memory: 0, log: 0 };
        Self { shared: Arc::new(Mutex::new(output)), is_ended }
    }

    pub(super) fn ended(&self) -> Arc<AtomicBool> {
        self.is_ended.clone()
    }

    /// The task ends soon if nobody listens.
    pub(super) fn tell(&self, event: &TaskEvent) {
        let sent = self.shared.lock().map(|mut shared| shared.tell(event));
        if !matches!(sent, Ok(Ok(()))) {
            self.is_ended.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn installs(&self, is_begin: bool) {
        self.tell(&TaskEvent::Installs(is_begin));
    }

    /// Updates the next sign of life; returns true if the task has to end.
    pub(super) fn tick(&self, memory: u64, log: u64) -> bool {
        if let Ok(mut shared) = self.shared.lock() {
            (shared.memory, shared.log) = (memory, log);
        }
        self.is_ended.load(Ordering::Relaxed)
    }

    /// Sends signs of life until the returned sender is dropped.
    pub(super) fn go_on(&self, between: Duration) -> Sender<()> {
        let (sender, receiver) = channel();
        let (shared, is_ended) = (self.shared.clone(), self.is_ended.clone());
        std::thread::spawn(move || {
            while matches!(receiver.recv_timeout(between), Err(RecvTimeoutError::Timeout)) {
                let Ok(mut shared) = shared.lock() else { return };
                let event = TaskEvent::Alive { memory: shared.memory, log: shared.log };
                if shared.tell(&event).is_err() {
                    is_ended.store(true, Ordering::Relaxed);
                }
            }
        });
        sender
    }
}

pub(super) struct TaskWatch<'a> {
    pub(super) teller: &'a TaskTeller,
    build_dir: &'a Path,
    /// True if space ran out at some moment. Another task may have made room since.
    was_full: Cell<bool>,
    signs: SpaceSigns,
}

impl<'a> TaskWatch<'a> {
    pub(super) fn of(teller: &'a TaskTeller, build_dir: &'a Path) -> Self {
        Self { teller, build_dir, was_full: Cell::new(false), signs: SpaceSigns::begin(build_dir) }
    }

    /// Like [`TaskTeller::tick`], and checks the disk space.
    pub(super) fn tick(&self, memory: u64, log: u64) -> bool {
        self.look_at_space();
        self.teller.tick(memory, log)
    }

    fn look_at_space(&self) {
        self.was_full.set(self.was_full.get() || is_full(self.build_dir));
    }

    /// Blames the machine for a failure that a full disk may have caused. Signals it before this task makes room.
    pub(super) fn blame(&self, error: StepError) -> StepError {
        let error = self.blamed(error);
        if matches!(error, StepError::Machine(TaskError::FullBuildDir(_))) {
            // Without the signal, other tasks check by themselves.
            let _ = self.signs.give();
        }
        error
    }

    fn blamed(&self, error: StepError) -> StepError {
        let is_possible = match &error {
            StepError::Package(TaskFailure { cause, .. }) => matches!(
                cause,
                FailureCause::Exit
                    | FailureCause::Signal
                    | FailureCause::Distfile
                    | FailureCause::Install
                    | FailureCause::Result
                    | FailureCause::Check
            ),
            // The task itself also writes to the build directory. The run notices a full disk of results.
            StepError::Machine(TaskError::Root(error)) => error.is_no_space(),
            StepError::Machine(_) => false,
        };
        self.look_at_space();
        if is_possible
            && (self.was_full.get() || self.signs.has_sign() || is_full_or_over_quota(self.build_dir))
        {
            return StepError::Machine(TaskError::FullBuildDir(self.build_dir.to_owned()));
        }
        match error {
            StepError::Machine(TaskError::Root(error)) if self.is_in_build_dir(&error) => {
                StepError::Machine(TaskError::NoRoom(error.to_string()))
            }
            error => error,
        }
    }

    /// Returns true if an error says that the build directory has no space.
    fn is_in_build_dir(&self, error: &RootError) -> bool {
        let place = match error {
            RootError::Call { path, .. } => path,
            RootError::NoRoom { directory, .. } => directory,
            _ => return false,
        };
        error.is_no_space() && Path::new(place).starts_with(self.build_dir)
    }
}

/// The file in `build_dir` that every task touches which found no space.
const FULL: &[u8] = b"tasks.full";

/// Signs between tasks on one machine that the build directory was full. The first task to notice makes room, and
/// another one may fail for the same reason but check later.
///
/// The sign is the time of a file, which can be set without free space.
#[derive(Debug)]
struct SpaceSigns {
    build_dir: PathBuf,
    begin: Option<Timestamp>,
}

impl SpaceSigns {
    fn begin(build_dir: &Path) -> Self {
        let begin = build_directory(build_dir).and_then(|dir| {
            if dir.look(FULL)?.is_none() {
                dir.replace_file(PROGRAM, FULL, b"", Mode::of(0o644))?;
            }
            last_sign(&dir)
        });
        Self { build_dir: build_dir.to_owned(), begin: begin.ok().flatten() }
    }

    /// Returns true if a task has found no space since.
    fn has_sign(&self) -> bool {
        build_directory(&self.build_dir).and_then(|dir| last_sign(&dir)).is_ok_and(|last| last != self.begin)
    }

    /// Signals that there is no space. Does nothing if the file is missing.
    fn give(&self) -> Result<(), RootError> {
        let dir = build_directory(&self.build_dir)?;
        if dir.look(FULL)?.is_some() {
            // Any time but that of another sign.
            let seconds = i64::try_from(random()? >> 34).unwrap_or_default();
            dir.set_mtime(FULL, Timestamp::whole(seconds))?;
        }
        Ok(())
    }
}

fn last_sign(dir: &Dir) -> Result<Option<Timestamp>, RootError> {
    Ok(dir.look(FULL)?.map(|seen| seen.mtime))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_task_that_would_take_the_reserve_of_its_build_directory_lacks_room_and_that_of_the_pool_is_another()
    {
        let dir = tempfile::tempdir().unwrap();
        let build_dir = dir.path().join("build");
        let teller = TaskTeller::over(Box::new(io::sink()), Arc::default());
        let watch = TaskWatch::of(&teller, &build_dir);
        let refused = |place: &str| {
            let directory = dir.path().join(place).display().to_string();
            let error =
                watch.blame(RootError::NoRoom { directory, unit: "bytes", free: 5, wanted: 7 }.into());
            let StepError::Machine(error) = error else { panic!("{error:?}") };
            error.of_kept("results")
        };
        let of_task = refused("build/tasks/1/results");
        assert!(of_task.lacks_room(), "{of_task:?}");
        assert!(
            of_task
                .to_string()
                .ends_with("1/results has 5 bytes free, but 7 are needed, including the reserve")
        );
        let of_pool = refused("pool/.new");
        assert!(matches!(of_pool, TaskError::Full(_)) && !of_pool.lacks_room(), "{of_pool:?}");
    }

    #[test]
    fn a_task_that_cannot_write_itself_blames_the_build_directory_that_a_neighbour_filled() {
        let dir = tempfile::tempdir().unwrap();
        let build_dir = dir.path().join("build");
        let teller = TaskTeller::over(Box::new(io::sink()), Arc::default());
        let (watch, neighbour) = (TaskWatch::of(&teller, &build_dir), SpaceSigns::begin(&build_dir));
        let no_space = || RootError::Call { action: "make", path: "results".to_owned(), errno: Errno::NOSPC };
        let blamed = watch.blame(no_space().into());
        assert!(matches!(blamed, StepError::Machine(TaskError::Root(_))), "another disk is full: {blamed:?}");
        // The neighbour makes room before this task looks.
        neighbour.give().unwrap();
        let blamed = watch.blame(no_space().into());
        assert!(matches!(blamed, StepError::Machine(TaskError::FullBuildDir(_))), "{blamed:?}");
        let forbidden = RootError::Call { action: "make", path: "results".to_owned(), errno: Errno::ACCESS };
        let blamed = watch.blame(forbidden.into());
        assert!(matches!(blamed, StepError::Machine(TaskError::Root(_))), "{blamed:?}");
    }

    #[test]
    fn a_task_learns_that_another_one_has_found_no_space_whenever_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let build_dir = dir.path().join("build");
        let (finds, fails) = (SpaceSigns::begin(&build_dir), SpaceSigns::begin(&build_dir));
        assert!(!finds.has_sign() && !fails.has_sign());
        finds.give().unwrap();
        assert!(fails.has_sign());
        // Signs from before a task began do not concern it.
        let later = SpaceSigns::begin(&build_dir);
        assert!(!later.has_sign());
        fails.give().unwrap();
        assert!(later.has_sign() && finds.has_sign());
    }
}
