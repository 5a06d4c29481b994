//! A probe: started through a slot before any task, it checks the requirements of tasks and makes a sandbox.

use std::ffi::OsString;
use std::io;
use std::io::{BufRead as _, Write};
use std::path::Path;
use std::time::Duration;

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_bulk_values::probe::{PROBE_FORMAT, ProbeAnswer, ProbeFailure, ProbeOrder};
use patchadm_core::namespaces::{EnclosureEnd, EnclosureError};
use patchadm_rootfs::{LockError, never};

use super::TaskError;
use super::place::{TaskPlace, remove_abandoned};
use super::sandbox_run::run_in_sandbox;
use crate::base::{BaseLayer, base_layer, build_user, keep_layer_kind, known_layer_kind};
use crate::driver::Driver;
use crate::ids::SandboxIds;
use crate::keys::{driver_digests, machine_type};
use crate::pool::Pool;
use crate::sandbox::{
    BuildRoot, BuildUser, INSTALLER, LayerKind, SandboxCommand, SandboxError, SandboxLimits, TaskLog,
    environment, installer,
};
use crate::space::{is_full, must_have_room};
use crate::work::{BulkWork, build_directory};

/// Makes the program a probe.
pub const PROBE_PROCESS: &str = "__bulk-probe";

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const LONGEST_ORDER: u64 = 64 << 10;

const LONGEST_NUMBER: u64 = 32;

const LONGEST_COMMAND: Duration = Duration::from_secs(20);
const MOST_PRINTED: u64 = 64 << 10;

