//! Small programs that the benchmark runs as separate processes: it calls itself with one of their names.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::measure::Usage;
use crate::{floor, reader};

/// Runs the small program that the first argument names. Returns false if it names none.
pub(crate) fn run(arguments: &[OsString]) -> Result<bool> {
    let Some((name, rest)) = arguments.split_first() else { return Ok(false) };
    let path = |number: usize| -> Result<&Path> {
        rest.get(number).map(Path::new).with_context(|| format!("argument {number} is missing"))
    };
    match name.to_str().unwrap_or_default() {
        "@measured" => measured(path(0)?, path(1)?, rest.get(2..).unwrap_or_default())?,
        "@floor-apply" => floor::apply(path(0)?, path(1)?, path(2)?, path(3)?)?,
        "@floor-back" => floor::back_out(path(0)?, path(1)?, path(2)?)?,
        "@link-floor-apply" => floor::apply_by_links(path(0)?, path(1)?, path(2)?, path(3)?)?,
        "@link-floor-back" => floor::back_out_by_links(path(0)?, path(1)?, path(2)?)?,
        "@floor-copy" => floor::copy_durably(path(0)?, path(1)?)?,
        "@read" => reader::read_all(path(0)?)?,
        "@parse" => reader::parse_all(path(0)?)?,
        "@digest" => reader::digest_all(path(0)?, path(1)?, path(2)?)?,
        "@heads" => reader::read_heads(path(0)?)?,
        "@status" => reader::stat_all(path(0)?)?,
        other if other.starts_with('@') => bail!("there is no small program {other}"),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Runs one command and reports its resource usage. Its output goes to `log`.
fn measured(report: &Path, log: &Path, words: &[OsString]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no command")?;
    let log = File::create(log)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{}", PathBuf::from(program).display()))?;
    // The process has ended. Its figures stay in /proc until it is waited for.
    waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let wall = started.elapsed().as_secs_f64();
    let own = processor_time_of(child.id());
    let status = child.wait()?;
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = (used.user_time() + used.system_time()).num_microseconds() as f64 / 1e6;
    let (peak, code) = (used.max_rss() as f64 * 1024.0, status.code().unwrap_or(-1));
    let usage = Usage { wall, cpu, own, peak, code };
    fs::write(report, serde_json::to_vec(&usage)?)?;
    Ok(())
}

/// Returns the CPU seconds of one process, without those of children that it waited for.
fn processor_time_of(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The program name, in parentheses, may contain blanks. After it, user and system time are the 12th and 13th
    // field.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
