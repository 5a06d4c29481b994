//! The first patch and the 500th: patches of one file each, to one package, one after the other.

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::delivery::PACKAGE;
use crate::delivery::write_base;
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Spread, measure};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::synthetic::{self, Records};
use crate::table::spread;
use crate::workload::File;

/// Limit of the last patch, as a multiple of the first one.
const RATIO: f64 = 1.2;

/// The number of consecutive patches in a median.
const STRETCH: usize = 9;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let count = options.pick(500, 6);
    let inputs = inputs_of(disk, "growth")?;
    let file = |number: usize| File::new(format!("opt/many/f{number:03}"), 20_000, 5_000_000 + number as u64);
    let files: Vec<File> = (0..count).map(file).collect();
    write_base(&inputs.join("base"), &files)?;
    let root = disk.at("growth");
    synthetic::write(&root, Records::of_lines(options.pick(20_000, 400)))?;
    Line::patchadm()
        .words("pkgadd -n -R")
        .arg(&root)
        .arg("-d")
        .arg(inputs.join("base"))
        .arg(PACKAGE)
        .run()?;
    let mut walls = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let id = format!("{}-01", 500_000 + number);
        let patch = write_patch(&inputs, &id, PACKAGE, std::slice::from_ref(file))?;
        walls.push(measure(disk, &Line::patchadm().words("patchadd -R").arg(&root).arg(patch))?.wall);
    }
    clear(&[&root, &inputs])?;

    let stretch = STRETCH.min(count / 2);
    let around = |number: usize| {
        let begin = (number - 1).saturating_sub(stretch / 2).min(count - stretch);
        Spread::of(walls[begin..begin + stretch].iter().copied())
    };
    let first = around(1);
    for number in [1, 100, 500].into_iter().filter(|&number| number <= count) {
        let wall = around(number);
        let row = Row::new(format!("add of 1 file, patch {number} of a package"), spread(wall));
        if number == 1 {
            report.row(row);
        } else {
            let ratio = Spread::from(wall.median / first.median);
            let row = row.floor(spread(first), ratio);
            report.row(if number == 500 { row.times_floor(RATIO) } else { row });
        }
    }
    report.say(&format!(
        "Patches of a package are applied one after the other, in one run; each figure is that of {stretch} patches. Their floor \
         is the first one."
    ));
    Ok(())
}
