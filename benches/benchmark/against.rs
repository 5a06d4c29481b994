//! A paired comparison of two builds of the program.
//!
//! Each build works on a root of its own, which it has installed itself. In a pair both builds apply the patch, then both
//! back it out, one directly after the other, so that a change in the speed of the machine affects both; the build that
//! begins alternates. What counts is the difference within each pair: its median over all pairs, and the
//! [interval] of that median.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::contender::{self, Measured, Role};
use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::interval;
use crate::line::Line;
use crate::measure::{Cost, Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, seconds};

/// The name of a figure, and how it is read from the cost of a command.
type Figure = (&'static str, fn(&Cost) -> f64);

const FIGURES: [Figure; 2] = [("wall", |cost| cost.wall), ("processor", |cost| cost.cpu)];

/// Measures the build under test and `other` on a disk, and adds the table to the report.
pub(crate) fn run(
    disk: &Disk,
    inputs: &Inputs,
    other: &Path,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let other = other.canonicalize().with_context(|| format!("{}", other.display()))?;
    report.heading(&format!("This build against {}, {}", other.display(), disk.name()));
    let builds = [
        contender::build(&Line::patchadm(), Role::Patchadm, disk, inputs)?,
        contender::build(&Line::new(other), Role::OtherBuild, disk, inputs)?,
    ];
    for build in &builds {
        build.checked_round(disk, inputs, &mut Measured::default())?;
    }
    let [mut apply, mut back_out] = [(); 2].map(|()| [(); 2].map(|()| Costs::default()));
    for pair in 0..options.pairs() {
        Report::progress(&format!("pair {} of {}", pair + 1, options.pairs()));
        let turns = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for build in turns {
            apply[build].0.push(measure(disk, &builds[build].apply)?);
        }
        for build in turns {
            back_out[build].0.push(measure(disk, &builds[build].back_out)?);
        }
    }
    let mut table = Table::new(&["work", "this build", "the other", "difference", "95 % interval"]);
    for (work, costs) in [("apply", &apply), ("back out", &back_out)] {
        for (name, figure) in FIGURES {
            table.row(row(&format!("{work}, {name} time"), costs, figure));
        }
    }
    report.table(&table);
    report.say(&format!(
        "Medians of {} pairs. The difference is taken within each pair, in per cent of the other build's time: negative \
         where this build is faster. The interval comes from order statistics; one that contains 0 shows no difference.\n",
        options.pairs()
    ));
    builds.iter().try_for_each(|build| Ok(fs::remove_dir_all(&build.root)?))
}

/// Returns the row of a figure: both medians, the median difference within a pair, and its interval.
fn row(name: &str, costs: &[Costs; 2], figure: fn(&Cost) -> f64) -> [String; 5] {
    let [this, other] = costs;
    let pairs = this.0.iter().zip(&other.0);
    let differences: Vec<f64> = pairs.map(|(this, other)| figure(this) / figure(other) - 1.0).collect();
    let per_cent = |part: f64| format!("{:+.1} %", part * 100.0);
    let interval = interval::of_median(&differences);
    [
        name.to_owned(),
        seconds(this.spread(figure).median),
        seconds(other.spread(figure).median),
        per_cent(Spread::of(differences).median),
        interval.map_or_else(|| "–".to_owned(), |ends| ends.map(per_cent).join(" … ")),
    ]
}
