//! The parameters of a package: an ordered list of names and values.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::ops::Range;

use foldhash::HashMap;
use foldhash::fast::RandomState;

/// Longer lists find names by an index.
const INDEXED: usize = 64;

/// Memory reserved before a file is read: lines, and usual bytes of names and lines.
const MOST_ROOM: usize = 4096;
const USUAL_NAME: usize = 20;
const USUAL_LINE: usize = 64;

/// Parameters in the order of their file. Look-ups return the first of several with one name (pkginfo(4)), but all are kept.
/// Values are bytes, because real files are not always UTF-8. Look-up, change and removal take constant time.
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
    /// All names, and all values, concatenated: an allocation for each value would cost more than reading the file.
    names: String,
    values: Vec<u8>,
    lines: Vec<Line>,
    /// Positions by hash, for long lists only. Owns no memory, because lists are cloned for every patch of a package.
    index: HashMap<u64, Positions>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Positions {
    first: usize,
    last: usize,
}

#[derive(Clone, Debug)]
struct StoredParam {
    name: Range<usize>,
    value: Range<usize>,
}

#[derive(Clone, Debug)]
struct Line {
    /// A removed parameter leaves a gap.
    stored: Option<StoredParam>,
    next: Option<usize>,
}

impl Params {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reserves memory for the parameters of a file.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let lines = (text.len() / USUAL_LINE + 1).min(MOST_ROOM);
        let values = Vec::with_capacity(text.len().min(lines * USUAL_LINE));
        let names = String::with_capacity(lines * USUAL_NAME);
        let mut params = Self { names, values, lines: Vec::with_capacity(lines), ..Self::default() };
        params.reserve_index(lines);
        params
    }

    /// Creates an empty list with memory reserved for as much as `other` holds.
    pub fn with_room_of(other: &Self) -> Self {
        let names = String::with_capacity(other.names.len());
        let (values, lines) = (Vec::with_capacity(other.values.len()), Vec::with_capacity(other.lines.len()));
        let mut params = Self { names, values, lines, ..Self::default() };
        params.reserve_index(other.lines.len());
        params
    }

    fn reserve_index(&mut self, lines: usize) {
        if lines > INDEXED {
            self.index.reserve(lines);
        }
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.value_at(self.first(name)?)
    }

    /// Returns the value of `name` as text: bytes that are not UTF-8 become U+FFFD, a missing value is empty.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        String::from_utf8_lossy(self.get(name).unwrap_or_default())
    }

    /// Sets a parameter: in place of its first definition, or at the end if it is new.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let Some(first) = self.first(name) else { return self.push(name, value) };
        let value = self.keep(value.as_ref());
        if let Some(line) = self.lines.get_mut(first).and_then(|line| line.stored.as_mut()) {
            line.value = value;
        }
    }

    /// Appends a parameter, even if the name exists already.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let start = self.names.len();
        self.names.push_str(name);
        let value = self.keep(value.as_ref());
        let stored = Some(StoredParam { name: start..self.names.len(), value });
        self.lines.push(Line { stored, next: None });
        let place = self.lines.len() - 1;
        if place >= INDEXED {
            let unindexed = if place == INDEXED { 0 } else { place };
            (unindexed..=place).for_each(|place| self.add_to_index(place));
        }
    }

    /// The position must be after all indexed ones.
    fn add_to_index(&mut self, place: usize) {
        let Some(hash) = self.name_at(place).map(|name| self.hasher.hash_one(name)) else { return };
        let positions = self.index.entry(hash).or_insert(Positions { first: place, last: place });
        let last = std::mem::replace(&mut positions.last, place);
        if let Some(line) = self.lines.get_mut(last).filter(|_| last != place) {
            line.next = Some(place);
        }
    }

    /// Removes all parameters called `name`.
    pub fn remove(&mut self, name: &str) {
        let mut place = self.first(name);
        while let Some(at) = place {
            if let Some(line) = self.lines.get_mut(at) {
                line.stored = None;
            }
            place = self.next(name, at);
        }
        self.forget_gaps(self.hasher.hash_one(name));
    }

    /// Removes a hash with gaps only, so that temporary names do not accumulate.
    fn forget_gaps(&mut self, hash: u64) {
        let mut place = self.index.get(&hash).map(|positions| positions.first);
        while let Some(line) = place.and_then(|place| self.lines.get(place)) {
            if line.stored.is_some() {
                return;
            }
            place = line.next;
        }
        self.index.remove(&hash);
    }

    /// Returns names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let line = |line: &Line| {
            let StoredParam { name, value } = line.stored.clone()?;
            Some((self.names.get(name)?, self.values.get(value)?))
        };
        self.lines.iter().filter_map(line)
    }

    /// Returns the parameters in the order of `other`, then new ones in their own. A name that occurs several times in `other`
    /// keeps its later values there; of a new name, only the first value counts.
    ///
    /// ```
    /// use patchadm_svr4::package::Params;
    ///
    /// let now: Params = [("VERSION", "2"), ("PKG", "ACMEshop"), ("NEW", "1")].into_iter().collect();
    /// let before: Params = [("PKG", "x"), ("GONE", "x"), ("VERSION", "1")].into_iter().collect();
    /// let expected: Params = [("PKG", "ACMEshop"), ("VERSION", "2"), ("NEW", "1")].into_iter().collect();
    /// assert_eq!(now.in_order_of(&before), expected);
    /// ```
    #[must_use]
    pub fn in_order_of(&self, other: &Self) -> Self {
        let mut ordered = Self::with_room_of(self);
        let mut is_used = vec![false; self.lines.len()];
        // In much the same order, as before and after a patch, names are not looked up.
        let is_each_once = self.lines.len() > INDEXED && self.lines.iter().all(|line| line.next.is_none());
        let mut expected = 0;
        for (name, value) in other.iter() {
            let is_next = is_each_once && self.name_at(expected) == Some(name);
            let Some(place) = (if is_next { Some(expected) } else { self.first(name) }) else { continue };
            let is_taken = is_used.get_mut(place).is_none_or(|is_used| std::mem::replace(is_used, true));
            ordered.push(name, if is_taken { value } else { self.value_at(place).unwrap_or_default() });
            expected = place + 1;
        }
        for place in
            (0..self.lines.len()).filter(|place| !is_used.get(*place).is_some_and(|is_used| *is_used))
        {
            let (Some(name), Some(value)) = (self.name_at(place), self.value_at(place)) else { continue };
            if is_each_once || ordered.first(name).is_none() {
                ordered.push(name, value);
            }
        }
        ordered
    }

    /// Returns true if the list is empty.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.stored.is_none())
    }

    fn first(&self, name: &str) -> Option<usize> {
        if self.lines.len() <= INDEXED {
            return (0..self.lines.len()).find(|place| self.name_at(*place) == Some(name));
        }
        let first = self.index.get(&self.hasher.hash_one(name))?.first;
        if self.name_at(first) == Some(name) { Some(first) } else { self.next(name, first) }
    }

    fn next(&self, name: &str, place: usize) -> Option<usize> {
        if self.lines.len() <= INDEXED {
            return (place + 1..self.lines.len()).find(|place| self.name_at(*place) == Some(name));
        }
        let mut line = self.lines.get(place)?;
        while let Some(place) = line.next {
            if self.name_at(place) == Some(name) {
                return Some(place);
            }
            line = self.lines.get(place)?;
        }
        None
    }

    fn value_at(&self, place: usize) -> Option<&[u8]> {
        self.values.get(self.lines.get(place)?.stored.as_ref()?.value.clone())
    }

    fn name_at(&self, place: usize) -> Option<&str> {
        self.names.get(self.lines.get(place)?.stored.as_ref()?.name.clone())
    }

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
            for _ in 0..3 {
                params.remove("N7");
                params.remove("N7");
                params.push("N7", "between");
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
    fn few_and_many_take_the_order_of_another_list() {
        for count in [3, INDEXED + 1, 3 * INDEXED] {
            let name = |number: usize| format!("N{number}");
            let now = |numbers: &mut dyn Iterator<Item = usize>| -> Params {
                numbers.map(|number| (name(number), number.to_string())).collect()
            };
            let before: Params = (0..count).map(|number| (name(number), "old")).collect();
            let straight = now(&mut (0..count));
            assert_eq!(straight.in_order_of(&before), straight, "{count}");
            assert_eq!(now(&mut (0..count).rev()).in_order_of(&before), straight, "{count}");
            // New names come last, removed ones are gone, and repeated ones stay repeated.
            let mut changed = now(&mut (1..count + 2));
            changed.push("N1", "again");
            changed.push("N900", "a");
            changed.push("N900", "b");
            let mut twice = before.clone();
            twice.push("N2", "older");
            let mut expected = now(&mut (1..count));
            expected.push("N2", "older");
            expected.push(&name(count), count.to_string());
            expected.push(&name(count + 1), (count + 1).to_string());
            expected.push("N900", "a");
            assert_eq!(shown(&changed.in_order_of(&twice)), shown(&expected), "{count}");
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
