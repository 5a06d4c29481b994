//! Distfiles without a working URL, fetched by the driver in a sandbox with the host's network.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_bulk_values::records::RecipeRecord;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_rootfs::Interrupt;

use super::RunRequest;
use crate::base::BaseLayer;
use crate::driver::{DRIVER_INSIDE, Driver, FETCH};
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxEnd, SandboxLimits, StopCause, TaskLog, environment,
    network_files,
};
use crate::sources::{FetchFailure, MissingDistfile, take_from};
use crate::space::is_full;
use crate::task::TaskError;
use crate::task::place::TaskPlace;
use crate::task::sandbox_run::run_in_sandbox;

const LOG: &[u8] = b"fetch.log";

/// Maximum output in bytes, and quoted length of its last line.
const MOST_PRINTED: u64 = 1 << 20;
const LONGEST_LAST_LINE: usize = 512;

const DISTFILES: &str = "distfiles";

pub(super) struct DriverFetch {
    driver: Driver,
    tree: PathBuf,
    build_dir: PathBuf,
    id: String,
    base: BaseLayer,
    user: BuildUser,
    env: Vec<(String, String)>,
    limits: SandboxLimits,
    location: String,
}

impl DriverFetch {
    /// `None` if the driver has no `fetch`.
    pub(super) fn of(request: &RunRequest<'_>, record: &RecipeRecord) -> Option<Self> {
        let conf = &request.work.conf;
        let limits = SandboxLimits::of(&conf.limits).within(conf.scan_time.map(Duration::from_secs));
        request.driver.can_fetch().then(|| Self {
            driver: request.driver.clone(),
            tree: conf.tree.clone(),
            build_dir: conf.build_dir.clone(),
            id: request.work.id.clone(),
            base: request.base.0.clone(),
            user: request.user,
            env: conf.env.clone(),
            limits,
            location: record.location().to_string(),
        })
    }

    pub(super) fn fetch(
        &self,
        missing: &[MissingDistfile<'_>],
        directory: &Path,
        interrupt: Interrupt<'_>,
    ) -> Result<(), FetchFailure> {
        let first = missing.first().map(ToString::to_string).unwrap_or_default();
        let failed = |reason: String| format!("{first}; {FETCH}: {reason}");
        let of_machine = |error: TaskError| FetchFailure::Machine(failed(error.to_string()));
        let place = TaskPlace::make(&self.build_dir, &self.id).map_err(|error| of_machine(error.into()))?;
        let mut ended = self.run(&place, interrupt);
        if let Err(TaskError::Lost(_)) = ended {
            // It may have been an accident; another attempt tells.
            ended = self.run(&place, interrupt);
        }
        let taken = match ended {
            Err(lost @ TaskError::Lost(_)) => Err(FetchFailure::Package(failed(lost.to_string()))),
            Err(error) => Err(of_machine(error)),
            Ok(ended) => match failure_of(&ended, &place) {
                // It may have found no space.
                Some(_) if is_full(&self.build_dir) => {
                    Err(of_machine(TaskError::FullBuildDir(self.build_dir.clone())))
                }
                Some(reason) => Err(FetchFailure::Package(failed(reason))),
                None => take_from(directory, &place.part(DISTFILES), missing, FETCH),
            },
        };
        // Leftovers have no owner and go with the next run.
        let _ = place.remove();
        taken
    }

    fn run(&self, place: &TaskPlace, interrupt: Interrupt<'_>) -> Result<SandboxEnd, TaskError> {
        for part in ["upper", "scratch", DISTFILES] {
            place.empty(part)?;
        }
        place.dir.remove(LOG)?;
        let root = self.root(place);
        root.lay_out(interrupt)?;
        self.base.ids.give(&place.dir, DISTFILES.as_bytes(), self.user.id())?;
        let mut log = TaskLog::begin(place.dir.create(LOG)?, Some(MOST_PRINTED));
        let written = ["upper", DISTFILES].map(|part| place.part(part));
        let limits = (&self.limits, &written[..]);
        run_in_sandbox(place, (&root, self.command()), limits, &mut log, &mut |_, _| interrupt().is_some())
    }

    fn root(&self, place: &TaskPlace) -> BuildRoot {
        let mounts = [
            SandboxMount::read_only(&self.tree, "/tree"),
            SandboxMount::read_only(&self.driver.directory, DRIVER_INSIDE),
            SandboxMount {
                is_writable: true,
                source: place.part(DISTFILES),
                target: format!("/{DISTFILES}").into(),
            },
        ];
        BuildRoot {
            kind: self.base.kind,
            ids: self.base.ids,
            lower: vec![self.base.layer.clone()],
            upper: place.part("upper"),
            scratch: place.part("scratch"),
            host: self.base.mounted.clone(),
            mounts: mounts.into_iter().chain(network_files()).collect(),
        }
    }

    fn command(&self) -> SandboxCommand {
        let own = [
            ("HOME", "/tmp"),
            ("TMPDIR", "/tmp"),
            ("SHELL", "/bin/sh"),
            ("TREE", "/tree"),
            ("DISTDIR", "/distfiles"),
            ("PKG_LOCATION", &self.location),
        ];
        let named = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = own.into_iter().chain(named).collect();
        let program = OsString::from(format!("{DRIVER_INSIDE}/{FETCH}"));
        SandboxCommand {
            words: vec![program, self.location.clone().into()],
            environment: environment(&variables),
            directory: "/tree".to_owned(),
            user: self.user,
            has_network: true,
            has_terminal: false,
        }
    }
}

/// Quotes the last line of output; `None` on success.
fn failure_of(ended: &SandboxEnd, place: &TaskPlace) -> Option<String> {
    let how = match (&ended.stopped, ended.end) {
        (_, Some(EnclosureEnd::Exited(0))) => return None,
        (_, Some(end)) => end.to_string(),
        (Some(StopCause::Time(took)), None) => format!("it took {} s", took.as_secs()),
        (Some(StopCause::Output(bytes)), None) => format!("it printed {bytes} bytes"),
        (Some(StopCause::Disk(bytes)), None) => format!("it wrote {bytes} bytes"),
        (Some(StopCause::InSocket), None) => {
            "it kept open files in a socket, where they cannot be counted".to_owned()
        }
        (Some(StopCause::Uncountable), None) => "its open and mapped files could not be counted".to_owned(),
        (Some(StopCause::Objects(over)), None) => format!("it had {} {}", over.count, over.kind),
        (Some(StopCause::Memory(bytes, _)), None) => format!("it had {bytes} bytes of memory"),
        (Some(StopCause::Processes(count, _)), None) => format!("it had {count} processes"),
        (Some(StopCause::Processor(time)), None) => {
            format!("one of its processes used {} s of CPU time", time.as_secs())
        }
        (_, None) => "it was ended".to_owned(),
    };
    let printed = place.dir.read_regular(LOG, MOST_PRINTED).ok().flatten().unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    let line = printed.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let line: String = line.chars().take(LONGEST_LAST_LINE).collect();
    Some(if line.is_empty() { how } else { format!("{how}: {line}") })
}
