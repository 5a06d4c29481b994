//! The processes of a sandbox, as the kernel lists them: how many there are, and how much memory they have.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// What the processes below one use together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessUsage {
    /// The processes by their numbers.
    pub(super) processes: Vec<u32>,
    /// Their resident memory that no file backs, in bytes.
    pub(super) anonymous: u64,
    /// What they have mapped of files in memory and is resident, in bytes; what several share counts for each.
    pub(super) shared: u64,
    /// The most processor time that one of them had.
    pub(super) longest: Duration,
}

/// The most processes that are looked at: more than any limit.
const MOST: usize = 1 << 17;

/// Returns what all processes below this one use. One that ends meanwhile counts as none.
pub(super) fn usage_below(process: u32) -> ProcessUsage {
    let mut usage = ProcessUsage::default();
    let mut open = children(process);
    while let Some(process) = open.pop() {
        usage.processes.push(process);
        let (anonymous, shared) = memory_of(process);
        usage.anonymous += anonymous;
        usage.shared += shared;
        usage.longest = usage.longest.max(processor_time_of(process));
        if usage.processes.len() >= MOST {
            break;
        }
        open.extend(children(process));
    }
    usage
}

/// Returns the processor time of one process.
fn processor_time_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program, in brackets, may have blanks; behind it user and system time are the 12th and 13th field.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Returns the children of all threads of a process.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let lists = threads.into_iter().flatten().flatten().filter_map(|thread| {
        let list = fs::read_to_string(thread.path().join("children")).ok()?;
        Some(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
    });
    lists.flatten().collect()
}

/// Returns the anonymous and shared resident memory of a process: what it has reserved and never used does not count, nor
/// do the files that it maps.
fn memory_of(process: u32) -> (u64, u64) {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    let status = status.unwrap_or_default();
    let kilobytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    ["RssAnon:", "RssShmem:"].map(|name| kilobytes(name).unwrap_or_default() * 1024).into()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_processes_below_one_count_with_theirs() {
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", "sleep 30 & cat; kill $!"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut usage = ProcessUsage::default();
        for _ in 0..500 {
            usage = usage_below(shell.id());
            if usage.processes.len() == 2 && usage.anonymous > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(usage.processes.len(), 2);
        assert!(usage.anonymous > 0);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(usage_below(shell.id()), ProcessUsage::default());
    }
}
