//! Common parts of the program's processes: their channel, inherited descriptors and keys, processor times, mapped
//! files.

mod keys;

use std::collections::VecDeque;
use std::io;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use patchadm_rootfs::proc_text;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use keys::leave_session_keyring;
pub(crate) use keys::refuse_keys_and_user_namespaces;

/// Closes all inherited descriptors except the standard ones. For a process that has opened nothing yet.
pub fn close_inherited() -> io::Result<()> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|&number| number > 2) {
        // The listing's own descriptor is among them, and closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// A mapped file in `maps` or `smaps` (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedFile<'l> {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    /// File offset of the first byte.
    pub offset: u64,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Inode number.
    pub number: u64,
    /// Followed by ` (deleted)` if the file has no name any more.
    pub path: &'l [u8],
}

impl<'l> MappedFile<'l> {
    /// Parses a line such as `7f00-7f10 rw-s 00001000 fe:01 1234   /lib/x.so (deleted)`; `None` if it maps no file.
    pub fn of_line(line: &'l [u8]) -> Option<Self> {
        let text = |field: &'l [u8]| std::str::from_utf8(field).ok();
        let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (start, end) = text(fields.next()?)?.split_once('-')?;
        let offset = text(fields.nth(1)?)?;
        let (major, minor) = text(fields.next()?)?.split_once(':')?;
        let number = text(fields.next()?)?.parse().ok()?;
        let path = fields.next()?.trim_ascii_start();
        let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let (start, end, offset) = (hexadecimal(start)?, hexadecimal(end)?, hexadecimal(offset)?);
        // Other mappings have no path: `[heap]`, `anon_inode:…`.
        (number != 0 && path.starts_with(b"/")).then_some(Self { start, end, offset, device, number, path })
    }

    /// Returns the name in `map_files`.
    pub fn range(&self) -> String {
        format!("{:x}-{:x}", self.start, self.end)
    }

    /// Returns the file offset at which the mapping ends.
    pub fn file_end(&self) -> u64 {
        self.offset.saturating_add(self.end.saturating_sub(self.start))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessTimes {
    pub(crate) own: Duration,
    pub(crate) children: Duration,
}

impl ProcessTimes {
    /// Reads those of a process that is not reaped yet; zero if the kernel does not tell.
    pub(crate) fn of(process: u32) -> Self {
        let stat = proc_text(Path::new(&format!("/proc/{process}/stat"))).unwrap_or_default();
        // Behind the program name in brackets, which may contain blanks, fields 11 to 14 (from 0) are user and system
        // time of the process and of its children.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
        let mut ticks = fields.skip(11).map(|field| field.parse::<u64>().unwrap_or_default());
        let mut next_two = || ticks.next().unwrap_or_default() + ticks.next().unwrap_or_default();
        let (own, children) = (next_two(), next_two());
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let time = |ticks: u64| Duration::from_millis(ticks * 1000 / per_second);
        Self { own: time(own), children: time(children) }
    }
}

/// The longest message, in bytes; arguments and environment of a process are far shorter.
const LONGEST_MESSAGE: usize = 64 << 20;

/// JSON lines over a UNIX socket, optionally with a descriptor.
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
            if self.received.len() > LONGEST_MESSAGE {
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
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_line_names_range_device_inode_and_path() {
        let line = b"00400000-00422000 r--p 00001000 fe:01 1835032                    /usr/lib/with two blanks.so (deleted)";
        let found = MappedFile::of_line(line).unwrap();
        assert_eq!((found.device, found.number), ((0xfe, 1), 1_835_032));
        assert_eq!((found.range().as_str(), found.file_end()), ("400000-422000", 0x23000));
        assert_eq!(found.path, b"/usr/lib/with two blanks.so (deleted)");
        let memory = b"7f1000-7f3000 rw-s 00001000 00:01 1234                       /memfd:a b (deleted)";
        let memory = MappedFile::of_line(memory).unwrap();
        assert_eq!((memory.device, memory.number, memory.file_end()), ((0, 1), 1234, 0x3000));
        assert_eq!((memory.range().as_str(), memory.path), ("7f1000-7f3000", &b"/memfd:a b (deleted)"[..]));
    }

    #[test]
    fn a_line_about_no_file_is_none() {
        for other in [
            &b"7ffd1-7ffd2 rw-p 00000000 00:00 0                          [stack]"[..],
            b"7ffd1-7ffd2 rw-p 00000000 00:0d 12 anon_inode:[perf_event]",
            b"7f1000-7f3000 rw-p 00000000 00:00 0 ",
            b"Pss:                  12 kB",
            b"VmFlags: rd wr",
            b"",
            b"a b c d e f",
            b"\xff",
        ] {
            assert_eq!(MappedFile::of_line(other), None);
        }
    }

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
