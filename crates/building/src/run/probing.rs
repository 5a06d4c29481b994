//! Probes of slots: each slot starts a process whose answer must meet the requirements.

use std::ffi::OsString;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::{LimitName, Slot, TaskPlaceholders};
use patchadm_bulk_values::probe::{PROBE_FORMAT, ProbeAnswer, ProbeExpectation, ProbeOrder, SlotMisfit};
use patchadm_bulk_values::slots::SlotTable;
use patchadm_rootfs::{Dir, RootError, random};
use patchadm_svr4::package::Mode;

use super::slot_command::{SlotCommand, cancel_job};
use super::{BulkRunEvent, RunError, RunRequest, Tell};
use crate::keys::{driver_digests, machine_type};
use crate::task::{PROBE_PROCESS, VERSION};
use crate::work::PROGRAM;

const MOST_PRINTED: u64 = 1 << 20;

const PAUSE: Duration = Duration::from_millis(50);

const TO_LEAVE: Duration = Duration::from_secs(2);

const NUMBER_FILE: &str = "probe.";

pub(super) struct SlotProbe {
    words: Vec<OsString>,
    limit: Option<Duration>,
    cancel: Vec<String>,
    expected: ProbeExpectation,
    base: String,
    number: NumberFile,
}

/// Shows that a slot sees the same directory. The name is new, because a machine may cache a negative lookup.
struct NumberFile {
    dir: Dir,
    name: String,
}

impl NumberFile {
    fn make(dir: &Dir, number: u64) -> Result<Self, RootError> {
        let name = format!("{NUMBER_FILE}{:016x}", random()?);
        dir.replace_file(PROGRAM, name.as_bytes(), format!("{number}\n").as_bytes(), Mode::of(0o644))?;
        Ok(Self { dir: dir.again()?, name })
    }
}

impl Drop for NumberFile {
    fn drop(&mut self) {
        // The next run removes leftovers.
        let _ = self.dir.remove(self.name.as_bytes());
    }
}

/// Returns a slot's prefix, the program, and the process argument.
pub(super) fn command_of(
    request: &RunRequest<'_>,
    slot: &Slot,
    task: &TaskPlaceholders<'_>,
    process: &str,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = slot.prefix_for(task).into_iter().map(OsString::from).collect();
    words.extend([request.program.as_os_str().to_owned(), process.into()]);
    words
}

impl SlotProbe {
    pub(super) fn of(request: &RunRequest<'_>, slot: &Slot) -> Result<Self, RootError> {
        let conf = &request.work.conf;
        let number = random()?;
        let job = format!("probe.{number:016x}.{}", request.work.id);
        let task = TaskPlaceholders {
            cpus: 1,
            memory: conf.limits.get(LimitName::Memory),
            time: conf.limits.get(LimitName::Time),
            package: "probe",
            job: &job,
        };
        let [scan, build] = driver_digests(request.driver);
        let expected = ProbeExpectation {
            work: request.work.path.to_string_lossy().into_owned(),
            build_dir: conf.build_dir.to_string_lossy().into_owned(),
            version: VERSION.to_owned(),
            machine: machine_type(),
            number,
            scan,
            build,
        };
        let words = command_of(request, slot, &task, PROBE_PROCESS);
        let base = request.base.1.to_string();
        let cancel = slot.cancel_for(&task);
        let limit = slot.longest_silence();
        Ok(Self {
            words,
            limit,
            cancel,
            expected,
            base,
            number: NumberFile::make(&request.work.dir, number)?,
        })
    }

    /// Probes the slot. Returns why it uses copies instead of overlays. Ends shortly after the slot's maximum silence.
    pub(super) fn look(self, is_to_end: &dyn Fn() -> bool) -> Result<Option<String>, SlotMisfit> {
        let order = ProbeOrder {
            probe: PROBE_FORMAT,
            work: self.expected.work.clone(),
            file: self.number.name.clone(),
            base: self.base,
        };
        let answer = ask((&self.words, self.limit), &order, is_to_end).map_err(|reason| {
            cancel_job(&self.cancel);
            SlotMisfit::NoAnswer(reason)
        })?;
        self.expected.compare(&answer)
    }
}

