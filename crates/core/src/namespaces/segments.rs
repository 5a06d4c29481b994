//! The System V shared memory, semaphores and message queues of an enclosure. They outlive their processes, and only
//! lists in `/proc` show all of them. A list is that of the namespace in which it is opened, so a thread or a helper
//! process enters it first.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::SEGMENTS_PROCESS;
use crate::process::{MessageChannel, close_inherited};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcList {
    Segments,
    Semaphores,
    Queues,
}

impl IpcList {
    fn path(self) -> &'static str {
        match self {
            Self::Segments => "/proc/sysvipc/shm",
            Self::Semaphores => "/proc/sysvipc/sem",
            Self::Queues => "/proc/sysvipc/msg",
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ListOrder {
    list: IpcList,
    maker: u32,
    inside: u32,
}

/// Opens a list of the process `inside` an enclosure that `maker` has made. Reading it from the start shows the current
/// state.
pub fn open_ipc_list(list: IpcList, maker: u32, inside: u32) -> io::Result<File> {
    if geteuid().is_root() {
        // Only this thread changes its namespace.
        let opened = thread::spawn(move || open_in(list, inside)).join();
        return opened
            .unwrap_or_else(|_| Err(io::Error::other("the thread that enters a namespace panicked")));
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0("patchadm").arg(SEGMENTS_PROCESS).env_clear();
    let (mut child, mut channel) = MessageChannel::start(command)?;
    let answer = channel
        .send(&ListOrder { list, maker, inside }, None)
        .and_then(|()| channel.receive::<Result<(), String>>());
    child.wait()?;
    answer?.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
    channel.descriptor().map(File::from).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Runs the helper that opens such a list for an ordinary user.
///
/// For a process that was just started for this.
pub fn serve_segments() -> io::Result<()> {
    close_inherited()?;
    let mut channel = MessageChannel::of_standard_input()?;
    let Some(ListOrder { list, maker, inside }) = channel.receive()? else { return Ok(()) };
    let opened = namespace_of(maker, "user")
        .and_then(|users| setns(users, CloneFlags::CLONE_NEWUSER).map_err(io::Error::from))
        .and_then(|()| open_in(list, inside));
    match opened {
        Ok(opened) => channel.send(&Ok::<(), String>(()), Some(std::os::fd::AsFd::as_fd(&opened))),
        Err(error) => channel.send(&Err::<(), String>(error.to_string()), None),
    }
}

fn open_in(list: IpcList, process: u32) -> io::Result<File> {
    setns(namespace_of(process, "ipc")?, CloneFlags::CLONE_NEWIPC)?;
    File::open(list.path())
}

fn namespace_of(process: u32, kind: &str) -> io::Result<File> {
    File::open(["/proc", &process.to_string(), "ns", kind].iter().collect::<PathBuf>())
}
