//! Reports about the inventories of many hosts: as a page, a document and rows.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::fleet_patch::FleetPatch;
use super::inventories::Fleet;
use crate::disk::Disk;
use crate::growth::clear;
use crate::line::Line;
use crate::measure::{Spread, in_turns};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{grouped, mebibytes, megabytes, spread};

/// The limits: seconds, MiB, and MB of the page.
const WALL: f64 = 3.0;
const MEMORY: f64 = 200.0;
const PAGE: f64 = 10.0;

/// The probability that a host has a patch, and the label of such a fleet.
const FLEETS: [(f64, &str); 2] = [(0.92, ""), (0.5, ", half of all lacking")];

/// Measures reports about a fleet that has most patches, and about one that lacks half of them.
pub(super) fn run(disk: &Disk, patch: &FleetPatch, options: &Options, report: &mut Report) -> Result<()> {
    let (hosts, patches) = options.pick((1_000, 400), (3, 10));
    let fleet = Fleet::new(patches);
    fleet.host(0, 1.0).assert_like(&patch.listed(&disk.at("listed"))?)?;
    for (chance, like) in FLEETS {
        Report::progress(&format!("reports about {} hosts{like}", grouped(hosts)));
        let directory = disk.scratch().join("inventories");
        let mean = fleet.write(&directory, hosts, chance)?;
        Line::new("sync").arg("-f").arg(&directory).run()?;
        let of = format!("{} inventories of {:.0} kB", grouped(hosts), mean / 1e3);
        measure(disk, &directory, [&of, like], [hosts, patches], options, report)?;
        clear(&[&directory])?;
    }
    Ok(())
}

fn measure(
    disk: &Disk,
    directory: &Path,
    [of, like]: [&str; 2],
    [hosts, patches]: [usize; 2],
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let [page, document, rows] = ["page.html", "report.json", "rows.csv"].map(|name| disk.at(name));
    let line =
        |words: &str, into: &Path| Line::patchadm().words("report").words(words).arg(into).arg(directory);
    let lines = [
        Line::inner("@read")?.arg(directory),
        Line::inner("@parse")?.arg(directory),
        line("--html", &page),
        line("--format json -o", &document),
        line("--format csv -o", &rows),
    ];
    lines[3].run()?;
    assert_complete(&document, hosts, patches)?;
    let [read, parsed, html, json, csv] = in_turns(disk, options.runs(), lines.each_ref())?;
    let about = format!("{} hosts × {patches} patches{like}", grouped(hosts));
    for (form, costs, path) in
        [("--html", &html, &page), ("--format json", &json, &document), ("--format csv", &csv, &rows)]
    {
        let size = fs::metadata(path)?.len() as f64;
        let name = format!("report {form}, {about}");
        fs::remove_file(path)?;
        let ratio = Spread::of_ratio(costs, &parsed);
        let row = Row::wall(&name, costs).floor(spread(parsed.wall()), ratio);
        report.row(row.at_most(WALL, costs.wall(), " s"));
        let peak = costs.spread(|cost| cost.peak);
        let row = Row::new(format!("memory of {name}"), mebibytes(peak.median));
        report.row(row.at_most(MEMORY, peak.scaled(1.0 / f64::from(1 << 20)), " MiB"));
        if form == "--html" {
            let row = Row::new(format!("page of {name}"), megabytes(size));
            report.row(row.at_most(PAGE, size / 1e6, " MB"));
        }
    }
    let read = spread(read.wall());
    report
        .say(&format!("The floor parses {of}{like} into nothing, on all cores; reading them takes {read}."));
    Ok(())
}

/// Fails unless the report covers all hosts and patches.
fn assert_complete(document: &Path, hosts: usize, patches: usize) -> Result<()> {
    let report: Value = serde_json::from_slice(&fs::read(document)?).context("the report")?;
    let summary = &report["summary"];
    let counts = [&summary["hosts"], &summary["patches"]].map(Value::as_u64);
    ensure!(counts == [hosts, patches].map(|count| Some(count as u64)), "the report is about {summary}");
    Ok(())
}
