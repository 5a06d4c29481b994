//! The main part: the patch of a set applied and taken back, by the program, the floors and others, side by side. The
//! part `files` is the same without the others.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::contender::{self, Contender, Measured, Role};
use crate::delivery::{PACKAGE, PackageWriter};
use crate::disk::Disk;
use crate::files;
use crate::inputs::{Inputs, fresh};
use crate::library_decision;
use crate::line::Line;
use crate::machine;
use crate::measure::{Cost, Costs, Spread, measure};
use crate::nine_packages;
use crate::options::Options;
use crate::report::Report;
use crate::rivals::Rivals;
use crate::sets::Set;
use crate::stock_scripts;
use crate::table::{Table, grouped, known, mebibytes, megabytes, seconds, spread, whole};
use crate::tree::Clock;
use crate::way_back;
use crate::workload::{File, NEW, OLD, Version};

/// What takes longer than this, in seconds, is run once.
const LONG: f64 = 10.0;

/// Measures everybody on a disk; without `rivals`, the program and the floors alone.
pub(crate) fn run(
    disk: &Disk,
    inputs: &Inputs,
    rivals: Option<&Rivals>,
    slow: &mut Vec<Role>,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let set = inputs.set.name();
    report.heading(&format!("Applying a patch and taking it back, {set}, {}", disk.name()));
    let contenders = contenders(disk, inputs, rivals, slow, options, report)?;
    let measured = rounds(disk, inputs, contenders, options, report)?;
    slow.extend(measured.iter().filter(|(role, measured)| is_slow(*role, measured)).map(|(role, _)| *role));
    let [delivered, saved] = [inputs.delivered(), inputs.saved()];
    table(report, "Apply", delivered, &measured, |measured| {
        (&measured.apply, &measured.windows, measured.undo)
    });
    table(report, "Back out", saved, &measured, |measured| {
        (&measured.back_out, &measured.windows_back, None)
    });
    report.say(&format!(
        "MB/s refer to the data that is put in place: {} by an apply, {} by a backout.\n",
        megabytes(delivered),
        megabytes(saved)
    ));
    if disk.clock() == Clock::Directory {
        report.say(
            "An exchange of two names leaves the ctime of files alone on this file system; the switch windows are those \
             of the directories that were changed.\n",
        );
    }
    if rivals.is_some() {
        judge(disk, inputs, &measured, report);
    }
    files::judge(disk, &measured, report);
    if inputs.set == Set::Libraries {
        nine_packages::run(disk, inputs, options, report)?;
    }
    if rivals.is_none() {
        files::in_short(disk, inputs, &measured, report);
        return Ok(());
    }
    if let Some((_, ours)) = measured.iter().find(|(role, _)| *role == Role::Patchadm) {
        way_back::run(disk, inputs, &ours.apply, options, report)?;
        if inputs.set == Set::Libraries {
            library_decision::run(disk, inputs, ours, options, report)?;
        }
    }
    in_short(disk, inputs, &measured, report);
    Ok(())
}

/// Sets up everybody on a disk. Who was slow on another one is left out.
fn contenders(
    disk: &Disk,
    inputs: &Inputs,
    rivals: Option<&Rivals>,
    slow: &[Role],
    options: &Options,
    report: &mut Report,
) -> Result<Vec<Contender>> {
    let mut contenders = vec![
        contender::floor(disk, inputs)?,
        contender::link_floor(disk, inputs)?,
        contender::patchadm(disk, inputs)?,
        contender::patchadm_files(disk, inputs)?,
    ];
    let Some(rivals) = rivals else { return Ok(contenders) };
    for (role, program) in options.builds() {
        let program = program.canonicalize().with_context(|| format!("{}", program.display()))?;
        contenders.push(contender::build(&Line::new(program), role, disk, inputs)?);
    }
    contenders.extend(rivals.contenders(disk, inputs, slow, report));
    if !slow.contains(&Role::Scripts) {
        match stock_scripts::contender(disk, inputs) {
            Ok(contender) => contenders.push(contender),
            Err(error) => report.skipped(Role::Scripts.name(), &format!("{error:#}").replace('\n', "; ")),
        }
    }
    for role in slow {
        report.skipped(
            role.name(),
            &format!("an apply takes more than {LONG} s: measured once, on the first disk"),
        );
    }
    Ok(contenders)
}

