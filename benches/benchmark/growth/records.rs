//! A patch of one file against the size of `contents`, beside a durable copy of that file.

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::Report;
use crate::synthetic::{self, REAL, Records, real_file};
use crate::table::{Table, grouped, megabytes, spread};

const ID: &str = "400001-01";

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("One file against the size of contents, {}", disk.name()));
    let patch = write_patch(&inputs_of(disk, "growth")?, ID, REAL, &[real_file()])?;
    let sizes = options.pick(&[1_000, 4_000, 20_000, 100_000, 400_000][..], &[400, 2_000]);
    let mut table = Table::new(&[
        "lines",
        "packages",
        "patches",
        "contents",
        "durable copy",
        "apply",
        "ratio",
        "back out",
    ]);
    let mut lines: [Vec<(f64, f64)>; 3] = Default::default();
    for &size in sizes {
        let records = Records::of_lines(size);
        let root = disk.at("growth");
        synthetic::write(&root, records)?;
        let contents = root.join("var/sadm/install/contents");
        let floor = Line::inner("@floor-copy")?.arg(&contents).arg(root.join("copy"));
        let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(&patch);
        let back_out = Line::patchadm().words("patchrm -R").arg(&root).arg(ID);
        let mut costs: [Costs; 3] = Default::default();
        for _ in 0..options.runs() {
            for (line, costs) in [&floor, &apply, &back_out].into_iter().zip(&mut costs) {
                costs.0.push(measure(disk, line)?);
            }
        }
        let [floor, apply, back_out] = costs.each_ref().map(Costs::wall);
        for (line, wall) in lines.iter_mut().zip([floor, apply, back_out]) {
            line.push((size as f64, wall.median));
        }
        let ratio = apply.median / floor.median;
        table.row([
            grouped(size),
            grouped(records.packages),
            grouped(records.patches),
            megabytes(std::fs::metadata(&contents)?.len() as f64),
            spread(floor),
            spread(apply),
            format!("{ratio:.2}"),
            spread(back_out),
        ]);
        if size == 400_000 {
            let work = "one file, contents of 400,000 lines / copying it durably";
            report.at_most(disk.name(), work, 1.5, ratio, "");
        }
        clear(&[&root])?;
    }
    report.table(&table);
    for (name, points) in ["durable copy", "apply", "back out"].into_iter().zip(lines) {
        let title = "A patch of one file against the size of contents";
        report.plot(
            "growth-contents",
            title,
            "lines of contents",
            format!("{name}, {}", disk.word()),
            points,
        );
    }
    Ok(())
}
