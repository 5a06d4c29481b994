//! One patch on many roots with one command, in parallel and one at a time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::in_turns;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::grouped;
use crate::workload::File;

const ID: &str = "900001-01";

/// Limit of all roots in parallel, as a multiple of one root at a time.
const RATIO: f64 = 0.6;

/// Memory limit for each root, in KiB.
const MEMORY: f64 = 4.0;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let counts = options.pick(&[1, 100, 500][..], &[1, 3]);
    let most = counts.last().copied().unwrap_or_default();
    let inputs = inputs_of(disk, "growth")?;
    let files: Vec<File> =
        (0..10).map(|number| File::new(format!("opt/small/f{number}"), 20_000, 7_000_000 + number)).collect();
    write_base(&inputs.join("base"), &files)?;
    let patch = write_patch(&inputs, ID, PACKAGE, &files)?;
    let directory = disk.at("roots");
    fresh(&directory)?;
    let roots = make_roots(&directory, &inputs.join("base"), most)?;

    let mut peaks = Vec::new();
    for &count in counts {
        let list = inputs.join("roots");
        let paths: String = roots[..count].iter().map(|root| format!("{}\n", root.display())).collect();
        fs::write(&list, paths)?;
        let add = || Line::patchadm().words("add --roots").arg(&list);
        let back_out = Line::patchadm().words("remove --roots").arg(&list).arg(ID);
        let commands = [
            add().arg(&patch),
            back_out.clone(),
            add().words("--jobs 1").arg(&patch),
            back_out.words("--jobs 1"),
        ];
        let costs = in_turns(disk, options.runs(), commands.each_ref())?;
        let [add, remove, serial, serial_back] = &costs;
        let [peak, peak_back] = [add, remove].map(|costs| costs.spread(|cost| cost.peak).median);
        peaks.push((count as f64, [peak, peak_back]));
        let roots = if count == 1 { "1 root".to_owned() } else { format!("{} roots", grouped(count)) };
        let row = Row::beside(format!("add of 10 files, {roots}"), add, serial);
        report.row(if count == 500 { row.times_floor(RATIO) } else { row });
        report.row(Row::beside(format!("remove of 10 files, {roots}"), remove, serial_back));
    }
    report.say("The floor of many roots is the same command with `--jobs 1`.");
    memory_of_a_root(&peaks, report);
    clear(&[&directory, &inputs])
}

/// Judges how much memory each root adds to the peak. Compares the most roots with at most a fifth of them.
fn memory_of_a_root(peaks: &[(f64, [f64; 2])], report: &mut Report) {
    let Some((most, at_most)) = peaks.last() else { return };
    let Some((fewer, at_fewer)) = peaks.iter().rfind(|(count, _)| count * 5.0 <= *most) else { return };
    for (number, step) in ["add", "remove"].into_iter().enumerate() {
        let each = (at_most[number] - at_fewer[number]) / (most - fewer) / 1024.0;
        let row = Row::new(format!("memory of {step} for each root"), format!("{each:.2} KiB"));
        report.row(row.at_most(MEMORY, each, " KiB"));
    }
}

/// Installs the package once, and copies that root.
pub(crate) fn make_roots(directory: &Path, base: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let roots: Vec<PathBuf> = (0..count).map(|number| directory.join(format!("r{number:03}"))).collect();
    for (number, root) in roots.iter().enumerate() {
        if number == 0 {
            fresh(root)?;
            Line::patchadm().words("pkgadd -n -R").arg(root).arg("-d").arg(base).arg(PACKAGE).run()?;
        } else {
            Line::new("cp").arg("-a").arg(&roots[0]).arg(root).run()?;
        }
    }
    Ok(roots)
}
