//! What the report of a run is told with: the difference from the run before, and the last lines of the logs of failures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::Base;
use patchadm_bulk_values::history::RunDifference;
use patchadm_bulk_values::journal::PackageState;
use patchadm_bulk_values::report::{ReportTextInput, RunReport};
use patchadm_rootfs::{NewTree, RootError};

use crate::logs::read_log;
use crate::report_files::{ReportFilesInput, read_report, write_report};
use crate::runs::run_directory;
use crate::work::{RUNS, Work};

/// The lines at the end of a log that are told of a failure.
const LAST_LINES: usize = 20;

/// Formats the page of a run; the last argument tells whether the logs are beside it.
pub type RenderPage<'a> = &'a dyn Fn(&RunReport, &ReportTextInput<'_>, bool) -> String;

/// What the report of a run is told with.
struct ReportInputs<'a> {
    work: &'a Work,
    base: String,
    difference: Option<RunDifference>,
    log_ends: BTreeMap<&'a str, Vec<String>>,
}

impl<'a> ReportInputs<'a> {
    fn of(work: &'a Work, report: &'a RunReport) -> Self {
        let before = report.run.checked_sub(1).and_then(|run| read_report(work, run).ok());
        let difference =
            before.map(|before| RunDifference::between(&before.run_packages(), &report.run_packages()));
        Self { work, base: base_of(work), difference, log_ends: log_ends(work, report) }
    }

    fn text(&self) -> ReportTextInput<'_> {
        ReportTextInput {
            title: &self.work.conf.report.subject,
            base: &self.base,
            url: self.work.conf.report.url.as_deref(),
            difference: self.difference.as_ref(),
            log_ends: self.log_ends.clone(),
        }
    }
}

/// Writes the report of a run into a directory: that of the run, or where `directory` says. Returns its path.
pub fn tell_report(
    work: &Work,
    report: &RunReport,
    directory: Option<&Path>,
    render: RenderPage<'_>,
) -> Result<PathBuf, RootError> {
    let inputs = ReportInputs::of(work, report);
    let text = inputs.text();
    let sender = format!("bulk@{}", rustix::system::uname().nodename().to_string_lossy());
    let page = render(report, &text, directory.is_none());
    let (dir, path) = match directory {
        Some(path) => (NewTree::at(path)?.directory(b"")?, path.to_owned()),
        None => (run_directory(work, report.run)?, work.path.join(RUNS).join(report.run.to_string())),
    };
    let input = ReportFilesInput { report, text: &text, sender: &sender, page: &page };
    write_report(&dir, &work.conf.report, &input)?;
    Ok(path)
}

/// Returns the words for the base.
pub fn base_of(work: &Work) -> String {
    match &work.conf.base {
        Base::Host(_) => "host".to_owned(),
        Base::Directory(path) => path.display().to_string(),
    }
}

/// Returns the last lines of the logs of what failed.
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
