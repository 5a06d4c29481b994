//! Running commands from the configuration.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use patchadm_bulk_values::result::Blake3Digest;
use patchadm_inputs::password::without_passwords;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::control::visible;

/// Time to wait for more output after a command ends: a process that it left behind may still print.
const LONGEST_OUTPUT: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(10);

const KEPT_OUTPUT: usize = 4096;

/// In bytes.
const LARGEST_DIGESTED: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{program}: {error}")]
    Start { program: String, error: io::Error },
    #[error("{program}: {how}{output}")]
    Failed {
        program: String,
        how: String,
        /// The last line of output, after a colon.
        output: String,
    },
}

/// Runs a command in a directory until it ends or `is_over` returns true.
pub(crate) fn run_command(
    words: &[String],
    directory: &Path,
    input: Option<File>,
    is_over: &dyn Fn() -> bool,
) -> Result<(), CommandError> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    let start = |error| CommandError::Start { program: program.clone(), error };
    let (reader, writer) = io::pipe().map_err(start)?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command.stdin(input.map_or_else(Stdio::null, Stdio::from));
    command.stdout(writer.try_clone().map_err(start)?).stderr(writer);
    let began = Instant::now();
    let mut child = command.spawn().map_err(start)?;
    // The command holds the write ends; reading ends only once they are closed.
    drop(command);
    let output = PrintedLines::read(reader);
    let ended = wait_for(&mut child, is_over).map_err(start)?;
    if ended.is_some_and(|status| status.success()) {
        return Ok(());
    }
    output.wait();
    let printed = output.bytes.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&printed);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    Err(CommandError::Failed {
        program: program.clone(),
        how: ended.map_or_else(
            || format!("it was ended after {} s", began.elapsed().as_secs()),
            |ended| ended.to_string(),
        ),
        output: last.map(|line| format!(": {}", visible(&without_passwords(line)))).unwrap_or_default(),
    })
}

/// The last bytes of output, read until it closes: a process left behind may print after the command's end.
struct PrintedLines {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl PrintedLines {
    fn read(mut reader: io::PipeReader) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; KEPT_OUTPUT];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let surplus = kept.len().saturating_sub(KEPT_OUTPUT);
                kept.drain(..surplus);
            }
        });
        Self { bytes, reader }
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.reader.is_finished() && began.elapsed() < LONGEST_OUTPUT {
            std::thread::sleep(PAUSE);
        }
    }
}

fn wait_for(child: &mut Child, is_over: &dyn Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if is_over() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns the digest of a command's output, or why it failed. `setting` names the command in messages.
pub(crate) fn output_digest(
    setting: &str,
    words: &[String],
    directory: Option<&Path>,
    interrupt: Interrupt<'_>,
) -> Result<Blake3Digest, String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(Blake3Digest::of(b"")) };
    let failed = |reason: String| format!("{setting}: {program}: {reason}");
    let unread = |error: io::Error| failed(error.to_string());
    let is_over = || interrupt().is_some();
    let (reader, writer) = io::pipe().map_err(unread)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn().map_err(unread)?;
    // The command holds the write end; reading ends only once it is closed.
    drop(command);
    let output = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.take(LARGEST_DIGESTED + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = wait_for(&mut child, &is_over).map_err(unread)?;
    // A process left behind may still print.
    while !output.is_finished() && !is_over() {
        std::thread::sleep(PAUSE);
    }
    let Some(status) = ended.filter(|_| output.is_finished()) else {
        return Err(failed("a signal ended it".to_owned()));
    };
    let read = output.join().unwrap_or_else(|_| Err(io::Error::other("its output was not read")));
    let bytes = read.map_err(unread)?;
    if bytes.len() as u64 > LARGEST_DIGESTED {
        return Err(failed(format!("it prints more than {LARGEST_DIGESTED} bytes")));
    }
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    Ok(Blake3Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use patchadm_rootfs::never;

    use super::*;

    fn digest(words: &[&str], interrupt: Interrupt<'_>) -> Result<Blake3Digest, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        output_digest("poll", &words, None, interrupt)
    }

    #[test]
    fn the_whole_output_of_a_command_counts_and_a_failure_is_none() {
        assert_eq!(digest(&["echo", "base"], &never), Ok(Blake3Digest::of(b"base\n")));
        assert_eq!(
            digest(&["sh", "-c", "(sleep 0.1; echo late) &"], &never),
            Ok(Blake3Digest::of(b"late\n"))
        );
        let failure = digest(&["sh", "-c", "exit 3"], &never);
        assert_eq!(failure, Err("poll: sh: exit status: 3".to_owned()));
        assert!(
            digest(&["/not/there"], &never).is_err_and(|reason| reason.starts_with("poll: /not/there: "))
        );
    }

    #[test]
    fn a_signal_ends_a_command_and_the_wait_for_what_it_has_left_behind() {
        let began = Instant::now();
        let ended = Err("poll: sleep: a signal ended it".to_owned());
        assert_eq!(digest(&["sleep", "60"], &|| Some(15)), ended);
        let after = || (began.elapsed() > Duration::from_millis(200)).then_some(15);
        let ended = Err("poll: sh: a signal ended it".to_owned());
        assert_eq!(digest(&["sh", "-c", "sleep 5 &"], &after), ended);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_command_that_prints_without_end_is_refused() {
        assert_eq!(digest(&["yes"], &never), Err("poll: yes: it prints more than 1048576 bytes".to_owned()));
    }
}
