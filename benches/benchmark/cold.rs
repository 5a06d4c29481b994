//! Applying and backing out with a cold page cache, beside the floor.
//!
//! Before each run everything that nobody uses is dropped from the page cache: the sources, the tree, its records, and
//! names. Then the programs themselves are read again, so that it is not their own loading that is measured. What the disk
//! below keeps in a memory of its own nobody can drop.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::contender::{self, Measured, Role};
use crate::disk::{Disk, file_system_of};
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, seconds, spread};

/// Where the kernel is told to drop what it keeps.
const DROP: &str = "/proc/sys/vm/drop_caches";

/// Measures both, in turns.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let what = format!("cold cache, {}, {}", inputs.set.name(), disk.name());
    if let Err(error) = drop_caches(&[]) {
        report.skipped(&what, &format!("{error:#}"));
        return Ok(());
    }
    report.heading(&format!("Cold cache, {}, {}", inputs.set.name(), disk.name()));
    let contenders = [contender::floor(disk, inputs)?, contender::patchadm(disk, inputs)?];
    for contender in &contenders {
        contender.checked_round(disk, inputs, &mut Measured::default())?;
    }
    let programs: Vec<&OsStr> = contenders.iter().map(|contender| contender.apply.program()).collect();
    let mut costs: [[Costs; 2]; 2] = Default::default();
    for run in 1..=options.runs() {
        Report::progress(&format!("cold cache, run {run} of {}", options.runs()));
        for step in 0..2 {
            for (contender, costs) in contenders.iter().zip(&mut costs) {
                let line: &Line = [&contender.apply, &contender.back_out][step];
                drop_caches(&programs)?;
                costs[step].0.push(measure(disk, line)?);
            }
        }
    }
    let mut table = Table::new(&["work", "who", "wall (least–most)", "MB/s", "CPU", "ratio"]);
    let amounts = [("apply", inputs.delivered()), ("back out", inputs.saved())];
    for (step, (work, bytes)) in amounts.into_iter().enumerate() {
        for (contender, of) in contenders.iter().zip(&costs) {
            let wall = of[step].wall();
            let ratio = Spread::of_ratio(&of[step], &costs[0][step]).median;
            table.row([
                work.to_owned(),
                contender.role.name().to_owned(),
                spread(wall),
                format!("{:.0}", bytes / 1e6 / wall.median),
                seconds(of[step].spread(|cost| cost.cpu).median),
                if contender.role == Role::Floor { String::new() } else { format!("{ratio:.2}") },
            ]);
        }
    }
    report.table(&table);
    report.say(&format!("The sources are on {}.\n", file_system_of(&inputs.patch)));
    contenders.iter().try_for_each(|contender| Ok(fs::remove_dir_all(&contender.root)?))
}

/// Writes everything to the disks, drops the page cache, and reads these programs into it again.
pub(crate) fn drop_caches(programs: &[&OsStr]) -> Result<()> {
    rustix::fs::sync();
    fs::write(DROP, "3").with_context(|| DROP.to_owned())?;
    programs.iter().try_for_each(|program| {
        fs::read(Path::new(program))?;
        Ok(())
    })
}
