//! A run is over: its set is made, its files are written, and who waits for its report is told.

use patchadm_bulk_values::journal::JournalLine;
use patchadm_bulk_values::pbulk_files::{PbulkPackage, restricted_subset};
use patchadm_bulk_values::records::Record;
use patchadm_bulk_values::report::{RunReport, UploadReport};

use super::journal_file::JournalFile;
use super::request::{RunError, RunEvent, RunRequest, Tell};
use super::results::RunOutcome;
use crate::keys::machine_type;
use crate::report_files::{copy_report, send_report, write_pbulk_files};
use crate::report_inputs::tell_report;
use crate::runs::run_directory;
use crate::set::{MadeSet, SetInput, SetPackage, make_set};
use crate::tree::{is_of_pbulk, pbulk_depths, pbulk_record_text};
use crate::upload::{UploadError, UploadRequest, upload};

/// Makes the set of a run that came to its end, unless it was not one of all packages.
pub(super) fn make_its_set(
    request: &RunRequest<'_>,
    outcome: &mut RunOutcome,
    restricted: &[bool],
    journal: &mut JournalFile,
) -> Result<(), RunError> {
    if !outcome.is_whole || !request.makes_set {
        return Ok(());
    }
    let mut packages = Vec::new();
    for (index, state) in &outcome.ended.outcomes {
        let Some(record) = outcome.records.get(*index) else { continue };
        packages.push(SetPackage {
            package: record.pkgname().as_str(),
            location: record.location().as_str(),
            state: state.state,
            entry: outcome.ended.entries.get(index).cloned(),
            is_restricted: restricted.get(*index as usize).copied().unwrap_or_default(),
        });
    }
    let report = &outcome.ended.report;
    let input =
        SetInput { run: report.run, date: &report.ended, packages: &packages, interrupt: request.interrupt };
    let made = make_set(request.work, &input)?;
    match made {
        Ok(MadeSet { report: mut set, shared_paths }) => {
            let graph = outcome.resolution.graph();
            for left_out in &mut set.left_out {
                let index =
                    outcome.records.iter().position(|record| record.pkgname().as_str() == left_out.package);
                let index = index.and_then(|index| u32::try_from(index).ok());
                left_out.breaks = index.map_or(0, |index| graph.with_dependents(&[index]).len() as u64 - 1);
            }
            journal.add_durably(&JournalLine::Set(set.run))?;
            outcome.ended.report.set = Some(set);
            outcome.ended.report.shared_paths = shared_paths;
        }
        Err(refusal) => outcome.ended.report.set_refused = Some(refusal.to_string()),
    }
    Ok(())
}

/// Uploads the set of a run, where that is configured. What fails is in the report, and changes nothing of the set.
pub(super) fn upload_its_set(request: &RunRequest<'_>, outcome: &mut RunOutcome, tell: Tell<'_>) {
    let ended = &mut outcome.ended;
    let set = ended.report.set.as_ref().filter(|_| request.work.conf.upload_command.is_some());
    let Some(set) = set.filter(|_| ended.interrupted.is_none()) else { return };
    let wanted = UploadRequest {
        work: request.work,
        base: request.base.0,
        set: set.run,
        again: false,
        interrupt: request.interrupt,
    };
    let report = match upload(&wanted) {
        Ok(report) => report,
        Err(UploadError::Interrupted(signal)) => {
            ended.interrupted = Some(signal);
            return;
        }
        Err(error) => UploadReport { error: Some(error.to_string()), ..UploadReport::default() },
    };
    if let Some(error) = &report.error {
        tell(RunEvent::Note(&format!(
            "the set was not uploaded: {error}; `patchadm bulk upload` tries again"
        )));
        ended.is_handed_on = false;
    }
    ended.report.upload = Some(report);
}

/// Returns for each package whether it must not be handed on: by itself, or because of what it needs.
pub(super) fn restricted(outcome: &RunOutcome) -> Vec<bool> {
    let own: Vec<bool> = outcome.records.iter().map(Record::is_restricted).collect();
    let graph = outcome.resolution.graph();
    let needs: Vec<Vec<u32>> = graph.indices().map(|index| graph.needs(index).to_vec()).collect();
    restricted_subset(&own, &needs)
}

/// Writes the files of a run.
pub(super) fn write_files(
    request: &RunRequest<'_>,
    outcome: &RunOutcome,
    restricted: &[bool],
) -> Result<(), RunError> {
    let work = request.work;
    let report = &outcome.ended.report;
    let dir = run_directory(work, report.run)?;
    tell_report(work, report, None, request.page)?;
    let depths = pbulk_depths(&outcome.resolution);
    let mut packages = Vec::new();
    for (index, state) in &outcome.ended.outcomes {
        let record = outcome.records.get(*index).filter(|_| is_of_pbulk(&outcome.resolution, *index));
        let Some(record) = record else { continue };
        packages.push(PbulkPackage {
            pkgname: record.pkgname().as_str(),
            state: state.state,
            is_restricted: restricted.get(*index as usize).copied().unwrap_or_default(),
            depth: depths.get(*index as usize).copied().unwrap_or_default().into(),
            index: *index,
        });
    }
    let uname = rustix::system::uname();
    let os = report.platform.as_ref().and_then(|platform| platform.os.clone());
    let os = os.unwrap_or_else(|| uname.sysname().to_string_lossy().into_owned());
    let platform = format!("{os}/{}", machine_type());
    let text = |index| pbulk_record_text(&outcome.records, &outcome.resolution, index);
    Ok(write_pbulk_files(&dir, report, &packages, &text, (&platform, work.conf.report.url.as_deref()))?)
}

/// Gives the report to whom it is configured for. What fails is told, and changes nothing of the run.
pub(super) fn hand_on(request: &RunRequest<'_>, report: &RunReport, tell: Tell<'_>) -> bool {
    let mut is_done = true;
    if let Err(error) = send_report(request.work, report.run) {
        tell(RunEvent::Note(&error.to_string()));
        is_done = false;
    }
    if let Err(error) = copy_report(request.work, report) {
        tell(RunEvent::Note(&error.to_string()));
        is_done = false;
    }
    is_done
}
