//! ELF files made by hand for x86-64, as small as the format allows.

/// The file header, in bytes.
const HEADER: u64 = 64;

/// A program header, in bytes.
const PROGRAM_HEADER: u64 = 56;

/// The contents of a file to be made.
#[derive(Clone, Default)]
pub(crate) struct Sample<'a> {
    pub(crate) soname: Option<&'a str>,
    pub(crate) needed: &'a [&'a str],
    pub(crate) rpath: Option<&'a str>,
    pub(crate) runpath: Option<&'a str>,
    pub(crate) interpreter: Option<&'a str>,
    pub(crate) defines: &'a [&'a str],
    /// Each library with the versions that are needed of it; one whose name begins with `?` may be missing.
    pub(crate) needs: &'a [(&'a str, &'a [&'a str])],
    /// The text of a note of libraries loaded later.
    pub(crate) dlopen: Option<&'a str>,
    pub(crate) flags: u64,
    /// A name that is the end of another one has no bytes of its own.
    pub(crate) shares_names: bool,
}

/// A string table that grows; with `true` a name that is part of another one has no bytes of its own.
struct Strings(Vec<u8>, bool);

impl Strings {
    fn add(&mut self, text: &str) -> u64 {
        if self.1 {
            let ended = [text.as_bytes(), b"\0"].concat();
            if let Some(at) = self.0.windows(ended.len()).position(|part| part == ended) {
                return at as u64;
            }
        }
        let at = self.0.len() as u64;
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at
    }

    fn add_short(&mut self, text: &str) -> u32 {
        u32::try_from(self.add(text)).unwrap()
    }
}

impl Sample<'_> {
    /// Returns the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut strings = Strings(vec![0], self.shares_names);
        let mut tags = self.tags(&mut strings);
        let definitions = self.definitions(&mut strings);
        let requirements = self.requirements(&mut strings);
        let interpreter = self.interpreter.map(|path| [path.as_bytes(), b"\0"].concat()).unwrap_or_default();
        let note = self.dlopen.map(note).unwrap_or_default();

        let segments = 2 + u64::from(!interpreter.is_empty()) + u64::from(!note.is_empty());
        let dynamic_at = HEADER + segments * PROGRAM_HEADER;
        let counted =
            [(0x6fff_fffc, &definitions, self.defines.len()), (0x6fff_fffe, &requirements, self.needs.len())];
        let tables = counted.iter().filter(|(.., count)| *count > 0).count() as u64;
        let dynamic_size = 16 * (tags.len() as u64 + 2 + 2 * tables + 1);
        let mut at = dynamic_at + dynamic_size;
        let note_at = at;
        at += note.len() as u64;
        for (tag, bytes, count) in counted {
            if count > 0 {
                tags.extend([(tag, at), (tag + 1, count as u64)]);
            }
            at += bytes.len() as u64;
        }
        let interpreter_at = at;
        at += interpreter.len() as u64;
        tags.extend([(5, at), (10, strings.0.len() as u64), (0, 0)]);
        let size = at + strings.0.len() as u64;

        let mut out = header(segments);
        let mut segment =
            |kind: u32, offset: u64, length: u64| out.extend(program_header(kind, offset, length));
        segment(1, 0, size);
        segment(2, dynamic_at, dynamic_size);
        if !interpreter.is_empty() {
            segment(3, interpreter_at, interpreter.len() as u64);
        }
        if !note.is_empty() {
            segment(4, note_at, note.len() as u64);
        }
        out.extend(tags.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()));
        for part in [note, definitions, requirements, interpreter, strings.0] {
            out.extend(part);
        }
        out
    }

    fn tags(&self, strings: &mut Strings) -> Vec<(u64, u64)> {
        let mut tags: Vec<(u64, u64)> = self.needed.iter().map(|name| (1, strings.add(name))).collect();
        for (tag, text) in [(14, self.soname), (15, self.rpath), (29, self.runpath)] {
            tags.extend(text.map(|text| (tag, strings.add(text))));
        }
        if self.flags != 0 {
            tags.push((0x6fff_fffb, self.flags));
        }
        tags
    }

    fn definitions(&self, strings: &mut Strings) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, version) in self.defines.iter().enumerate() {
            let next = if index + 1 == self.defines.len() { 0u32 } else { 28 };
            for half in [1u16, 0, u16::try_from(index).unwrap() + 2, 1] {
                out.extend(half.to_le_bytes());
            }
            for word in [0u32, 20, next, strings.add_short(version), 0] {
                out.extend(word.to_le_bytes());
            }
        }
        out
    }

    fn requirements(&self, strings: &mut Strings) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, (library, versions)) in self.needs.iter().enumerate() {
            let length = 16 + 16 * u32::try_from(versions.len()).unwrap();
            let next = if index + 1 == self.needs.len() { 0 } else { length };
            for half in [1u16, u16::try_from(versions.len()).unwrap()] {
                out.extend(half.to_le_bytes());
            }
            for word in [strings.add_short(library), 16, next] {
                out.extend(word.to_le_bytes());
            }
            for (at, version) in versions.iter().enumerate() {
                let next = if at + 1 == versions.len() { 0u32 } else { 16 };
                let name = version.trim_start_matches('?');
                out.extend(0u32.to_le_bytes());
                out.extend([if name == *version { 0 } else { 2 }, 0, 2, 0]);
                out.extend(strings.add_short(name).to_le_bytes());
                out.extend(next.to_le_bytes());
            }
        }
        out
    }
}

fn header(segments: u64) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0u64, HEADER, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64u16, 56, u16::try_from(segments).unwrap(), 64, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    out
}

fn program_header(kind: u32, offset: u64, length: u64) -> Vec<u8> {
    let mut out = [kind.to_le_bytes(), 4u32.to_le_bytes()].concat();
    for word in [offset, offset, offset, length, length, 4] {
        out.extend(word.to_le_bytes());
    }
    out
}

/// Returns a note of the owner `FDO` with a text.
fn note(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 1).unwrap();
    let mut out: Vec<u8> =
        [4, length, 0x407c_0c0a].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    out.extend(b"FDO\0");
    out.extend(text.as_bytes());
    out.resize(16 + (text.len() + 1).next_multiple_of(4), 0);
    out
}
