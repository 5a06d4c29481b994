//! Binary search for a line in a file known to be sorted. Lines without a key (comments) may be anywhere. If examined
//! lines are unsorted, the answer is [`SortedLinesError::Unsorted`], not a wrong line. Memory: one window and a line.

use std::borrow::Cow;
use std::io::{self, Read, Seek, SeekFrom};

use patchadm_svr4::format::LONGEST_LINE;

const WINDOW: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SortedLinesError {
    #[error("the lines are not in order")]
    Unsorted,
    #[error("a line is longer than {LONGEST_LINE} bytes")]
    TooLong,
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) line: Vec<u8>,
}

type Key = fn(&[u8]) -> Option<Cow<'_, [u8]>>;

#[derive(Debug)]
pub(crate) struct Ordered<R> {
    from: R,
    begin: u64,
    end: u64,
    key: Key,
    window: Vec<u8>,
    window_at: u64,
}

impl<R: Read + Seek> Ordered<R> {
    pub(crate) fn new(from: R, begin: u64, end: u64, key: Key) -> Self {
        Self { from, begin, end, key, window: Vec::new(), window_at: 0 }
    }

    pub(crate) fn into_inner(self) -> R {
        self.from
    }

    pub(crate) fn find(&mut self, key: &[u8]) -> Result<Option<Spot>, SortedLinesError> {
        self.find_from(self.begin, key)
    }

    pub(crate) fn find_from(&mut self, from: u64, key: &[u8]) -> Result<Option<Spot>, SortedLinesError> {
        // Lines that begin before `low` precede `key`; lines from `high` on do not.
        let (mut low, mut high) = (from.max(self.begin), self.end);
        let (mut before, mut behind): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
        while high.saturating_sub(low) > WINDOW as u64 {
            let middle = low + (high - low) / 2;
            let Some(spot) = self.first_behind(middle, high)? else {
                high = middle + 1;
                continue;
            };
            let found = self.key_of(&spot.line);
            let contradicts = before.as_ref().is_some_and(|before| found <= *before)
                || behind.as_ref().is_some_and(|behind| found >= *behind);
            if contradicts {
                return Err(SortedLinesError::Unsorted);
            }
            if *found < *key {
                (low, before) = (spot.end, Some(found));
            } else {
                (high, behind) = (spot.start, Some(found));
            }
        }
        loop {
            let Some(spot) = self.next(low)? else { return Ok(None) };
            let found = self.key_of(&spot.line);
            if before.as_ref().is_some_and(|before| found <= *before) {
                return Err(SortedLinesError::Unsorted);
            }
            if *found >= *key {
                // The next line reveals one that is out of place.
                let next = self.next(spot.end)?;
                let ascends = next.is_none_or(|next| found < self.key_of(&next.line));
                return if ascends { Ok(Some(spot)) } else { Err(SortedLinesError::Unsorted) };
            }
            (low, before) = (spot.end, Some(found));
        }
    }

    pub(crate) fn next(&mut self, mut at: u64) -> Result<Option<Spot>, SortedLinesError> {
        loop {
            let Some(spot) = self.line(at, self.end)? else { return Ok(None) };
            if (self.key)(&spot.line).is_some() {
                return Ok(Some(spot));
            }
            at = spot.end;
        }
    }

    fn first_behind(&mut self, middle: u64, high: u64) -> Result<Option<Spot>, SortedLinesError> {
        let Some(mut spot) = self.line(middle, high)? else { return Ok(None) };
        loop {
            spot = match self.line(spot.end, high)? {
                Some(next) if (self.key)(&next.line).is_some() => return Ok(Some(next)),
                Some(next) => next,
                None => return Ok(None),
            };
        }
    }

    fn key_of(&self, line: &[u8]) -> Vec<u8> {
        (self.key)(line).map(Cow::into_owned).unwrap_or_default()
    }

    fn line(&mut self, at: u64, limit: u64) -> Result<Option<Spot>, SortedLinesError> {
        if at >= limit.min(self.end) {
            return Ok(None);
        }
        let mut line = Vec::new();
        let mut next = at;
        loop {
            let end = self.end;
            let bytes = self.bytes(next)?;
            let bytes = &bytes[..bytes.len().min(usize::try_from(end - next).unwrap_or(usize::MAX))];
            if bytes.is_empty() {
                return Ok(Some(Spot { start: at, end: next, line }));
            }
            let newline = bytes.iter().position(|&byte| byte == b'\n');
            line.extend_from_slice(&bytes[..newline.unwrap_or(bytes.len())]);
            next += newline.map_or(bytes.len(), |newline| newline + 1) as u64;
            if line.len() > LONGEST_LINE {
                return Err(SortedLinesError::TooLong);
            }
            if newline.is_some() {
                return Ok(Some(Spot { start: at, end: next, line }));
            }
        }
    }

