//! The package commands: installing, checking, making and moving packages, beside plain copying and reading.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::contender::install_base;
use crate::delivery::{PACKAGE, directories};
use crate::disk::Disk;
use crate::growth::inputs_of;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::{Report, Row};

/// A package command. It may write to `target`, a directory on the disk that does not exist before.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) line: Line,
    pub(crate) target: PathBuf,
    beside: Beside,
}

/// The work that a command is compared with.
#[derive(Clone, Copy)]
enum Beside {
    /// A durable copy of the files.
    DurableCopy,
    /// A copy of the package.
    Copy,
    /// Reading the files with all cores.
    Reading,
}

/// Inputs of the commands of one build.
pub(crate) struct Materials {
    program: Line,
    prototype: PathBuf,
    stream: PathBuf,
    checked: PathBuf,
}

impl Materials {
    /// Prepares the inputs with a build of the program; `name` is the name of their directories.
    pub(crate) fn new(program: &Line, disk: &Disk, inputs: &Inputs, name: &str) -> Result<Self> {
        let directory = inputs_of(disk, name)?;
        let (prototype, stream) = (directory.join("prototype"), directory.join("base.ds"));
        write_prototype(&prototype, inputs)?;
        let checked = disk.at(name);
        install_base(program, inputs, &checked)?;
        program.clone().words("pkgtrans -s").arg(&inputs.base).arg(&stream).arg(PACKAGE).run()?;
        Ok(Self { program: program.clone(), prototype, stream, checked })
    }

    /// Returns all commands to measure.
    pub(crate) fn works(&self, disk: &Disk, inputs: &Inputs) -> [Work; 6] {
        let program = || self.program.clone();
        let (installed, made) = (disk.at("installed"), disk.at("made"));
        let pkgadd = program().words("pkgadd -n -R").arg(&installed).arg("-d").arg(&inputs.base).arg(PACKAGE);
        let pkgchk = program().words("pkgchk -R").arg(&self.checked).arg(PACKAGE);
        let pkgmk = program().words("pkgmk -o -d").arg(&made).arg("-f").arg(&self.prototype);
        let pkgtrans = |from: &Path| program().arg("pkgtrans").arg(from).arg(&made).arg(PACKAGE);
        let to_stream = program().words("pkgtrans -s").arg(&inputs.base).arg(made.join("ds")).arg(PACKAGE);
        [
            ("pkgadd, from a directory", into(&installed, &pkgadd), &installed, Beside::DurableCopy),
            ("pkgchk", pkgchk, &disk.at("nothing"), Beside::Reading),
            ("pkgmk", into(&made, &pkgmk), &made, Beside::Copy),
            ("pkgtrans, directory to directory", into(&made, &pkgtrans(&inputs.base)), &made, Beside::Copy),
            ("pkgtrans, datastream to directory", into(&made, &pkgtrans(&self.stream)), &made, Beside::Copy),
            ("pkgtrans, directory to datastream", into(&made, &to_stream), &made, Beside::Copy),
        ]
        .map(|(name, line, target, beside)| Work { name, line, target: target.clone(), beside })
    }

    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_file(self.stream)?;
        Ok(fs::remove_dir_all(self.checked)?)
    }
}

/// Measures each command and its floor in turns.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let materials = Materials::new(&Line::patchadm(), disk, inputs, "checked")?;
    for work in materials.works(disk, inputs) {
        let (beside, limit, line) = beside(&work, inputs, &materials.checked);
        let (mut ours, mut theirs) = (Costs::default(), Costs::default());
        for _ in 0..options.runs() {
            for (line, costs) in [(&line, &mut theirs), (&work.line, &mut ours)] {
                costs.0.push(measure(disk, line)?);
                if work.target.exists() {
                    fs::remove_dir_all(&work.target)?;
                }
            }
        }
        let row = Row::beside(format!("{}, beside {beside}", work.name), &ours, &theirs);
        report.row(row.times_floor(limit));
    }
    materials.remove()
}

/// Returns the floor of a command: its name, the limit as a multiple of its time, and its command line.
fn beside(work: &Work, inputs: &Inputs, checked: &Path) -> (&'static str, f64, Line) {
    match work.beside {
        Beside::DurableCopy => {
            let copy = Line::shell("cp -a \"$0\" \"$1\"; sync -f \"$1\"");
            ("cp -a, syncfs", 1.3, copy.arg(inputs.base_files()).arg(&work.target))
        }
        Beside::Reading => ("reading, all cores", 1.2, reading(checked)),
        Beside::Copy => {
            let copy = Line::new("cp").arg("-r").arg(inputs.base.join(PACKAGE));
            ("cp -r", 1.3, copy.arg(&work.target))
        }
    }
}

/// Wraps a command that needs its target directory to exist.
fn into(target: &Path, line: &Line) -> Line {
    Line::shell("mkdir \"$0\"; exec \"$@\"").arg(target).line(line)
}

fn reading(root: &Path) -> Line {
    let itself = std::env::current_exe().unwrap_or_default();
    Line::new(itself).arg("@read").arg(root.join("opt"))
}

fn write_prototype(file: &Path, inputs: &Inputs) -> Result<()> {
    let pkginfo = inputs.base.join(PACKAGE).join("pkginfo");
    let files = inputs.base_files();
    let mut text = format!("i pkginfo={}\n", pkginfo.display());
    for directory in directories(&inputs.workload.files) {
        text += &format!("d none {directory} 0755 root root\n");
    }
    for object in &inputs.workload.files {
        text += &format!("f none {0}={1}/{0} 0644 root root\n", object.path, files.display());
    }
    Ok(fs::write(file, text)?)
}
