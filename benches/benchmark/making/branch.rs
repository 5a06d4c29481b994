//! `delta`: the patches of a stable branch of Debian packages.

use anyhow::Result;

use super::{Pair, in_turns, remove};
use crate::disk::Disk;
use crate::line::{Line, is_installed};
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, spread};

/// Measures a first run and a second one, where the packages are named and dpkg is installed.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report, table: &mut Table) -> Result<()> {
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
        let pair = Pair {
            name: "delta, first run",
            line: delta(&first),
            beside: "dpkg-deb --fsys-tarfile of all, two processes",
            floor: Line::shell(unpack).arg(release).arg(stable),
            made: &[&first],
        };
        let [ours, theirs] = in_turns(&pair, disk, options, table)?;
        report.at_most(
            disk.name(),
            "delta / unpacking all packages",
            4.0,
            Spread::of_ratio(&ours, &theirs),
            "",
        );
    } else {
        report.skipped("delta, first run", "dpkg-deb is not installed");
    }
    delta(&second).run()?;
    let mut again = Costs::default();
    for _ in 0..options.runs() {
        again.0.push(measure(disk, &delta(&second))?);
    }
    let wall = again.wall();
    table.row(["delta, second run".to_owned(), spread(wall)].into_iter().chain(vec![String::new(); 5]));
    report.at_most(disk.name(), "delta, second run", 0.3, wall, " s");
    remove(&second)
}
