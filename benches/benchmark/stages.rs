//! A staged tree: made, promoted and undone, by renames and by exchange, beside `cp -a` and two passes of rsync.
//!
//! The tree is that of most sections; its change is their patch, made in the stage by hand. rsync does the work of an
//! administrator without patchadm: first everything new, then the deletions, then `sync -f`. It records nothing, keeps
//! no undo data, and does not read files whose size and time are unchanged.

mod ground;
mod switch;

use anyhow::Result;

use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::line::is_installed;
use crate::measure::{Cost, Costs};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::mebibytes;
pub(crate) use ground::Ground;
pub(crate) use switch::seen as seen_window;

/// The targets: ratios to rsync's passes and to `cp -a`, seconds, MiB.
const PLAIN: f64 = 1.0;
const COMPRESSED: f64 = 1.6;
const EXCHANGED: f64 = 2.0;
const STAGED: f64 = 1.5;
const NOTHING: f64 = 0.15;
const TIMES: f64 = 1.5;
const MEMORY: f64 = 96.0;

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let ground = Ground::new(disk, inputs)?;
    let [copied, staged] = ground.copied_and_staged(options.runs())?;
    report.row(Row::beside("stage new, beside cp -a", &staged, &copied).times_floor(STAGED));
    ground.change()?;
    Promoted::measure(&ground, options)?.tell(report);
    nothing_and_times(&ground, options, report)?;
    ground.clear()
}

/// Costs of promotions, measured in turns.
#[derive(Default)]
struct Promoted {
    rsync: Costs,
    plain: Costs,
    compressed: Costs,
    exchanged: Costs,
    back: Costs,
    exchanged_back: Costs,
}

impl Promoted {
    fn measure(ground: &Ground<'_>, options: &Options) -> Result<Self> {
        let mut costs = Self::default();
        // The first round is not counted; its results are checked.
        Self::default().round(ground, true)?;
        Self::warm(ground)?;
        for _ in 0..options.runs() {
            costs.round(ground, false)?;
            // An exchange gives every file of the tree a new ctime, so the next promotion reads it again. All compared
            // commands begin after a promotion that has read and cached the tree.
            Self::warm(ground)?;
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

    fn tell(&self, report: &mut Report) {
        if self.rsync.0.is_empty() {
            report.skipped("the passes of rsync", "rsync is not installed");
        } else {
            let row = Row::beside("promote, no compression, beside rsync", &self.plain, &self.rsync);
            report.row(row.times_floor(PLAIN));
            let row = Row::beside("promote, beside rsync", &self.compressed, &self.rsync);
            report.row(row.times_floor(COMPRESSED));
        }
        let row = Row::beside("promote --exchange, beside renames", &self.exchanged, &self.plain);
        report.row(row.times_floor(EXCHANGED));
        report.row(Row::wall("undo of a promotion", &self.back));
        report.row(Row::wall("undo --exchange of a promotion", &self.exchanged_back));
        for (name, costs) in [("promote", &self.compressed), ("promote --exchange", &self.exchanged)] {
            let peak = costs.spread(|cost| cost.peak);
            let row = Row::new(format!("memory of {name}"), mebibytes(peak.median));
            report.row(row.at_most(MEMORY, peak.scaled(1.0 / f64::from(1 << 20)), " MiB"));
        }
    }
}

/// Measures a promotion without changes, and one of modification times only.
fn nothing_and_times(ground: &Ground<'_>, options: &Options, report: &mut Report) -> Result<()> {
    ground.promote("--undo-format none")?;
    let nothing: Result<Vec<Cost>> = (0..options.runs()).map(|_| ground.promote("")).collect();
    let nothing = Costs(nothing?);
    report.row(Row::wall("promote, nothing to do", &nothing).at_most(NOTHING, nothing.wall(), " s"));
    let mut times = Costs::default();
    for round in 0..options.runs() {
        ground.touch(round)?;
        times.0.push(ground.promote("--undo-format none")?);
        ground.back_out("")?;
    }
    let name = "promote, all files with another time";
    report.row(Row::wall(name, &times).at_most(TIMES, times.wall(), " s"));
    Ok(())
}
