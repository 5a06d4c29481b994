//! Several patches as operands of one command, beside one patch with the same final files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Lines, clear, inputs_of, write_patch};
use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Cost, Costs, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, known, spread, whole};
use crate::workload::File;

/// Files of each of the patches.
const FILES: usize = 10;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Patches of {FILES} files as operands of one command, {}", disk.name()));
    let counts = options.pick(&[1, 10, 50, 200][..], &[1, 2]);
    let most = counts.last().copied().unwrap_or_default();
    let inputs = inputs_of(disk, "growth")?;
    let files = files(most * FILES);
    let template = disk.at("template");
    install(&inputs, &files, &template)?;
    let split: Vec<PathBuf> = files
        .chunks(FILES)
        .enumerate()
        .map(|(number, files)| write_patch(&inputs, &format!("{}-01", 600_000 + number), PACKAGE, files))
        .collect::<Result<_>>()?;

    let mut table = Table::new(&["patches", "as operands", "flushes", "one patch", "flushes", "ratio"]);
    let mut lines = Lines::new();
    for &count in counts {
        let one = write_patch(&inputs, &format!("{}-01", 700_000 + count), PACKAGE, &files[..count * FILES])?;
        let mut costs: [Costs; 2] = Default::default();
        for _ in 0..options.runs() {
            for (patches, costs) in [&split[..count], std::slice::from_ref(&one)].into_iter().zip(&mut costs)
            {
                costs.0.push(apply(disk, &template, patches)?);
            }
        }
        let [many, one] = costs.each_ref().map(Costs::wall);
        let ratio = many.median / one.median;
        let [flushes, flushes_of_one] = costs.each_ref().map(|costs| costs.counted(|cost| cost.flushes));
        table.row([
            grouped(count),
            spread(many),
            known(flushes, whole),
            spread(one),
            known(flushes_of_one, whole),
            format!("{ratio:.2}"),
        ]);
        lines.add(count, [many, one]);
        if count == 200 {
            report.at_most(disk.name(), "200 patches in one command / one patch", 3.0, ratio, "");
        }
    }
    report.table(&table);
    let plot = ["growth-patches", "Patches of ten files in one command", "patches"];
    lines.draw(report, disk, plot, ["operands of one command", "one patch"]);
    clear(&[&template, &inputs])
}

/// The files that are patched.
fn files(count: usize) -> Vec<File> {
    let path = |number: usize| format!("opt/split/d{:03}/f{number:04}", number / 100);
    (0..count).map(|number| File::new(path(number), 20_000, 6_000_000 + number as u64)).collect()
}

/// Installs them below a new root.
fn install(inputs: &Path, files: &[File], root: &Path) -> Result<()> {
    let base = inputs.join("base");
    write_base(&base, files)?;
    fresh(root)?;
    Line::patchadm().words("pkgadd -n -R").arg(root).arg("-d").arg(base).arg(PACKAGE).run()
}

/// Applies patches with one command to a fresh copy of a root.
fn apply(disk: &Disk, template: &Path, patches: &[PathBuf]) -> Result<Cost> {
    let root = disk.at("growth");
    Line::new("cp").arg("-a").arg(template).arg(&root).run()?;
    let line = Line::patchadm().words("patchadd -R").arg(&root);
    let cost = measure(disk, &patches.iter().fold(line, Line::arg))?;
    clear(&[&root])?;
    Ok(cost)
}
