//! The channel between the two processes: one JSON message per line over a UNIX socket, optionally with a descriptor.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ProcessIdentity, ScriptEnd};

/// The longest message, in bytes; the arguments and environment of a process are far shorter.
const LIMIT: usize = 64 << 20;

/// An order from the program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HostOrder {
    /// Take the lock and make the private directory. The first message.
    Open(OpenOrder),
    /// Create the process of a script. Its standard input comes with the message.
    Run(RunOrder),
    /// Start the script.
    Go,
    /// End the script.
    Interrupt,
}

/// The settings of the second process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenOrder {
    pub(super) root: OsString,
    pub(super) temporary: OsString,
    pub(super) user: Option<(u32, u32)>,
    pub(super) absolute_tools: bool,
}

/// The script to run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunOrder {
    pub(super) file: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) directory: OsString,
    pub(super) trace: bool,
    pub(super) limit_ms: Option<u64>,
    /// The foreground process group of the terminal, for a script that reads the terminal.
    pub(super) foreground: Option<i32>,
}

/// An answer from the second process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SupervisorAnswer {
    /// Answers Open: the private directory, and the reason if absolute tools are missing.
    Ready { directory: OsString, absolute_tools: Option<String> },
    /// Answers Open: another process holds the lock.
    Locked { path: String, holder: String },
    /// Answers Open or Run: the order cannot be carried out.
    Failed { reason: String },
    /// Answers Run: the process exists and waits to start.
    Began(ProcessIdentity),
    /// Reports the end of the script.
    Ended(ScriptEnd),
}

/// One end of the channel.
#[derive(Debug)]
pub(super) struct SupervisorChannel {
    socket: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl SupervisorChannel {
    /// Makes an end for this process and one to be the standard input of another.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::over(ours), theirs.into()))
    }

    /// Opens the end that this process was started with.
    pub(super) fn of_standard_input() -> io::Result<Self> {
        Ok(Self::over(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    fn over(socket: UnixStream) -> Self {
        Self { socket, received: Vec::new(), descriptors: VecDeque::new() }
    }

    /// Returns the descriptor to poll.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a message, with a descriptor if given.
    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut sent = 0;
        if let Some(descriptor) = descriptor {
            let descriptors = [descriptor];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            sent = rustix::io::retry_on_intr(|| {
                rustix::net::sendmsg(
                    &self.socket,
                    &[IoSlice::new(&line)],
                    &mut ancillary,
                    SendFlags::NOSIGNAL,
                )
            })?;
        }
        self.socket.write_all(line.get(sent..).unwrap_or_default())
    }

    /// Waits for the next message. Returns `None` if the other end is gone.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.received.len() > LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
            }
            match self.fill() {
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                other => other.map(drop)?,
            }
        }
    }

    /// Returns the descriptor received with an earlier message.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Tells whether a whole message has arrived, so that polling would block needlessly.
    pub(super) fn has_message(&self) -> bool {
        self.received.contains(&b'\n')
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 1 << 14];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.received.extend_from_slice(bytes.get(..received.bytes).unwrap_or_default());
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptor_and_odd_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let (mut ours, theirs) = SupervisorChannel::pair().unwrap();
        let mut theirs = SupervisorChannel::over(UnixStream::from(theirs));
        let opening = OpenOrder {
            root: OsString::from_vec(b"/r\xff\n".to_vec()),
            temporary: "/t".into(),
            user: Some((1, 2)),
            absolute_tools: true,
        };
        let (mut reader, writer) = io::pipe().unwrap();
        ours.send(&HostOrder::Open(opening), Some(writer.as_fd())).unwrap();
        ours.send(&HostOrder::Go, None).unwrap();
        drop((ours, writer));

        let Some(HostOrder::Open(opening)) = theirs.receive().unwrap() else { panic!("another message") };
        assert_eq!(opening.root, OsString::from_vec(b"/r\xff\n".to_vec()));
        let mut passed = std::fs::File::from(theirs.descriptor().unwrap());
        passed.write_all(b"through").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert!(matches!(theirs.receive().unwrap(), Some(HostOrder::Go)));
        assert!(theirs.receive::<HostOrder>().unwrap().is_none());
    }
}
