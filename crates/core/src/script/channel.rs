//! The line between the two processes: JSON, one message a line, over a UNIX socket; a descriptor may go with one.

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

/// A message is not longer than this many bytes; the arguments and environment of a process are far smaller.
const LIMIT: usize = 64 << 20;

/// What the program asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HostOrder {
    /// Take the lock, make the directory; the first message.
    Open(OpenOrder),
    /// Make the process of a script; its standard input goes with the message.
    Run(RunOrder),
    /// Let it begin.
    Go,
    /// End it.
    Interrupt,
}

/// Where scripts will run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenOrder {
    pub(super) root: OsString,
    pub(super) temporary: OsString,
    pub(super) user: Option<(u32, u32)>,
    pub(super) absolute_tools: bool,
}

/// One script.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunOrder {
    pub(super) file: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) directory: OsString,
    pub(super) trace: bool,
    pub(super) limit_ms: Option<u64>,
    /// The group in the foreground of the terminal, for a script that reads it.
    pub(super) foreground: Option<i32>,
}

/// What the second process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SupervisorAnswer {
    /// To Open: where the directory is, and why absolute tools are not there, if they are not.
    Ready { directory: OsString, absolute_tools: Option<String> },
    /// To Open: somebody else has the lock.
    Locked { path: String, holder: String },
    /// To Open or Run: it cannot be done.
    Failed { reason: String },
    /// To Run: the process waits to begin.
    Began(ProcessIdentity),
    /// It has ended.
    Ended(ScriptEnd),
}

/// One end of the line.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    /// An end for this process, and one to be the standard input of another.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::over(ours), theirs.into()))
    }

    /// The end that this process was started with.
    pub(super) fn of_standard_input() -> io::Result<Self> {
        Ok(Self::over(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    fn over(socket: UnixStream) -> Self {
        Self { socket, received: Vec::new(), descriptors: VecDeque::new() }
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a message, and a descriptor with it.
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

    /// Waits for the next message; none when the other end is gone.
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

    /// The descriptor that came with a message received before.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Whether a whole message is here already, so that waiting for more would be wrong.
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
        let (mut ours, theirs) = Channel::pair().unwrap();
        let mut theirs = Channel::over(UnixStream::from(theirs));
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
