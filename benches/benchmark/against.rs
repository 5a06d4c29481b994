//! A paired comparison of two builds of the program.
//!
//! Each build works on roots of its own, which it has installed or changed itself. In a pair, both builds do the same
//! work, one directly after the other, so that a change in the speed of the machine affects both; the build that
//! begins alternates. The result is the difference within each pair: its median over all pairs, and the [interval] of
//! that median.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::contender::{self, Contender, Measured, Role};
use crate::disk::Disk;
use crate::family::Materials;
use crate::inputs::Inputs;
use crate::interval::{self, FEWEST};
use crate::line::Line;
use crate::measure::{Cost, Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::start::LargeRoot;
use crate::table::{Table, mebibytes, seconds};

/// A figure: its name, how to read it from the cost of a command, and how to format it.
type Figure = (&'static str, fn(&Cost) -> f64, fn(f64) -> String);

/// Reads the costs and the switch windows of a step.
type Read = fn(&Measured) -> (&Costs, &[f64]);

const TIMES: [Figure; 2] =
    [("wall time", |cost| cost.wall, seconds), ("processor time", |cost| cost.cpu, seconds)];
const PEAK: Figure = ("peak memory", |cost| cost.peak, mebibytes);
const FLUSHES: Figure =
    ("flushes", |cost| cost.flushes.unwrap_or(f64::NAN), |flushes| format!("{flushes:.0}"));

/// Measures the build under test and `other` on a disk, and prints the table.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, other: &Path, options: &Options) -> Result<()> {
    let other = other.canonicalize().with_context(|| format!("{}", other.display()))?;
    println!("\n## This build against {}, {}\n", other.display(), disk.name());
    let programs = [Line::patchadm(), Line::new(other)];
    let mut table = Comparison::new();
    apply_and_back_out(disk, inputs, &programs, options, &mut table)?;
    queries(disk, &programs, options, &mut table)?;
    packages(disk, inputs, &programs, options, &mut table)?;
    println!("{}", table.0.markdown());
    println!(
        "The difference is taken within each pair, in per cent of the other build's figure: negative where this build \
         needs less. If the other build has 0 where this one has not, differences are in the unit of the figures. The interval \
         comes from order statistics; one that contains 0 shows no difference.\n",
    );
    Ok(())
}

/// Compares applying and backing out.
fn apply_and_back_out(
    disk: &Disk,
    inputs: &Inputs,
    programs: &[Line; 2],
    options: &Options,
    table: &mut Comparison,
) -> Result<()> {
    let builds = [
        contender::build(&programs[0], Role::Patchadm, disk, inputs)?,
        contender::build(&programs[1], Role::OtherBuild, disk, inputs)?,
    ];
    for build in &builds {
        build.checked_round(disk, inputs, &mut Measured::default())?;
    }
    let mut measured: [Measured; 2] = Default::default();
    for pair in 0..options.pairs() {
        Report::progress(&format!("pair {} of {}", pair + 1, options.pairs()));
        for step in [Contender::change, Contender::take_back] {
            for build in turns(pair) {
                step(&builds[build], disk, inputs, &mut measured[build])?;
            }
        }
    }
    let steps: [(&str, Read); 2] = [
        ("apply", |measured| (&measured.apply, &measured.windows)),
        ("back out", |measured| (&measured.back_out, &measured.windows_back)),
    ];
    for (work, of) in steps {
        let both = measured.each_ref().map(of);
        for figure in TIMES.into_iter().chain([PEAK, FLUSHES]) {
            table.add(work, both.map(|(costs, _)| costs), figure);
        }
        table.row(&format!("{work}, switch window"), &both.map(|(_, windows)| windows.to_vec()), seconds);
    }
    builds.iter().try_for_each(|build| Ok(fs::remove_dir_all(&build.root)?))
}

/// Compares queries of a large database, and a patch of one file to it.
fn queries(disk: &Disk, programs: &[Line; 2], options: &Options, table: &mut Comparison) -> Result<()> {
    let [this, other] = programs;
    let roots = [
        LargeRoot::new(this, disk, "large-this", options)?,
        LargeRoot::new(other, disk, "large-other", options)?,
    ];
    let [mine, its] = [roots[0].queries(this), roots[1].queries(other)];
    for (mine, its) in mine.iter().zip(&its) {
        compare(disk, &mine.name, [&mine.line, &its.line], &[], options.pairs(), table)?;
    }
    let [mut apply, mut back_out]: [[Costs; 2]; 2] = Default::default();
    for pair in 0..options.pairs() {
        for build in turns(pair) {
            apply[build].0.push(measure(disk, &roots[build].apply)?);
        }
        for build in turns(pair) {
            back_out[build].0.push(measure(disk, &roots[build].back_out)?);
        }
    }
    for (work, costs) in [("apply of one file", &apply), ("back out of one file", &back_out)] {
        for figure in TIMES {
            table.add(work, costs.each_ref(), figure);
        }
    }
    roots.iter().try_for_each(|root| Ok(fs::remove_dir_all(&root.path)?))
}

/// Compares installing, checking, making and moving packages, in fewer pairs: each takes seconds.
fn packages(
    disk: &Disk,
    inputs: &Inputs,
    programs: &[Line; 2],
    options: &Options,
    table: &mut Comparison,
) -> Result<()> {
    let [this, other] = programs;
    let [mine, its] = [
        Materials::new(this, disk, inputs, "packages-this")?,
        Materials::new(other, disk, inputs, "packages-other")?,
    ];
    let pairs = (options.pairs() / 3).max(FEWEST);
    for (mine, its) in mine.works(disk, inputs).iter().zip(&its.works(disk, inputs)) {
        compare(disk, mine.name, [&mine.line, &its.line], &[&mine.target], pairs, table)?;
    }
    mine.remove()?;
    its.remove()
}

/// Runs two command lines in `pairs` pairs, and removes the paths in `made` after each run.
fn compare(
    disk: &Disk,
    work: &str,
    lines: [&Line; 2],
    made: &[&PathBuf],
    pairs: usize,
    table: &mut Comparison,
) -> Result<()> {
    Report::progress(&format!("{work}, {pairs} pairs"));
    let mut costs: [Costs; 2] = Default::default();
    for pair in 0..pairs {
        for build in turns(pair) {
            costs[build].0.push(measure(disk, lines[build])?);
            made.iter().filter(|path| path.exists()).try_for_each(fs::remove_dir_all)?;
        }
    }
    for figure in TIMES.into_iter().chain([PEAK]) {
        table.add(work, costs.each_ref(), figure);
    }
    Ok(())
}

/// Returns the order of the builds in a pair.
fn turns(pair: usize) -> [usize; 2] {
    if pair.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// A table that compares two builds.
struct Comparison(Table);

impl Comparison {
    fn new() -> Self {
        Self(Table::new(&["work", "this build", "the other", "difference", "95 % interval", "pairs"]))
    }

    /// Adds a figure of the costs of both builds, unless it is unknown for a run.
    fn add(&mut self, work: &str, costs: [&Costs; 2], (name, figure, form): Figure) {
        let figures = costs.map(|costs| costs.0.iter().map(figure).collect::<Vec<f64>>());
        if figures.iter().flatten().all(|figure| figure.is_finite()) {
            self.row(&format!("{work}, {name}"), &figures, form);
        }
    }

    /// Adds a row: both medians, the median difference within a pair, and its interval.
    fn row(&mut self, name: &str, figures: &[Vec<f64>; 2], form: fn(f64) -> String) {
        let [this, other] = figures;
        let pairs = || this.iter().zip(other);
        // Either may be 0: flushes, and windows too short for the clock.
        let is_relative = pairs().all(|(this, other)| *other > 0.0 || *this <= 0.0);
        let apart = |(this, other): (&f64, &f64)| match (is_relative, *other > 0.0) {
            (true, true) => (this - other) / other * 100.0,
            (true, false) => 0.0,
            (false, _) => this - other,
        };
        let differences: Vec<f64> = pairs().map(apart).collect();
        let signed = |difference: f64| match (is_relative, difference < 0.0) {
            (true, _) => format!("{difference:+.1} %"),
            (false, true) => format!("-{}", form(-difference)),
            (false, false) => format!("+{}", form(difference)),
        };
        let interval = interval::of_median(&differences);
        let [mine, its] = figures.each_ref().map(|figures| form(Spread::of(figures.iter().copied()).median));
        self.0.row([
            name.to_owned(),
            mine,
            its,
            signed(Spread::of(differences.iter().copied()).median),
            interval.map_or_else(|| "–".to_owned(), |ends| ends.map(signed).join(" … ")),
            differences.len().to_string(),
        ]);
    }
}
