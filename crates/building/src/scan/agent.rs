//! The process inside a sandbox that calls the driver many times: it gets a program with its argument a line, and answers with
//! what was printed.

use std::fs;
use std::io::{self, BufRead as _, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use patchadm_rootfs::Dir;
use serde::{Deserialize, Serialize};

use crate::driver::DRIVER_INSIDE;

/// The most bytes of one call that are answered: one more than records may have.
pub(super) const MOST_PRINTED: u64 = (16 << 20) + 1;

/// The most bytes of what a call says on standard error that are looked at for its last line.
const MOST_SAID: u64 = 64 << 10;

/// The longest last line that is told, in bytes.
const LONGEST_LAST_LINE: usize = 512;

/// The first line that the process gets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScanOrder {
    /// The seconds that one call may take.
    pub(super) time: Option<u64>,
}

/// A line that the process gets: what is called.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DriverCall<'a> {
    /// The program of the driver.
    pub(super) program: std::borrow::Cow<'a, str>,
    /// Its argument.
    pub(super) location: Option<std::borrow::Cow<'a, str>>,
}

/// The line before the output of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScanAnswer {
    /// The bytes of output that follow.
    pub(super) length: usize,
    /// Why it failed, in words.
    pub(super) failure: Option<String>,
}

/// Answers until `input` ends.
pub fn serve_scan(input: impl Read, output: &mut dyn Write) -> io::Result<()> {
    let mut input = io::BufReader::new(input);
    let mut line = String::new();
    input.read_line(&mut line)?;
    let order: ScanOrder = serde_json::from_str(&line)?;
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let call: DriverCall<'_> = serde_json::from_str(&line)?;
        let (printed, failure) = carry_out(&call, order.time.map(Duration::from_secs));
        let answer = ScanAnswer { length: printed.len(), failure };
        let mut bytes = serde_json::to_vec(&answer)?;
        bytes.push(b'\n');
        bytes.extend(printed);
        output.write_all(&bytes)?;
        output.flush()?;
        clear();
    }
}

/// Calls a program of the driver once; returns what it printed, and why it failed.
fn carry_out(call: &DriverCall<'_>, time: Option<Duration>) -> (Vec<u8>, Option<String>) {
    let program = &call.program;
    let mut command = Command::new(format!("{DRIVER_INSIDE}/{program}"));
    command.args(call.location.as_deref()).current_dir("/tree").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return (Vec::new(), Some(format!("{program}: {error}"))),
    };
    let printed = read_apart(child.stdout.take(), MOST_PRINTED);
    let said = read_apart(child.stderr.take(), MOST_SAID);
    let received = match time {
        Some(time) => printed.recv_timeout(time),
        None => printed.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    let Ok(printed) = received else {
        end(&mut child);
        let seconds = time.unwrap_or_default().as_secs();
        return (Vec::new(), Some(format!("{program}: it took longer than {seconds} s")));
    };
    if printed.len() as u64 >= MOST_PRINTED {
        end(&mut child);
        return (Vec::new(), Some(format!("{program}: it printed more than 16 MiB")));
    }
    // Whatever it has left behind must not keep its standard error open.
    let status = child.wait();
    end_group(&child);
    let said = said.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    match status {
        Ok(status) if status.success() => (printed, None),
        Ok(status) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            };
            (Vec::new(), Some(format!("{program}: {how}: {}", last_line(&said))))
        }
        Err(error) => (Vec::new(), Some(format!("{program}: {error}"))),
    }
}

fn end(child: &mut Child) {
    end_group(child);
    let _ = child.wait();
}

fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // A group that has ended already is as dead.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Reads a pipe in a thread of its own, to its end or to this many bytes.
fn read_apart(pipe: Option<impl Read + Send + 'static>, most: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let mut pipe = pipe.take(most);
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    line.chars().take(LONGEST_LAST_LINE).collect()
}

/// Empties `/tmp`, so that no call finds what another one has left.
fn clear() {
    let Ok(tmp) = Dir::of_host(std::path::Path::new("/tmp")) else { return };
    for name in tmp.names().unwrap_or_default() {
        let _ = tmp.remove_tree(&name);
    }
    // Processes of another group than that of their call end, too, where they can be told from others.
    let is_inside = fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "patchadm");
    if !is_inside || std::process::id() == 1 {
        return;
    }
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<i32>().ok();
        if let Some(pid) = pid.filter(|pid| *pid != own && *pid != 1).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