/// Whether somebody else takes so long that one run has to do.
fn is_slow(role: Role, measured: &Measured) -> bool {
    role.is_other() && measured.apply.0.first().is_some_and(|cost| cost.wall >= LONG)
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
            Err(error) if contender.role.is_required() => return Err(error),
            Err(error) => report.skipped(contender.role.name(), &format!("{error:#}").replace('\n', "; ")),
        }
    }
    if !options.small {
        for (contender, measured) in &mut all {
            if !is_slow(contender.role, measured) {
                *measured = Measured::default();
            }
        }
        for run in 1..=options.runs() {
            Report::progress(&format!("run {run} of {}", options.runs()));
            for (contender, measured) in &mut all {
                if !is_slow(contender.role, measured) {
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
    bytes: f64,
    all: &[(Role, Measured)],
    shown: impl for<'a> Fn(&'a Measured) -> Shown<'a>,
) {
    let mut table = Table::new(&[
        title,
        "wall (least–most)",
        "MB/s",
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
            format!("{:.0}", bytes / 1e6 / costs.wall().median),
            seconds(costs.spread(|cost| cost.settled).median),
            seconds(costs.spread(|cost| cost.cpu).median),
            mebibytes(costs.spread(|cost| cost.peak).median),
            known(costs.counted(|cost| cost.written), |written| megabytes(written.median)),
            known(costs.counted(|cost| cost.flushes), whole),
            seconds(Spread::of(windows.iter().copied()).median),
            known(undo, megabytes),
            costs.0.len().to_string(),
        ]);
    }
    report.table(&table);
}

/// A ratio to the floor that is judged: its name, one of the costs of a contender, a figure of it, target and hard limit.
struct Judged {
    work: &'static str,
    costs: fn(&Measured) -> &Costs,
    figure: fn(&Cost) -> f64,
    target: f64,
    limit: f64,
}

const JUDGED: [Judged; 4] = [
    Judged {
        work: "apply / the floor",
        costs: |measured| &measured.apply,
        figure: |cost| cost.wall,
        target: 0.7,
        limit: 0.85,
    },
    Judged {
        work: "backout / the floor's rollback",
        costs: |measured| &measured.back_out,
        figure: |cost| cost.wall,
        target: 0.9,
        limit: 1.1,
    },
    Judged {
        work: "processor time of an apply / the floor's",
        costs: |measured| &measured.apply,
        figure: |cost| cost.cpu,
        target: 1.6,
        limit: 1.6,
    },
    Judged {
        work: "processor time of a backout / the floor's",
        costs: |measured| &measured.back_out,
        figure: |cost| cost.cpu,
        target: 1.8,
        limit: 1.8,
    },
];

/// Compares with the targets.
fn judge(disk: &Disk, inputs: &Inputs, all: &[(Role, Measured)], report: &mut Report) {
    let of = |role: Role| all.iter().find(|(who, _)| *who == role).map(|(_, measured)| measured);
    let (Some(floor), Some(ours)) = (of(Role::Floor), of(Role::Patchadm)) else { return };
    let on = disk.name();
    for Judged { work, costs, figure, target, limit } in JUDGED {
        let ratio = |build: &Measured| Spread::of_ratio_in(costs(build), costs(floor), figure);
        let plain = of(Role::Plain).map(ratio);
        if target < limit {
            report.beside_plain(on, work, target, ratio(ours), plain);
        }
        report.beside_plain(on, &format!("{work}, hard limit"), limit, ratio(ours), plain);
    }
    let window = |windows: &[f64]| Spread::of(windows.iter().copied());
    report.at_most(on, "switch window of an apply", 0.03, window(&ours.windows), " s");
    report.at_most(on, "switch window of a backout", 0.03, window(&ours.windows_back), " s");
    for (work, costs) in [("apply", &ours.apply), ("backout", &ours.back_out)] {
        if let Some(flushes) = costs.counted(|cost| cost.flushes) {
            let work = format!("flushes of an {work}, most of all runs").replace("an b", "a b");
            report.at_most(on, &work, 16.0, flushes.most, "");
        }
        let peak = costs.spread(|cost| cost.peak).most / f64::from(1 << 20);
        report.at_most(on, &format!("peak memory, {work}"), 64.0, peak, " MiB");
    }
    if let Some((ours, floor)) = ours.undo.zip(floor.undo) {
        report.at_most(on, "undo archive / the floor's", 1.03, ours / floor, "");
    }
    judge_rivals(disk, inputs, all, report);
}

/// Compares with the others. What the full packages of a version cost beside a patch has a limit only where the patch is
/// small beside them: where it delivers no more than a fifth of the base.
fn judge_rivals(disk: &Disk, inputs: &Inputs, all: &[(Role, Measured)], report: &mut Report) {
    let of = |role: Role| all.iter().find(|(who, _)| *who == role).map(|(_, measured)| measured);
    let Some(ours) = of(Role::Patchadm) else { return };
    let full = [(Role::Dpkg, 8.0), (Role::Rpm, 5.0)];
    let is_small = inputs.delivered() * 5.0 <= inputs.installed();
    let changed = [(Role::DpkgChanged, 1.0), (Role::RpmChanged, 1.0), (Role::Scripts, 20.0)];
    for (role, factor) in full.into_iter().filter(|_| is_small).chain(changed) {
        if let Some(rival) = of(role) {
            let work = format!("times faster than {}", role.name());
            report.at_least(disk.name(), &work, factor, Spread::of_ratio(&rival.apply, &ours.apply), "");
        }
    }
}

/// The table at the head of the page, of one of the sets.
fn in_short(disk: &Disk, inputs: &Inputs, all: &[(Role, Measured)], report: &mut Report) {
    let of = |role: Role| all.iter().find(|(who, _)| *who == role).map(|(_, measured)| measured);
    let (Some(floor), Some(ours)) = (of(Role::Floor), of(Role::Patchadm)) else { return };
    let mut table =
        Table::new(&["", "apply", "back out", "peak memory", "flushes of an apply", "switch window"]);
    let is_shown = |role: Role| !matches!(role, Role::Plain | Role::Static | Role::Scripts);
    for (role, measured) in all.iter().filter(|(role, _)| is_shown(*role)) {
        table.row([
            role.name().to_owned(),
            seconds(measured.apply.wall().median),
            seconds(measured.back_out.wall().median),
            mebibytes(measured.apply.spread(|cost| cost.peak).median),
            known(measured.apply.counted(|cost| cost.flushes), |flushes| grouped(flushes.median as usize)),
            seconds(Spread::of(measured.windows.iter().copied()).median),
        ]);
    }
    let (patch, set, on) = (inputs.in_short(), inputs.set.name(), disk.word());
    let (machine, table) = (machine::in_short(), table.markdown());
    let text = format!(
        "{patch}, side by side in one run; medians on {on}, {machine}.\nOf all sets and file systems `{set}` on {on} is the one \
         where an apply takes longest beside the floor:\n\n{table}"
    );
    report.in_short(Spread::of_ratio(&ours.apply, &floor.apply).median, text);
}

/// What a patch of a gigabyte takes of memory.
pub(crate) fn gigabyte(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let files = options.pick(250, 3);
    let size = options.pick(4_000_000, 1_000_000);
    let (base, patch, root) = (disk.scratch().join("big"), disk.scratch().join("big-patch"), disk.at("big"));
    write_big(&base, &patch, files, size)?;
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

/// Writes so many files of a size, of few different contents: to make a gigabyte of them would take longer than all else.
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
