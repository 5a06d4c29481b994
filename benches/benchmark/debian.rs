//! A real update: the packages that differ between a release of Debian and its stable branch, changed by one patch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::contender::{self, Contender, Measured, Role, of, rounds, set_undo_format};
use crate::delivery::{PATCH, PackageWriter, directories, write_tree};
use crate::disk::Disk;
use crate::inputs::{Inputs, fresh};
use crate::line::{Line, is_installed};
use crate::measure::Spread;
use crate::options::Options;
use crate::patch::report_flushes;
use crate::releases;
use crate::report::{Report, Row};
use crate::table::{grouped, mebibytes, spread};
use crate::transition::{WINDOW, report_clocks};
use crate::workload::{File, NEW, OLD, Scale, Version, Workload};

/// The directory of the packages in the trees; see [`releases::workload`].
const TOP: &str = "opt/acme/";

/// Limits of the program, as multiples of the gzip floor.
const ADD: f64 = 0.7;
const REMOVE: f64 = 0.9;

/// The packages of both releases.
pub(crate) struct Update {
    inputs: Inputs,
    /// The directory with the packages and the patch.
    written: PathBuf,
    names: Vec<String>,
}

impl Update {
    /// Unpacks the packages that differ and writes them. Without such packages, adds a note and returns `None`.
    pub(crate) fn write(scratch: &Path, options: &Options, report: &mut Report) -> Result<Option<Self>> {
        let trees = ["old", "new"].map(|name| scratch.join("debian").join(name));
        trees.iter().try_for_each(|tree| fresh(tree))?;
        match options.branch() {
            Some(branch) if is_installed("dpkg-deb") => unpack(branch, &trees)?,
            Some(_) => {
                report.skipped("a real update", "dpkg-deb is not installed");
                return Ok(None);
            }
            None if options.small => {
                let own = Workload::made(Scale::SMALL);
                for (tree, version) in trees.iter().zip([Version::Old, Version::New]) {
                    write_tree(tree, &own.tree(version))?;
                }
            }
            None => {
                report.skipped(
                    "a real update",
                    "name two directories of Debian packages: --branch RELEASE STABLE",
                );
                return Ok(None);
            }
        }
        let workload = releases::workload(&trees[0], &trees[1])?;
        let mut names: Vec<String> = workload.files.iter().map(|file| name_of(file).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        let inputs = Inputs::write(workload, &scratch.join("update"))?;
        let written = scratch.join("packages");
        fresh(&written)?;
        let update = Self { inputs, written, names };
        update.write_base()?;
        update.write_patch()?;
        trees.iter().try_for_each(fs::remove_dir_all)?;
        Ok(Some(update))
    }

    /// Writes the files of the base as packages.
    fn write_base(&self) -> Result<()> {
        let files = &self.inputs.workload.files;
        for name in &self.names {
            let own: Vec<File> = files.iter().filter(|file| name_of(file) == name).cloned().collect();
            let mut writer = PackageWriter::new(&self.written, &package(name))?;
            for directory in directories(&own) {
                writer.directory(&directory);
            }
            for file in &own {
                writer.linked(&file.path, &self.inputs.packaged(file, Version::Old), OLD)?;
            }
            writer.finish()?;
        }
        Ok(())
    }

    /// Writes the patch. Added files of a package that the base does not have go to the first package.
    fn write_patch(&self) -> Result<()> {
        let workload = &self.inputs.workload;
        let old = directories(&workload.files);
        for (number, name) in self.names.iter().enumerate() {
            let is_own = |file: &&File| {
                let its = name_of(file);
                its == name || number == 0 && self.names.iter().all(|known| known != its)
            };
            let mut writer = PackageWriter::of_patch(&self.written, PATCH, &package(name))?;
            let added: Vec<File> = workload.added.iter().filter(is_own).cloned().collect();
            for directory in directories(&added).difference(&old) {
                writer.directory(directory);
            }
            for file in workload.delivered().filter(is_own) {
                writer.linked(&file.path, &self.inputs.packaged(file, Version::New), NEW)?;
            }
            let deletes: String =
                workload.gone().filter(is_own).map(|file| format!("/{}\n", file.path)).collect();
            if !deletes.is_empty() {
                writer.information("deletes", deletes.as_bytes())?;
            }
            writer.finish()?;
        }
        Ok(())
    }

    /// Returns the program, with a root in which the packages are installed.
    fn contender(&self, role: Role, disk: &Disk) -> Result<Contender> {
        let root: PathBuf = disk.at(if role == Role::Files { "update-files" } else { "update" });
        fresh(&root)?;
        let install = Line::patchadm().words("pkgadd -n -R").arg(&root).arg("-d").arg(&self.written);
        self.names.iter().fold(install, |line, name| line.arg(package(name))).run()?;
        if role == Role::Files {
            set_undo_format(&root, "files")?;
        }
        let apply = Line::patchadm().words("patchadd -R").arg(&root).arg(self.written.join(PATCH));
        let back_out = Line::patchadm().words("patchrm -R").arg(&root).arg(PATCH);
        Ok(Contender { role, root, apply, back_out, undo: None })
    }

    /// Measures both forms of undo data beside both floors.
    pub(crate) fn measure(&self, disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
        let contenders = [
            contender::floor(disk, &self.inputs)?,
            contender::link_floor(disk, &self.inputs)?,
            self.contender(Role::Patchadm, disk)?,
            self.contender(Role::Files, disk)?,
        ];
        let measured = rounds(disk, &self.inputs, &contenders, options, report)?;
        contender::clear(&contenders)?;
        let count = grouped(self.names.len());
        report.say(&format!("Of {count} packages: {}.", self.inputs.in_short()));
        report_clocks(disk, report);
        for (role, floor, form, limits) in [
            (Role::Patchadm, Role::Floor, "archive", Some([ADD, REMOVE])),
            (Role::Files, Role::LinkFloor, "files", None),
        ] {
            if let Some((ours, floor)) = of(&measured, role).zip(of(&measured, floor)) {
                report_update(ours, floor, form, limits, report);
            }
        }
        Ok(())
    }

    /// Removes the packages.
    pub(crate) fn clear(scratch: &Path) -> Result<()> {
        ["debian", "update", "packages"]
            .iter()
            .try_for_each(|name| Ok(fs::remove_dir_all(scratch.join(name))?))
    }
}

fn report_update(
    ours: &Measured,
    floor: &Measured,
    form: &str,
    limits: Option<[f64; 2]>,
    report: &mut Report,
) {
    let steps = [
        ("add", &ours.apply, &floor.apply, &ours.windows, &floor.windows),
        ("remove", &ours.back_out, &floor.back_out, &ours.windows_back, &floor.windows_back),
    ];
    for (number, (step, costs, its, windows, its_windows)) in steps.into_iter().enumerate() {
        let work = format!("{step}, {form}");
        let beside = if limits.is_none() { ", beside the link floor" } else { "" };
        let row = Row::beside(format!("{work}{beside}"), costs, its);
        report.row(match limits {
            Some(limits) => row.times_floor(limits[number]),
            None => row,
        });
        let [windows, its_windows] =
            [windows, its_windows].map(|windows| Spread::of(windows.iter().copied()));
        let row = Row::new(format!("{work}: switch window"), spread(windows));
        report.row(row.floor_alone(spread(its_windows)).at_most(WINDOW, windows, " s"));
        report_flushes(&work, Some(costs), report);
        let [peak, its_peak] = [costs, its].map(|costs| mebibytes(costs.spread(|cost| cost.peak).median));
        report.row(Row::new(format!("{work}: memory"), peak).floor_alone(its_peak));
    }
}

/// Returns the name of the Debian package of a file.
fn name_of(file: &File) -> &str {
    file.path.strip_prefix(TOP).and_then(|path| path.split('/').next()).unwrap_or_default()
}

/// Returns the name of the SVR4 package for the files of a Debian package.
fn package(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-');
    letters.fold("DEB".to_owned(), |name, letter| name + &letter.to_string())
}

/// Unpacks the packages whose versions differ between a release and its branch: the old ones into one tree, the new
/// ones into another.
fn unpack([release, stable]: [&Path; 2], [old, new]: &[PathBuf; 2]) -> Result<()> {
    let (before, after) = (packages(release)?, packages(stable)?);
    for (name, (version, package)) in before {
        let Some((_, later)) = after.get(&name).filter(|(other, _)| *other != version) else { continue };
        for (tree, package) in [(old, &package), (new, later)] {
            Line::new("dpkg-deb").arg("-x").arg(package).arg(tree.join(&name)).run()?;
        }
    }
    Ok(())
}

/// Returns the Debian packages of a directory by name, each with its version.
fn packages(directory: &Path) -> Result<BTreeMap<String, (String, PathBuf)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            let show = Line::new("dpkg-deb").arg("--showformat=${Package} ${Version}").arg("-W").arg(&path);
            let shown = String::from_utf8_lossy(&show.output()?).into_owned();
            let (name, version) = shown.split_once(' ').context("a package without a version")?;
            found.insert(name.to_owned(), (version.to_owned(), path));
        }
    }
    Ok(found)
}
