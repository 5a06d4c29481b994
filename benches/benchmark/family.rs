//! The rest of the family: installing, checking, making and moving packages, beside what everybody does without them.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::contender::install_base;
use crate::delivery::{PACKAGE, directories};
use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, mebibytes, seconds, spread};

/// A command beside the one that it is compared with. Both may write to the directory `target` on the
/// disk, which is not there before.
struct Pair {
    name: &'static str,
    beside: &'static str,
    limit: f64,
    ours: Line,
    theirs: Line,
    target: &'static str,
}

/// Measures the pairs, in turns.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("The family, {}", disk.name()));
    let prototype = disk.scratch().join("prototype");
    write_prototype(&prototype, inputs)?;
    let checked = disk.at("checked");
    install_base(&Line::patchadm(), inputs, &checked)?;
    let stream = disk.scratch().join("base.ds");
    Line::patchadm().words("pkgtrans -s").arg(&inputs.base).arg(&stream).arg(PACKAGE).run()?;
    let mut table =
        Table::new(&["command", "wall (least–most)", "CPU", "peak memory", "beside", "its wall", "ratio"]);
    for pair in pairs(disk, inputs, &prototype, &checked, &stream) {
        let (mut ours, mut theirs) = (Costs::default(), Costs::default());
        for _ in 0..options.runs() {
            for (line, costs) in [(&pair.theirs, &mut theirs), (&pair.ours, &mut ours)] {
                costs.0.push(measure(disk, line)?);
                let target = disk.at(pair.target);
                if target.exists() {
                    fs::remove_dir_all(target)?;
                }
            }
        }
        let ratio = Spread::of_ratio(&ours, &theirs);
        table.row([
            pair.name.to_owned(),
            spread(ours.wall()),
            seconds(ours.spread(|cost| cost.cpu).median),
            mebibytes(ours.spread(|cost| cost.peak).median),
            pair.beside.to_owned(),
            spread(theirs.wall()),
            format!("{:.2}", ratio.median),
        ]);
        let work = format!("{} / {}", pair.name, pair.beside);
        report.at_most(disk.name(), &work, pair.limit, ratio, "");
    }
    report.table(&table);
    fs::remove_file(stream)?;
    Ok(fs::remove_dir_all(checked)?)
}

fn pairs(disk: &Disk, inputs: &Inputs, prototype: &Path, checked: &Path, stream: &Path) -> Vec<Pair> {
    let files = inputs.base_files();
    let root = disk.at("installed");
    let pkgadd = Line::patchadm().words("pkgadd -n -R").arg(&root).arg("-d").arg(&inputs.base).arg(PACKAGE);
    let mut pairs = vec![
        Pair {
            name: "pkgadd, from a directory",
            beside: "cp -a, syncfs",
            limit: 1.3,
            ours: into(&root, &pkgadd),
            theirs: Line::shell("cp -a \"$0\" \"$1\"; sync -f \"$1\"").arg(&files).arg(&root),
            target: "installed",
        },
        Pair {
            name: "pkgchk",
            beside: "reading, all cores",
            limit: 1.2,
            ours: Line::patchadm().words("pkgchk -R").arg(checked).arg(PACKAGE),
            theirs: reading(checked),
            target: "nothing",
        },
    ];
    pairs.extend(copies(disk, inputs, prototype, stream));
    pairs
}

/// Commands that make a package of what is there, beside a copy of that package.
fn copies(disk: &Disk, inputs: &Inputs, prototype: &Path, stream: &Path) -> [Pair; 4] {
    let made = disk.at("made");
    let to_stream = Line::patchadm().words("pkgtrans -s").arg(&inputs.base).arg(made.join("ds")).arg(PACKAGE);
    let pkgmk = Line::patchadm().words("pkgmk -o -d").arg(&made).arg("-f").arg(prototype);
    let pkgtrans = |from: &Path| Line::patchadm().arg("pkgtrans").arg(from).arg(&made).arg(PACKAGE);
    let trials = [
        ("pkgmk", pkgmk),
        ("pkgtrans, directory to directory", pkgtrans(&inputs.base)),
        ("pkgtrans, datastream to directory", pkgtrans(stream)),
        ("pkgtrans, directory to datastream", to_stream),
    ];
    trials.map(|(name, line)| Pair {
        name,
        beside: "cp -r",
        limit: 1.3,
        ours: into(&made, &line),
        theirs: Line::new("cp").arg("-r").arg(inputs.base.join(PACKAGE)).arg(&made),
        target: "made",
    })
}

/// A command that wants its target directory to be there.
fn into(target: &Path, line: &Line) -> Line {
    Line::shell("mkdir \"$0\"; exec \"$@\"").arg(target).line(line)
}

fn reading(root: &Path) -> Line {
    let itself = std::env::current_exe().unwrap_or_default();
    Line::new(itself).arg("@read").arg(root.join("opt"))
}

/// The prototype of the base package.
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
