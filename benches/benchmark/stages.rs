//! A staged tree: made, promoted and taken back, by renames and by exchange, beside `cp -a` and two passes of rsync.
//!
//! The tree is that of the set; its change is the patch of the set, made in the stage by hand. rsync does what an
//! administrator would do without us: everything that is new first, then what is gone, then `sync -f`. It records nothing,
//! keeps nothing to go back with, and reads nothing whose size and time are as before.

mod ground;
mod switch;

use anyhow::Result;

use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::line::is_installed;
use crate::measure::{Cost, Costs, Spread};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, known, mebibytes, megabytes, seconds, spread, whole};
use ground::Ground;

/// The targets: ratios to rsync's passes and to `cp -a`, seconds, MiB.
const PLAIN: f64 = 1.0;
const COMPRESSED: f64 = 1.6;
const EXCHANGED: f64 = 2.0;
const STAGED: f64 = 1.5;
const NOTHING: f64 = 0.15;
const TIMES: f64 = 1.5;
const WINDOW: f64 = 0.03;
const EXCHANGE_WINDOW: f64 = 0.001;
const MEMORY: f64 = 96.0;

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("A staged tree, {}", disk.name()));
    let mut table = Table::new(&["command", "wall (least–most)", "CPU", "written", "flushes", "peak memory"]);
    let ground = Ground::new(disk, inputs)?;
    let [copied, staged] = ground.copied_and_staged(options.runs())?;
    row(&mut table, "cp -a, sync -f", &copied);
    row(&mut table, "stage new", &staged);
    report.at_most(disk.name(), "stage new / cp -a", STAGED, Spread::of_ratio(&staged, &copied), "");
    ground.change()?;
    let promoted = Promoted::measure(&ground, options)?;
    promoted.tell(disk, &mut table, report);
    nothing_and_times(&ground, options, &mut table, report)?;
    report.table(&table);
    ground.clear()
}

/// What promotions cost, in turns.
#[derive(Default)]
struct Promoted {
    rsync: Costs,
    plain: Costs,
    compressed: Costs,
    exchanged: Costs,
    back: Costs,
    exchanged_back: Costs,
    /// Seconds between the first and the last change, as another process saw them: by renames, by exchange.
    windows: [Vec<f64>; 2],
}

impl Promoted {
    fn measure(ground: &Ground<'_>, options: &Options) -> Result<Self> {
        let mut costs = Self::default();
        // Once uncounted: what it leaves is compared.
        Self::default().round(ground, true)?;
        Self::warm(ground)?;
        for _ in 0..options.runs() {
            costs.round(ground, false)?;
            // An exchange gives every file of the tree a new ctime, by which it is read again: all that is compared begins
            // with what was read kept.
            Self::warm(ground)?;
        }
        for (windows, exchange) in costs.windows.iter_mut().zip([false, true]) {
            for _ in 0..options.runs() {
                windows.push(switch::seen(ground, exchange)?);
            }
        }
        Ok(costs)
    }

    fn warm(ground: &Ground<'_>) -> Result<()> {
        ground.promote("--undo-format none")?;
        ground.back_out("")?;
        Ok(())
    }

    fn round(&mut self, ground: &Ground<'_>, checks: bool) -> Result<()> {
        if is_installed("rsync") {
            self.rsync.0.push(ground.rsync()?);
        }
        let works: [(&str, &str, &mut Costs, &mut Costs); 3] = [
            ("--undo-format none", "", &mut self.plain, &mut self.back),
            ("--undo-format gz", "", &mut self.compressed, &mut Costs::default()),
            ("--undo-format none", "--exchange opt/acme", &mut self.exchanged, &mut self.exchanged_back),
        ];
        for (format, exchange, there, back) in works {
            there.0.push(ground.promote(&format!("{format} {exchange}"))?);
            if checks {
                ground.assert_new(&format!("stage promote {format} {exchange}"))?;
            }
            back.0.push(ground.back_out(exchange)?);
            if checks {
                ground.assert_old(&format!("the backout {exchange}"))?;
            }
        }
        Ok(())
    }

    fn tell(&self, disk: &Disk, table: &mut Table, report: &mut Report) {
        let rows = [
            ("rsync -a, rsync -a --delete, sync -f", &self.rsync),
            ("stage promote --undo-format none", &self.plain),
            ("promote", &self.compressed),
            ("stage promote --undo-format none --exchange", &self.exchanged),
            ("remove of the promotion", &self.back),
            ("remove --exchange", &self.exchanged_back),
        ];
        for (name, costs) in rows.into_iter().filter(|(_, costs)| !costs.0.is_empty()) {
            row(table, name, costs);
        }
        if self.rsync.0.is_empty() {
            report.skipped("the passes of rsync", "rsync is not installed");
        } else {
            let ratio = |costs| Spread::of_ratio(costs, &self.rsync);
            report.at_most(
                disk.name(),
                "stage promote --undo-format none / rsync",
                PLAIN,
                ratio(&self.plain),
                "",
            );
            report.at_most(disk.name(), "stage promote / rsync", COMPRESSED, ratio(&self.compressed), "");
        }
        let ratio = Spread::of_ratio(&self.exchanged, &self.plain);
        report.at_most(disk.name(), "stage promote --exchange / promote", EXCHANGED, ratio, "");
        let limits = [("switch of promote", WINDOW), ("switch of promote --exchange", EXCHANGE_WINDOW)];
        for ((name, limit), windows) in limits.into_iter().zip(&self.windows) {
            report.at_most(disk.name(), name, limit, Spread::of(windows.iter().copied()), " s");
        }
        let peak = self.exchanged.spread(|cost| cost.peak).scaled(1.0 / f64::from(1 << 20));
        let renames = self.compressed.spread(|cost| cost.peak).scaled(1.0 / f64::from(1 << 20));
        report.at_most(disk.name(), "memory of promote", MEMORY, renames, " MiB");
        report.at_most(disk.name(), "memory of promote --exchange", MEMORY, peak, " MiB");
    }
}

/// A promotion of nothing, and one of nothing but modification times.
fn nothing_and_times(
    ground: &Ground<'_>,
    options: &Options,
    table: &mut Table,
    report: &mut Report,
) -> Result<()> {
    let disk = ground.disk();
    ground.promote("--undo-format none")?;
    let nothing: Result<Vec<Cost>> = (0..options.runs()).map(|_| ground.promote("")).collect();
    let nothing = Costs(nothing?);
    row(table, "promote, nothing to do", &nothing);
    report.at_most(disk.name(), "promote, nothing to do", NOTHING, nothing.wall(), " s");
    let mut times = Costs::default();
    for round in 0..options.runs() {
        ground.touch(round)?;
        times.0.push(ground.promote("--undo-format none")?);
        ground.back_out("")?;
    }
    row(table, "promote, all files with another time", &times);
    report.at_most(disk.name(), "stage promote of other times", TIMES, times.wall(), " s");
    Ok(())
}

fn row(table: &mut Table, name: &str, costs: &Costs) {
    table.row([
        name.to_owned(),
        spread(costs.wall()),
        seconds(costs.spread(|cost| cost.cpu).median),
        known(costs.counted(|cost| cost.written), |written| megabytes(written.median)),
        known(costs.counted(|cost| cost.flushes), whole),
        mebibytes(costs.spread(|cost| cost.peak).median),
    ]);
}
