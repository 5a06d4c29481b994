//! The channel between two processes of the program: JSON lines over a UNIX socket, optionally with a descriptor.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message, in bytes; arguments and environment of a process are far shorter.
const LIMIT: usize = 64 << 20;

#[derive(Debug)]
pub(crate) struct MessageChannel {
    socket: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl MessageChannel {
    /// Starts a command with one end as its standard input. Consumes the command: an open copy of its end would hide
    /// that the process is gone.
    pub(crate) fn start(mut command: Command) -> io::Result<(Child, Self)> {
        let (ours, theirs) = Self::pair()?;
        let child = command.stdin(theirs).spawn()?;
        Ok((child, ours))
    }

    fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::over(ours), theirs.into()))
    }

    pub(crate) fn of_standard_input() -> io::Result<Self> {
        Ok(Self::over(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    fn over(socket: UnixStream) -> Self {
        Self { socket, received: Vec::new(), descriptors: VecDeque::new() }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn send(
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

    /// Waits for the next message; `None` if the other end is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
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

    pub(crate) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// A buffered message does not make the socket readable.
    pub(crate) fn has_message(&self) -> bool {
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
    fn messages_arrive_in_order_with_the_descriptor_and_end_with_the_other_process() {
        let (mut ours, theirs) = MessageChannel::pair().unwrap();
        let mut theirs = MessageChannel::over(UnixStream::from(theirs));
        let (mut reader, writer) = io::pipe().unwrap();
        ours.send(&"first\n", Some(writer.as_fd())).unwrap();
        ours.send(&"second", None).unwrap();
        drop((ours, writer));

        assert_eq!(theirs.receive::<String>().unwrap().as_deref(), Some("first\n"));
        let mut passed = std::fs::File::from(theirs.descriptor().unwrap());
        passed.write_all(b"through").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        assert_eq!(theirs.receive::<String>().unwrap().as_deref(), Some("second"));
        assert_eq!(theirs.receive::<String>().unwrap(), None);
    }

    #[test]
    fn a_process_that_ends_without_a_word_ends_the_channel() {
        let (mut child, mut channel) = MessageChannel::start(Command::new("true")).unwrap();
        assert_eq!(channel.receive::<String>().unwrap(), None);
        assert!(child.wait().unwrap().success());
    }
}
