//! The report: sections of one table each, to the terminal and to the page of figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::disk::Disk;
use crate::machine;
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::page::{self, Section};
use crate::table::{Table, spread};

/// The output of a run of the benchmark.
pub(crate) struct Report {
    section: Option<Section>,
    rows: Vec<Row>,
    /// The table of a section with columns of its own.
    table: Option<Table>,
    notes: Vec<String>,
    /// The file system that is being measured.
    on: String,
    measured: BTreeMap<Section, String>,
    is_small: bool,
}

/// A figure with its floor and its target.
pub(crate) struct Row {
    work: String,
    /// The file system. The report sets it.
    on: String,
    measured: String,
    floor: String,
    ratio: Option<Spread>,
    target: String,
    is_met: Option<bool>,
}

impl Report {
    /// Returns an empty report. The figures of the small version mean nothing, so they never reach the page.
    pub(crate) fn new(is_small: bool) -> Self {
        Self {
            section: None,
            rows: Vec::new(),
            table: None,
            notes: Vec::new(),
            on: String::new(),
            measured: BTreeMap::new(),
            is_small,
        }
    }

    /// Begins a section.
    pub(crate) fn begin(&mut self, section: Section) {
        self.section = Some(section);
        Self::progress(section.question());
    }

    /// Begins figures of a disk.
    pub(crate) fn on(&mut self, disk: &Disk) {
        disk.word().clone_into(&mut self.on);
    }

    /// Adds a figure.
    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(Row { on: self.on.clone(), ..row });
    }

    /// Adds a row to the table of a section with columns of its own.
    pub(crate) fn table_row(&mut self, head: &[&str], cells: impl IntoIterator<Item = String>) {
        self.table.get_or_insert_with(|| Table::new(head)).row(cells);
    }

    /// Adds a line below the table.
    pub(crate) fn say(&mut self, text: &str) {
        if !self.notes.iter().any(|note| note == text) {
            self.notes.push(text.to_owned());
        }
    }

    /// Notes that something was not measured, and why.
    pub(crate) fn skipped(&mut self, what: &str, why: &str) {
        let why = why.lines().next().unwrap_or_default();
        self.say(&format!("**Not measured**: {what}: {why}"));
    }

    /// Notes that a measurement failed. The page gets the outermost error, standard error the whole chain.
    pub(crate) fn failed(&mut self, what: &str, error: &anyhow::Error) {
        Self::progress(&format!("{what}: {error:#}"));
        self.skipped(what, &error.to_string());
    }

    /// Prints the current activity to standard error.
    pub(crate) fn progress(what: &str) {
        eprintln!("… {what}");
    }

    /// Ends the section: prints it, and keeps it for the page unless it has no figure.
    pub(crate) fn end(&mut self, options: &Options) {
        let Some(section) = self.section.take() else { return };
        let rows = std::mem::take(&mut self.rows);
        let table = self.table.take().or_else(|| table_of(&rows));
        let notes: String =
            std::mem::take(&mut self.notes).iter().map(|note| format!("\n- {note}")).collect();
        let notes = if notes.is_empty() { notes } else { format!("{notes}\n") };
        let is_measured = table.is_some();
        let table = table.map(|table| table.markdown()).unwrap_or_default();
        println!("\n## {}\n\n{table}{notes}", section.question());
        if is_measured && !self.is_small {
            let line =
                page::measured_line(&machine::when(), &machine::command(options), &machine::describe());
            println!("{line}");
            self.measured.insert(section, format!("{line}\n{table}{notes}"));
        }
    }

    /// Writes the figures into the documentation of a project.
    pub(crate) fn write(&self, project: &Path) -> Result<()> {
        let path = project.join("docs/benchmark.md");
        let old = fs::read_to_string(&path).unwrap_or_default();
        Ok(fs::write(path, page::page(&old, &self.measured))?)
    }
}

/// Returns the table of some figures, or `None` without any.
fn table_of(rows: &[Row]) -> Option<Table> {
    let mut table = Table::new(&["work", "on", "measured", "floor", "ratio", "target", ""]);
    for row in rows {
        let verdict = match row.is_met {
            None => "",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        let ratio = row.ratio.map(ratio).unwrap_or_default();
        let cells = [&row.work, &row.on, &row.measured, &row.floor, &ratio, &row.target, verdict];
        table.row(cells.map(str::to_owned));
    }
    (!rows.is_empty()).then_some(table)
}

impl Row {
    /// Returns the row of a formatted figure.
    pub(crate) fn new(work: impl Into<String>, measured: impl Into<String>) -> Self {
        let (work, measured) = (work.into(), measured.into());
        let [on, floor, target] = <[String; 3]>::default();
        Self { work, on, measured, floor, ratio: None, target, is_met: None }
    }

    /// Returns the row of the wall time of a command.
    pub(crate) fn wall(work: impl Into<String>, costs: &Costs) -> Self {
        Self::new(work, spread(costs.wall()))
    }

    /// Returns the row of the wall time of a command beside that of its floor, measured in turns with it.
    pub(crate) fn beside(work: impl Into<String>, costs: &Costs, floor: &Costs) -> Self {
        Self::wall(work, costs).floor(spread(floor.wall()), Spread::of_ratio(costs, floor))
    }

    /// Adds the floor, and the ratio to it.
    pub(crate) fn floor(mut self, floor: impl Into<String>, ratio: Spread) -> Self {
        self.ratio = Some(ratio);
        self.floor_alone(floor)
    }

    /// Adds the floor without a ratio.
    pub(crate) fn floor_alone(mut self, floor: impl Into<String>) -> Self {
        self.floor = floor.into();
        self
    }

    /// Judges the ratio.
    pub(crate) fn times_floor(mut self, limit: f64) -> Self {
        self.target = format!("≤ {limit} × floor");
        self.is_met = self.ratio.map(|ratio| ratio.median <= limit);
        self
    }

    /// Judges the figure by an upper limit.
    pub(crate) fn at_most(mut self, limit: f64, figure: impl Into<Spread>, unit: &str) -> Self {
        self.target = format!("≤ {limit}{unit}");
        self.is_met = Some(figure.into().median <= limit);
        self
    }
}

/// Formats a ratio, with the least and the most if they differ.
pub(crate) fn ratio(figures: Spread) -> String {
    let Spread { median, least, most } = figures;
    if figures.is_single() { format!("{median:.2}") } else { format!("{median:.2} ({least:.2}–{most:.2})") }
}
