//! The same change made by other tools, side by side.

use std::path::Path;

use anyhow::Result;

use crate::contender::{self, Role, of, rounds};
use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::measure::Spread;
use crate::options::Options;
use crate::report::{Report, ratio};
use crate::rivals::Rivals;
use crate::table::{known, mebibytes, megabytes, spread, whole};

/// The columns of the table.
const HEAD: [&str; 11] = [
    "by",
    "on",
    "add",
    "remove",
    "flushes of add",
    "switch window",
    "memory of add",
    "undo data",
    "patchadm / it",
    "target",
    "",
];

/// Limits of an apply, as multiples of the other tool's time.
const LIMITS: [(Role, f64); 4] =
    [(Role::Dpkg, 0.125), (Role::Rpm, 0.2), (Role::DpkgChanged, 1.0), (Role::RpmChanged, 1.0)];

/// Measures on a disk. `scratch` holds the packages of the other tools.
pub(crate) fn run(
    disk: &Disk,
    inputs: &Inputs,
    scratch: &Path,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let rivals = Rivals::build(inputs, scratch, options, report)?;
    let mut contenders = vec![
        contender::floor(disk, inputs)?,
        contender::link_floor(disk, inputs)?,
        contender::patchadm(disk, inputs)?,
        contender::patchadm_files(disk, inputs)?,
    ];
    contenders.extend(rivals.contenders(disk, inputs, report));
    let measured = rounds(disk, inputs, &contenders, options, report)?;
    contender::clear(&contenders)?;
    rivals.clear()?;
    let ours = of(&measured, Role::Patchadm).map(|ours| &ours.apply);
    for (role, its) in &measured {
        let beside = ours.filter(|_| role.is_other()).map(|ours| Spread::of_ratio(ours, &its.apply));
        let limit = LIMITS.iter().find(|(of, _)| of == role).map(|(_, limit)| *limit);
        let verdict = match beside.zip(limit) {
            Some((beside, limit)) if beside.median <= limit => "met",
            Some(_) => "**missed**",
            None => "",
        };
        // Its new tree becomes visible at once; the times of its files are those of hard links made before.
        let window = match role {
            Role::OsTree => "–".to_owned(),
            _ => spread(Spread::of(its.windows.iter().copied())),
        };
        let cells = [
            role.name().to_owned(),
            disk.word().to_owned(),
            spread(its.apply.wall()),
            spread(its.back_out.wall()),
            known(its.apply.counted(|cost| cost.flushes), whole),
            window,
            mebibytes(its.apply.spread(|cost| cost.peak).median),
            known(its.undo, megabytes),
            known(beside, ratio),
            known(limit, |limit| format!("≤ {limit}")),
            verdict.to_owned(),
        ];
        report.table_row(&HEAD, cells);
    }
    report.say(&format!("The change: {}.", inputs.in_short()));
    Ok(())
}
