//! How much space a patch needs: undo data, and memory.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::contender::{self, Role, rounds};
use crate::delivery::{PACKAGE, PackageWriter, write_base};
use crate::disk::Disk;
use crate::growth::{clear, inputs_of, write_patch};
use crate::inputs::{Inputs, fresh};
use crate::line::Line;
use crate::measure::{Cost, Spread, measure};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{grouped, mebibytes, megabytes};
use crate::workload::{File, NEW, OLD, Version};

/// The ids of the large patch, and of the patch of tiny files.
const BIG: &str = "100002-01";
const TINY: &str = "820001-01";

/// Limit of an undo archive, as a multiple of the floor's.
const ARCHIVE: f64 = 1.03;

/// Memory limits in MiB: of a run, and of a run with a patch of a gigabyte.
const MEMORY: f64 = 64.0;
const BIG_MEMORY: f64 = 128.0;

/// Memory limits in KiB for each object, and for each object of a plan of 2,000.
const EACH: f64 = 1.5;
const EACH_OF_PLAN: f64 = 2.0;

/// Bytes of a tiny file.
const SIZE: usize = 100;

/// Measures on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let contenders = [
        contender::floor(disk, inputs)?,
        contender::link_floor(disk, inputs)?,
        contender::patchadm(disk, inputs)?,
        contender::patchadm_files(disk, inputs)?,
    ];
    let measured = rounds(disk, inputs, &contenders, options, report)?;
    contender::clear(&contenders)?;
    for (role, floor, form) in
        [(Role::Patchadm, Role::Floor, "archive"), (Role::Files, Role::LinkFloor, "files")]
    {
        let (Some(ours), Some(floor)) = (contender::of(&measured, role), contender::of(&measured, floor))
        else {
            continue;
        };
        if let Some((bytes, floor)) = ours.undo.zip(floor.undo) {
            let row = Row::new(format!("undo data, {form}"), megabytes(bytes));
            let row = row.floor(megabytes(floor), (bytes / floor).into());
            report.row(if role == Role::Patchadm { row.times_floor(ARCHIVE) } else { row });
        }
        for (step, ours, floor) in
            [("add", &ours.apply, &floor.apply), ("remove", &ours.back_out, &floor.back_out)]
        {
            let [ours, floor] = [ours, floor].map(|costs| costs.spread(|cost| cost.peak).most);
            let row = Row::new(format!("memory of {step}, {form}"), mebibytes(ours));
            let row = row.floor_alone(mebibytes(floor));
            report.row(row.at_most(MEMORY, in_mebibytes(ours), " MiB"));
        }
    }
    report.say(&format!("The patch: {}. Of memory the most of all runs is shown.", inputs.in_short()));
    gigabyte(disk, options, report)?;
    for_each(disk, options, report)
}

fn in_mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// Measures the memory for a patch of a gigabyte.
fn gigabyte(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let files = options.pick(250, 3);
    let size = options.pick(4_000_000, 1_000_000);
    let (base, patch, root) = (disk.scratch().join("big"), disk.scratch().join("big-patch"), disk.at("big"));
    write_big(&base, &patch, files, size)?;
    fresh(&root)?;
    Line::patchadm().words("pkgadd -n -R").arg(&root).arg("-d").arg(&base).arg(PACKAGE).run()?;
    let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(patch.join(BIG));
    let apply = measure(disk, &apply).context("the large patch")?;
    let back_out = measure(disk, &Line::patchadm().words("patchrm -R").arg(&root).arg(BIG))?;
    clear(&[&base, &patch, &root])?;
    let amount = megabytes((files * size) as f64);
    for (step, cost) in [("add", apply), ("remove", back_out)] {
        let row = Row::new(format!("memory of {step}, a patch of {amount}"), mebibytes(cost.peak));
        report.row(row.at_most(BIG_MEMORY, in_mebibytes(cost.peak), " MiB"));
    }
    Ok(())
}

/// Writes `count` files of `size` bytes with few different contents. A gigabyte of distinct content would take longer
/// to make than everything else.
fn write_big(base: &Path, patch: &Path, count: usize, size: usize) -> Result<()> {
    let mut old = PackageWriter::new(base, PACKAGE)?;
    let mut new = PackageWriter::of_patch(patch, BIG, PACKAGE)?;
    for directory in ["opt", "opt/big"] {
        old.directory(directory);
    }
    let content = |key: u64, version| File::new(String::new(), size, 3_000_000 + key).content(version);
    let contents: Vec<[Vec<u8>; 2]> = (0..8)
        .map(|key| Ok([content(key, Version::Old)?, content(key, Version::New)?]))
        .collect::<Result<_>>()?;
    for (number, [before, after]) in contents.iter().cycle().take(count).enumerate() {
        let path = format!("opt/big/f{number:03}");
        old.file(&path, before, OLD)?;
        new.file(&path, after, NEW)?;
    }
    old.finish()?;
    new.finish()
}

/// Measures the memory for each object: the difference between the peaks of many and of fewer tiny files, divided by
/// the difference between their numbers.
fn for_each(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let [few, fewer, more] = options.pick([20, 2_000, 20_000], [2, 20, 200]);
    let [least, less, most] = [of_files(disk, few)?, of_files(disk, fewer)?, of_files(disk, more)?];
    let mut add = |work: String, [less, more]: [Cost; 2], objects: usize, limit: f64| {
        let each = (more.peak - less.peak) / objects as f64 / 1024.0;
        report.row(Row::new(work, format!("{each:.2} KiB")).at_most(limit, Spread::from(each), " KiB"));
    };
    for (((name, least), (_, less)), (_, most)) in least.into_iter().zip(less).zip(most) {
        if name == "plan" {
            let work = format!("memory of {name} for each of {} files", grouped(fewer));
            add(work, [least, less], fewer - few, EACH_OF_PLAN);
        }
        let work = format!("memory of {name} for each of {} files", grouped(more));
        add(work, [less, most], more - fewer, EACH);
    }
    Ok(())
}

/// Measures each command for a package of `count` files, and a patch to all of them.
fn of_files(disk: &Disk, count: usize) -> Result<Vec<(&'static str, Cost)>> {
    let inputs = inputs_of(disk, "memory")?;
    let path = |number: usize| format!("opt/tiny/d{:03}/f{number:06}", number / 1_000);
    let files: Vec<File> =
        (0..count).map(|number| File::new(path(number), SIZE, 8_000_000 + number as u64)).collect();
    write_base(&inputs, &files)?;
    let patch = write_patch(&inputs, TINY, PACKAGE, &files)?;
    let root = disk.at("memory");
    fresh(&root)?;
    let on_root = |command: &str| Line::patchadm().words(command).arg("-R").arg(&root);
    let lines = [
        ("pkgadd", on_root("pkgadd -n").arg("-d").arg(&inputs).arg(PACKAGE)),
        ("plan", Line::patchadm().arg("-R").arg(&root).arg("plan").arg(&patch)),
        ("add", on_root("patchadd").arg(&patch)),
        ("remove", on_root("patchrm").arg(TINY)),
        ("pkgchk", on_root("pkgchk").arg(PACKAGE)),
        ("pkgrm", on_root("pkgrm -n").arg(PACKAGE)),
    ];
    let costs = lines.iter().map(|(name, line)| Ok((*name, measure(disk, line)?))).collect::<Result<_>>()?;
    fs::remove_dir_all(&root)?;
    clear(&[&inputs])?;
    Ok(costs)
}
