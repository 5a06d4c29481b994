//! Plots in SVG, logarithmic on both axes, readable on light and dark pages.

use std::fmt::Write as _;

use crate::table::{grouped, seconds};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;

/// Columns of the legend, and how wide each is: the longest names have room.
const COLUMNS: usize = 2;
const COLUMN: f64 = 310.0;

/// Colours of the series, each dark enough for a light page and light enough for a dark one.
const COLOURS: [&str; 8] =
    ["#3b82f6", "#ef7d1a", "#22a06b", "#d6409f", "#8b7cf6", "#b08d1e", "#17a2b8", "#e5484d"];

/// Cost, in seconds, against a number of something.
pub(crate) struct Plot {
    title: String,
    across: String,
    series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// An empty plot; `across` says what is counted on the horizontal axis.
    pub(crate) fn new(title: &str, across: &str) -> Self {
        Self { title: title.to_owned(), across: across.to_owned(), series: Vec::new() }
    }

    /// Adds a line of points (number, seconds), all above 0.
    pub(crate) fn line(&mut self, name: String, points: Vec<(f64, f64)>) {
        self.series.push((name, points));
    }

    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let across = Axis::of(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let up = Axis::of(
            points().map(|point| point.1),
            HEIGHT - BOTTOM,
            TOP + 8.0 + 16.0 * self.series.len().div_ceil(COLUMNS) as f64,
        );
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <style>svg {{ color: #24292f; background: transparent }} \
             @media (prefers-color-scheme: dark) {{ svg {{ color: #c9d1d9 }} }} \
             text {{ fill: currentColor }} .grid {{ stroke: currentColor; stroke-opacity: 0.18 }}</style>\n"
        );
        text(
            &mut svg,
            WIDTH / 2.0,
            18.0,
            "middle",
            &format!("<tspan font-size=\"14\">{}</tspan>", escaped(&self.title)),
        );
        grid(&mut svg, &across, &up);
        text(&mut svg, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12.0, "middle", &escaped(&self.across));
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\">\
             wall time, median</text>"
        );
        for (number, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            draw(&mut svg, colour, points.iter().map(|point| (across.place(point.0), up.place(point.1))));
            let (column, row) = ((number % COLUMNS) as f64, (number / COLUMNS) as f64);
            let (x, y) = (LEFT + 8.0 + column * COLUMN, TOP + 12.0 + row * 16.0);
            let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>", y - 4.0);
            text(&mut svg, x + 9.0, y, "start", &escaped(name));
        }
        svg + "</svg>\n"
    }
}

/// A logarithmic axis: values from `least` to `most`, drawn from `begin` to `end`.
struct Axis {
    least: f64,
    most: f64,
    begin: f64,
    end: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let (least, most) = values
            .fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| (least.min(value), most.max(value)));
        let least = least.clamp(1e-9, most);
        Self { least: least / 1.15, most: most * 1.15, begin, end }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.max(1e-9) / self.least).ln() / (self.most / self.least).ln();
        self.begin + part * (self.end - self.begin)
    }

    /// 1, 2 and 5 of each power of ten; only the 1 where that would be many, more where it would be hardly any.
    fn ticks(&self, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
        let decades = (self.most / self.least).log10();
        let steps: &[f64] = match decades {
            3.0.. => &[1.0],
            1.0.. => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        };
        let (first, last) = (self.least.log10().floor() as i32, self.most.log10().ceil() as i32);
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|&value| value >= self.least && value <= self.most)
            .map(|value| (value, label(value)))
            .collect()
    }
}

fn tick_of_seconds(value: f64) -> String {
    let text = seconds(value);
    text.replace(".0 ", " ").replace(".00 ", " ")
}

/// Lines and labels of both axes.
fn grid(svg: &mut String, across: &Axis, up: &Axis) {
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    for (value, label) in across.ticks(|value| grouped(value.round() as usize)) {
        let x = across.place(value);
        let _ =
            writeln!(svg, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>");
        text(svg, x, bottom + 16.0, "middle", &label);
    }
    for (value, label) in up.ticks(tick_of_seconds) {
        let y = up.place(value);
        let _ =
            writeln!(svg, "<line class=\"grid\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>");
        text(svg, left - 6.0, y + 4.0, "end", &label);
    }
}

fn draw(svg: &mut String, colour: &str, points: impl Iterator<Item = (f64, f64)> + Clone) {
    let path: Vec<String> = points.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let path = path.join(" ");
    let _ =
        writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
    for (x, y) in points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
