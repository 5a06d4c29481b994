//! What was measured: tables, targets and plots, to the terminal and to the documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::inputs::table_of_sets;
use crate::measure::Spread;
use crate::plot::Plot;
use crate::table::Table;

/// Everything that a run of the benchmark says.
pub(crate) struct Report {
    text: String,
    /// The table of targets, which stands first in the documentation.
    verdict: String,
    targets: Vec<Target>,
    plots: BTreeMap<&'static str, Plot>,
    is_small: bool,
    /// The set that is being measured with.
    set: &'static str,
    /// What each set is like: at the head of the documentation; nothing where none was measured.
    sets: Option<Table>,
    /// The table at the head of the page, and how long an apply takes in it beside the floor.
    short: Option<(f64, String)>,
}

/// A page of the documentation.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    name: &'static str,
}

impl Page {
    /// Of everything.
    pub(crate) const RESULTS: Self = Self { name: "results.md" };

    /// Of undo data as files.
    pub(crate) const FILES: Self = Self { name: "files.md" };

    /// Of bulk builds.
    pub(crate) const BULK: Self = Self { name: "bulk.md" };

    /// Of bulk builds beside a shell loop.
    pub(crate) const LOOP: Self = Self { name: "loop.md" };

    /// Of many hosts.
    pub(crate) const FLEET: Self = Self { name: "fleet.md" };
}

struct Target {
    set: &'static str,
    disk: String,
    work: String,
    goal: String,
    measured: Spread,
    unit: String,
    is_met: bool,
    /// What a build with plain digests makes of it.
    plain: Option<Spread>,
}

/// What stands above the table of sets.
const SETS: &str = "The sets, which [`sets.md`](sets.md) describes; the shares of ELF, text, compressed and other data are by \
                    bytes and by files:";

/// How far a build with plain digests may be from the other one.
const SAME: f64 = 0.15;

impl Report {
    /// An empty report. That of the small version judges nothing.
    pub(crate) fn new(is_small: bool) -> Self {
        Self {
            text: String::new(),
            verdict: String::new(),
            targets: Vec::new(),
            plots: BTreeMap::new(),
            is_small,
            set: "",
            sets: None,
            short: None,
        }
    }

    /// Begins the figures of a set; `row` is its row in the table of sets.
    pub(crate) fn begin_set(&mut self, set: &'static str, row: Vec<String>) {
        self.set = set;
        let mut own = table_of_sets();
        own.row(row.clone());
        self.sets.get_or_insert_with(table_of_sets).row(row);
        println!("{}", own.markdown());
    }

    /// Begins figures that have to do with no set.
    pub(crate) fn leave_sets(&mut self) {
        self.set = "–";
    }

    /// Begins a section.
    pub(crate) fn heading(&mut self, text: &str) {
        self.say(&format!("\n## {text}\n"));
    }

    /// Adds a paragraph or a line.
    pub(crate) fn say(&mut self, text: &str) {
        println!("{text}");
        self.text += text;
        self.text += "\n";
    }

    /// Adds a table.
    pub(crate) fn table(&mut self, table: &Table) {
        self.say(&table.markdown());
    }

    /// Says that something was not measured, and why.
    pub(crate) fn skipped(&mut self, what: &str, why: &str) {
        self.say(&format!("skipped: {what}: {}\n", why.lines().next().unwrap_or_default()));
    }

    /// Says on standard error what is being done, to whoever waits.
    pub(crate) fn progress(what: &str) {
        eprintln!("… {what}");
    }

    /// Notes a target of which less is better.
    pub(crate) fn at_most(
        &mut self,
        disk: &str,
        work: &str,
        limit: f64,
        measured: impl Into<Spread>,
        unit: &str,
    ) {
        let measured = measured.into();
        self.target([disk, work, &format!("≤ {limit}{unit}")], measured, unit, measured.median <= limit);
    }

    /// Notes a ratio of which less is better, and what it is with plain digests, where that was measured: both have to be
    /// low enough.
    pub(crate) fn beside_plain(
        &mut self,
        disk: &str,
        work: &str,
        limit: f64,
        measured: Spread,
        plain: Option<Spread>,
    ) {
        let is_met = measured.median <= limit && plain.is_none_or(|plain| plain.median <= limit);
        self.target([disk, work, &format!("≤ {limit}")], measured, "", is_met);
        if let Some(target) = self.targets.last_mut() {
            target.plain = plain;
        }
    }

