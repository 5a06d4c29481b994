//! The parameters of a package: an ordered list of names and values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The number of lines from which names are found by an index.
const INDEXED: usize = 64;

/// The sizes for which memory is reserved before a file is read: at most this many lines, with names and
/// lines of the usual length in bytes.
const MOST_ROOM: usize = 4096;
const USUAL_NAME: usize = 20;
const USUAL_LINE: usize = 64;

/// Parameters in the order of their file. A name may occur several times: look-ups return the first
/// (pkginfo(4)), but all are kept. Values are bytes, because real files are not always UTF-8. A look-up, a
/// change and a removal take constant time.
///
/// ```
/// use patchadm_svr4::package::Params;
///
/// let mut params: Params = [("PKG", "ACMEshop"), ("VERSION", "1.0")].into_iter().collect();
/// params.set("VERSION", "1.1");
/// assert_eq!(params.text("VERSION"), "1.1");
/// assert_eq!(params.get("BASEDIR"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// All names and all values, concatenated: the parameters of a thousand packages are read at once, and an
    /// allocation for every value would cost more than the reading.
    names: String,
    values: Vec<u8>,
    /// The parameters in the order of the file; a removed one leaves a gap.
    lines: Vec<Option<StoredParam>>,
    /// The positions of each name, once there are many.
    index: HashMap<Box<str>, Vec<usize>>,
}

/// The ranges of a parameter's name and value in the concatenations.
#[derive(Clone, Debug)]
struct StoredParam {
    name: Range<usize>,
    value: Range<usize>,
}

impl Params {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty list with memory reserved for the parameters of a file.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let lines = (text.len() / USUAL_LINE + 1).min(MOST_ROOM);
        let values = Vec::with_capacity(text.len().min(lines * USUAL_LINE));
        let names = String::with_capacity(lines * USUAL_NAME);
        Self { names, values, lines: Vec::with_capacity(lines), index: HashMap::new() }
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let line = self.lines.get(self.first(name)?)?.as_ref()?;
        self.values.get(line.value.clone())
    }

    /// Returns the value of `name` as text: bytes that are not UTF-8 become U+FFFD, a missing value is empty.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        String::from_utf8_lossy(self.get(name).unwrap_or_default())
    }

    /// Sets a parameter: in the place of its first definition, or at the end if it is new.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let Some(first) = self.first(name) else { return self.push(name, value) };
        let value = self.keep(value.as_ref());
        if let Some(Some(line)) = self.lines.get_mut(first) {
            line.value = value;
        }
    }

    /// Appends a parameter, even if the name exists already.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let start = self.names.len();
        self.names.push_str(name);
        let value = self.keep(value.as_ref());
        self.lines.push(Some(StoredParam { name: start..self.names.len(), value }));
        let place = self.lines.len() - 1;
        if place > INDEXED {
            self.index.entry(name.into()).or_default().push(place);
        } else if place == INDEXED {
            let names: Vec<(usize, Box<str>)> =
                self.placed().map(|(place, name, _)| (place, Box::from(name))).collect();
            for (place, name) in names {
                self.index.entry(name).or_default().push(place);
            }
        }
    }

    /// Removes all parameters called `name`.
    pub fn remove(&mut self, name: &str) {
        let places = if self.lines.len() > INDEXED {
            self.index.remove(name).unwrap_or_default()
        } else {
            self.placed().filter(|(_, other, _)| *other == name).map(|(place, ..)| place).collect()
        };
        for place in places {
            if let Some(line) = self.lines.get_mut(place) {
                *line = None;
            }
        }
    }

    /// Returns names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.placed().map(|(_, name, value)| (name, value))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(Option::is_none)
    }

    /// The first place of `name`.
    fn first(&self, name: &str) -> Option<usize> {
        if self.lines.len() > INDEXED {
            return self.index.get(name)?.first().copied();
        }
        self.placed().find(|(_, other, _)| *other == name).map(|(place, ..)| place)
    }

    /// Returns all parameters with their positions.
    fn placed(&self) -> impl Iterator<Item = (usize, &str, &[u8])> {
        let line = |(place, line): (usize, &Option<StoredParam>)| {
            let StoredParam { name, value } = line.clone()?;
            Some((place, self.names.get(name)?, self.values.get(value)?))
        };
        self.lines.iter().enumerate().filter_map(line)
    }

    /// Appends a value to the concatenation and returns its range.
    fn keep(&mut self, value: &[u8]) -> Range<usize> {
        let start = self.values.len();
        self.values.extend_from_slice(value);
        start..self.values.len()
    }
}

impl PartialEq for Params {
    /// Compares names and values in order.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Params {}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Params {
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
    fn many_are_found_as_few_are() {
        for count in [INDEXED - 1, INDEXED, INDEXED + 1, 5 * INDEXED] {
            let mut params: Params = (0..count).map(|n| (format!("N{}", n % 100), n.to_string())).collect();
            for number in 0..count.min(100) {
                assert_eq!(params.text(&format!("N{number}")), number.to_string(), "{count}");
            }
            params.remove("N7");
            params.set("N8", "new");
            params.push("N7", "back");
            assert_eq!((params.text("N7").as_ref(), params.text("N8").as_ref()), ("back", "new"), "{count}");
            assert_eq!(params.iter().filter(|(name, _)| *name == "N7").count(), 1, "{count}");
            (0..100).for_each(|number| params.remove(&format!("N{number}")));
            assert!(params.is_empty(), "{count}");
        }
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
