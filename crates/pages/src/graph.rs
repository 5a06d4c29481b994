//! The graph of requirements in a section. At most [`MOST_BOXES`] boxes are drawn; the rest is counted.

use std::collections::HashMap;

use maud::{Markup, html};

use super::content::{PagePatch, PagePatchState, PageSection};
use super::layout::{BOX_HEIGHT, BOX_WIDTH, Layout, RequirementGraph};
use super::references::{alternatives, anchor, base_of};
use patchadm_svr4::package::control::visible;

const MOST_BOXES: usize = 300;

/// In letters.
const LONGEST_NAME: usize = 17;

/// A patch of the section, or one that is only required.
struct GraphBox {
    name: String,
    /// Index in the section.
    place: Option<usize>,
}

#[derive(Default)]
struct SectionGraph {
    boxes: Vec<GraphBox>,
    numbers: HashMap<String, usize>,
    lines: Vec<(usize, usize)>,
    /// Undrawn patches with requirements.
    left_out: usize,
}

/// Draws nothing if no patch of the section requires another one.
pub(super) fn graph(number: usize, section: &PageSection) -> Markup {
    let graph = SectionGraph::of(section);
    if graph.boxes.is_empty() {
        return html! {};
    }
    let layout = RequirementGraph { boxes: graph.boxes.len(), lines: graph.lines.clone() }.layout();
    let (width, height) = (layout.width, layout.height);
    html! {
        h3 { "What requires what" }
        p.quiet {
            "A patch requires what stands to its left on the same line. A dashed box is not listed here."
            @if graph.left_out > 0 { " " (graph.left_out) " more patches require others and are not drawn." }
        }
        div.wide role="region" aria-label="Graph of requirements" tabindex="0" {
            svg xmlns="http://www.w3.org/2000/svg" role="group" aria-label="Graph of requirements"
                width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) {
                @for (from, to) in &graph.lines { path d=(line(&layout, *from, *to)) {} }
                @for (at, one) in graph.boxes.iter().enumerate() { (drawn(number, section, &layout, at, one)) }
            }
        }
    }
}

impl SectionGraph {
    fn of(section: &PageSection) -> Self {
        let places: HashMap<&str, usize> =
            section.patches.iter().enumerate().map(|(place, patch)| (patch.base.as_str(), place)).collect();
        let mut graph = Self::default();
        for patch in section.patches.iter().filter(|patch| !patch.requires.is_empty()) {
            let required: Vec<&str> = patch.requires.iter().flat_map(|entry| alternatives(entry)).collect();
            let is_new = |base: &&str| !graph.numbers.contains_key(*base);
            let bases = required.iter().map(|id| base_of(id)).chain([patch.base.as_str()]);
            let mut new: Vec<&str> = bases.filter(is_new).collect();
            new.sort_unstable();
            new.dedup();
            if graph.boxes.len() + new.len() > MOST_BOXES {
                graph.left_out += 1;
                continue;
            }
            let from = graph.number_of(&patch.base, &patch.id(), &places);
            for id in required {
                let to = graph.number_of(base_of(id), id, &places);
                graph.lines.push((from, to));
            }
        }
        graph.lines.sort_unstable();
        graph.lines.dedup();
        graph
    }

    /// Returns the box of a base, or makes one.
    fn number_of(&mut self, base: &str, name: &str, places: &HashMap<&str, usize>) -> usize {
        if let Some(number) = self.numbers.get(base) {
            return *number;
        }
        let number = self.boxes.len();
        self.numbers.insert(base.to_owned(), number);
        self.boxes.push(GraphBox { name: name.to_owned(), place: places.get(base).copied() });
        number
    }
}

/// From the right side of the required box to the left side of the requiring one.
fn line(layout: &Layout, from: usize, to: usize) -> String {
    let place = |number: usize| layout.places.get(number).copied().unwrap_or_default();
    let ((left, from_y), (to_x, to_y)) = (place(from), place(to));
    let (right, half) = (to_x + BOX_WIDTH, BOX_HEIGHT / 2);
    let middle = usize::midpoint(left, right);
    let (from_y, to_y) = (from_y + half, to_y + half);
    format!("M{right} {to_y}C{middle} {to_y} {middle} {from_y} {left} {from_y}")
}

fn drawn(number: usize, section: &PageSection, layout: &Layout, at: usize, one: &GraphBox) -> Markup {
    let (x, y) = layout.places.get(at).copied().unwrap_or_default();
    let patch = one.place.and_then(|place| section.patches.get(place));
    let name = patch.map_or_else(|| one.name.clone(), PagePatch::id);
    let class = match patch {
        None => "absent",
        Some(patch) if patch.state == PagePatchState::Missing => "missing",
        Some(_) => "listed",
    };
    let words = patch.map_or("not listed here", |patch| patch.state.word());
    let inside = html! {
        title { (visible(&name)) ": " (words) }
        rect x=(x) y=(y) width=(BOX_WIDTH) height=(BOX_HEIGHT) rx="4" {}
        text x=(x + 8) y=(y + 18) { (visible(&shortened(&name))) }
    };
    html! {
        g class=(class) {
            @match one.place {
                Some(place) => a href=(format!("#{}", anchor(number, place))) { (inside) },
                None => (inside),
            }
        }
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(base: &str, requires: &[&str]) -> PagePatch {
        let requires = requires.iter().map(|&id| id.to_owned()).collect();
        PagePatch { base: base.to_owned(), current: Some("01".to_owned()), requires, ..PagePatch::default() }
    }

    fn section(patches: Vec<PagePatch>) -> PageSection {
        PageSection { patches, ..PageSection::default() }
    }

    #[test]
    fn patches_that_require_are_drawn_with_what_they_require() {
        let section = section(vec![
            patch("1", &["2-01", "9-01 | 3-02"]),
            patch("2", &[]),
            patch("3", &[]),
            patch("4", &[]),
        ]);
        let graph = SectionGraph::of(&section);
        let names: Vec<(&str, bool)> =
            graph.boxes.iter().map(|one| (one.name.as_str(), one.place.is_some())).collect();
        assert_eq!(names, [("1-01", true), ("2-01", true), ("9-01", false), ("3-02", true)]);
        assert_eq!(graph.lines, [(0, 1), (0, 2), (0, 3)]);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let many = (0..400).map(|number| patch(&format!("{number}"), &[&format!("x{number}-01")])).collect();
        let graph = SectionGraph::of(&section(many));
        assert_eq!((graph.boxes.len(), graph.left_out), (300, 250));
    }
}
