//! The memory of a task beside its build: of all its processes that run the program itself. What they share with each other and
//! with the run counts in parts (Pss of proc(5)).

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::ground::{Ground, Recipe};
use crate::disk::Disk;
use crate::options::Options;
use crate::report::Report;

/// MiB.
const MEMORY: f64 = 24.0;

/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// Measures a task with a large result.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let bytes = options.pick(64_000_000, 64_000);
    Report::progress("the memory of a task");
    let more = format!("head -c {bytes} /dev/urandom > \"$DESTDIR/opt/large\"; sleep 0.5");
    let ground = Ground::new(disk, "bulk", 1, |_| Recipe { more: &more, ..Recipe::default() })?;
    ground.set("check=none", "check=install")?;
    ground.scan().run()?;
    let mut command = ground.run("").command();
    let program = Path::new(command.get_program()).canonicalize()?;
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut most = 0;
    while run.try_wait()?.is_none() {
        most = most.max(memory_below(run.id(), &program));
        std::thread::sleep(PAUSE);
    }
    let ended = run.wait()?;
    if !ended.success() {
        bail!("the run of one package ended with {ended}");
    }
    let most = f64::from(u32::try_from(most).context("too much memory")?) / 1024.0;
    report.at_most(disk.name(), "memory of a task, beside its build", MEMORY, most, " MiB");
    ground.clear()
}

/// The proportional resident memory of the processes below one that run this program, in KiB.
fn memory_below(process: u32, program: &Path) -> u64 {
    let mut sum = 0;
    let mut open = children(process);
    while let Some(process) = open.pop() {
        open.extend(children(process));
        let below = Path::new("/proc").join(process.to_string());
        // The program is mounted under another name in a sandbox that starts it.
        let runs = fs::read_link(below.join("exe"));
        if runs.is_ok_and(|path| path == program || path.ends_with(".program")) {
            let memory = fs::read_to_string(below.join("smaps_rollup")).unwrap_or_default();
            let line = memory.lines().find_map(|line| line.strip_prefix("Pss:"));
            let words = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            sum += words.unwrap_or_default();
        }
    }
    sum
}

fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}
