//! The sandboxes in which `scan` and `platform` are called. A driver may run what recipes say, so each call has a sandbox of its own: no process
//! of one call lives while another one is answered, and nothing that it wrote is seen by another one.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_core::namespaces::{Access, Enclosure, EnclosureEnd, EnclosureError};
use patchadm_rootfs::RootError;
use patchadm_svr4::package::Mode;

use super::error::ScanError;
use crate::base::BaseLayer;
use crate::driver::{DRIVER_INSIDE, Driver};
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxEnd, SandboxError, SandboxLimits, SandboxWatch, StopCause,
    TaskLog, enclosure, environment, no_input,
};
use crate::task::place::TaskPlace;
use crate::task::sandbox_run::run_to_end;
use crate::task::step::TaskError;
use crate::work::{Work, made};

/// The most bytes that one call may print, and one more.
const MOST_PRINTED: u64 = (16 << 20) + 1;

/// The time that a sandbox takes to be made, on a machine that has much else to do: it is not that of the call.
const TO_MAKE: Duration = Duration::from_secs(5);

/// The maximum length of the last output line quoted in a failure, in bytes.
const LONGEST_LAST_LINE: usize = 512;

/// The prefix of a driver's note about the list of locations, and the most notes that are reported.
const NOTE: &str = "note: ";
const MOST_NOTES: usize = 20;

/// The file with what a call has printed.
const PRINTED: &[u8] = b"printed";

/// The directories that a call may write to, each a part of the place with its path inside.
const TEMPORARY: [(&str, &str); 2] = [("work", "/tmp"), ("out", "/var/tmp")];

/// The places over which something is mounted.
const PLACES: [&[u8]; 4] = [b"tree", b"driver", b"proc", b"dev"];

/// What one call printed, or why it failed.
pub(super) type Printed = Result<Vec<u8>, String>;

/// A place for sandboxes of scans, one after the other.
pub(super) struct ScanSandbox<'a> {
    /// Given up at the end.
    place: Option<TaskPlace>,
    base: &'a BaseLayer,
    enclosure: Enclosure,
    /// The time that a call may take.
    time: Option<Duration>,
    limits: SandboxLimits,
    interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

