//! Files of a run: its platform, pbulk's files, and the report as JSON, text, mail and page; and their delivery.
//!
//! Each is renamed into place when complete: readers see the old or the new one.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::{BuildBase, ReportSettings};
use patchadm_bulk_values::history::RunDifference;
use patchadm_bulk_values::journal::BuildState;
use patchadm_bulk_values::pbulk_files::{self, PbulkPackage, PbulkStatus};
use patchadm_bulk_values::report::{
    MailInput, ReportTextInput, RunPlatform, RunReport, report_mail, report_text,
};
use patchadm_inputs::password::without_password;
use patchadm_rootfs::{Dir, FileType, NewTree, RootError, UnnamedDirectory, WritableFile};
use patchadm_svr4::package::Mode;
use patchadm_svr4::package::control::{printable, visible_json};
use serde::Serialize;

use crate::base::BaseLayer;
use crate::command_run::{CommandError, run_command};
use crate::driver::Driver;
use crate::logs::{LogReader, find_phase_logs};
use crate::runs::{find_logs, find_run, read_bounded, run_directory};
use crate::sandbox::BuildUser;
use crate::scan::{TreeScanError, call_platform};
use crate::space::must_have_room;
use crate::tree_copy::copy_file;
use crate::work::{BulkWork, PROGRAM, RUNS, numbered_directories};

pub const REPORT_JSON: &str = "report.json";
pub const REPORT_TEXT: &str = "report.txt";
pub const REPORT_MAIL: &str = "report.eml";
pub const REPORT_PAGE: &str = "report.html";

const ALL_FILES: [&str; 11] = [
    "pscan",
    "presolve",
    "success",
    "error",
    "pbuild",
    "report",
    "status",
    REPORT_JSON,
    REPORT_TEXT,
    REPORT_MAIL,
    REPORT_PAGE,
];

const LARGEST_REPORT: u64 = 1 << 30;

const LONGEST_COMMAND: Duration = Duration::from_secs(600);

const BUFFER: usize = 1 << 16;

type WriteRecords<'w> = dyn Fn(&mut BufWriter<&mut WritableFile>) -> io::Result<()> + 'w;

#[derive(Clone, Copy, Debug)]
pub struct ReportFilesInput<'a> {
    pub report: &'a RunReport,
    pub text: &'a ReportTextInput<'a>,
    /// Used if the configuration names no sender.
    pub sender: &'a str,
    pub page: &'a str,
}

/// `report.json`: the JSON output of the command without its end.
#[derive(Serialize)]
struct ReportDocument<'a> {
    schema: &'static str,
    command: &'static str,
    #[serde(flatten)]
    report: &'a RunReport,
}

pub fn write_report(
    dir: &Dir,
    settings: &ReportSettings,
    input: &ReportFilesInput<'_>,
) -> Result<(), RootError> {
    let document = ReportDocument { schema: "patchadm/1", command: "bulk run", report: input.report };
    // Strings, numbers, and maps with words as keys: serializing these cannot fail.
    let json = serde_json::to_string(&document).unwrap_or_default();
    let json = visible_json(&json).into_owned() + "\n";
    let text = report_text(input.report, input.text);
    let from = settings.from.as_deref().unwrap_or(input.sender);
    let mail = MailInput { to: &settings.to, from, prefix: &settings.subject };
    let mail = report_mail(input.report, &text, &mail);
    let files = [
        (REPORT_JSON, json.as_bytes()),
        (REPORT_TEXT, text.as_bytes()),
        (REPORT_MAIL, mail.as_bytes()),
        (REPORT_PAGE, input.page.as_bytes()),
    ];
    write_all(dir, &files)
}

