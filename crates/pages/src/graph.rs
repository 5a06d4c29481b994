//! The graph of requirements in a section. At most [`MOST_BOXES`] boxes are drawn; the rest is counted.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use patchadm_svr4::package::control::{truncated, visible};

use super::content::{PagePatch, PagePatchState, PageSection, alternatives, anchor, base_of};

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
        h3 { "Requirements" }
        p.quiet {
            "A patch requires the patches to its left on the same line. A patch in a dashed box is not in the list."
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
        text x=(x + 8) y=(y + 18) { (visible(&truncated(&name, LONGEST_NAME))) }
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

/// In pixels, as all sizes here.
const BOX_WIDTH: usize = 150;
const BOX_HEIGHT: usize = 28;
/// Between two columns, for lines.
const COLUMN_GAP: usize = 60;
/// Between two boxes of a column.
const ROW_GAP: usize = 12;
const MARGIN: usize = 10;
/// Boxes above each other; a larger layer has several columns.
const TALLEST: usize = 25;
/// How often boxes move towards their neighbours.
const ROUNDS: usize = 4;

/// The number of boxes, and lines from the requiring box to the required one.
#[derive(Clone, Debug, Default)]
struct RequirementGraph {
    boxes: usize,
    lines: Vec<(usize, usize)>,
}

/// Boxes in layers, each requirement to the left of its dependents. In pixels.
///
/// The same graph always gets the same picture. A line that closes a cycle is drawn, but has no influence.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    /// Upper left corner of each box.
    places: Vec<(usize, usize)>,
    width: usize,
    height: usize,
}

impl RequirementGraph {
    fn layout(&self) -> Layout {
        let required = self.required();
        let layers = self.layers(&required);
        let columns: Vec<Vec<usize>> = self
            .ordered(layers)
            .iter()
            .flat_map(|layer| layer.chunks(TALLEST).map(<[usize]>::to_vec))
            .collect();
        let mut places = vec![(0, 0); self.boxes];
        let tallest = columns.iter().map(Vec::len).max().unwrap_or_default();
        for (column, boxes) in columns.iter().enumerate() {
            for (row, number) in boxes.iter().enumerate() {
                let x = MARGIN + column * (BOX_WIDTH + COLUMN_GAP);
                if let Some(place) = places.get_mut(*number) {
                    *place = (x, MARGIN + row * (BOX_HEIGHT + ROW_GAP));
                }
            }
        }
        Layout {
            places,
            width: 2 * MARGIN + (columns.len() * (BOX_WIDTH + COLUMN_GAP)).saturating_sub(COLUMN_GAP),
            height: 2 * MARGIN + (tallest * (BOX_HEIGHT + ROW_GAP)).saturating_sub(ROW_GAP),
        }
    }

    fn required(&self) -> Vec<Vec<usize>> {
        let mut required = vec![Vec::new(); self.boxes];
        for &(from, to) in &self.lines {
            if let Some(list) = required.get_mut(from).filter(|_| to < self.boxes && to != from) {
                list.push(to);
            }
        }
        required
    }

    /// Puts each box one layer after the last of its requirements. Not recursive.
    fn layers(&self, required: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let mut depth: Vec<Option<usize>> = vec![None; self.boxes];
        let mut is_open = vec![false; self.boxes];
        for start in 0..self.boxes {
            let mut turns = vec![start];
            while let Some(&number) = turns.last() {
                let needs = required.get(number).map_or(&[][..], Vec::as_slice);
                let is_first_turn = !is_open.get(number).copied().unwrap_or(true);
                if depth.get(number).is_some_and(Option::is_some) {
                    turns.pop();
                } else if is_first_turn {
                    set(&mut is_open, number, true);
                    let closed = |other: &&usize| {
                        depth.get(**other).is_some_and(Option::is_none)
                            && is_open.get(**other) == Some(&false)
                    };
                    turns.extend(needs.iter().rev().filter(closed));
                } else {
                    turns.pop();
                    let deepest = needs.iter().filter_map(|other| depth.get(*other).copied().flatten()).max();
                    set(&mut depth, number, Some(deepest.map_or(0, |deepest| deepest + 1)));
                }
            }
        }
        let mut layers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, depth) in depth.iter().enumerate() {
            layers.entry(depth.unwrap_or_default()).or_default().push(number);
        }
        layers.into_values().collect()
    }

    /// Moves each box to the middle of its neighbours, a few times.
    fn ordered(&self, mut layers: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        let mut neighbours = vec![Vec::new(); self.boxes];
        for &(from, to) in self.lines.iter().filter(|(from, to)| *from < self.boxes && *to < self.boxes) {
            neighbours.get_mut(from).into_iter().for_each(|list: &mut Vec<usize>| list.push(to));
            neighbours.get_mut(to).into_iter().for_each(|list| list.push(from));
        }
        let mut rows = vec![0; self.boxes];
        for _ in 0..ROUNDS {
            for layer in &mut layers {
                let middle = |number: &usize| {
                    let list = neighbours.get(*number).map_or(&[][..], Vec::as_slice);
                    let sum: usize = list.iter().filter_map(|other| rows.get(*other)).sum();
                    // In thousandths, to avoid comparing fractions.
                    if list.is_empty() { usize::MAX } else { sum * 1000 / list.len() }
                };
                layer.sort_by_cached_key(|number| (middle(number), *number));
                for (row, number) in layer.iter().enumerate() {
                    set(&mut rows, *number, row);
                }
            }
        }
        layers
    }
}

fn set<T>(values: &mut [T], at: usize, value: T) {
    if let Some(place) = values.get_mut(at) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn overlap((x, y): (usize, usize), (other_x, other_y): (usize, usize)) -> bool {
        x.abs_diff(other_x) < BOX_WIDTH && y.abs_diff(other_y) < BOX_HEIGHT
    }

    #[test]
    fn what_is_required_stands_to_the_left() {
        let graph = RequirementGraph { boxes: 4, lines: vec![(0, 1), (1, 2), (0, 2)] };
        let places = graph.layout().places;
        assert!(places[2].0 < places[1].0 && places[1].0 < places[0].0);
        assert_eq!(places[3].0, places[2].0, "what requires nothing stands in the first layer");
    }

    #[test]
    fn a_circle_and_a_long_chain_end() {
        let graph = RequirementGraph { boxes: 2, lines: vec![(0, 1), (1, 0), (0, 0), (0, 7)] };
        assert_eq!(graph.layout().places.len(), 2);
        let lines = (0..50_000).map(|number| (number, number + 1)).collect();
        assert!(RequirementGraph { boxes: 50_001, lines }.layout().width > 50_000 * BOX_WIDTH);
        assert_eq!(RequirementGraph::default().layout().height, 2 * MARGIN);
    }

    proptest! {
        #[test]
        fn no_two_boxes_overlap_and_all_are_inside(
            boxes in 1..120_usize, lines in proptest::collection::vec((0..120_usize, 0..120_usize), 0..200)
        ) {
            let graph = RequirementGraph { boxes, lines };
            let layout = graph.layout();
            prop_assert_eq!(&layout, &graph.layout());
            prop_assert_eq!(layout.places.len(), boxes);
            for (at, place) in layout.places.iter().enumerate() {
                prop_assert!(place.0 + BOX_WIDTH <= layout.width && place.1 + BOX_HEIGHT <= layout.height);
                prop_assert!(layout.places[..at].iter().all(|other| !overlap(*place, *other)));
            }
        }
    }
}
