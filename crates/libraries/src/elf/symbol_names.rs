//! Names of symbols as a set: sorted, each once, in one piece of memory, because files have thousands of them.

/// A set of names of symbols.
#[derive(Clone, Default)]
pub struct SymbolNames {
    /// The names, one after the other, in the order in which they were added.
    text: String,
    /// Where each name begins and ends, in the order of the names.
    places: Vec<(u32, u32)>,
}

impl SymbolNames {
    /// Returns the names in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| self.at(*place))
    }

    /// Tells whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Tells whether a name is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.places.binary_search_by(|place| self.at(*place).cmp(name)).is_ok()
    }

    /// Returns the names that another set lacks, in their order.
    pub fn missing_in<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s str> {
        let mut others = other.iter().peekable();
        self.iter().filter(move |name| {
            while others.next_if(|other| other < name).is_some() {}
            others.peek() != Some(name)
        })
    }

    /// Returns the bytes that all names take, those included that were added twice.
    pub(super) const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a name; the names form a set once they are [sorted](Self::sort).
    pub(super) fn push(&mut self, name: &str) {
        let begin = self.text.len();
        self.text.push_str(name);
        // The reader takes no more than 16 MiB of names.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.places.push((place(begin), place(self.text.len())));
    }

    /// Brings the names in order, and takes out those that were added twice.
    pub(super) fn sort(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable_by(|one, other| self.at(*one).cmp(self.at(*other)));
        places.dedup_by(|one, other| self.at(*one) == self.at(*other));
        self.places = places;
    }

    fn at(&self, (begin, end): (u32, u32)) -> &str {
        self.text.get(begin as usize..end as usize).unwrap_or_default()
    }
}

impl<'n> FromIterator<&'n str> for SymbolNames {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let mut set = Self::default();
        names.into_iter().for_each(|name| set.push(name));
        set.sort();
        set
    }
}

impl PartialEq for SymbolNames {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SymbolNames {}

impl std::fmt::Debug for SymbolNames {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> SymbolNames {
        names.iter().copied().collect()
    }

    #[test]
    fn names_are_a_set_whatever_the_order_in_which_they_come() {
        let names = of(&["puts", "open", "puts", "", "openat"]);
        assert_eq!(names.iter().collect::<Vec<_>>(), ["", "open", "openat", "puts"]);
        assert_eq!(names, of(&["", "openat", "puts", "open"]));
        assert_ne!(names, of(&["openat", "puts", "open"]));
        assert!(names.contains("open") && names.contains("") && !names.contains("ope"));
    }

    #[test]
    fn what_another_set_lacks_is_named_once_and_in_order() {
        let (one, other) = (of(&["d", "a", "b", "c", "d"]), of(&["b", "e", "c", "aa"]));
        assert_eq!(one.missing_in(&other).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(other.missing_in(&one).collect::<Vec<_>>(), ["aa", "e"]);
        assert_eq!(one.missing_in(&one).count(), 0);
        assert_eq!(one.missing_in(&of(&[])).count(), 4);
    }
}
