//! What was measured: tables, targets and plots, to the terminal and to the documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

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
}

struct Target {
    disk: String,
    work: String,
    goal: String,
    measured: String,
    is_met: bool,
}

impl Report {
    /// An empty report. That of the small version judges nothing.
    pub(crate) fn new(is_small: bool) -> Self {
        Self {
            text: String::new(),
            verdict: String::new(),
            targets: Vec::new(),
            plots: BTreeMap::new(),
            is_small,
        }
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

    fn target(&mut self, names: [&str; 3], figures: Spread, unit: &str, is_met: bool) {
        let Spread { median, least, most } = figures;
        let digits = if median < 0.1 { 4 } else { 2 };
        let mut measured = format!("{median:.digits$}{unit}");
        if !figures.is_single() {
            measured += &format!(" ({least:.digits$}–{most:.digits$})");
        }
        let [disk, work, goal] = names.map(str::to_owned);
        self.targets.push(Target { disk, work, goal, measured, is_met });
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
        let mut table = Table::new(&["work", "on", "target", "measured", ""]);
        for Target { disk, work, goal, measured, is_met } in std::mem::take(&mut self.targets) {
            let verdict = if is_met { "met" } else { "missed" };
            table.row([work, disk, goal, measured, verdict.to_owned()]);
        }
        self.verdict = format!("\n## Targets\n\n{}", table.markdown());
        println!("{}", self.verdict);
    }

    /// Writes the report and its plots into a directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        let (head, rest) = self.text.split_at(self.text.find("\n## ").unwrap_or(self.text.len()));
        let mut text = format!("{head}{}{rest}", self.verdict);
        if !self.plots.is_empty() {
            text += "\n## Plots\n\n";
        }
        for (name, plot) in &self.plots {
            fs::write(directory.join(format!("{name}.svg")), plot.svg())?;
            text += &format!("![{}]({name}.svg)\n\n", name.replace('-', " "));
        }
        fs::write(directory.join("results.md"), text.trim_start())?;
        Ok(())
    }

    /// Draws every plot, for nobody: the small version sees that it can be done.
    pub(crate) fn draw(&self) -> usize {
        self.plots.values().map(|plot| plot.svg().len()).sum()
    }
}