fn ask(
    (words, limit): (&[OsString], Option<Duration>),
    order: &ProbeOrder,
    is_to_end: &dyn Fn() -> bool,
) -> Result<ProbeAnswer, String> {
    let program = words.first().map(|word| word.display().to_string()).unwrap_or_default();
    let line = serde_json::to_vec(order).map_err(|error| error.to_string())?;
    let (mut command, output) =
        SlotCommand::start(words, line).map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    let (sender, answers) = channel();
    let gone = sender.clone();
    let each = move |answer: ProbeAnswer| {
        // Without a listener, the time is over.
        let _ = sender.send(Ok(answer));
        false
    };
    output.read_apart(MOST_PRINTED, each, move |said| drop(gone.send(Err(said))));
    let began = Instant::now();
    let answer = loop {
        match answers.recv_timeout(PAUSE) {
            Ok(Ok(answer)) => break Ok(answer),
            Ok(Err(said)) => break Err(unanswered(&program, &mut command, &said)),
            Err(RecvTimeoutError::Disconnected) => break Err(unanswered(&program, &mut command, "")),
            Err(RecvTimeoutError::Timeout) if is_to_end() => break Err("the run is stopping".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(limit) = limit.filter(|limit| began.elapsed() >= *limit) {
                    break Err(format!("`{program}` did not respond within {} s", limit.as_secs()));
                }
            }
        }
    };
    // The exit status does not matter after an answer.
    let _ = command.leave(if answer.is_ok() { TO_LEAVE } else { Duration::ZERO });
    answer
}

fn unanswered(program: &str, command: &mut SlotCommand, said: &str) -> String {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    match command.status_within(PAUSE) {
        Some(status) => format!("`{program}` ended without a response ({status}){said}"),
        None => format!("`{program}` did not respond{said}"),
    }
}

/// Probes all slots in parallel and drops those that fail. Fails if none is left.
pub(super) fn probe_all(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<SlotTable, RunError> {
    for name in request.work.dir.names_that_are(|name| name.starts_with(NUMBER_FILE.as_bytes()))? {
        request.work.dir.remove(&name)?;
    }
    let slots = request.work.conf.slots_on(request.cores, request.jobs);
    let probes = slots.iter().map(|slot| Ok(check_of(request, slot)?));
    let probes = probes.collect::<Result<Vec<_>, RunError>>()?;
    let is_to_end = || (request.interrupt)().is_some();
    let found: Vec<Result<Option<String>, SlotMisfit>> = std::thread::scope(|scope| {
        let look = |probe: Result<SlotProbe, SlotMisfit>| scope.spawn(move || probe?.look(&is_to_end));
        let threads: Vec<_> = probes.into_iter().map(look).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(lost()))).collect()
    });
    if is_to_end() {
        return Ok(SlotTable::new(slots, request.work.conf.patience));
    }
    let mut misfits = Vec::new();
    let mut table = SlotTable::new(slots.clone(), request.work.conf.patience);
    for (number, (slot, found)) in slots.iter().zip(found).enumerate() {
        let misfit = match found {
            Ok(None) => continue,
            Ok(Some(reason)) => {
                let note = format!("slot {}: {reason}: every sandbox gets a copy of its tree", slot.name);
                tell(BulkRunEvent::Note(&note));
                continue;
            }
            Err(misfit) => misfit,
        };
        tell(BulkRunEvent::Note(&format!("slot {} is left out: {misfit}", slot.name)));
        table.leave_out(number, misfit.to_string());
        misfits.push((slot.name.as_str(), misfit));
    }
    if misfits.len() < slots.len() {
        return Ok(table);
    }
    let reasons = misfits.iter().map(|(name, misfit)| format!("{name}: {misfit}"));
    let reasons = reasons.collect::<Vec<_>>().join("\n");
    Err(if misfits.iter().all(|(_, misfit)| misfit.is_not_allowed()) {
        RunError::NotAllowed(reasons)
    } else {
        RunError::NoSlot(reasons)
    })
}

fn check_of(request: &RunRequest<'_>, slot: &Slot) -> Result<Result<SlotProbe, SlotMisfit>, RootError> {
    match slot.check_program(&request.program.to_string_lossy()) {
        Ok(()) => SlotProbe::of(request, slot).map(Ok),
        Err(error) => Ok(Err(SlotMisfit::NoAnswer(error.to_string()))),
    }
}

fn lost() -> SlotMisfit {
    SlotMisfit::NoAnswer("its probe was lost".to_owned())
}
