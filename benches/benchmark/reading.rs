//! Queries of a large machine, each a whole process.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::disk::Disk;
use crate::growth::{inputs_of, write_patch};
use crate::line::Line;
use crate::measure::{Spread, run as run_measured};
use crate::options::Options;
use crate::report::Report;
use crate::synthetic::{self, REAL, Records, real_file, some_package, some_path};
use crate::table::{Table, grouped, spread};

const ID: &str = "400001-01";

/// A query and how long it may take, in seconds.
pub(crate) struct Query {
    pub(crate) name: &'static str,
    pub(crate) line: Line,
    limit: Option<f64>,
}

/// A large database, and a patch of one file to it.
pub(crate) struct LargeRoot {
    records: Records,
    pub(crate) path: PathBuf,
    pub(crate) apply: Line,
    pub(crate) back_out: Line,
}

impl LargeRoot {
    /// Makes one that was last written by this build, as it is where it is used: the patch is applied and backed out.
    pub(crate) fn new(program: &Line, disk: &Disk, name: &str, options: &Options) -> Result<Self> {
        let records = options.pick(
            Records { packages: 1_000, patches: 5_000, lines: 400_000 },
            Records { packages: 20, patches: 100, lines: 2_000 },
        );
        let path = disk.at(name);
        synthetic::write(&path, records)?;
        let patch = write_patch(&inputs_of(disk, name)?, ID, REAL, &[real_file()])?;
        let apply = program.clone().words("patchadd -R").arg(&path).arg(patch);
        let back_out = program.clone().words("patchrm -R").arg(&path).arg(ID);
        apply.run()?;
        back_out.run()?;
        Ok(Self { records, path, apply, back_out })
    }

    /// What it is asked by a build.
    pub(crate) fn queries(&self, program: &Line) -> [Query; 6] {
        let Self { records, path, .. } = self;
        let on_root = |words: &str| program.clone().words(words).arg("-R").arg(path);
        let complete = program.clone().words("__complete bash 4 patchadm -R").arg(path);
        [
            Query { name: "patchadm --version", line: program.clone().arg("--version"), limit: None },
            Query {
                name: "pkgparam PKG PATCHLIST",
                line: on_root("pkgparam").arg(some_package(*records)).arg("PATCHLIST"),
                limit: Some(0.005),
            },
            Query { name: "showrev -p", line: on_root("showrev -p"), limit: Some(0.1) },
            Query {
                name: "pkgchk -l -p PATH",
                line: on_root("pkgchk -l").arg("-p").arg(some_path(*records)),
                limit: Some(0.01),
            },
            Query { name: "pkginfo", line: on_root("pkginfo"), limit: Some(0.05) },
            Query {
                name: "completion: remove ID",
                line: complete.words("remove").arg(""),
                limit: Some(0.05),
            },
        ]
    }
}

/// Measures the queries, in turns.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let root = LargeRoot::new(&Line::patchadm(), disk, "reading", options)?;
    let Records { packages, patches, lines } = root.records;
    report.heading(&format!(
        "Reading, {}: {} packages, {} patches, {} lines of contents",
        disk.name(),
        grouped(packages),
        grouped(patches),
        grouped(lines)
    ));
    let queries = root.queries(&Line::patchadm());
    let mut walls = vec![Vec::new(); queries.len()];
    for _ in 0..options.many_runs() {
        for (query, walls) in queries.iter().zip(&mut walls) {
            walls.push(run_measured(disk.scratch(), &query.line)?.wall);
        }
    }
    let mut table = Table::new(&["query", "wall (least–most)"]);
    for (query, walls) in queries.iter().zip(walls) {
        let wall = Spread::of(walls);
        table.row([query.name.to_owned(), spread(wall)]);
        if let Some(limit) = query.limit {
            report.at_most(disk.name(), query.name, limit * 1e3, wall.scaled(1e3), " ms");
        }
    }
    report.table(&table);
    report.say(&format!("Medians of {} runs.\n", options.many_runs()));
    Ok(fs::remove_dir_all(root.path)?)
}
