//! A run as strace(1) sees it: the number of system calls, and the duration of its phases.

use std::fs;

use anyhow::{Context as _, Result};

use crate::disk::Disk;
use crate::line::{Line, is_installed};

/// The calls that end a phase. Others are not traced, so the trace hardly slows the run down.
const CALLS: &str = "trace=execve,exit_group,mkdir,mkdirat,fsync,fdatasync,syncfs";
const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];

/// Seconds of the phases of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunPhases {
    /// Until the first directory is made. Nothing is written before.
    pub(crate) prepare: f64,
    /// From there to the first sync.
    pub(crate) stage: f64,
    /// All syncs.
    pub(crate) sync: f64,
    /// The whole run.
    pub(crate) all: f64,
}

/// Returns the reason why nothing can be traced here, or `None` if tracing works.
pub(crate) fn why_not() -> Option<&'static str> {
    if !is_installed("strace") {
        return Some("strace is not installed");
    }
    let works = Line::new("strace").words("-f --seccomp-bpf -qq -o /dev/null true").run().is_ok();
    (!works).then_some("strace cannot trace here")
}

/// Runs a command and counts the system calls of all its threads and processes.
pub(crate) fn system_calls(disk: &Disk, line: &Line) -> Result<usize> {
    let trace = disk.scratch().join("trace");
    Line::new("strace").words("-f -qq -c -U calls,name -o").arg(&trace).line(line).run()?;
    let text = fs::read_to_string(&trace)?;
    let total = text.lines().rfind(|line| line.ends_with(" total")).context("strace has no total")?;
    let calls = total.split_whitespace().next().context("strace counted nothing")?;
    Ok(calls.parse()?)
}

/// Runs a command and returns its phases.
pub(crate) fn phases(disk: &Disk, line: &Line) -> Result<RunPhases> {
    let trace = disk.scratch().join("trace");
    disk.settle()?;
    let strace =
        Line::new("strace").words("-f --seccomp-bpf -qq -ttt -T -e").arg(CALLS).arg("-o").arg(&trace);
    strace.line(line).run()?;
    let calls: Vec<Call> = fs::read_to_string(&trace)?.lines().filter_map(Call::parse).collect();
    let began = calls.first().context("strace saw nothing")?.at;
    let ended = calls.last().context("strace saw nothing")?.at;
    let first = |names: &[&str]| {
        let named = calls.iter().filter(|call| names.contains(&call.name.as_str()));
        named.map(|call| call.at).min_by(f64::total_cmp).unwrap_or(ended)
    };
    let made = first(&["mkdir", "mkdirat"]);
    let syncs = calls.iter().filter(|call| SYNCS.contains(&call.name.as_str()));
    Ok(RunPhases {
        prepare: made - began,
        stage: (first(&SYNCS) - made).max(0.0),
        sync: syncs.map(|call| call.took).sum(),
        all: ended - began,
    })
}

/// A system call: when it began, and how long it took.
struct Call {
    name: String,
    at: f64,
    took: f64,
}

impl Call {
    /// Parses `PID TIME name(…) = 0 <SECONDS>`, or the end of a call that another thread interrupted,
    /// `PID TIME <... name resumed>…`. The beginning of such a call is ignored.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.trim_start().split_once(char::is_whitespace)?;
        let (time, call) = rest.trim_start().split_once(' ')?;
        let time: f64 = time.parse().ok()?;
        let took = call.rsplit_once('<').and_then(|(_, took)| took.strip_suffix('>')?.parse::<f64>().ok());
        if let Some(resumed) = call.strip_prefix("<... ") {
            let took = took?;
            return Some(Self { name: resumed.split(' ').next()?.to_owned(), at: time - took, took });
        }
        let name = call.split('(').next()?.to_owned();
        // The last call has no end.
        let took = if name == "exit_group" { 0.0 } else { took? };
        Some(Self { name, at: time, took })
    }
}
