//! Waiting for processes, and looking at them.

use std::fs;
use std::time::{Duration, Instant};

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what}: not after 20 seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns true if the process runs and is not a zombie.
pub fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Returns the peak resident memory of a child, in bytes; `None` once it has ended.
///
/// `spawn` may return while the child still has the memory of the test, so nothing counts before the child runs
/// another program.
pub fn resident_peak(child: u32) -> Option<u64> {
    if fs::read_link(format!("/proc/{child}/exe")).ok()? == std::env::current_exe().ok()? {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kilobytes.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
