//! Places of boxes in a graph of requirements: in layers, each requirement to the left of its dependents.
//!
//! The same graph always gets the same picture. A line that closes a cycle is drawn, but has no influence.

use std::collections::BTreeMap;

/// In pixels, as all sizes here.
pub(super) const BOX_WIDTH: usize = 150;
pub(super) const BOX_HEIGHT: usize = 28;
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
pub(super) struct RequirementGraph {
    pub(super) boxes: usize,
    pub(super) lines: Vec<(usize, usize)>,
}

/// In pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Upper left corner of each box.
    pub(super) places: Vec<(usize, usize)>,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl RequirementGraph {
    pub(super) fn layout(&self) -> Layout {
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
