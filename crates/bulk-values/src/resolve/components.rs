//! Circles: packages that need each other.

use super::graph::{Graph, Lists};

/// The packages of a graph in groups: each package alone, or all that need each other in circles.
#[derive(Clone, Debug)]
pub(super) struct Components {
    /// The group of each package. What a package needs is in its own group or in one with a lower number.
    pub(super) of: Vec<u32>,
    /// The packages of each group, in order of the indices.
    pub(super) members: Lists,
}

/// The state of Tarjan's algorithm for strongly connected components.
struct Search<'a> {
    graph: &'a Graph,
    /// The number at which each package was first seen; 0 if it was not.
    seen: Vec<u32>,
    /// The lowest number that is known to be reached from each.
    lowest: Vec<u32>,
    next_number: u32,
    /// Packages that were seen and have no group yet.
    open: Vec<u32>,
    of: Vec<u32>,
    groups: u32,
}

const NO_GROUP: u32 = u32::MAX;

impl Components {
    /// Finds the groups of a graph, in time in proportion to its size.
    pub(super) fn of(graph: &Graph) -> Self {
        let mut search = Search {
            graph,
            seen: vec![0; graph.len()],
            lowest: vec![0; graph.len()],
            next_number: 1,
            open: Vec::new(),
            of: vec![NO_GROUP; graph.len()],
            groups: 0,
        };
        for index in graph.indices() {
            if search.seen[index as usize] == 0 {
                search.search_from(index);
            }
        }
        let Search { of, groups, .. } = search;
        let mut members = vec![Vec::new(); groups as usize];
        for index in graph.indices() {
            members[of[index as usize] as usize].push(index);
        }
        Self { of, members: Lists::new(members) }
    }

    /// Returns the groups from those that need nothing to those that nothing needs.
    pub(super) fn groups(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Returns the groups that are circles, a package that needs itself included.
    pub(super) fn circles<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = &'a [u32]> {
        let groups = self.groups().map(|group| self.members.of(group));
        groups.filter(|members| match members {
            [only] => graph.needs(*only).contains(only),
            _ => true,
        })
    }

    /// Returns a shortest circle through the first of these members of one group: it begins with that member, and each
    /// needs the next; the last needs the first.
    pub(super) fn shortest_circle(&self, graph: &Graph, members: &[u32]) -> Vec<u32> {
        let Some(&first) = members.first() else { return Vec::new() };
        let group = self.of[first as usize];
        let mut reached_from = foldhash::HashMap::default();
        let mut waiting = std::collections::VecDeque::from([first]);
        while let Some(index) = waiting.pop_front() {
            for &need in graph.needs(index) {
                if need == first {
                    return way_to(index, first, &reached_from);
                }
                if self.of[need as usize] == group && !reached_from.contains_key(&need) {
                    reached_from.insert(need, index);
                    waiting.push_back(need);
                }
            }
        }
        vec![first]
    }
}

/// Returns the way from the first package to the last one.
fn way_to(last: u32, first: u32, reached_from: &foldhash::HashMap<u32, u32>) -> Vec<u32> {
    let mut way = vec![last];
    let mut at = last;
    while at != first {
        let Some(&before) = reached_from.get(&at) else { break };
        at = before;
        way.push(at);
    }
    way.reverse();
    way
}

impl Search<'_> {
    fn search_from(&mut self, first: u32) {
        self.enter(first);
        // Packages on the way, each with the place of the need that is looked at next.
        let mut way = vec![(first, 0_usize)];
        while let Some((index, place)) = way.last_mut() {
            let index = *index;
            let Some(&need) = self.graph.needs(index).get(*place) else {
                way.pop();
                self.leave(index);
                if let Some(&(above, _)) = way.last() {
                    let lowest = self.lowest[index as usize];
                    self.reach(above, lowest);
                }
                continue;
            };
            *place += 1;
            if self.seen[need as usize] == 0 {
                self.enter(need);
                way.push((need, 0));
            } else if self.of[need as usize] == NO_GROUP {
                self.reach(index, self.seen[need as usize]);
            }
        }
    }

    fn enter(&mut self, index: u32) {
        self.seen[index as usize] = self.next_number;
        self.lowest[index as usize] = self.next_number;
        self.next_number += 1;
        self.open.push(index);
    }

    fn reach(&mut self, index: u32, number: u32) {
        let lowest = &mut self.lowest[index as usize];
        *lowest = number.min(*lowest);
    }

    /// Ends a package: if it reaches nothing that was seen earlier, it and what is open after it are a group.
    fn leave(&mut self, index: u32) {
        if self.lowest[index as usize] != self.seen[index as usize] {
            return;
        }
        while let Some(member) = self.open.pop() {
            self.of[member as usize] = self.groups;
            if member == index {
                break;
            }
        }
        self.groups += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packages_in_a_circle_are_one_group() {
        let graph = Graph::new([vec![1], vec![2, 3], vec![0], vec![3], vec![3]]);
        let components = Components::of(&graph);
        let circles: Vec<&[u32]> = components.circles(&graph).collect();
        assert_eq!(circles, [&[3][..], &[0, 1, 2]]);
        assert_eq!(components.shortest_circle(&graph, &[0, 1, 2]), [0, 1, 2]);
        assert_eq!(components.shortest_circle(&graph, &[3]), [3]);
    }

    #[test]
    fn a_circle_of_100000_is_found_without_recursion() {
        let size = 100_000;
        let graph = Graph::new((0..size).map(|index| [(index + 1) % size]));
        let components = Components::of(&graph);
        assert_eq!(components.circles(&graph).map(<[u32]>::len).collect::<Vec<_>>(), [100_000]);
        assert_eq!(components.shortest_circle(&graph, &[7]).len(), 100_000);
    }

    proptest! {
        #[test]
        fn two_are_in_one_group_if_each_needs_the_other(
            needs in proptest::collection::vec(proptest::collection::vec(0_u32..8, 0..3), 8),
        ) {
            let graph = Graph::new(needs);
            let components = Components::of(&graph);
            let reaches = |from: u32, to: u32| graph.with_needs(&[from]).contains(&to);
            for one in graph.indices() {
                for other in graph.indices() {
                    let is_one = components.of[one as usize] == components.of[other as usize];
                    prop_assert_eq!(is_one, reaches(one, other) && reaches(other, one));
                    if graph.needs(one).contains(&other) {
                        prop_assert!(components.of[other as usize] <= components.of[one as usize]);
                    }
                }
            }
        }
    }
}