    fn bytes(&mut self, at: u64) -> io::Result<&[u8]> {
        let inside = |this: &Self| {
            let skip = usize::try_from(at.checked_sub(this.window_at)?).ok()?;
            (skip < this.window.len()).then_some(skip)
        };
        if inside(self).is_none() {
            self.window_at = at - at % WINDOW as u64;
            self.window.clear();
            self.from.seek(SeekFrom::Start(self.window_at))?;
            (&mut self.from).take(WINDOW as u64).read_to_end(&mut self.window)?;
        }
        Ok(inside(self).and_then(|skip| self.window.get(skip..)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use proptest::prelude::*;

    fn key(line: &[u8]) -> Option<Cow<'_, [u8]>> {
        (!line.starts_with(b"#")).then_some(Cow::Borrowed(line))
    }

    fn ordered(text: &[u8]) -> Ordered<Cursor<&[u8]>> {
        Ordered::new(Cursor::new(text), 0, text.len() as u64, key)
    }

    /// Reads all lines.
    fn plainly<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
        text.split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .find(|line| key(line).is_some_and(|key| *key >= *wanted))
    }

    #[test]
    fn a_line_of_a_long_file_is_found_by_a_few_reads() {
        struct Counting<'a>(Cursor<&'a [u8]>, usize);
        impl Read for Counting<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.read(buffer)?;
                self.1 += count;
                Ok(count)
            }
        }
        impl Seek for Counting<'_> {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.0.seek(to)
            }
        }
        let lines: Vec<String> =
            (0..400_000).map(|number| format!("/opt/acme/lib/{number:08} f none A\n")).collect();
        let text = lines.concat();
        let file = Counting(Cursor::new(text.as_bytes()), 0);
        let mut lines = Ordered::new(file, 0, text.len() as u64, key);
        let spot = lines.find(b"/opt/acme/lib/00271828").unwrap().unwrap();
        assert_eq!(spot.line, b"/opt/acme/lib/00271828 f none A");
        assert_eq!(lines.next(spot.end).unwrap().unwrap().line, b"/opt/acme/lib/00271829 f none A");
        let read = lines.into_inner().1;
        assert!(read < 100_000, "{read} bytes of {}", text.len());
    }

    #[test]
    fn lines_in_no_order_are_no_answer() {
        let mut text: Vec<u8> = (0..2000).flat_map(|number| format!("/{number:08}\n").into_bytes()).collect();
        let middle = text.len() / 2 / 10 * 10;
        text[middle..middle + 9].copy_from_slice(b"/99999999");
        let mut refused = 0;
        for number in (0..2000).filter(|number| number * 10 != middle) {
            let wanted = format!("/{number:08}");
            match ordered(&text).find(wanted.as_bytes()) {
                Ok(spot) => assert_eq!(spot.unwrap().line, wanted.as_bytes()),
                Err(SortedLinesError::Unsorted) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let text = vec![b'x'; LONGEST_LINE + 2];
        assert!(matches!(ordered(&text).find(b"y"), Err(SortedLinesError::TooLong)));
    }

    proptest! {
        #[test]
        fn halving_finds_what_looking_at_all_finds(
            names in prop::collection::btree_set("[a-c]{1,40}", 0..600),
            comment in 0usize..700,
            length in 0usize..9000,
            wanted in "[a-d]{0,6}",
            is_closed: bool,
        ) {
            let mut text = Vec::new();
            for (index, name) in names.iter().enumerate() {
                if index == comment {
                    text.extend_from_slice(b"#");
                    text.resize(text.len() + length, b'-');
                    text.push(b'\n');
                }
                text.extend_from_slice(name.as_bytes());
                text.push(b'\n');
            }
            if !is_closed {
                text.pop();
            }
            for wanted in names.iter().map(String::as_bytes).chain([wanted.as_bytes()]) {
                let found = ordered(&text).find(wanted).unwrap();
                prop_assert_eq!(found.map(|spot| spot.line), plainly(&text, wanted).map(<[u8]>::to_vec));
            }
        }
    }
}
