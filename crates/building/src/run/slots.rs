//! The processes of tasks: each is a command of its slot, which gets its order and tells how it goes on.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::task::order::{LONGEST_LINE, TaskEvent, TaskOrder};

/// The most bytes that are kept of what a command says beside its events.
const MOST_SAID: usize = 8 << 10;

/// What the process of a task tells.
#[derive(Debug)]
pub(super) enum TaskMessage {
    /// An event.
    Event(TaskEvent),
    /// The process is gone; what it said beside its events.
    Gone(String),
    /// Its distfiles are there, or why not.
    Fetched(Result<(), String>),
}

/// A task that is being carried out.
#[derive(Debug)]
pub(super) struct RunningTask {
    child: Child,
    /// Open as long as the task is to go on.
    input: Option<ChildStdin>,
    /// The number of its slot.
    pub(super) slot: usize,
    /// When it began.
    pub(super) began: Instant,
    /// When it was heard of last.
    pub(super) heard: Instant,
}

impl RunningTask {
    /// Starts a command and gives it its order. Messages go to `sender`, each with the number of the package.
    pub(super) fn start(
        words: &[OsString],
        order: &TaskOrder,
        (package, slot): (u32, usize),
        sender: Sender<(u32, TaskMessage)>,
    ) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        std::thread::spawn(move || {
            let errors = std::thread::spawn(move || {
                let mut said = Vec::new();
                if let Some(errors) = errors {
                    let mut errors = errors.take(1 << 20);
                    let _ = errors.read_to_end(&mut said);
                }
                said
            });
            let mut said = Vec::new();
            let has_ended =
                output.is_some_and(|output| read_events(BufReader::new(output), package, &sender, &mut said));
            if has_ended {
                // The package may have another task already, which is not the one that is gone.
                return;
            }
            said.extend(errors.join().unwrap_or_default());
            let begin = said.len().saturating_sub(MOST_SAID);
            let said = String::from_utf8_lossy(said.get(begin..).unwrap_or_default()).trim().to_owned();
            // If nobody listens any more, the run is over.
            let _ = sender.send((package, TaskMessage::Gone(said)));
        });
        let mut input = child.stdin.take();
        let line = serde_json::to_vec(order).map_err(io::Error::from)?;
        if let Some(input) = &mut input {
            // A process that is gone already is told by its end.
            let _ = input.write_all(&[&line[..], b"\n"].concat()).and_then(|()| input.flush());
        }
        let began = Instant::now();
        Ok(Self { child, input, slot, began, heard: began })
    }

    /// Asks the task to end: it kills everything of it.
    pub(super) fn end(&mut self) {
        self.input = None;
    }

    /// Kills the process of the task.
    pub(super) fn kill(&mut self) {
        self.input = None;
        let _ = self.child.kill();
    }

    /// Waits for the end of the process.
    pub(super) fn wait(mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Reads events to the end of the task, or of what it says; other lines are kept as what was said. Returns whether the task
/// has told its end.
fn read_events(
    mut output: BufReader<impl io::Read>,
    package: u32,
    sender: &Sender<(u32, TaskMessage)>,
    said: &mut Vec<u8>,
) -> bool {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut output).take(LONGEST_LINE as u64).read_until(b'\n', &mut line);
        match read {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        match serde_json::from_slice::<TaskEvent>(&line) {
            Ok(event) => {
                let is_end = matches!(event, TaskEvent::End(_));
                if sender.send((package, TaskMessage::Event(event))).is_err() || is_end {
                    return is_end;
                }
            }
            Err(_) if said.len() < MOST_SAID => said.extend(&line),
            Err(_) => {}
        }
    }
}