/// `record` gives lines of a record in `presolve`, `platform` is like `Linux/x86_64`, `base_url` leads to reports.
pub fn write_pbulk_files(
    dir: &Dir,
    report: &RunReport,
    packages: &[PbulkPackage<'_>],
    record: &dyn Fn(u32) -> String,
    (platform, base_url): (&str, Option<&str>),
) -> Result<(), RootError> {
    let mut sorted = packages.to_vec();
    sorted.sort_by_key(|package| package.pkgname);
    let compiler = report.platform.as_ref().and_then(|platform| platform.compiler.as_deref());
    let (began, ended) = (report.began.as_str(), Some(report.ended.as_str()));
    let status = PbulkStatus { platform, compiler, began, ended, base_url: base_url.unwrap_or_default() };
    let files = [
        ("success", pbulk_files::success(&sorted)),
        ("error", pbulk_files::error(&sorted)),
        ("pbuild", pbulk_files::pbuild(&sorted)),
        ("status", pbulk_files::status(&status)),
    ];
    write_all(dir, &files.each_ref().map(|(name, text)| (*name, text.as_bytes())))?;
    let record: &dyn Fn(u32) -> String = &|index| shown(&record(index));
    let bytes: u64 = sorted.iter().map(|package| record(package.index).len() as u64).sum();
    must_have_room(dir, bytes.saturating_mul(3))?;
    // Unresolved records have no DEPENDS.
    write_records(dir, "pscan", &|out| {
        write_lines(&sorted, record, &|line| !line.starts_with("DEPENDS="), out)
    })?;
    write_records(dir, "presolve", &|out| write_lines(&sorted, record, &|_| true, out))?;
    write_records(dir, "report", &|out| pbulk_files::write_report(&sorted, record, out))?;
    dir.sync()
}

/// Removes passwords and control characters, because these files are published.
fn shown(record: &str) -> String {
    let shown = |line: &str| match line.strip_prefix("DISTURL=") {
        Some(urls) => {
            let urls = urls.split(' ').map(without_password).collect::<Vec<_>>().join(" ");
            format!("DISTURL={urls}\n")
        }
        None => format!("{line}\n"),
    };
    let record: String = record.lines().map(shown).collect();
    String::from_utf8_lossy(&printable(record.as_bytes())).into_owned()
}

fn write_records(dir: &Dir, name: &str, write: &WriteRecords<'_>) -> Result<(), RootError> {
    dir.replace_streamed(PROGRAM, name.as_bytes(), Mode::of(0o644), |file| {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        write(&mut out)?;
        out.flush()
    })
}

fn write_lines(
    packages: &[PbulkPackage<'_>],
    record: &dyn Fn(u32) -> String,
    is_meant: &dyn Fn(&str) -> bool,
    out: &mut impl Write,
) -> io::Result<()> {
    for package in packages {
        for line in record(package.index).lines().filter(|line| is_meant(line)) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn write_all(dir: &Dir, files: &[(&str, &[u8])]) -> Result<(), RootError> {
    dir.remove_leftovers(PROGRAM)?;
    must_have_room(dir, files.iter().map(|(_, bytes)| bytes.len() as u64).sum())?;
    for (name, bytes) in files {
        dir.replace_file(PROGRAM, name.as_bytes(), bytes, Mode::of(0o644))?;
    }
    dir.sync()
}

#[derive(Debug, thiserror::Error)]
pub enum ReportReadError {
    /// No such run, or an unfinished one.
    #[error("run {0} has no report")]
    None(u64),
    #[error("{} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Root(#[from] RootError),
}

pub fn read_report(work: &BulkWork, run: u64) -> Result<RunReport, ReportReadError> {
    let none = || ReportReadError::None(run);
    let dir = find_run(&work.directory(RUNS)?, run)?.ok_or_else(none)?;
    let damaged = |reason: String| ReportReadError::Damaged {
        path: work.path.join(RUNS).join(run.to_string()).join(REPORT_JSON),
        reason,
    };
    let bytes = read_bounded(&dir, REPORT_JSON.as_bytes(), LARGEST_REPORT)?.map_err(damaged)?;
    serde_json::from_slice(&bytes.ok_or_else(none)?).map_err(|error| damaged(error.to_string()))
}

#[derive(Debug, thiserror::Error)]
pub enum SendReportError {
    #[error("report_command: {0}")]
    Command(#[from] CommandError),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Pipes the mail of a run to the configured command.
pub fn send_report(work: &BulkWork, run: u64) -> Result<(), SendReportError> {
    let Some(words) = work.conf.report.command.as_deref() else { return Ok(()) };
    let mail = run_directory(work, run)?.open_regular(REPORT_MAIL.as_bytes())?;
    let began = Instant::now();
    Ok(run_command(words, &work.path, Some(mail), &|| began.elapsed() > LONGEST_COMMAND)?)
}

pub fn read_last_report(work: &BulkWork) -> Result<Option<RunReport>, ReportReadError> {
    for run in numbered_directories(&work.directory(RUNS)?)?.into_iter().rev() {
        match read_report(work, run) {
            Err(ReportReadError::None(_)) => {}
            read => return read.map(Some),
        }
    }
    Ok(None)
}

/// Copies a run's files and the logs of failures to the configured directory. Returns the path of the copy.
pub fn copy_report(work: &BulkWork, report: &RunReport) -> Result<Option<PathBuf>, RootError> {
    let Some(place) = &work.conf.report.copy else { return Ok(None) };
    let copies = NewTree::at(place)?.directory(b"")?;
    copies.remove_leftovers(PROGRAM)?;
    let name = report.run.to_string();
    let mut copy = UnnamedDirectory::begin(&copies, PROGRAM, name.as_bytes())?;
    let (run, top) = (run_directory(work, report.run)?, copy.tree.directory(b"")?);
    for file in ALL_FILES {
        copy_if_there(&run, file, &top)?;
    }
    let runs = work.directory(RUNS)?;
    for package in report.packages.iter().filter(|package| package.state == BuildState::Failed) {
        let Some(logs) = find_logs(&runs, package.run.unwrap_or(report.run))? else { continue };
        copy_if_there(&logs, &format!("{}.log", package.package), &copy.tree.directory(b"logs")?)?;
        // One for each phase, beside it.
        if let Some(phases) = find_phase_logs(&logs, &package.package)? {
            let to = copy.tree.directory(format!("logs/{}", package.package).as_bytes())?;
            for name in phases.names()? {
                copy_if_there(&phases, &String::from_utf8_lossy(&name), &to)?;
            }
        }
    }
    top.set_own_mode(Mode::of(0o755))?;
    copy.publish(true)?;
    copies.sync()?;
    Ok(Some(place.join(name)))
}

fn copy_if_there(from: &Dir, name: &str, to: &Dir) -> Result<(), RootError> {
    if from.look(name.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(());
    }
    copy_file(from, name.as_bytes(), to, name.as_bytes())?;
    to.set_mode(name.as_bytes(), Mode::of(0o644))
}

/// The most bytes of the ends of all logs in a report. The logs of further failures are only named.
const LARGEST_ENDS: usize = 4 << 20;

/// The last argument is true if logs lie beside the page.
pub type RenderPage<'a> = &'a dyn Fn(&RunReport, &ReportTextInput<'_>, bool) -> String;

struct ReportInputs<'a> {
    work: &'a BulkWork,
    base: String,
    difference: Option<RunDifference>,
    log_ends: BTreeMap<&'a str, Vec<String>>,
}

impl<'a> ReportInputs<'a> {
    fn of(work: &'a BulkWork, report: &'a RunReport) -> Self {
        let before = report.run.checked_sub(1).and_then(|run| read_report(work, run).ok());
        let difference =
            before.map(|before| RunDifference::between(&before.run_packages(), &report.run_packages()));
        Self { work, base: base_of(work), difference, log_ends: log_ends(work, report, LARGEST_ENDS) }
    }

    fn text(&mut self) -> ReportTextInput<'_> {
        let log_ends = std::mem::take(&mut self.log_ends);
        ReportTextInput {
            title: &self.work.conf.report.subject,
            base: &self.base,
            url: self.work.conf.report.url.as_deref(),
            difference: self.difference.as_ref(),
            log_ends,
        }
    }
}

/// Writes the report to the run's directory, or to `directory`. Returns its path.
pub fn tell_report(
    work: &BulkWork,
    report: &RunReport,
    directory: Option<&Path>,
    render: RenderPage<'_>,
) -> Result<PathBuf, RootError> {
    let mut inputs = ReportInputs::of(work, report);
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

pub fn base_of(work: &BulkWork) -> String {
    match &work.conf.base {
        BuildBase::Host(_) => "host".to_owned(),
        BuildBase::Directory(path) => path.display().to_string(),
    }
}

fn log_ends<'a>(work: &BulkWork, report: &'a RunReport, most: usize) -> BTreeMap<&'a str, Vec<String>> {
    let failed = report.packages.iter().filter(|package| package.state == BuildState::Failed);
    let (mut ends, mut held) = (BTreeMap::new(), 0);
    for package in failed {
        let run = Some(package.run.unwrap_or(report.run));
        let read = LogReader::of(work, &package.package, run).and_then(LogReader::last_lines);
        let Ok(lines) = read else { continue };
        // Even empty lines take memory.
        let bytes: usize = lines.iter().map(|line| line.len() + size_of::<String>()).sum();
        if held + bytes > most {
            break;
        }
        held += bytes;
        ends.insert(package.package.as_str(), lines);
    }
    ends
}

const PLATFORM_FILE: &[u8] = b"platform";

const OS_RELEASE_FILES: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];

const LARGEST_PLATFORM: u64 = 1 << 16;

const LONGEST_PLATFORM_VALUE: usize = 200;

/// Asks the driver's program, and completes the answer from the base. The second value notes that program's failure.
pub(crate) fn find_platform(
    work: &BulkWork,
    driver: &Driver,
    base: (&BaseLayer, BuildUser),
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> (RunPlatform, Option<String>) {
    let mut platform = RunPlatform { base: base_of(work), ..RunPlatform::default() };
    let mut note = None;
    if driver.knows_platform() {
        match call_platform(work, driver, base, interrupt) {
            Ok(Ok(printed)) => take_lines(&String::from_utf8_lossy(&printed), &mut platform),
            Ok(Err(reason)) => note = Some(reason),
            // The same signal ends the run.
            Err(TreeScanError::Interrupted(_)) => {}
            Err(error) => note = Some(error.to_string()),
        }
    }
    platform.os = platform.os.or_else(|| Some(system_of(&work.conf.base)));
    (platform, note)
}

fn take_lines(printed: &str, platform: &mut RunPlatform) {
    for (name, value) in printed.lines().filter_map(|line| line.split_once('=')) {
        let value: String =
            value.trim().chars().filter(|letter| !letter.is_control()).take(LONGEST_PLATFORM_VALUE).collect();
        let place = match name {
            "OS" => &mut platform.os,
            "COMPILER" => &mut platform.compiler,
            _ => continue,
        };
        *place = Some(value).filter(|value| !value.is_empty());
    }
}

/// Returns the operating system of a base, or the kernel's name.
fn system_of(base: &BuildBase) -> String {
    let top: PathBuf = match base {
        BuildBase::Host(_) => "/".into(),
        BuildBase::Directory(path) => path.clone(),
    };
    let read = |path: &Path| {
        let dir = Dir::of_host(path.parent()?).ok()?;
        dir.read_regular(path.file_name()?.as_encoded_bytes(), LARGEST_PLATFORM).ok()?
    };
    let named = OS_RELEASE_FILES.iter().find_map(|name| {
        let text = String::from_utf8_lossy(&read(&top.join(name))?).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        let value: String = value.trim_matches(['"', '\'']).chars().filter(|l| !l.is_control()).collect();
        Some(value.chars().take(LONGEST_PLATFORM_VALUE).collect::<String>()).filter(|value| !value.is_empty())
    });
    named.unwrap_or_else(|| {
        let kernel = rustix::system::uname();
        format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy())
    })
}

pub(crate) fn keep_platform(run: &Dir, platform: &RunPlatform) -> Result<(), RootError> {
    // Strings: serializing them cannot fail.
    let bytes = serde_json::to_vec(platform).unwrap_or_default();
    run.replace_file(PROGRAM, PLATFORM_FILE, &bytes, Mode::of(0o644))
}

pub(crate) fn read_platform(run: &Dir) -> Result<Option<RunPlatform>, RootError> {
    let bytes = run.read_regular(PLATFORM_FILE, LARGEST_PLATFORM)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests;
