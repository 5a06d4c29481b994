//! `delta`: the patches of a stable branch of Debian packages.

use anyhow::Result;

use super::{Pair, in_turns, remove, row};
use crate::disk::Disk;
use crate::line::{Line, is_installed};
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::{Report, Row};

/// Measures a first run, if dpkg is installed, and a second one. Needs a branch on the command line.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let Some([release, stable]) = options.branch() else {
        report.skipped("delta", "no branch is named (--branch RELEASE STABLE)");
        return Ok(());
    };
    let (first, second) = (disk.at("delta"), disk.at("delta-again"));
    let delta = |work| {
        Line::patchadm()
            .words("delta --release")
            .arg(release)
            .arg("--stable")
            .arg(stable)
            .arg("--work")
            .arg(work)
    };
    if is_installed("dpkg-deb") {
        let unpack = "find \"$0\" \"$1\" -name '*.deb' -print0 | \
            xargs -0 -n 1 -P 2 sh -c 'dpkg-deb --fsys-tarfile \"$0\" >/dev/null'";
        let floor = Line::shell(unpack).arg(release).arg(stable);
        let pair = Pair { line: delta(&first), floor, made: &[&first] };
        let [ours, theirs] = in_turns(&pair, disk, options)?;
        let row = row("delta, first run", &ours, "unpacking all packages, two processes", &theirs);
        report.row(row.times_floor(4.0));
    } else {
        report.skipped("delta, first run", "dpkg-deb is not installed");
    }
    delta(&second).run()?;
    let mut again = Costs::default();
    for _ in 0..options.runs() {
        again.0.push(measure(disk, &delta(&second))?);
    }
    report.row(Row::wall("delta, second run", &again).at_most(0.3, again.wall(), " s"));
    remove(&second)
}
