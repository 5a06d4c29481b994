//! A patch of one file against the size of `contents`, beside a durable copy of that file.

use anyhow::Result;

use super::{Lines, clear, inputs_of, write_patch};
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Costs, in_turns};
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
    let mut lines = Lines::new();
    for &size in sizes {
        let records = Records::of_lines(size);
        let root = disk.at("growth");
        synthetic::write(&root, records)?;
        let contents = root.join("var/sadm/install/contents");
        let floor = Line::inner("@floor-copy")?.arg(&contents).arg(root.join("copy"));
        let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(&patch);
        let back_out = Line::patchadm().words("patchrm -R").arg(&root).arg(ID);
        let costs = in_turns(disk, options.runs(), [&floor, &apply, &back_out])?;
        let [floor, apply, back_out] = costs.each_ref().map(Costs::wall);
        lines.add(size, [floor, apply, back_out]);
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
    let plot = ["growth-contents", "A patch of one file against the size of contents", "lines of contents"];
    lines.draw(report, disk, plot, ["durable copy", "apply", "back out"]);
    Ok(())
}
