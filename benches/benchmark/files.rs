//! Undo data as files, beside archives, and beside the floor that saves by links: what is judged of it.

use crate::contender::{Measured, Role};
use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::machine;
use crate::measure::{Costs, Spread};
use crate::report::Report;
use crate::table::{Table, known, mebibytes, seconds, whole};

/// What is compared with one of the floors: its name, the floor, the costs that are read, the limit.
type Compared = (&'static str, Role, fn(&Measured) -> &Costs, f64);

const COMPARED: [Compared; 4] = [
    ("apply with files / the floor", Role::Floor, |measured| &measured.apply, 0.55),
    ("backout with files / the floor's rollback", Role::Floor, |measured| &measured.back_out, 0.40),
    ("apply with files / the floor by links", Role::LinkFloor, |measured| &measured.apply, 1.35),
    ("backout with files / the floor by links", Role::LinkFloor, |measured| &measured.back_out, 1.9),
];

/// The most of the processor time of a backout from an archive that one with files may take.
const PROCESSOR_TIME: f64 = 0.25;

/// The most seconds that a switch may last, and the most flushes.
const WINDOW: f64 = 0.03;
const FLUSHES: f64 = 16.0;

/// Finds what was measured of somebody.
fn of(all: &[(Role, Measured)], role: Role) -> Option<&Measured> {
    all.iter().find(|(who, _)| *who == role).map(|(_, measured)| measured)
}

/// Compares with the targets.
pub(crate) fn judge(disk: &Disk, all: &[(Role, Measured)], report: &mut Report) {
    let (Some(files), Some(archive)) = (of(all, Role::Files), of(all, Role::Patchadm)) else { return };
    let on = disk.name();
    for (work, floor, costs, limit) in COMPARED {
        if let Some(floor) = of(all, floor) {
            report.at_most(on, work, limit, Spread::of_ratio(costs(files), costs(floor)), "");
        }
    }
    let processor_time = Spread::of_ratio_in(&files.back_out, &archive.back_out, |cost| cost.cpu);
    let work = "processor time of a backout with files / from an archive";
    report.at_most(on, work, PROCESSOR_TIME, processor_time, "");
    for (work, windows) in
        [("an apply with files", &files.windows), ("a backout with files", &files.windows_back)]
    {
        let work = format!("switch window of {work}");
        report.at_most(on, &work, WINDOW, Spread::of(windows.iter().copied()), " s");
    }
    for (work, costs) in [("an apply with files", &files.apply), ("a backout with files", &files.back_out)] {
        if let Some(flushes) = costs.counted(|cost| cost.flushes) {
            report.at_most(on, &format!("flushes of {work}, most of all runs"), FLUSHES, flushes.most, "");
        }
    }
}

/// The table at the head of the page, of one of the sets.
pub(crate) fn in_short(disk: &Disk, inputs: &Inputs, all: &[(Role, Measured)], report: &mut Report) {
    let (Some(files), Some(floor)) = (of(all, Role::Files), of(all, Role::LinkFloor)) else { return };
    let mut table = Table::new(&[
        "",
        "apply",
        "back out",
        "CPU of a backout",
        "peak memory of a backout",
        "flushes of a backout",
        "switch window of a backout",
    ]);
    for (role, measured) in all {
        let back_out = &measured.back_out;
        table.row([
            role.name().to_owned(),
            seconds(measured.apply.wall().median),
            seconds(back_out.wall().median),
            seconds(back_out.spread(|cost| cost.cpu).median),
            mebibytes(back_out.spread(|cost| cost.peak).median),
            known(back_out.counted(|cost| cost.flushes), whole),
            seconds(Spread::of(measured.windows_back.iter().copied()).median),
        ]);
    }
    let (patch, set, on) = (inputs.in_short(), inputs.set.name(), disk.word());
    let (machine, table) = (machine::in_short(), table.markdown());
    let text = format!(
        "{patch}, side by side in one run; medians on {on}, {machine}.\nOf all sets and file systems `{set}` on {on} is the \
         one where a backout with files takes longest beside the floor that saves by links:\n\n{table}"
    );
    report.in_short(Spread::of_ratio(&files.back_out, &floor.back_out).median, text);
}
