//! Tables, and figures formatted for people.

use std::fmt::Write as _;

use crate::measure::Spread;

/// A table in Markdown, aligned so that it reads on a terminal as well.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with these columns.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|&cell| cell.to_owned()).collect()])
    }

    /// Adds a row, of as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    pub(crate) fn markdown(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.0
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.0.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let blanks = " ".repeat(width - cell.chars().count());
                // Words to the left, figures to the right.
                let (before, behind) = if column == 0 { ("", &*blanks) } else { (&*blanks, "") };
                let _ = write!(text, "| {before}{cell}{behind} ");
            }
            text += "|\n";
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width - 1);
                    let _ =
                        if column == 0 { write!(text, "| {dashes}- ") } else { write!(text, "| {dashes}: ") };
                }
                text += "|\n";
            }
        }
        text
    }
}

/// Formats seconds.
pub(crate) fn seconds(figure: f64) -> String {
    match figure {
        figure if figure < 0.0995 => format!("{:.1} ms", figure * 1e3),
        figure if figure < 0.9995 => format!("{:.0} ms", figure * 1e3),
        figure => format!("{figure:.2} s"),
    }
}

/// Formats seconds of several runs: the median, with the least and the most if they differ.
pub(crate) fn spread(figures: Spread) -> String {
    let Spread { median, least, most } = figures;
    if figures.is_single() {
        return seconds(median);
    }
    format!("{} ({}–{})", seconds(median), seconds(least), seconds(most))
}

/// Formats bytes in MB of a million.
pub(crate) fn megabytes(figure: f64) -> String {
    format!("{:.1} MB", figure / 1e6)
}

/// Formats bytes in MiB.
pub(crate) fn mebibytes(figure: f64) -> String {
    format!("{:.1} MiB", figure / f64::from(1 << 20))
}

/// Formats a figure that may be missing.
pub(crate) fn known<T>(figure: Option<T>, form: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), form)
}

/// Formats whole numbers of several runs: the median, and the most if it is larger.
pub(crate) fn whole(figures: Spread) -> String {
    let Spread { median, most, .. } = figures;
    if most > median { format!("{median:.0} (≤ {most:.0})") } else { format!("{median:.0}") }
}

/// Formats a number with commas between thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
