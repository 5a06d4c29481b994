//! Runs another program in bounded time, and takes a bounded amount of its output.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

/// The search path of a program that is called with an environment of its own.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

static ENDING: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Time that remains for a program after a signal: a run that can no longer be rolled back still needs its answers.
const AFTER_SIGNAL: Duration = Duration::from_secs(5);

/// Between two looks at the time.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Returns the place for the signal that asks this process to end: other programs, and the reading of native records,
/// then get little more time.
pub fn ending() -> Arc<AtomicUsize> {
    ENDING.clone()
}

/// Returns the first signal in [`ending`] that was seen, if one came. Work whose caller has no interrupt of its own also ends
/// by it.
pub fn ending_signal() -> Option<i32> {
    static FIRST: OnceLock<usize> = OnceLock::new();
    let signal = Some(ENDING.load(Ordering::SeqCst)).filter(|signal| *signal != 0)?;
    i32::try_from(*FIRST.get_or_init(|| signal)).ok()
}

#[derive(Clone, Copy, Debug)]
pub struct ProgramLimits {
    pub time: Duration,
    /// Of the output.
    pub bytes: usize,
}

/// Ends the program if nobody waits for it any more.
struct RunningProgram(Child);

impl Drop for RunningProgram {
    fn drop(&mut self) {
        // It has ended if it cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Deadline {
    limit: Duration,
    until: Instant,
    is_ending: bool,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { limit, until: Instant::now() + limit, is_ending: false }
    }

    pub(crate) fn check(&mut self, name: &str) -> Result<(), String> {
        if !self.is_ending && ending_signal().is_some() {
            self.is_ending = true;
            self.until = self.until.min(Instant::now() + AFTER_SIGNAL);
        }
        if Instant::now() < self.until {
            return Ok(());
        }
        Err(if self.is_ending {
            format!("a signal arrived before {name} responded")
        } else {
            format!("{name} did not respond within {} seconds", self.limit.as_secs())
        })
    }
}

/// Returns what a program writes to standard output, and how it ended. `name` is for messages.
pub fn output_of(
    command: &mut Command,
    name: &str,
    input: &[u8],
    limits: ProgramLimits,
) -> Result<(Vec<u8>, ExitStatus), String> {
    let input = held(input).map_err(|error| format!("the input of {name} cannot be held: {error}"))?;
    let spawned = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = spawned.map_err(|error| format!("the command {name} cannot be run: {error}"))?;
    let mut running = RunningProgram(child);
    let mut deadline = Deadline::after(limits.time);
    let output = match running.0.stdout.take() {
        Some(stdout) => read(stdout, name, limits, &mut deadline)?,
        None => Vec::new(),
    };
    let mut pause = Duration::from_micros(100);
    // It may have closed its output long before its end.
    let ended = loop {
        if let Some(ended) = running.0.try_wait().map_err(|error| error.to_string())? {
            break ended;
        }
        deadline.check(name)?;
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    match ended.signal() {
        Some(signal) => Err(format!("{name} was ended by signal {signal}")),
        None => Ok((output, ended)),
    }
}

/// A program may write before it has read its input, so nobody waits at the other end of a pipe.
fn held(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

fn read(
    mut stdout: ChildStdout,
    name: &str,
    limits: ProgramLimits,
    deadline: &mut Deadline,
) -> Result<Vec<u8>, String> {
    let (mut output, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        deadline.check(name)?;
        let ready = {
            let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&TICK))
        };
        match ready {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.to_string()),
        }
        match stdout.read(&mut piece) {
            Ok(0) => return Ok(output),
            Ok(count) => output.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
        if output.len() > limits.bytes {
            return Err(format!("the response of {name} is larger than {} MiB", limits.bytes >> 20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limits: ProgramLimits) -> Result<(Vec<u8>, ExitStatus), String> {
        output_of(Command::new("/bin/sh").args(["-c", script]), "sh", b"", limits)
    }

    const LIMITS: ProgramLimits = ProgramLimits { time: Duration::from_secs(30), bytes: 1 << 20 };

    #[test]
    fn the_answer_and_the_exit_code_are_those_of_the_program() {
        let (answer, ended) = run("echo yes; exit 3", LIMITS).unwrap();
        assert_eq!((answer.as_slice(), ended.code()), (&b"yes\n"[..], Some(3)));
        assert!(run("kill -KILL $$", LIMITS).unwrap_err().contains("signal 9"));
    }

    #[test]
    fn a_program_may_write_much_before_it_reads_its_input() {
        let input = vec![b'x'; 1 << 18];
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "head -c 262144 /dev/zero; wc -c"]);
        let (answer, _) = output_of(&mut command, "sh", &input, LIMITS).unwrap();
        assert_eq!(String::from_utf8_lossy(answer.get(1 << 18..).unwrap()).trim(), "262144");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let limits = ProgramLimits { time: Duration::from_millis(300), ..LIMITS };
        for script in ["exec sleep 60", "exec >&-; exec sleep 60", "while :; do echo y; done"] {
            let began = Instant::now();
            let error = run(script, limits).unwrap_err();
            assert!(error.contains("did not respond") || error.contains("larger than 1 MiB"), "{error}");
            assert!(began.elapsed() < Duration::from_secs(20), "{script}");
        }
    }
}
