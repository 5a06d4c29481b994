//! Packages and their needs, both ways.

/// For each package a list of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// Where the list of each package ends in `items`.
    ends: Vec<usize>,
    items: Vec<u32>,
}

impl Lists {
    /// Takes the lists of all packages in order.
    pub(super) fn new<L: IntoIterator<Item = u32>>(lists: impl IntoIterator<Item = L>) -> Self {
        let mut new = Self::default();
        for list in lists {
            new.items.extend(list);
            new.ends.push(new.items.len());
        }
        new
    }

    /// Returns the list of a package; empty if there is no such package.
    pub(super) fn of(&self, index: u32) -> &[u32] {
        let index = index as usize;
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(begin);
        self.items.get(begin..end).unwrap_or_default()
    }

    /// Returns how many packages there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns for each package those in whose lists it is, in order of their indices. All items are packages.
    fn reversed(&self) -> Self {
        let mut counts = vec![0_usize; self.len()];
        for &item in &self.items {
            counts[item as usize] += 1;
        }
        let mut begins = Vec::with_capacity(self.len());
        let mut total = 0;
        for count in counts {
            begins.push(total);
            total += count;
        }
        // Each begin moves to its end as its list is filled.
        let mut ends = begins;
        let mut items = vec![0; self.items.len()];
        for index in 0..u32::try_from(self.len()).unwrap_or(u32::MAX) {
            for &item in self.of(index) {
                let place = &mut ends[item as usize];
                items[*place] = index;
                *place += 1;
            }
        }
        Self { ends, items }
    }
}

/// Packages with what each needs to be built, and what needs it; the packages have the indices from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    needs: Lists,
    dependents: Lists,
}

impl Graph {
    /// Takes the needs of all packages, in order of their indices. A need is kept once, at its first place; one that is no
    /// package is left out.
    pub fn new<L: IntoIterator<Item = u32>>(needs: impl IntoIterator<Item = L>) -> Self {
        let lists: Vec<Vec<u32>> = needs.into_iter().map(|list| list.into_iter().collect()).collect();
        // The package in whose list each was seen last.
        let mut seen = vec![usize::MAX; lists.len()];
        let once = lists.into_iter().enumerate().map(|(index, mut list)| {
            list.retain(|&need| match seen.get_mut(need as usize) {
                Some(last) => std::mem::replace(last, index) != index,
                None => false,
            });
            list
        });
        let needs = Lists::new(once.collect::<Vec<_>>());
        let dependents = needs.reversed();
        Self { needs, dependents }
    }

    /// Returns how many packages there are.
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Tells whether there is no package.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the indices of all packages.
    pub fn indices(&self) -> std::ops::Range<u32> {
        // Needs are `u32`, and so are the packages that can be needed.
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// Returns what a package needs directly.
    pub fn needs(&self, index: u32) -> &[u32] {
        self.needs.of(index)
    }

    /// Returns what needs a package directly, in order of the indices.
    pub fn dependents(&self, index: u32) -> &[u32] {
        self.dependents.of(index)
    }

    /// Returns these packages and all that they need, directly or not, in order of the indices.
    pub fn with_needs(&self, wanted: &[u32]) -> Vec<u32> {
        self.reached(wanted, |index| self.needs(index))
    }

    /// Returns these packages and all that need them, directly or not, in order of the indices.
    pub fn with_dependents(&self, packages: &[u32]) -> Vec<u32> {
        self.reached(packages, |index| self.dependents(index))
    }

    fn reached<'a>(&'a self, from: &[u32], next: impl Fn(u32) -> &'a [u32]) -> Vec<u32> {
        let mut is_taken = vec![false; self.len()];
        let mut waiting = from.to_vec();
        while let Some(index) = waiting.pop() {
            if let Some(taken @ false) = is_taken.get_mut(index as usize) {
                *taken = true;
                waiting.extend(next(index));
            }
        }
        self.indices().filter(|&index| is_taken[index as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_known_both_ways() {
        let graph = Graph::new([vec![], vec![0, 0], vec![1, 7, 0, 1]]);
        let needs: Vec<&[u32]> = graph.indices().map(|index| graph.needs(index)).collect();
        assert_eq!(needs, [&[][..], &[0], &[1, 0]]);
        let dependents: Vec<&[u32]> = graph.indices().map(|index| graph.dependents(index)).collect();
        assert_eq!(dependents, [&[1, 2][..], &[2], &[]]);
        assert_eq!((graph.needs(3), graph.len()), (&[][..], 3));
    }

    #[test]
    fn what_is_needed_comes_along() {
        let graph = Graph::new([vec![1], vec![2], vec![], vec![2], vec![4]]);
        assert_eq!(graph.with_needs(&[0, 9]), [0, 1, 2]);
        assert_eq!(graph.with_needs(&[4, 3]), [2, 3, 4]);
        assert_eq!(graph.with_dependents(&[1]), [0, 1]);
        assert_eq!(graph.with_dependents(&[2, 9]), [0, 1, 2, 3]);
    }
}
