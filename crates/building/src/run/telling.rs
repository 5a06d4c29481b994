//! A run is over: its set is made, its files are written, and who waits for its report is told.

use std::collections::BTreeMap;

use patchadm_bulk::conf::Base;
use patchadm_bulk::history::RunDifference;
use patchadm_bulk::journal::{JournalLine, PackageState};
use patchadm_bulk::pbulk_files::{PbulkPackage, restricted_subset};
use patchadm_bulk::records::Record;
use patchadm_bulk::report::{ReportTextInput, RunReport};

use super::journal_file::JournalFile;
use super::request::{RunError, RunEvent, RunRequest, Tell};
use super::results::RunOutcome;
use crate::logs::read_log;
use crate::report_files::{
    ReportFilesInput, copy_report, read_report, send_report, write_pbulk_files, write_report,
};
use crate::runs::run_directory;
use crate::set::{SetInput, SetPackage, make_set};
use crate::work::Work;

/// The lines at the end of a log that are told of a failure.
const LAST_LINES: usize = 20;

/// Makes the set of a run that came to its end, unless it was not one of all packages.
pub(super) fn make_its_set(
    request: &RunRequest<'_>,
    outcome: &mut RunOutcome,
    journal: &mut JournalFile,
) -> Result<(), RunError> {
    if !outcome.is_whole || !request.makes_set {
        return Ok(());
    }
    let restricted = restricted(outcome);
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
        Ok(set) => {
            journal.add(&JournalLine::Set(set.run))?;
            outcome.ended.report.set = Some(set);
        }
        Err(refusal) => outcome.ended.report.set_refused = Some(refusal.to_string()),
    }
    Ok(())
}

/// Returns for each package whether it must not be handed on: by itself, or because of what it needs.
fn restricted(outcome: &RunOutcome) -> Vec<bool> {
    let own: Vec<bool> = outcome.records.iter().map(Record::is_restricted).collect();
    let graph = outcome.resolution.graph();
    let needs: Vec<Vec<u32>> = graph.indices().map(|index| graph.needs(index).to_vec()).collect();
    restricted_subset(&own, &needs)
}

/// Writes the files of a run.
pub(super) fn write_files(request: &RunRequest<'_>, outcome: &RunOutcome) -> Result<(), RunError> {
    let work = request.work;
    let report = &outcome.ended.report;
    let dir = run_directory(work, report.run)?;
    let before = report.run.checked_sub(1).and_then(|run| read_report(work, run).ok());
    let difference =
        before.map(|before| RunDifference::between(&before.run_packages(), &report.run_packages()));
    let text = ReportTextInput {
        title: &work.conf.report.subject,
        base: &base_of(work),
        url: work.conf.report.url.as_deref(),
        difference: difference.as_ref(),
        log_ends: log_ends(work, report),
    };
    let sender = format!("bulk@{}", rustix::system::uname().nodename().to_string_lossy());
    write_report(&dir, &work.conf.report, &ReportFilesInput { report, text: &text, sender: &sender })?;
    let restricted = restricted(outcome);
    let depths = outcome.resolution.graph().depths();
    let mut packages = Vec::new();
    let mut texts = BTreeMap::new();
    for index in outcome.ended.outcomes.keys() {
        let Some(record) = outcome.records.get(*index) else { continue };
        let needs = outcome.resolution.depends(*index).iter();
        let needs: Vec<_> =
            needs.filter_map(|need| outcome.records.get(*need).map(Record::pkgname)).collect();
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = outcome.records.write_record(record, &needs, &mut text);
        texts.insert(*index, String::from_utf8_lossy(&text).into_owned());
    }
    for (index, state) in &outcome.ended.outcomes {
        let Some((record, text)) = outcome.records.get(*index).zip(texts.get(index)) else { continue };
        packages.push(PbulkPackage {
            pkgname: record.pkgname().as_str(),
            state: state.state,
            is_restricted: restricted.get(*index as usize).copied().unwrap_or_default(),
            depth: depths.get(*index as usize).copied().unwrap_or_default().into(),
            record: text,
        });
    }
    let uname = rustix::system::uname();
    let platform = format!("{}/{}", uname.sysname().to_string_lossy(), uname.machine().to_string_lossy());
    Ok(write_pbulk_files(&dir, report, &packages, &platform)?)
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

/// Returns the words for the base.
pub fn base_of(work: &Work) -> String {
    match &work.conf.base {
        Base::Host(_) => "host".to_owned(),
        Base::Directory(path) => path.display().to_string(),
    }
}

/// Returns the last lines of the logs of what failed in this run.
fn log_ends<'a>(work: &Work, report: &'a RunReport) -> BTreeMap<&'a str, Vec<String>> {
    let failed = report.packages.iter().filter(|package| package.state == PackageState::Failed);
    let ends = failed.filter_map(|package| {
        let log = read_log(work, &package.package, Some(package.run.unwrap_or(report.run))).ok()?;
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<String> = log.lines().map(str::to_owned).collect();
        let begin = lines.len().saturating_sub(LAST_LINES);
        Some((package.package.as_str(), lines.into_iter().skip(begin).collect()))
    });
    ends.collect()
}
