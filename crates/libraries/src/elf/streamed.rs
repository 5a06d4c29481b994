//! Keeps the beginning and end of a streamed program or library, and the parts that its program headers name. For
//! nearly all files this suffices; otherwise the places of the tables are known then, and a second pass keeps them.

use super::layout::ElfLayout;
use crate::elf::layout::DynamicSection;
use crate::elf::source::ElfError;
use crate::elf::source::ElfSource;

/// Most files are not longer.
const HEAD: usize = 4 << 20;

const TAIL: usize = 512 << 10;

/// Limits the bytes kept in between.
const MOST_KEPT: u64 = 28 << 20;

/// Begin and end in the file.
type Range = (u64, u64);

/// Parts that a second pass has to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingParts(pub(super) Vec<Range>);

#[derive(Debug, Default)]
pub struct PartsKeeper {
    /// In between, sorted, without overlaps.
    ranges: Vec<Range>,
    length: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    kept: Vec<Part>,
}

#[derive(Debug)]
pub struct StreamedParts {
    parts: Vec<Part>,
    length: u64,
    is_incomplete: bool,
}

#[derive(Debug)]
struct Part {
    offset: u64,
    bytes: Vec<u8>,
}

impl PartsKeeper {
    pub fn again(missing: &MissingParts) -> Self {
        Self { ranges: missing.0.clone(), ..Self::default() }
    }

    pub fn add(&mut self, bytes: &[u8]) {
        let room = HEAD - self.head.len();
        let (begin, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(begin);
        self.length += begin.len() as u64;
        if room > 0 && self.head.len() == HEAD {
            self.read_head();
        }
        for part in rest.chunks(TAIL) {
            self.add_behind(part);
        }
    }

    /// Determines the other parts to keep.
    fn read_head(&mut self) {
        let named = ElfLayout::read(&mut &self.head[..]).ok().flatten();
        self.ranges.extend(named.iter().flat_map(ElfLayout::named_parts));
        self.ranges = merged(std::mem::take(&mut self.ranges));
        for (start, end) in &self.ranges {
            if let Some(begun) = usize::try_from(*start).ok().and_then(|start| self.head.get(start..)) {
                let is_behind = *end > HEAD as u64;
                self.kept.extend(is_behind.then(|| Part { offset: *start, bytes: begun.to_vec() }));
            }
        }
    }

    fn add_behind(&mut self, bytes: &[u8]) {
        let (at, next) = (self.length, self.length + bytes.len() as u64);
        let first = self.ranges.partition_point(|(_, end)| *end <= at);
        for (start, end) in self.ranges[first..].iter().take_while(|(start, _)| *start < next) {
            let (from, to) = ((*start).max(at), (*end).min(next));
            let inside = |place: u64| usize::try_from(place - at).unwrap_or_default();
            let piece = &bytes[inside(from)..inside(to)];
            match self.kept.last_mut().filter(|part| part.offset == *start) {
                Some(part) => part.bytes.extend_from_slice(piece),
                None => self.kept.push(Part { offset: from, bytes: piece.to_vec() }),
            }
        }
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        self.length = next;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let kept: usize = self.kept.iter().map(|part| part.bytes.len()).sum();
        self.head.len() + self.tail.len() + kept
    }

    pub fn finish(self) -> StreamedParts {
        let tail_at = self.length - self.tail.len() as u64;
        let mut parts =
            vec![Part { offset: 0, bytes: self.head }, Part { offset: tail_at, bytes: self.tail }];
        parts.extend(self.kept);
        StreamedParts { parts, length: self.length, is_incomplete: false }
    }
}

impl StreamedParts {
    /// Returns the parts that a second pass has to keep, if this pass lacked any.
    pub fn missing(mut self) -> Option<MissingParts> {
        if !self.is_incomplete {
            return None;
        }
        let Ok(Some(layout)) = ElfLayout::read(&mut self) else {
            return ElfLayout::program_headers(&mut self).map(|range| MissingParts(vec![range]));
        };
        let mut missing: Vec<Range> = layout.named_parts().collect();
        if let Ok(Some(dynamic)) = DynamicSection::read(&mut self, &layout) {
            missing.extend(dynamic.parts(&layout));
        }
        missing.push(layout.section_headers());
        Some(MissingParts(missing))
    }
}

impl ElfSource for StreamedParts {
    fn slice(&mut self, offset: u64, length: usize) -> Result<&[u8], ElfError> {
        let rest = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(rest);
        let range = |part: &Part| {
            let start = usize::try_from(offset.checked_sub(part.offset)?).ok()?;
            let end = start.checked_add(length).filter(|end| *end <= part.bytes.len())?;
            Some(start..end)
        };
        if length == 0 {
            return Ok(&[]);
        }
        let Some((part, range)) = self.parts.iter().find_map(|part| Some((part, range(part)?))) else {
            self.is_incomplete = true;
            return Err(ElfError::Read("a part of it was not kept".to_owned()));
        };
        Ok(&part.bytes[range])
    }
}

/// Sorts parts, merges those that touch, and drops what exceeds [`MOST_KEPT`].
fn merged(mut parts: Vec<Range>) -> Vec<Range> {
    parts.retain(|(start, end)| start < end);
    parts.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for (start, end) in parts {
        match merged.last_mut().filter(|(_, last)| start <= *last) {
            Some((_, last)) => *last = end.max(*last),
            None => merged.push((start, end)),
        }
    }
    let mut room = MOST_KEPT;
    merged.retain(|(start, end)| {
        let size = end - start;
        let fits = size <= room;
        room -= if fits { size } else { 0 };
        fits
    });
    merged
}
