//! The first patch and the 500th: patches of one file each, to one package, one after the other.

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::delivery::PACKAGE;
use crate::delivery::write_base;
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::synthetic::{self, Records};
use crate::table::{Table, grouped, spread};
use crate::workload::File;

/// Of so many patches in a row the median is taken.
const STRETCH: usize = 9;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let count = options.pick(500, 6);
    report.heading(&format!("{} patches one after the other, {}", grouped(count), disk.name()));
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
    let mut table = Table::new(&["patch", "wall (least–most)", "to the first"]);
    let mut points = Vec::new();
    let first = around(1);
    for number in [1, 10, 50, 100, 200, 300, 400, 500].into_iter().filter(|&number| number <= count) {
        let wall = around(number);
        table.row([grouped(number), spread(wall), format!("{:.2}", wall.median / first.median)]);
        points.push((number as f64, wall.median));
    }
    report.table(&table);
    report.say(&format!("Medians of the {stretch} patches around each number; one run.\n"));
    let ratio = around(count).median / first.median;
    report.at_most(disk.name(), "the 500th patch / the first", 1.2, ratio, "");
    let line = format!("apply, {}", disk.word());
    report.plot("growth-history", "The n-th patch of a package", "patches applied", line, points);
    Ok(())
}
