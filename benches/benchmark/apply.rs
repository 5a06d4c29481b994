//! The main part: the 2,000-file patch applied and taken back, by the program, the floor and others, side by side.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::contender::{self, Contender, Measured, Role};
use crate::delivery::{PACKAGE, PackageWriter};
use crate::disk::Disk;
use crate::inputs::{Inputs, fresh};
use crate::line::Line;
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::rivals::Rivals;
use crate::stock_scripts;
use crate::table::{Table, known, mebibytes, megabytes, seconds, spread};
use crate::tree::Clock;
use crate::workload::{File, NEW, OLD, Version};

/// What takes longer than this, in seconds, is run once.
const LONG: f64 = 10.0;

/// Measures everybody on a disk.
pub(crate) fn run(
    disk: &Disk,
    inputs: &Inputs,
    rivals: &Rivals,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    report.heading(&format!("Applying a patch and taking it back, {}", disk.name()));
    let mut contenders = vec![contender::floor(disk, inputs)?, contender::patchadm(disk, inputs)?];
    contenders.extend(rivals.contenders(disk, inputs, report));
    match stock_scripts::contender(disk, inputs) {
        Ok(contender) => contenders.push(contender),
        Err(error) => report.skipped(Role::Scripts.name(), &format!("{error:#}").replace('\n', "; ")),
    }
    let measured = rounds(disk, inputs, contenders, options, report)?;
    table(report, "Apply", &measured, |measured| (&measured.apply, &measured.windows, measured.undo));
    table(report, "Back out", &measured, |measured| (&measured.back_out, &measured.windows_back, None));
    if disk.clock() == Clock::Directory {
        report.say(
            "An exchange of two names leaves the ctime of files alone on this file system; the switch windows are those \
             of the directories that were changed.\n",
        );
    }
    judge(disk, &measured, report);
    gigabyte(disk, options, report)
}

/// A round that is checked and not counted, then the rounds that count, each contender after the other in each of them.
fn rounds(
    disk: &Disk,
    inputs: &Inputs,
    contenders: Vec<Contender>,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<(Role, Measured)>> {
    let mut all = Vec::new();
    for contender in contenders {
        let mut measured = Measured::default();
        Report::progress(&format!("{}, checked", contender.role.name()));
        match contender.checked_round(disk, inputs, &mut measured) {
            Ok(()) => all.push((contender, measured)),
            Err(error) if matches!(contender.role, Role::Floor | Role::Patchadm) => return Err(error),
            Err(error) => report.skipped(contender.role.name(), &format!("{error:#}").replace('\n', "; ")),
        }
    }
    if !options.small {
        for (_, measured) in &mut all {
            if measured.apply.wall().median < LONG {
                *measured = Measured::default();
            }
        }
        for run in 1..=options.runs() {
            Report::progress(&format!("run {run} of {}", options.runs()));
            for (contender, measured) in &mut all {
                if measured.apply.0.first().is_none_or(|cost| cost.wall < LONG) {
                    contender.round(disk, inputs, measured)?;
                }
            }
        }
    }
    for (contender, _) in &all {
        fs::remove_dir_all(&contender.root)?;
    }
    Ok(all.into_iter().map(|(contender, measured)| (contender.role, measured)).collect())
}

/// What a table shows of a contender: costs, switch windows, bytes of undo data.
type Shown<'a> = (&'a Costs, &'a [f64], Option<f64>);

fn table(
    report: &mut Report,
    title: &str,
    all: &[(Role, Measured)],
    shown: impl for<'a> Fn(&'a Measured) -> Shown<'a>,
) {
    let mut table = Table::new(&[
        title,
        "wall (least–most)",
        "until on disk",
        "CPU",
        "peak memory",
        "written",
        "flushes",
        "switch window",
        "undo data",
        "runs",
    ]);
    for (role, measured) in all {
        let (costs, windows, undo) = shown(measured);
        table.row([
            role.name().to_owned(),
            spread(costs.wall()),
            seconds(costs.spread(|cost| cost.settled).median),
            seconds(costs.spread(|cost| cost.cpu).median),
            mebibytes(costs.spread(|cost| cost.peak).median),
            known(costs.counted(|cost| cost.written), megabytes),
            known(costs.counted(|cost| cost.flushes), |flushes| format!("{flushes:.0}")),
            seconds(Spread::of(windows.iter().copied()).median),
            known(undo, megabytes),
            costs.0.len().to_string(),
        ]);
    }
    report.table(&table);
}

