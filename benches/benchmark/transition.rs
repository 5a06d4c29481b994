//! How long the root is in transition: the switch windows.

use anyhow::Result;

use crate::contender::{self, Role, rounds};
use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::measure::Spread;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::stages::{self, Ground};
use crate::table::spread;
use crate::tree::Clock;

/// Limits in seconds: of a switch, and of a switch that exchanges a directory.
pub(crate) const WINDOW: f64 = 0.03;
const EXCHANGE: f64 = 0.001;

/// Measures on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let contenders = [
        contender::floor(disk, inputs)?,
        contender::patchadm(disk, inputs)?,
        contender::patchadm_files(disk, inputs)?,
    ];
    let measured = rounds(disk, inputs, &contenders, options, report)?;
    contender::clear(&contenders)?;
    let floor = contender::of(&measured, Role::Floor);
    for (role, form) in [(Role::Patchadm, "archive"), (Role::Files, "files")] {
        let Some((ours, floor)) = contender::of(&measured, role).zip(floor) else { continue };
        let both =
            [("add", &ours.windows, &floor.windows), ("remove", &ours.windows_back, &floor.windows_back)];
        for (step, ours, floor) in both {
            let [ours, floor] = [ours, floor].map(|windows| Spread::of(windows.iter().copied()));
            let row = Row::new(format!("{step}, {form}"), spread(ours)).floor_alone(spread(floor));
            report.row(row.at_most(WINDOW, ours, " s"));
        }
    }
    report_clocks(disk, report);
    let ground = Ground::new(disk, inputs)?;
    ground.stage().run()?;
    ground.change()?;
    for (name, limit, exchange) in
        [("promotion by renames", WINDOW, false), ("promotion by exchange", EXCHANGE, true)]
    {
        let windows: Result<Vec<f64>> =
            (0..options.runs()).map(|_| stages::seen_window(&ground, exchange)).collect();
        let windows = Spread::of(windows?);
        report.row(Row::new(name, spread(windows)).at_most(limit, windows, " s"));
    }
    ground.clear()
}

/// Says which windows are those of directories.
pub(crate) fn report_clocks(disk: &Disk, report: &mut Report) {
    report.say(
        "Where old files come back as links (`remove, files`, the link floor), the windows are those of the directories that \
         were changed: the removal of the undo data renews the times of the files.",
    );
    if disk.clock() == Clock::Directory {
        report.say(
            "On xfs an exchange of two names leaves the times of files alone; the windows are those of the directories that \
             were changed.",
        );
    }
}
