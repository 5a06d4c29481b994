//! The cost of one command.
//!
//! A command is run by an intermediate process, a fresh copy of the benchmark that does nothing else: `ru_maxrss` of a
//! child begins with the memory of the process that forked it, and the benchmark itself may be large. The intermediate
//! takes wall time from before the fork to the end of the command, and CPU and memory from `getrusage` of its children:
//! CPU of all processes that were waited for, memory of the largest one.
//!
//! The file system is synced before a command, so that the command pays only for its own writes. The page cache stays,
//! so the inputs, which were just written or used, are read from memory ("warm"). Flushes are counted by the loop
//! device, which nothing else writes to. A journal commits by itself every few seconds, which counts, too: for a
//! command that takes longer, the number is an upper bound.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::line::{Line, tail};

/// The report of the intermediate process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Seconds from fork to exit.
    pub(crate) wall: f64,
    /// Seconds of CPU in user and kernel mode.
    pub(crate) cpu: f64,
    /// Seconds of CPU of the command itself, without the processes that it started.
    pub(crate) own: f64,
    /// Peak resident set of the largest process, in bytes.
    pub(crate) peak: f64,
    /// Exit code; -1 for a signal.
    pub(crate) code: i32,
}

/// The cost of one run of a command.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds from fork to exit.
    pub(crate) wall: f64,
    /// Seconds of CPU.
    pub(crate) cpu: f64,
    /// Seconds of CPU of the command itself, without the processes that it started.
    pub(crate) own: f64,
    /// Peak resident set, in bytes.
    pub(crate) peak: f64,
    /// Flushes of the device's cache; known on images only.
    pub(crate) flushes: Option<f64>,
}

/// Measures a command on a disk, and fails unless it succeeds.
pub(crate) fn measure(disk: &Disk, line: &Line) -> Result<Cost> {
    disk.settle()?;
    let before = disk.flushes()?;
    let usage = run(disk.scratch(), line)?;
    let flushes = before.zip(disk.flushes()?).map(|(before, after)| after - before);
    // The next command must not pay for dirty pages of this one.
    disk.settle()?;
    Ok(Cost { wall: usage.wall, cpu: usage.cpu, own: usage.own, peak: usage.peak, flushes })
}

/// Runs commands in turns, one run of each after the other, `runs` times.
pub(crate) fn in_turns<const N: usize>(disk: &Disk, runs: usize, lines: [&Line; N]) -> Result<[Costs; N]> {
    let mut costs = std::array::from_fn(|_| Costs::default());
    for _ in 0..runs {
        for (line, costs) in lines.into_iter().zip(&mut costs) {
            costs.0.push(measure(disk, line)?);
        }
    }
    Ok(costs)
}

/// Runs a command that changes nothing, without waiting for a quiet disk.
pub(crate) fn run(scratch: &Path, line: &Line) -> Result<Usage> {
    let (report, log) = (scratch.join("usage.json"), scratch.join("said"));
    let intermediate = Line::inner("@measured")?.arg(&report).arg(&log).line(line);
    intermediate.run()?;
    let usage: Usage = serde_json::from_slice(&fs::read(report)?).context("the intermediate's report")?;
    if usage.code != 0 {
        let said = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        bail!("{line}: exit code {}\n{}", usage.code, tail(&said));
    }
    Ok(usage)
}

/// A figure of several runs.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl From<f64> for Spread {
    fn from(figure: f64) -> Self {
        Self { median: figure, least: figure, most: figure }
    }
}

impl Spread {
    /// Returns how much longer one command took than another one, measured in turns with it: the ratio of the medians,
    /// with the least and the most of the single rounds.
    pub(crate) fn of_ratio(one: &Costs, other: &Costs) -> Self {
        Self::of_ratio_in(one, other, |cost| cost.wall)
    }

    /// Like [`of_ratio`](Self::of_ratio), for any figure.
    pub(crate) fn of_ratio_in(one: &Costs, other: &Costs, figure: fn(&Cost) -> f64) -> Self {
        let median = one.spread(figure).median / other.spread(figure).median;
        if one.0.len() != other.0.len() {
            return median.into();
        }
        let rounds = one.0.iter().zip(&other.0).map(|(one, other)| figure(one) / figure(other));
        Self { median, ..Self::of(rounds) }
    }

    /// Converts to another unit.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let Self { median, least, most } = self;
        Self { median: median * factor, least: least * factor, most: most * factor }
    }

    /// Returns true if all figures are equal.
    pub(crate) fn is_single(self) -> bool {
        self.least.to_bits() == self.most.to_bits()
    }

    /// Returns the spread of `figures`, which must not be empty.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = match figures.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => figures[middle],
            _ => f64::midpoint(figures[middle - 1], figures[middle]),
        };
        let [least, most] =
            [figures.first(), figures.last()].map(|figure| figure.copied().unwrap_or(f64::NAN));
        Self { median, least, most }
    }
}

/// The costs of one command over several runs.
#[derive(Clone, Default)]
pub(crate) struct Costs(pub(crate) Vec<Cost>);

impl Costs {
    /// Returns the spread of one figure.
    pub(crate) fn spread(&self, figure: impl Fn(&Cost) -> f64) -> Spread {
        Spread::of(self.0.iter().map(figure))
    }

    /// Returns the seconds from fork to exit.
    pub(crate) fn wall(&self) -> Spread {
        self.spread(|cost| cost.wall)
    }

    /// Returns a figure that is known on images only.
    pub(crate) fn counted(&self, figure: impl Fn(&Cost) -> Option<f64>) -> Option<Spread> {
        let counted: Option<Vec<f64>> = self.0.iter().map(figure).collect();
        counted.map(Spread::of)
    }
}
