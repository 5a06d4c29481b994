//! The parameters of a package: an ordered list of names and values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Parameters in the order of their file. A name may occur more than once: the first one counts for look-ups
/// (pkginfo(4)), all are kept. Values are bytes, because real files are not all UTF-8. A look-up, a change and a removal
/// take the same time however many there are.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// In the order of the file; what was removed leaves a gap.
    lines: Vec<Option<(Arc<str>, Vec<u8>)>>,
    places: HashMap<Arc<str>, Places>,
}

/// The places of one name, in order.
#[derive(Clone, Debug)]
struct Places {
    first: usize,
    others: Vec<usize>,
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let first = self.places.get(name)?.first;
        self.lines.get(first)?.as_ref().map(|(_, value)| value.as_slice())
    }

    /// The value of `name` for a person or a comparison; bytes that are not UTF-8 become U+FFFD. Absent is empty.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        String::from_utf8_lossy(self.get(name).unwrap_or_default())
    }

    /// Gives `name` a value: in its first place, or at the end where it is new.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let first = self.places.get(name).map(|places| places.first);
        match first.and_then(|first| self.lines.get_mut(first)) {
            Some(Some(found)) => found.1 = value.into(),
            _ => self.push(name, value),
        }
    }

    /// Adds a line at the end, even where the name is there already.
    pub fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let place = self.lines.len();
        let name = match self.places.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        };
        self.places
            .entry(Arc::clone(&name))
            .and_modify(|places| places.others.push(place))
            .or_insert(Places { first: place, others: Vec::new() });
        self.lines.push(Some((name, value.into())));
    }

    /// Takes all lines of `name` out.
    pub fn remove(&mut self, name: &str) {
        let Some(Places { first, others }) = self.places.remove(name) else { return };
        for place in std::iter::once(first).chain(others) {
            if let Some(line) = self.lines.get_mut(place) {
                *line = None;
            }
        }
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().flatten().map(|(name, value)| (&**name, value.as_slice()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl PartialEq for Params {
    /// The same names and values in the same order.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Params {}

impl<N: AsRef<str>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let mut params = Self::new();
        for (name, value) in iter {
            params.push(name.as_ref(), value);
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(params: &Params) -> String {
        let line = |(name, value): (&str, &[u8])| format!("{name}={}", String::from_utf8_lossy(value));
        params.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_of_a_name_counts_and_is_the_one_that_is_set() {
        let mut params: Params = [("A", "1"), ("B", "2"), ("A", "3")].into_iter().collect();
        assert_eq!((params.get("A"), params.get("C")), (Some(&b"1"[..]), None));
        params.set("A", "4");
        params.set("C", "5");
        assert_eq!(shown(&params), "A=4 B=2 A=3 C=5");
    }

    #[test]
    fn a_name_goes_with_all_its_lines_and_comes_back_at_the_end() {
        let mut params: Params = [("A", "1"), ("B", "2"), ("A", "3")].into_iter().collect();
        params.remove("A");
        assert_eq!((shown(&params).as_str(), params.get("A")), ("B=2", None));
        params.set("A", "4");
        params.push("A", "5");
        assert_eq!((shown(&params).as_str(), params.get("A")), ("B=2 A=4 A=5", Some(&b"4"[..])));
        params.remove("B");
        params.remove("A");
        assert!(params.is_empty());
    }

    #[test]
    fn what_was_removed_before_does_not_matter_to_what_is_equal() {
        let mut changed: Params = [("A", "1"), ("B", "2")].into_iter().collect();
        changed.remove("A");
        assert_eq!(changed, [("B", "2")].into_iter().collect());
        assert_ne!(changed, [("B", "3")].into_iter().collect());
        assert_ne!(changed, Params::new());
    }
}
