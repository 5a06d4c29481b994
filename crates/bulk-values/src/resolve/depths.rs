//! How many packages need each.

use super::components::Components;
use super::graph::{Graph, Lists};

/// How many packages are looked at in one pass over the graph.
const BLOCK: usize = 512;

/// A set of packages of one block.
type Bits = [u64; BLOCK / 64];

impl Graph {
    /// Returns for each package how many need it, directly or not, itself included: pbulk's `PKG_DEPTH`.
    ///
    /// Takes one pass over the graph for each 512 packages: 100,000 packages with a million needs take about a second.
    pub fn depths(&self) -> Vec<u32> {
        let components = Components::of(self);
        let dependents = dependents_of_groups(self, &components);
        // Packages in order of their groups: a block of them is a bit each.
        let members =
            components.groups().flat_map(|group| components.members.of(group).iter().map(move |_| group));
        let groups: Vec<u32> = members.collect();
        let mut counts = vec![0_u32; components.members.len()];
        let mut sets: Vec<Bits> = vec![Bits::default(); components.members.len()];
        for block in groups.chunks(BLOCK) {
            let Some(&highest) = block.last() else { continue };
            let reached = highest as usize + 1;
            sets[..reached].fill(Bits::default());
            for (bit, &group) in block.iter().enumerate() {
                sets[group as usize][bit / 64] |= 1 << (bit % 64);
            }
            // The dependents of a group have higher numbers. Those above the block contain nothing of it.
            for group in (0..=highest).rev() {
                let mut set = sets[group as usize];
                for &dependent in dependents.of(group).iter().take_while(|&&dependent| dependent <= highest) {
                    for (word, other) in set.iter_mut().zip(&sets[dependent as usize]) {
                        *word |= other;
                    }
                }
                sets[group as usize] = set;
                counts[group as usize] += set.iter().map(|word| word.count_ones()).sum::<u32>();
            }
        }
        components.of.iter().map(|&group| counts[group as usize]).collect()
    }
}

/// Returns for each group the other groups that need it, in order of their numbers.
fn dependents_of_groups(graph: &Graph, components: &Components) -> Lists {
    let lists = components.groups().map(|group| {
        let members = components.members.of(group).iter();
        let dependents = members.flat_map(|&member| graph.dependents(member));
        let mut groups: Vec<u32> = dependents.map(|&dependent| components.of[dependent as usize]).collect();
        groups.retain(|&other| other != group);
        groups.sort_unstable();
        groups.dedup();
        groups
    });
    Lists::new(lists)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_depth_counts_a_package_and_all_that_need_it() {
        let graph = Graph::new([vec![], vec![0], vec![0], vec![1, 2], vec![4]]);
        assert_eq!(graph.depths(), [4, 2, 2, 1, 1]);
    }

    #[test]
    fn a_chain_of_10000_and_5000_dependents_of_one_are_counted() {
        let chain = Graph::new((0..10_000_u32).map(|index| index.checked_sub(1)));
        assert_eq!(chain.depths(), (1..=10_000).rev().collect::<Vec<u32>>());
        let star = Graph::new((0..=5_000).map(|index| (index > 0).then_some(0)));
        assert_eq!(star.depths()[..2], [5_001, 1]);
    }

    proptest! {
        #[test]
        fn depths_are_what_following_the_dependents_counts(
            needs in proptest::collection::vec(proptest::collection::vec(0_u32..700, 0..3), 1..700),
        ) {
            let graph = Graph::new(needs);
            let reversed = Graph::new(graph.indices().map(|index| graph.dependents(index).to_vec()));
            let depths = graph.depths();
            for index in graph.indices().step_by(37) {
                prop_assert_eq!(depths[index as usize] as usize, reversed.with_needs(&[index]).len());
            }
        }
    }
}
