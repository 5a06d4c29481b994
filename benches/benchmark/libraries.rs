//! Kept libraries: what it costs to look at all programs and libraries of a root, for the first time and later, and to
//! decide for whom a library stays.
//!
//! The root has the smallest programs and libraries of this machine under their own paths, with their links, and small
//! files. A scan is what a plan takes longer that takes a library away than one that changes a text. Beside it stands a
//! program in C that opens every file and reads four bytes, or asks for the status of every object; it uses one core.

mod ground;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use patchadm_core::operation::libraries::ScanRequest;
use patchadm_libraries::FactsCache;
use patchadm_rootfs::Root;

use crate::cold::drop_caches;
use crate::disk::Disk;
use crate::growth::clear;
use crate::line::{Line, is_installed};
use crate::measure::{Costs, Spread, in_turns, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, mebibytes, seconds, spread};
use ground::{Ground, Size};

/// The limits: seconds, ratios to the floor, milliseconds, MiB.
const FIRST: f64 = 1.0;
const FIRST_RATIO: f64 = 3.0;
const LATER: f64 = 0.2;
const LATER_RATIO: f64 = 1.2;
const TEXT: f64 = 1.0;
const MEMORY: f64 = 64.0;

/// How long files must have been left alone before a cache keeps them.
const QUIET: Duration = Duration::from_millis(2100);

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    if !is_installed("cc") {
        report.skipped("kept libraries", "there is no cc for the floor");
        return Ok(());
    }
    let size = options.pick(Size { files: 65_000, programs: 2_500 }, Size { files: 600, programs: 100 });
    Report::progress("a root with programs and libraries");
    let ground = Ground::new(disk, size)?;
    let (files, programs) = (grouped(size.files), grouped(size.programs));
    report.heading(&format!(
        "Kept libraries, {}: {files} files, {programs} programs and libraries",
        disk.name()
    ));
    let mut table = Table::new(&["command", "wall (least–most)", "CPU", "peak memory"]);

    let lines = [ground.floor("open"), ground.floor("statx"), ground.plan_of_text(false), ground.plan()];
    // Once uncounted: then all of it is in the page cache.
    lines.iter().try_for_each(Line::run)?;
    let first = in_turns(disk, options.runs(), lines.each_ref())?;
    let [opened, _, text, planned] = &first;
    row(&mut table, "C: open every file, read 4 bytes", opened);
    row(&mut table, "plan of a patch without programs", text);
    row(&mut table, "plan --libs keep, first scan", planned);
    let added = beyond(planned, text);
    report.at_most(disk.name(), "first scan", FIRST, added, " s");
    report.at_most(disk.name(), "first scan / open and read", FIRST_RATIO, ratio(added, opened), "");
    report.at_most(disk.name(), "memory of a scan", MEMORY, memory(planned, text), " MiB");

    std::thread::sleep(options.pick(QUIET, Duration::ZERO));
    ground.make_cache()?;
    let scan = Line::inner("@scan")?.arg(&ground.path).arg(ground.cache());
    let dry_run = ground.dry_run();
    dry_run.run()?;
    let again = [ground.floor("statx"), ground.plan_of_text(false), ground.plan(), dry_run, scan];
    let later = in_turns(disk, options.runs(), again.each_ref())?;
    let [walked, text, planned, dry_run, scanned] = &later;
    row(&mut table, "C: statx of every object", walked);
    row(&mut table, "plan --libs keep, later", planned);
    row(&mut table, "add --dry-run --libs keep, later", dry_run);
    row(&mut table, "the scan alone, later", scanned);
    let added = beyond(planned, text);
    report.at_most(disk.name(), "what a later plan adds", LATER, added, " s");
    report.at_most(disk.name(), "what a later plan adds / statx", LATER_RATIO, ratio(added, walked), "");
    report.at_most(disk.name(), "memory of a later plan", MEMORY, memory(planned, text), " MiB");

    without_programs(&ground, disk, options, report)?;
    if drop_caches(&[ground.plan().program()]).is_ok() {
        fs::remove_file(ground.cache())?;
        row(
            &mut table,
            "plan --libs keep, first scan, cold page cache",
            &Costs(vec![measure(disk, &ground.plan())?]),
        );
    } else {
        report.skipped("the first scan with a cold page cache", "only the superuser drops the page cache");
    }
    report.table(&table);
    report.say(&format!("The library that is taken away is {}.\n", ground.library));
    clear(&[&ground.path, &ground.empty])
}

/// A patch that has no program and no library, in this root and in one that has none either.
fn without_programs(ground: &Ground, disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let lines = [ground.plan_of_text(false), ground.plan_of_text(true)];
    lines.iter().try_for_each(Line::run)?;
    let [here, empty] = in_turns(disk, options.many_runs(), lines.each_ref())?;
    let added = beyond(&here, &empty).scaled(1e3);
    report.at_most(
        disk.name(),
        "a patch without programs, beyond the same in an empty root",
        TEXT,
        added,
        " ms",
    );
    Ok(())
}

/// Seconds that one command takes longer than another one.
fn beyond(one: &Costs, other: &Costs) -> Spread {
    let without = other.wall().median;
    Spread::of(one.0.iter().map(|cost| cost.wall - without))
}

fn ratio(added: Spread, floor: &Costs) -> Spread {
    added.scaled(1.0 / floor.wall().median)
}

/// MiB that one command takes more than another one.
fn memory(one: &Costs, other: &Costs) -> Spread {
    let without = other.spread(|cost| cost.peak).median;
    Spread::of(one.0.iter().map(|cost| (cost.peak - without) / f64::from(1 << 20)))
}

fn row(table: &mut Table, name: &str, costs: &Costs) {
    let (cpu, peak) = (costs.spread(|cost| cost.cpu).median, costs.spread(|cost| cost.peak).median);
    table.row([name.to_owned(), spread(costs.wall()), seconds(cpu), mebibytes(peak)]);
}

/// Scans a root as a plan does, with what a cache knows of it; nothing is decided.
pub(crate) fn scan(root: &Path, cache: &Path) -> Result<()> {
    let began = Instant::now();
    let root = Root::open(root)?;
    let known = FactsCache::parse(&fs::read(cache).unwrap_or_default());
    let read = began.elapsed();
    let request = ScanRequest { root: &root, skip: &[], scan: &[], known: &known, interrupt: &|| None };
    let scan = request.scan()?;
    println!(
        "{} programs and libraries, {} known; {read:?} for the cache, {:?} in all",
        scan.scanned,
        known.len(),
        began.elapsed()
    );
    Ok(())
}