/// Answers the order in the first line of `input`. `installer` says why this machine's `patchadm` installs nothing.
pub fn serve_probe(
    input: impl io::Read,
    installer: Result<(), String>,
    output: &mut dyn Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    io::BufReader::new(input.take(LONGEST_ORDER)).read_until(b'\n', &mut line)?;
    let mut answer = ProbeAnswer {
        probe: PROBE_FORMAT,
        version: VERSION.to_owned(),
        machine: machine_type(),
        number: None,
        scan: None,
        build: None,
        copies: None,
        failure: None,
    };
    let looked = match serde_json::from_slice::<ProbeOrder>(&line) {
        Ok(order) => installer.map_err(ProbeFailure::Other).and_then(|()| look(&order, &mut answer)),
        Err(error) => Err(ProbeFailure::Other(format!("the order cannot be read: {error}"))),
    };
    answer.failure = looked.err();
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Reports the first failure.
fn look(order: &ProbeOrder, answer: &mut ProbeAnswer) -> Result<(), ProbeFailure> {
    let other = |error: &dyn std::error::Error| ProbeFailure::Other(error.to_string());
    let work = BulkWork::open(Path::new(&order.work)).map_err(|error| other(&error))?;
    let number =
        work.dir.read_regular(order.file.as_bytes(), LONGEST_NUMBER).map_err(|error| other(&error))?;
    answer.number = number.and_then(|number| std::str::from_utf8(&number).ok()?.trim_end().parse().ok());
    let driver = Driver::find(&work).map_err(|error| other(&error))?;
    [answer.scan, answer.build] = driver_digests(&driver);
    let pool = Pool::open(&work.conf.pool).map_err(|error| other(&error))?;
    pool.begin().and_then(|(name, _)| pool.give_up(&name)).map_err(|error| other(&error))?;
    work.make_build_dir().map_err(|error| other(&error))?;
    let ids = SandboxIds::of_task(&work.conf).map_err(ProbeFailure::Other)?;
    let user = build_user(&work.conf);
    let base = base_layer(&work.conf, (ids, user), &order.base, &never).map_err(|error| other(&error))?;
    remove_abandoned(&work.conf.build_dir, &work.id, &never).map_err(|error| other(&error))?;
    if let Err(error) = build_directory(&work.conf.build_dir).and_then(|dir| must_have_room(&dir, 0)) {
        return Err(ProbeFailure::Other(format!("no space is left: {error}")));
    }
    if is_full(&work.conf.build_dir) {
        return Err(ProbeFailure::Other("no space is left".to_owned()));
    }
    let (made, refusal) = try_layers(&work, &base, user).map_err(|error| other(&error))?;
    answer.copies = refusal;
    match made {
        Ok(Some(EnclosureEnd::Exited(0))) => {
            must_be_accessible(&work, &base, user).map_err(ProbeFailure::Other)
        }
        Ok(Some(end)) => Err(ProbeFailure::Other(does_not_run(end, &base))),
        Ok(None) => Err(ProbeFailure::Other(format!("a command in it took {} s", LONGEST_COMMAND.as_secs()))),
        Err(TaskError::Sandbox(SandboxError::Enclosure(error @ EnclosureError::NotAllowed(_)))) => {
            Err(ProbeFailure::Namespaces(error.to_string()))
        }
        Err(TaskError::Sandbox(SandboxError::Enclosure(error @ EnclosureError::NoOverlay(_)))) => {
            Err(ProbeFailure::Overlay(error.to_string()))
        }
        Err(error) => Err(ProbeFailure::Other(error.to_string())),
    }
}

/// Says that `patchadm` does not run in the sandbox, with a possible cause.
fn does_not_run(end: EnclosureEnd, base: &BaseLayer) -> String {
    let needs = if base.mounted.is_empty() {
        "; the base must have the libraries that it is linked with, or it must be a static one"
    } else {
        ""
    };
    format!("patchadm does not run in it: {end}{needs}")
}

/// `None` on timeout.
type TriedSandbox = Result<Option<EnclosureEnd>, TaskError>;

/// Tries an overlay, then a copy, and records the working layer kind. Returns the last attempt, and why one failed.
fn try_layers(
    work: &BulkWork,
    base: &BaseLayer,
    user: BuildUser,
) -> Result<(TriedSandbox, Option<String>), LockError> {
    let build_dir = &work.conf.build_dir;
    let try_kind = |kind| {
        let base = BaseLayer { kind, ..base.clone() };
        let place = TaskPlace::make(build_dir, &work.id)?;
        let made = make_sandbox(&place, &base, user);
        place.remove()?;
        if made.is_ok() {
            keep_layer_kind(build_dir, kind)?;
        }
        Ok::<_, LockError>(made)
    };
    match try_kind(LayerKind::Overlay)? {
        Err(TaskError::Sandbox(SandboxError::Enclosure(error @ EnclosureError::OverlayRefused(_)))) => {
            Ok((try_kind(LayerKind::Copy)?, Some(error.to_string())))
        }
        made => Ok((made, None)),
    }
}

/// Returns a base with this machine's layer kind, found now if necessary. Other problems appear when a sandbox is made.
pub(crate) fn with_layer_kind(
    work: &BulkWork,
    base: BaseLayer,
    user: BuildUser,
) -> Result<BaseLayer, LockError> {
    if known_layer_kind(&work.conf.build_dir)?.is_none() {
        let _ = try_layers(work, &base, user)?;
    }
    let kind = known_layer_kind(&work.conf.build_dir)?.unwrap_or_default();
    Ok(BaseLayer { kind, ..base })
}

/// Exits with the number of the first inaccessible path. `ro` or `rw` precedes each path.
const ACCESS: &str = "\
number=1
while [ $# -gt 0 ]; do
    [ -r \"$2\" ] && { [ ! -d \"$2\" ] || [ -x \"$2\" ]; } || exit $number
    [ \"$1\" = ro ] || [ -w \"$2\" ] || exit $number
    number=$((number + 1))
    shift 2
done";

/// Maximum number that an exit code can report.
const MOST_PATHS: usize = 100;

/// Checks that builds under other ids can access the tree and their writable mounts.
pub(crate) fn must_be_accessible(work: &BulkWork, base: &BaseLayer, user: BuildUser) -> Result<(), String> {
    if !base.ids.are_many() {
        return Ok(());
    }
    let writable = work.conf.mounts.iter().filter(|mount| mount.is_writable).cloned();
    let mounts: Vec<SandboxMount> = [SandboxMount::read_only(&work.conf.tree, "/tree")]
        .into_iter()
        .chain(writable)
        .take(MOST_PATHS)
        .collect();
    let mut words: Vec<OsString> = ["/bin/sh", "-c", ACCESS, "access"].map(Into::into).to_vec();
    for mount in &mounts {
        words.push(if mount.is_writable { "rw" } else { "ro" }.into());
        words.push(mount.target.clone().into());
    }
    let shown = |error: &dyn std::error::Error| error.to_string();
    let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(|error| shown(&error))?;
    let ended = run_probe(&place, base, (words, user), mounts.clone());
    place.remove().map_err(|error| shown(&error))?;
    // Probe and build report sandboxes or shells that do not work.
    let Ok(Some(EnclosureEnd::Exited(number @ 1..))) = ended else { return Ok(()) };
    let index = usize::try_from(number - 1).unwrap_or_default();
    let Some(mount) = mounts.get(index) else { return Ok(()) };
    let (how, what) = if mount.is_writable { ("write to", "the directory") } else { ("read", "the tree") };
    let id = base.ids.on_disk(user.id()).map_or_else(String::new, |id| format!(", which has the id {id},"));
    Err(format!("{what} {}: the user of builds{id} cannot {how} it", mount.source.display()))
}

fn make_sandbox(place: &TaskPlace, base: &BaseLayer, user: BuildUser) -> TriedSandbox {
    let words = [INSTALLER, "--version"].map(Into::into).to_vec();
    run_probe(place, base, (words, user), Vec::new())
}

fn run_probe(
    place: &TaskPlace,
    base: &BaseLayer,
    (words, user): (Vec<OsString>, BuildUser),
    mut mounts: Vec<SandboxMount>,
) -> TriedSandbox {
    mounts.push(installer()?);
    let root = BuildRoot {
        kind: base.kind,
        ids: base.ids,
        lower: vec![base.layer.clone()],
        upper: place.part("upper"),
        scratch: place.part("scratch"),
        host: base.mounted.clone(),
        mounts,
    };
    root.lay_out(&never)?;
    let command = SandboxCommand {
        words,
        environment: environment(&[]),
        directory: "/".to_owned(),
        user,
        has_network: false,
        has_terminal: false,
    };
    let limits = SandboxLimits { time: Some(LONGEST_COMMAND), ..SandboxLimits::default() };
    let mut log = TaskLog::begin(place.dir.create(b"log")?, Some(MOST_PRINTED));
    Ok(run_in_sandbox(place, (&root, command), (&limits, &[]), &mut log, &mut |_, _| false)?.end)
}