/// Compares with the targets.
fn judge(disk: &Disk, all: &[(Role, Measured)], report: &mut Report) {
    let of = |role: Role| all.iter().find(|(who, _)| *who == role).map(|(_, measured)| measured);
    let (Some(floor), Some(ours)) = (of(Role::Floor), of(Role::Patchadm)) else { return };
    let on = disk.name();
    report.at_most(on, "apply / the floor", 0.7, Spread::of_ratio(&ours.apply, &floor.apply), "");
    report.at_most(
        on,
        "backout / the floor's rollback",
        0.9,
        Spread::of_ratio(&ours.back_out, &floor.back_out),
        "",
    );
    let window = |windows: &[f64]| Spread::of(windows.iter().copied());
    report.at_most(on, "switch window of an apply", 0.03, window(&ours.windows), " s");
    report.at_most(on, "switch window of a backout", 0.03, window(&ours.windows_back), " s");
    for (work, costs) in [("apply", &ours.apply), ("backout", &ours.back_out)] {
        if let Some(flushes) = costs.counted(|cost| cost.flushes) {
            report.at_most(on, &format!("flushes of an {work}").replace("an b", "a b"), 16.0, flushes, "");
        }
        let peak = costs.spread(|cost| cost.peak).most / f64::from(1 << 20);
        report.at_most(on, &format!("peak memory, {work}"), 64.0, peak, " MiB");
    }
    if let Some((ours, floor)) = ours.undo.zip(floor.undo) {
        report.at_most(on, "undo archive / the floor's", 1.03, ours / floor, "");
    }
    for (role, factor) in [
        (Role::Dpkg, 8.0),
        (Role::Rpm, 5.0),
        (Role::DpkgChanged, 1.0),
        (Role::RpmChanged, 1.0),
        (Role::Scripts, 20.0),
    ] {
        if let Some(rival) = of(role) {
            let work = format!("times faster than {}", role.name());
            report.at_least(on, &work, factor, Spread::of_ratio(&rival.apply, &ours.apply), "");
        }
    }
}

/// What a patch of a gigabyte takes of memory.
fn gigabyte(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let files = options.pick(250, 3);
    let size = options.pick(4_000_000, 1_000_000);
    let big = |number: usize| File::new(format!("opt/big/f{number:03}"), size, 3_000_000 + number as u64);
    let (base, patch, root) = (disk.scratch().join("big"), disk.scratch().join("big-patch"), disk.at("big"));
    write_big(&base, &patch, (0..files).map(big))?;
    fresh(&root)?;
    Line::patchadm().words("pkgadd -n -R").arg(&root).arg("-d").arg(&base).arg(PACKAGE).run()?;
    let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(patch.join(BIG));
    let apply = measure(disk, &apply).context("the large patch")?;
    let back_out = measure(disk, &Line::patchadm().words("patchrm -R").arg(&root).arg(BIG))?;
    for directory in [&base, &patch, &root] {
        fs::remove_dir_all(directory)?;
    }
    let amount = megabytes((files * size) as f64);
    report.say(&format!(
        "A patch of {amount} in {files} files, one run: apply {} with {} of memory, backout {} with {}.\n",
        seconds(apply.wall),
        mebibytes(apply.peak),
        seconds(back_out.wall),
        mebibytes(back_out.peak)
    ));
    let peak = apply.peak.max(back_out.peak) / f64::from(1 << 20);
    report.at_most(disk.name(), "peak memory, a patch of 1 GB", 128.0, peak, " MiB");
    Ok(())
}

/// The id of the large patch.
const BIG: &str = "100002-01";

fn write_big(base: &Path, patch: &Path, files: impl Iterator<Item = File>) -> Result<()> {
    let mut old = PackageWriter::new(base, PACKAGE)?;
    let mut new = PackageWriter::of_patch(patch, BIG, PACKAGE)?;
    for directory in ["opt", "opt/big"] {
        old.directory(directory);
    }
    for file in files {
        old.file(&file.path, &file.content(Version::Old), OLD)?;
        new.file(&file.path, &file.content(Version::New), NEW)?;
    }
    old.finish()?;
    new.finish()
}