impl<'a> ScanSandbox<'a> {
    /// Makes a place. The limits are those of all packages: which ones a location makes is not known yet.
    pub(super) fn make(
        work: &Work,
        driver: &Driver,
        (base, user): (&'a BaseLayer, BuildUser),
        interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    ) -> io::Result<Self> {
        let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(io::Error::other)?;
        let temporary = TEMPORARY.map(|(part, inside)| SandboxMount {
            is_writable: true,
            source: place.part(part),
            target: inside.into(),
        });
        let read = [
            SandboxMount::read_only(&work.conf.tree, "/tree"),
            SandboxMount::read_only(&driver.directory, DRIVER_INSIDE),
        ];
        let root = BuildRoot {
            kind: base.kind,
            ids: base.ids,
            lower: vec![base.layer.clone()],
            upper: place.part("upper"),
            scratch: place.part("scratch"),
            host: base.mounted.clone(),
            mounts: read.into_iter().chain(temporary).collect(),
        };
        let upper = root.lay_out().map_err(io::Error::other)?;
        for name in PLACES {
            made(&upper, name).map_err(io::Error::other)?;
        }
        let own = [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("SHELL", "/bin/sh"), ("TREE", "/tree")];
        let named = work.conf.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = own.into_iter().chain(named).collect();
        let command = SandboxCommand {
            words: Vec::new(),
            environment: environment(&variables),
            directory: "/tree".to_owned(),
            user,
            has_network: false,
            has_terminal: false,
        };
        let time = work.conf.scan_time.map(Duration::from_secs);
        let limits = SandboxLimits::of(&work.conf.limits).within(time.map(|time| time + TO_MAKE));
        let enclosure = enclosure(&root, command, &limits, Some(place.inside())).map_err(io::Error::other)?;
        let enclosure = Enclosure { access: Access::ReadOnly, ..enclosure };
        Ok(Self { place: Some(place), base, enclosure, time, limits, interrupt })
    }

    /// Calls `scan`, for a location or for the list of all. An error is the machine's.
    pub(super) fn call(&self, location: Option<&str>) -> Result<Printed, ScanError> {
        self.call_program("scan", location)
    }

    /// Calls `scan` for the list of all locations. Returns the list and the notes that the driver wrote to standard error.
    pub(super) fn list(&self) -> Result<(Printed, Vec<String>), ScanError> {
        let mut said = Vec::new();
        let printed = self.call_with(("scan", None), &mut said)?;
        let said = String::from_utf8_lossy(&said);
        let mut notes: Vec<String> =
            said.lines().filter_map(|line| Some(format!("scan: {}", line.strip_prefix(NOTE)?))).collect();
        let more = notes.len().saturating_sub(MOST_NOTES);
        if more > 0 {
            notes.truncate(MOST_NOTES);
            notes.push(format!("scan: {more} more notes of the driver"));
        }
        Ok((printed, notes))
    }

    /// Calls a program of the driver. An error is the machine's.
    pub(super) fn call_program(&self, program: &str, location: Option<&str>) -> Result<Printed, ScanError> {
        self.call_with((program, location), &mut Vec::new())
    }

    fn call_with(
        &self,
        (program, location): (&str, Option<&str>),
        said: &mut Vec<u8>,
    ) -> Result<Printed, ScanError> {
        let ended = self.run((program, location), said);
        if let Some(signal) = (self.interrupt)() {
            return Err(ScanError::Interrupted(signal));
        }
        let ended = match ended {
            Ok(ended) => ended,
            Err(TaskError::Sandbox(SandboxError::Enclosure(
                error @ (EnclosureError::NotFound(_) | EnclosureError::NotExecutable { .. }),
            ))) => return Ok(Err(format!("{program}: {error}"))),
            Err(error) => return Err(of_machine(error).into()),
        };
        if let Some(failure) = failure_of(&ended, self.time, said) {
            return Ok(Err(format!("{program}: {failure}")));
        }
        let printed = self.place()?.dir.read_regular(PRINTED, MOST_PRINTED)?;
        Ok(Ok(printed.unwrap_or_default()))
    }

    fn place(&self) -> io::Result<&TaskPlace> {
        self.place.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn run(
        &self,
        (program, location): (&str, Option<&str>),
        said: &mut Vec<u8>,
    ) -> Result<SandboxEnd, TaskError> {
        let place = self.place()?;
        for (part, _) in TEMPORARY {
            self.empty(place, part)?;
        }
        let mut enclosure = self.enclosure.clone();
        let program = OsString::from(format!("{DRIVER_INSIDE}/{program}"));
        enclosure.command.choices = vec![[program].into_iter().chain(location.map(Into::into)).collect()];
        place.dir.remove(PRINTED)?;
        let mut log = TaskLog::begin(place.dir.create(PRINTED)?, Some(MOST_PRINTED));
        let written: Vec<PathBuf> = TEMPORARY.iter().map(|(part, _)| place.part(part)).collect();
        let mut group = place.control_group(self.limits.of_group());
        let mut watch = SandboxWatch {
            group: &mut group,
            written: &written,
            errors: Some(said),
            phase: &mut |_| {},
            ticks: &mut |_, _| (self.interrupt)().is_some(),
        };
        run_to_end(place, &enclosure, (&self.limits, &no_input()?), &mut log, &mut watch)
    }

    /// Empties a temporary directory; everybody inside may write to it.
    fn empty(&self, place: &TaskPlace, part: &str) -> Result<(), RootError> {
        place.empty(part)?;
        self.base.ids.give(&place.dir, part.as_bytes(), 0)?;
        place.dir.set_mode(part.as_bytes(), Mode::of(0o1777))
    }
}

impl Drop for ScanSandbox<'_> {
    fn drop(&mut self) {
        // What cannot be removed belongs to nobody and goes with the next run.
        let _ = self.place.take().map(TaskPlace::remove);
    }
}

/// Returns why a call failed; none if it ended well.
fn failure_of(ended: &SandboxEnd, time: Option<Duration>, said: &[u8]) -> Option<String> {
    Some(match (&ended.stopped, ended.end) {
        (None, Some(EnclosureEnd::Exited(0))) => return None,
        (Some(StopCause::Time(took)), _) => {
            format!("it took longer than {} s", time.unwrap_or(*took).as_secs())
        }
        (Some(StopCause::Output(_)), _) => format!("it printed more than {} MiB", MOST_PRINTED >> 20),
        (Some(StopCause::Disk(bytes)), _) => format!("it wrote {bytes} bytes"),
        (Some(StopCause::Closed(path)), _) => format!("it left {path}, a directory that cannot be read"),
        (Some(StopCause::Memory(bytes, _)), _) => format!("it had {bytes} bytes of memory"),
        (Some(StopCause::Processes(count, _)), _) => format!("it had {count} processes"),
        (Some(StopCause::Processor(time)), _) => {
            format!("a process of it had {} s of processor time", time.as_secs())
        }
        (_, Some(end)) => format!("{end}: {}", last_line(said)),
        (_, None) => "it was ended".to_owned(),
    })
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    line.chars().take(LONGEST_LAST_LINE).collect()
}

/// Turns a failed task into an error of the machine. `PermissionDenied` means that it has no sandboxes at all.
fn of_machine(error: TaskError) -> io::Error {
    match error {
        TaskError::Sandbox(SandboxError::Enclosure(error @ EnclosureError::NotAllowed(_))) => {
            io::Error::new(io::ErrorKind::PermissionDenied, error.to_string())
        }
        error => io::Error::other(error.to_string()),
    }
}
