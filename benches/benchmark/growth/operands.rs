//! Several patches as operands of one command, beside one patch with the same final files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, known, spread};
use crate::workload::File;

/// Files of each of the patches.
const FILES: usize = 10;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Patches of {FILES} files as operands of one command, {}", disk.name()));
    let counts = options.pick(&[1, 10, 50, 200][..], &[1, 3]);
    let most = counts.last().copied().unwrap_or_default();
    let inputs = inputs_of(disk, "growth")?;
    let file = |number: usize| {
        File::new(format!("opt/split/d{:03}/f{number:04}", number / 100), 20_000, 6_000_000 + number as u64)
    };
    let files: Vec<File> = (0..most * FILES).map(file).collect();
    write_base(&inputs.join("base"), &files)?;
    let template = disk.at("template");
    fresh(&template)?;
    Line::patchadm()
        .words("pkgadd -n -R")
        .arg(&template)
        .arg("-d")
        .arg(inputs.join("base"))
        .arg(PACKAGE)
        .run()?;
    let split: Vec<PathBuf> = files
        .chunks(FILES)
        .enumerate()
        .map(|(number, files)| write_patch(&inputs, &format!("{}-01", 600_000 + number), PACKAGE, files))
        .collect::<Result<_>>()?;

    let mut table = Table::new(&["patches", "as operands", "flushes", "one patch", "flushes", "ratio"]);
    let mut lines: [Vec<(f64, f64)>; 2] = Default::default();
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
        let whole = |flushes: f64| format!("{flushes:.0}");
        table.row([
            grouped(count),
            spread(many),
            known(flushes, whole),
            spread(one),
            known(flushes_of_one, whole),
            format!("{ratio:.2}"),
        ]);
        for (line, wall) in lines.iter_mut().zip([many, one]) {
            line.push((count as f64, wall.median));
        }
        if count == 200 {
            report.at_most(disk.name(), "200 patches in one command / one patch", 3.0, ratio, "");
        }
    }
    report.table(&table);
    for (name, points) in ["operands of one command", "one patch"].into_iter().zip(lines) {
        let title = "Patches of ten files in one command";
        report.plot("growth-patches", title, "patches", format!("{name}, {}", disk.word()), points);
    }
    clear(&[&template, &inputs])
}

/// Applies patches with one command to a fresh copy of a root.
fn apply(disk: &Disk, template: &Path, patches: &[PathBuf]) -> Result<crate::measure::Cost> {
    let root = disk.at("growth");
    Line::new("cp").arg("-a").arg(template).arg(&root).run()?;
    let line = Line::patchadm().words("patchadd -R").arg(&root);
    let cost = measure(disk, &patches.iter().fold(line, Line::arg))?;
    clear(&[&root])?;
    Ok(cost)
}
