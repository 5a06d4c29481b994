//! Memory for each object: installing, planning, applying, backing out and removing many tiny files.
//!
//! What a command takes whatever it does is left out: a figure is the difference of two peaks, for many files and for
//! fewer, by the difference of their numbers.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::growth::{clear, inputs_of, write_patch};
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Cost, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, mebibytes, seconds};
use crate::workload::File;

const ID: &str = "820001-01";

/// Bytes for each object that none of the commands may pass.
const LIMIT: f64 = 1536.0;

/// Bytes for each object that the plan of a patch of 2,000 may take.
const PLAN_LIMIT: f64 = 2048.0;

/// Bytes of a file.
const SIZE: usize = 100;

/// Measures the commands with few and with many files.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Memory for each object, {}", disk.name()));
    let [fewer, more] = options.pick([2_000, 20_000], [20, 200]);
    let costs = [of_files(disk, fewer)?, of_files(disk, more)?];
    let few = options.pick(20, 2);
    let planned =
        |costs: &[(&str, Cost)]| costs.iter().find(|(name, _)| *name == "plan").map(|(_, cost)| cost.peak);
    if let (Some(most), Some(least)) = (planned(&costs[0]), planned(&of_files(disk, few)?)) {
        let each = (most - least) / (fewer - few) as f64;
        let work = format!("memory for each object, plan of {}", grouped(fewer));
        report.at_most(disk.name(), &work, PLAN_LIMIT / 1024.0, each / 1024.0, " KiB");
    }
    let heads = [fewer, more].map(|count| format!("peak, {} files", grouped(count)));
    let mut table = Table::new(&["command", &heads[0], &heads[1], "for each", "CPU", "CPU"]);
    for ((name, few), (_, many)) in costs[0].iter().zip(&costs[1]) {
        let each = (many.peak - few.peak) / (more - fewer) as f64;
        table.row([
            (*name).to_owned(),
            mebibytes(few.peak),
            mebibytes(many.peak),
            format!("{:.2} KiB", each / 1024.0),
            seconds(few.cpu),
            seconds(many.cpu),
        ]);
        let work = format!("memory for each object, {name}");
        report.at_most(disk.name(), &work, LIMIT / 1024.0, each / 1024.0, " KiB");
    }
    report.table(&table);
    Ok(())
}

/// What each command costs for a package of so many files, and a patch to all of them.
fn of_files(disk: &Disk, count: usize) -> Result<Vec<(&'static str, Cost)>> {
    let inputs = inputs_of(disk, "memory")?;
    let files = files(count, SIZE);
    write_base(&inputs, &files)?;
    let patch = write_patch(&inputs, ID, PACKAGE, &files)?;
    let root = disk.at("memory");
    fresh(&root)?;
    let on_root = |command: &str| Line::patchadm().words(command).arg("-R").arg(&root);
    let lines = [
        ("pkgadd", on_root("pkgadd -n").arg("-d").arg(&inputs).arg(PACKAGE)),
        ("plan", Line::patchadm().arg("-R").arg(&root).arg("plan").arg(&patch)),
        ("patchadd", on_root("patchadd").arg(&patch)),
        ("patchrm", on_root("patchrm").arg(ID)),
        ("pkgchk", on_root("pkgchk").arg(PACKAGE)),
        ("pkgrm", on_root("pkgrm -n").arg(PACKAGE)),
    ];
    let costs = lines.iter().map(|(name, line)| Ok((*name, measure(disk, line)?))).collect::<Result<_>>()?;
    clear(&[&root, &inputs])?;
    Ok(costs)
}

/// So many files of a size, at most 1,000 in a directory.
fn files(count: usize, size: usize) -> Vec<File> {
    let path = |number: usize| format!("opt/tiny/d{:03}/f{number:06}", number / 1_000);
    (0..count).map(|number| File::new(path(number), size, 8_000_000 + number as u64)).collect()
}

/// A package of a million empty files: installed, checked and removed, once.
pub(crate) fn million(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let count = options.pick(1_000_000, 1_000);
    report.heading(&format!("A package of {} empty files, {}", grouped(count), disk.name()));
    let inputs = inputs_of(disk, "million")?;
    write_base(&inputs, &files(count, 0))?;
    let root: PathBuf = disk.at("million");
    fresh(&root)?;
    let on_root = |command: &str| Line::patchadm().words(command).arg("-R").arg(&root);
    let mut table = Table::new(&["command", "wall", "CPU", "peak memory", "for each"]);
    for (name, line) in [
        ("pkgadd", on_root("pkgadd -n").arg("-d").arg(&inputs).arg(PACKAGE)),
        ("pkgchk", on_root("pkgchk").arg(PACKAGE)),
        ("pkgrm", on_root("pkgrm -n").arg(PACKAGE)),
    ] {
        Report::progress(&format!("{name} of {} files", grouped(count)));
        let cost = measure(disk, &line)?;
        let each = format!("{:.2} KiB", cost.peak / count as f64 / 1024.0);
        table.row([name.to_owned(), seconds(cost.wall), seconds(cost.cpu), mebibytes(cost.peak), each]);
        let work = format!("peak memory, {name} of {} files", grouped(count));
        report.at_most(disk.name(), &work, 1_600.0, cost.peak / 1e6, " MB");
    }
    report.table(&table);
    clear(&[root.as_path(), Path::new(&inputs)])
}
