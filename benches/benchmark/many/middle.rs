//! A patch of which all files were replaced by a later one, backed out, beside the backout of the newest.

use std::path::Path;

use anyhow::Result;

use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::growth::{clear, inputs_of, write_patch};
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Cost, Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, known, mebibytes, seconds, spread, whole};
use crate::workload::File;

/// The patches in the order in which they are applied; both have all files.
const PATCHES: [&str; 2] = ["610000-01", "620000-01"];

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let count = options.pick(200, 3);
    report.heading(&format!("A patch of {} files from under a later one, {}", grouped(count), disk.name()));
    let inputs = inputs_of(disk, "growth")?;
    let template = disk.at("template");
    fresh(&template)?;
    let files = |seed: usize| -> Vec<File> {
        let path = |number: usize| format!("opt/split/f{number:04}");
        (0..count).map(|number| File::new(path(number), 20_000, (seed + number) as u64)).collect()
    };
    write_base(&inputs.join("base"), &files(7_000_000))?;
    let base = Line::patchadm().words("pkgadd -n -R").arg(&template).arg("-d").arg(inputs.join("base"));
    base.arg(PACKAGE).run()?;
    for (number, id) in PATCHES.into_iter().enumerate() {
        let patch = write_patch(&inputs, id, PACKAGE, &files(7_100_000 + number * 100_000))?;
        Line::patchadm().words("patchadd -R").arg(&template).arg(patch).run()?;
    }

    let mut costs: [Costs; 2] = Default::default();
    for _ in 0..options.runs() {
        for (id, costs) in PATCHES.into_iter().zip(&mut costs) {
            costs.0.push(back_out(disk, &template, id)?);
        }
    }
    let mut table = Table::new(&["backout of", "wall (least–most)", "CPU", "flushes", "peak memory"]);
    for (name, costs) in ["the one in the middle", "the newest"].into_iter().zip(&costs) {
        table.row([
            name.to_owned(),
            spread(costs.wall()),
            seconds(costs.spread(|cost| cost.cpu).median),
            known(costs.counted(|cost| cost.flushes), whole),
            mebibytes(costs.spread(|cost| cost.peak).median),
        ]);
    }
    report.table(&table);
    let [middle, newest] = &costs;
    let work = "backout of a patch in the middle, all files replaced later / of the newest";
    report.at_most(disk.name(), work, 2.0, Spread::of_ratio(middle, newest), "");
    clear(&[&template, &inputs])
}

/// Backs a patch out of a fresh copy of a root.
fn back_out(disk: &Disk, template: &Path, id: &str) -> Result<Cost> {
    let root = disk.at("growth");
    Line::new("cp").arg("-a").arg(template).arg(&root).run()?;
    let cost = measure(disk, &Line::patchadm().words("patchrm -R").arg(&root).arg(id))?;
    clear(&[&root])?;
    Ok(cost)
}
