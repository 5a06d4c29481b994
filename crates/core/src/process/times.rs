//! The processor time of a process and of its children, as the kernel tells it.

use std::time::Duration;

/// Processor times of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessTimes {
    /// Its own.
    pub(crate) own: Duration,
    /// Those of all children that it has waited for.
    pub(crate) children: Duration,
}

impl ProcessTimes {
    /// Reads those of a process that nobody has waited for yet; nothing where the kernel does not tell.
    pub(crate) fn of(process: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name of the program, in brackets, may have blanks; behind it user and system time of itself are the 11th and 12th
        // field, counted from 0, and those of its children the two after them.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
        let mut ticks = fields.skip(11).map(|field| field.parse::<u64>().unwrap_or_default());
        let mut next_two = || ticks.next().unwrap_or_default() + ticks.next().unwrap_or_default();
        let (own, children) = (next_two(), next_two());
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let time = |ticks: u64| Duration::from_millis(ticks * 1000 / per_second);
        Self { own: time(own), children: time(children) }
    }
}
