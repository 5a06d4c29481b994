//! A depot of 10,000 patches: indexed, indexed again, compared with a root, and a plan for one from 500 patch ids.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::offered::{self, Extent};
use crate::disk::Disk;
use crate::growth::{clear, inputs_of};
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::random::Random;
use crate::report::{Report, Row};
use crate::synthetic::{self, Records};
use crate::table::{grouped, mebibytes};

/// Limits of each command: seconds, and MiB of memory.
const INDEX: f64 = 10.0;
const OTHERS: f64 = 1.0;
const MEMORY: f64 = 300.0;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let extent = options.pick(Extent { bases: 200, revisions: 50 }, Extent { bases: 4, revisions: 5 });
    let (patches, packages) = (extent.patches(), extent.packages());
    let scratch = inputs_of(disk, "offered")?;
    let (depot, root) = (scratch.join("depot"), disk.at("root"));
    offered::write(&depot, extent)?;
    synthetic::write(&root, Records { packages, patches: packages * 2, lines: packages * 40 })?;
    let index = Line::patchadm().words("depot index").arg(&depot);
    let on_root = |words: &str| Line::patchadm().arg("-R").arg(&root).words(words).arg("-M").arg(&depot);
    let count = options.pick(500, 5);
    let named = named(extent, count);
    let distinct: BTreeSet<&(usize, usize)> = named.iter().collect();
    let bases: BTreeSet<usize> = named.iter().map(|(base, _)| *base).collect();
    report.say(&format!(
        "The plan of {count} named patches is of {} different ones, revisions of {} bases.",
        distinct.len(),
        bases.len()
    ));
    let ids = named.iter().map(|&(base, revision)| Extent::id(base, revision));
    let works = [
        Work { name: "depot index".to_owned(), line: index.clone(), limit: INDEX, is_first: true },
        Work { name: "depot index, nothing changed".to_owned(), line: index, limit: OTHERS, is_first: false },
        Work { name: "missing all".to_owned(), line: on_root("missing all"), limit: OTHERS, is_first: false },
        Work {
            name: format!("plan of {count} named patches"),
            line: ids.fold(on_root("plan"), Line::arg),
            limit: OTHERS,
            is_first: false,
        },
    ];
    let of = format!("a depot of {} patches", grouped(patches));
    for work in works {
        work.measure(&of, &depot, disk, (options, report))?;
    }
    clear(&[&scratch, &root])
}

/// A command on the depot.
struct Work {
    name: String,
    line: Line,
    /// Seconds.
    limit: f64,
    /// True if the results of an earlier run are removed before each run.
    is_first: bool,
}

impl Work {
    fn measure(
        &self,
        of: &str,
        depot: &Path,
        disk: &Disk,
        (options, report): (&Options, &mut Report),
    ) -> Result<()> {
        let mut costs = Costs::default();
        for _ in 0..options.runs() {
            if self.is_first {
                let made = ["index.json", ".patchadm-index"].map(|name| depot.join(name));
                made.iter().filter(|path| path.exists()).try_for_each(std::fs::remove_file)?;
            }
            costs.0.push(measure(disk, &self.line)?);
        }
        let work = format!("{}, {of}", self.name);
        report.row(Row::wall(&work, &costs).at_most(self.limit, costs.wall(), " s"));
        let peak = costs.spread(|cost| cost.peak);
        let row = Row::new(format!("memory of {work}"), mebibytes(peak.median));
        report.row(row.at_most(MEMORY, peak.scaled(1.0 / f64::from(1 << 20)), " MiB"));
        Ok(())
    }
}

/// Picks the bases and revisions of `count` patches at random. A patch may occur twice, and some patches are revisions
/// of the same base.
fn named(extent: Extent, count: usize) -> Vec<(usize, usize)> {
    let mut random = Random::seeded(&[18]);
    (0..count).map(|_| (random.below(extent.bases), 1 + random.below(extent.revisions))).collect()
}
