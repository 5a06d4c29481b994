//! A sandbox in which `scan` is called: nothing but `/tmp` can be written to, and one serves many calls.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use patchadm_bulk::conf::SandboxMount;
use patchadm_core::namespaces::{EnclosureError, EnclosureProcess};

use super::SCAN_PROCESS;
use super::agent::{DriverCall, MOST_PRINTED, ScanAnswer, ScanOrder};
use crate::base::BaseLayer;
use crate::driver::{DRIVER_INSIDE, Driver};
use crate::sandbox::{
    BuildRoot, BuildUser, OWN_PROGRAM, SandboxCommand, SandboxLimits, enclosure, environment, own_program,
};
use crate::task::place::TaskPlace;
use crate::work::Work;

/// A sandbox for scans, with the process in it that calls `scan`.
pub(super) struct ScanSandbox {
    place: Option<TaskPlace>,
    process: Option<EnclosureProcess>,
    socket: BufReader<UnixStream>,
}

/// What one call printed, or why it failed.
pub(super) type Printed = Result<Vec<u8>, String>;

impl ScanSandbox {
    /// Makes a sandbox.
    pub(super) fn make(work: &Work, driver: &Driver, base: &BaseLayer, user: BuildUser) -> io::Result<Self> {
        let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(io::Error::other)?;
        let root = BuildRoot {
            kind: base.kind,
            ids: base.ids,
            lower: vec![base.layer.clone()],
            upper: place.part("upper"),
            scratch: place.part("scratch"),
            host: base.mounted.clone(),
            mounts: vec![
                SandboxMount::read_only(&work.conf.tree, "/tree"),
                SandboxMount::read_only(&driver.directory, DRIVER_INSIDE),
                own_program()?,
            ],
        };
        root.lay_out().map_err(io::Error::other)?;
        let own = [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("SHELL", "/bin/sh"), ("TREE", "/tree")];
        let named = work.conf.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = own.into_iter().chain(named).collect();
        let command = SandboxCommand {
            words: vec![OWN_PROGRAM.into(), SCAN_PROCESS.into()],
            environment: environment(&variables),
            directory: "/tree".to_owned(),
            user,
            has_network: false,
        };
        let enclosure = enclosure(&root, command, &SandboxLimits::default(), Some(place.inside()))
            .map_err(io::Error::other)?;
        let (ours, theirs) = UnixStream::pair()?;
        let process =
            EnclosureProcess::start(&enclosure, theirs.as_fd(), OwnedFd::from(theirs.try_clone()?))?;
        drop(theirs);
        let mut sandbox = Self { place: Some(place), process: Some(process), socket: BufReader::new(ours) };
        let order = serde_json::to_vec(&ScanOrder { time: work.conf.scan_time })?;
        sandbox.put(&order)?;
        Ok(sandbox)
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let put = self.socket.get_mut().write_all(&[line, b"\n"].concat());
        put.map_err(|_| self.why_it_is_lost(b""))
    }

    /// Calls `scan`, for a location or for the list of all. An error is the machine's.
    pub(super) fn call(&mut self, location: Option<&str>) -> io::Result<Printed> {
        self.call_program("scan", location)
    }

    /// Calls a program of the driver. An error is the machine's.
    pub(super) fn call_program(&mut self, program: &str, location: Option<&str>) -> io::Result<Printed> {
        let call = DriverCall { program: program.into(), location: location.map(Into::into) };
        self.put(&serde_json::to_vec(&call)?)?;
        let mut line = Vec::new();
        (&mut self.socket).take(4096).read_until(b'\n', &mut line)?;
        let answer: ScanAnswer = serde_json::from_slice(&line).map_err(|_| self.why_it_is_lost(&line))?;
        let length = answer.length as u64;
        if length > MOST_PRINTED {
            return Err(io::Error::other("the sandbox of a scan answers nonsense"));
        }
        let mut printed = vec![0; answer.length];
        self.socket.read_exact(&mut printed)?;
        Ok(answer.failure.map_or(Ok(printed), Err))
    }

    /// Returns why the process does not answer: what it said, or how it ended.
    fn why_it_is_lost(&mut self, said: &[u8]) -> io::Error {
        match self.process.take().map(EnclosureProcess::wait) {
            Some(Err(error @ EnclosureError::NotAllowed(_))) => {
                io::Error::new(io::ErrorKind::PermissionDenied, error.to_string())
            }
            Some(Err(error)) => io::Error::other(error.to_string()),
            Some(Ok((end, _))) => {
                let said = String::from_utf8_lossy(said);
                io::Error::other(format!("the sandbox of a scan ended ({end:?}): {}", said.trim_end()))
            }
            None => io::Error::other("the sandbox of a scan is gone"),
        }
    }
}

impl Drop for ScanSandbox {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
            let _ = process.wait();
        }
        if let Some(place) = self.place.take() {
            // What stays belongs to nobody and goes with the next run.
            let _ = place.wait_until_empty();
            let _ = place.remove();
        }
    }
}
