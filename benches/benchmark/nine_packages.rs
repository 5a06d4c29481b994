//! The files of a set as nine packages, changed by one patch: applied and backed out with an archive and with files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::contender::{Contender, Measured, Role, keep_files};
use crate::delivery::{PATCH, PackageWriter, directories};
use crate::disk::Disk;
use crate::growth::clear;
use crate::inputs::{Inputs, fresh};
use crate::line::Line;
use crate::measure::Spread;
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, known, mebibytes, seconds, spread, whole};
use crate::workload::{File, NEW, OLD, Version, Workload};

/// How many packages there are.
const PACKAGES: usize = 9;

/// The most seconds that a backout with files may take, and the seconds of the apply for which that is said.
const BACKOUT: f64 = 0.25;
const APPLY: f64 = 0.9;

/// Measures both forms of undo data, in turns.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let set = inputs.set.name();
    report.heading(&format!("Nine packages in one patch, {set}, {}", disk.name()));
    let written = disk.scratch().join("nine");
    fresh(&written)?;
    write_base(&written, inputs)?;
    write_patch(&written, inputs)?;
    let contenders = [contender(Role::Patchadm, disk, &written)?, contender(Role::Files, disk, &written)?];
    keep_files(&contenders[1].root)?;
    for contender in &contenders {
        contender.checked_round(disk, inputs, &mut Measured::default())?;
    }
    let mut measured: [Measured; 2] = Default::default();
    for run in 1..=options.runs() {
        Report::progress(&format!("nine packages, run {run} of {}", options.runs()));
        for (contender, measured) in contenders.iter().zip(&mut measured) {
            contender.round(disk, inputs, measured)?;
        }
    }
    let mut table = Table::new(&["who", "work", "wall (least–most)", "CPU", "peak memory", "flushes"]);
    for (contender, measured) in contenders.iter().zip(&measured) {
        for (work, costs) in [("apply", &measured.apply), ("back out", &measured.back_out)] {
            table.row([
                contender.role.name().to_owned(),
                work.to_owned(),
                spread(costs.wall()),
                seconds(costs.spread(|cost| cost.cpu).median),
                mebibytes(costs.spread(|cost| cost.peak).median),
                known(costs.counted(|cost| cost.flushes), whole),
            ]);
        }
    }
    report.table(&table);
    let [archive, files] = &measured;
    report.at_most(disk.name(), "backout of nine packages with files", BACKOUT, files.back_out.wall(), " s");
    let ratio = Spread::of_ratio(&files.back_out, &archive.apply);
    let limit = (BACKOUT / APPLY * 100.0).round() / 100.0;
    report.at_most(disk.name(), "that backout / an apply with an archive", limit, ratio, "");
    clear(&[&contenders[0].root, &contenders[1].root, &written])
}

/// The names of the packages.
fn names() -> impl Iterator<Item = String> {
    (1..=PACKAGES).map(|number| format!("ACMEnine{number}"))
}

/// Which of the packages has a file of the base with this number, or one that is added.
fn package_of(number: usize, workload: &Workload) -> usize {
    number * PACKAGES / workload.files.len().max(1) % PACKAGES
}

/// Writes the files of the base as packages below `directory`.
fn write_base(directory: &Path, inputs: &Inputs) -> Result<()> {
    let workload = &inputs.workload;
    for (package, name) in names().enumerate() {
        let is_own = |(number, _): &(usize, &File)| package_of(*number, workload) == package;
        let own: Vec<File> =
            workload.files.iter().enumerate().filter(is_own).map(|(_, file)| file.clone()).collect();
        let mut writer = PackageWriter::new(directory, &name)?;
        for directory in directories(&own) {
            writer.directory(&directory);
        }
        for file in &own {
            writer.linked(&file.path, &inputs.packaged(file, Version::Old), OLD)?;
        }
        writer.finish()?;
    }
    Ok(())
}

/// Writes the patch of the set as one with these packages.
fn write_patch(directory: &Path, inputs: &Inputs) -> Result<()> {
    let workload = &inputs.workload;
    for (package, name) in names().enumerate() {
        let is_own = |number: &&usize| package_of(**number, workload) == package;
        let mut writer = PackageWriter::of_patch(directory, PATCH, &name)?;
        let replaced = workload.replaced.iter().filter(is_own).map(|&number| &workload.files[number]);
        let added = workload.added.iter().filter(|_| package == 0);
        let new = directories(&workload.added);
        for directory in new.difference(&directories(&workload.files)).filter(|_| package == 0) {
            writer.directory(directory);
        }
        for file in replaced.chain(added) {
            writer.linked(&file.path, &inputs.packaged(file, Version::New), NEW)?;
        }
        let gone = workload.deleted.iter().filter(is_own).map(|&number| &workload.files[number]);
        let deletes: String = gone.map(|file| format!("/{}\n", file.path)).collect();
        if !deletes.is_empty() {
            writer.information("deletes", deletes.as_bytes())?;
        }
        writer.finish()?;
    }
    Ok(())
}

/// The program with the packages installed.
fn contender(role: Role, disk: &Disk, written: &Path) -> Result<Contender> {
    let root: PathBuf = disk.at(&format!("nine-{}", role.name().replace([' ', ','], "-")));
    fresh(&root)?;
    let install = Line::patchadm().words("pkgadd -n -R").arg(&root).arg("-d").arg(written);
    names().fold(install, Line::arg).run()?;
    let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(written.join(PATCH));
    let back_out = Line::patchadm().words("patchrm -R").arg(&root).arg(PATCH);
    Ok(Contender { role, root, apply, back_out, undo: None })
}
