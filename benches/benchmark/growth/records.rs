//! A patch of one file against the size of `contents`, beside a durable copy of that file.

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::in_turns;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::synthetic::{self, REAL, Records, real_file};
use crate::table::grouped;

const ID: &str = "400001-01";

/// Limit of a patch of one file, as a multiple of the copy.
const RATIO: f64 = 1.5;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let patch = write_patch(&inputs_of(disk, "growth")?, ID, REAL, &[real_file()])?;
    let sizes = options.pick(&[1_000, 20_000, 400_000][..], &[400, 2_000]);
    for &size in sizes {
        let records = Records::of_lines(size);
        let root = disk.at("growth");
        synthetic::write(&root, records)?;
        let contents = root.join("var/sadm/install/contents");
        let floor = Line::inner("@floor-copy")?.arg(&contents).arg(root.join("copy"));
        let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(&patch);
        let back_out = Line::patchadm().words("patchrm -R").arg(&root).arg(ID);
        let costs = in_turns(disk, options.runs(), [&floor, &apply, &back_out])?;
        let [floor, add, remove] = &costs;
        let lines = format!("1 file, {} lines of contents", grouped(size));
        let row = Row::beside(format!("add of {lines}"), add, floor);
        report.row(if size == 400_000 { row.times_floor(RATIO) } else { row });
        report.row(Row::beside(format!("remove of {lines}"), remove, floor));
        clear(&[&root])?;
    }
    report.say("The floor of a large `contents` is a durable copy of that file.");
    Ok(())
}