    /// Notes a target of which more is better.
    pub(crate) fn at_least(
        &mut self,
        disk: &str,
        work: &str,
        limit: f64,
        measured: impl Into<Spread>,
        unit: &str,
    ) {
        let measured = measured.into();
        self.target([disk, work, &format!("≥ {limit}{unit}")], measured, unit, measured.median >= limit);
    }

    fn target(&mut self, names: [&str; 3], measured: Spread, unit: &str, is_met: bool) {
        let [disk, work, goal] = names.map(str::to_owned);
        let unit = unit.to_owned();
        self.targets.push(Target { set: self.set, disk, work, goal, measured, unit, is_met, plain: None });
    }

    /// Keeps the table at the head of the page: of all sets and disks that where the ratio to the floor is worst.
    pub(crate) fn in_short(&mut self, ratio: f64, text: String) {
        if self.short.as_ref().is_none_or(|(worst, _)| ratio > *worst) {
            self.short = Some((ratio, text));
        }
    }

    /// Adds a line to the plot of this name, which is made by the first one.
    pub(crate) fn plot(
        &mut self,
        name: &'static str,
        title: &str,
        across: &str,
        line: String,
        points: Vec<(f64, f64)>,
    ) {
        self.plots.entry(name).or_insert_with(|| Plot::new(title, across)).line(line, points);
    }

    /// The table of all targets, at the end of the report.
    pub(crate) fn judge(&mut self) {
        if self.is_small || self.targets.is_empty() {
            return;
        }
        let is_beside_plain = self.targets.iter().any(|target| target.plain.is_some());
        let columns = ["work", "set", "on", "target", "measured", "", "plain digests", "within 15 %"];
        let mut table = Table::new(if is_beside_plain { &columns } else { &columns[..6] });
        for target in std::mem::take(&mut self.targets) {
            let mut row = target.row();
            row.extend(is_beside_plain.then(|| target.row_of_plain()).into_iter().flatten());
            table.row(row);
        }
        self.verdict = format!("\n## Targets\n\n{}", table.markdown());
        println!("{}", self.verdict);
    }

    /// Writes the report and its plots into the documentation of a project.
    pub(crate) fn write(&self, project: &Path, page: Page) -> Result<()> {
        let directory = project.join("docs/benchmark");
        fs::create_dir_all(&directory)?;
        let (head, rest) = self.text.split_at(self.text.find("\n## ").unwrap_or(self.text.len()));
        let mut short = String::new();
        if let Some((_, text)) = &self.short {
            short = format!("## In short\n\n{text}\n");
        }
        let verdict = self.verdict.trim_start();
        let sets = self.sets.as_ref().map(|sets| format!("{SETS}\n\n{}\n", sets.markdown()));
        let mut text = format!("{head}{}{short}{verdict}{rest}", sets.unwrap_or_default());
        if !self.plots.is_empty() {
            text += "\n## Plots\n\n";
        }
        for (name, plot) in &self.plots {
            fs::write(directory.join(format!("{name}.svg")), plot.svg())?;
            text += &format!("![{}]({name}.svg)\n\n", name.replace('-', " "));
        }
        fs::write(directory.join(page.name), text.trim_start())?;
        Ok(())
    }

    /// Draws every plot, for nobody: the small version sees that it can be done.
    pub(crate) fn draw(&self) -> usize {
        self.plots.values().map(|plot| plot.svg().len()).sum()
    }
}

impl Target {
    fn row(&self) -> Vec<String> {
        let verdict = if self.is_met { "met" } else { "missed" };
        let measured = figures(self.measured, &self.unit);
        let names = [&self.work, self.set, &self.disk, &self.goal, &measured, verdict];
        names.map(str::to_owned).to_vec()
    }

    fn row_of_plain(&self) -> [String; 2] {
        let Some(plain) = self.plain else { return Default::default() };
        let apart = plain.median / self.measured.median - 1.0;
        let verdict = if apart.abs() <= SAME { "yes" } else { "no" };
        [figures(plain, &self.unit), format!("{verdict} ({:+.0} %)", apart * 100.0)]
    }
}

/// A median, and from the least to the most where there is more than one figure.
fn figures(figures: Spread, unit: &str) -> String {
    let Spread { median, least, most } = figures;
    let digits = if median < 0.1 { 4 } else { 2 };
    let range =
        if figures.is_single() { String::new() } else { format!(" ({least:.digits$}–{most:.digits$})") };
    format!("{median:.digits$}{unit}{range}")
}
