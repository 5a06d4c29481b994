//! The ledger of a package, `var/sadm/patchadm/ledger/<PKG>` (patchadm-ledger(5)): one JSON line per patch about the
//! undo archive of a run of this root. A backout trusts these lines; files beside the archive are for people. Of
//! earlier lines with SHA-256 digests only the presence counts.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

pub use patchadm_changeset::plan::UndoLocation;

use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_changeset::format::run::Run;
use patchadm_rootfs::Digest;
use patchadm_svr4::package::{ObjectPath, rule};
use patchadm_svr4::patch::PatchId;

/// 16 MiB.
pub const LARGEST: usize = 16 << 20;

/// In a save directory, beside the archive that scripts made.
pub const SNAPSHOT: &str = "snapshot/undo.gz";

const B3: &str = "b3:";
const EARLIER: &str = "sha256:";
const SAVE: &str = "save";

/// In order of application; each patch once.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By their order.
    earlier: BTreeMap<usize, EarlierLine>,
    lines: Vec<LedgerLine>,
    /// By patch: the order of its earlier line, and the place of its line.
    earlier_places: HashMap<String, usize>,
    places: HashMap<String, usize>,
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.earlier.values().eq(other.earlier.values()) && self.lines == other.lines
    }
}

impl Eq for Ledger {}

/// Of an earlier form; written again unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierLine {
    pub run: String,
    /// Named as its save directory.
    pub patch: String,
    /// Undo data that only the earlier form reads: an archive or a manifest.
    pub has_undo: bool,
    text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    pub run: String,
    /// Named as its save directory.
    pub patch: String,
    /// Of `PATCH_INFO_<patch>`: the line is valid only while the package has this value.
    pub info: Digest,
    /// The archive, or the reason for its absence.
    pub undo: LedgerUndo,
    /// Of the scripts in `var/sadm/patch/<patch>`, by name.
    pub scripts: BTreeMap<String, Digest>,
    /// Of the snapshot beside an archive that scripts made.
    pub snapshot: Option<Digest>,
    /// Of a manifest that is kept without an archive.
    pub manifest: Option<Digest>,
    /// Set if a later run rewrote or gave up the undo data.
    pub applied_by: Option<String>,
    /// `recover --adopt-undo` bound the archive, not the run that made it.
    pub is_adopted: bool,
    /// Of an adopted package, at the time of application.
    pub native: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUndo {
    Kept {
        b3: Digest,
        size: u64,
        /// Bytes of old files outside the archive, for undo data as files.
        files: Option<u64>,
        place: UndoLocation,
        /// Another tool made it; the run only moved it.
        is_classic: bool,
    },
    /// The archive is in an exported file.
    Exported {
        b3: Digest,
        size: u64,
    },
    None(WhyNone),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyNone {
    /// `--no-undo`.
    NoUndo,
    NothingSaved,
    Committed,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLine {
    run: String,
    patch: String,
    info: String,
    undo: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "where")]
    place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exported: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<WrittenWhy>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scripts: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    applied: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adopted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenWhy {
    Classic,
    Exported,
    #[serde(untagged)]
    None(WhyNone),
}

impl Ledger {
    pub fn of_line(line: LedgerLine) -> Self {
        let mut ledger = Self::default();
        ledger.set(line);
        ledger
    }

    pub fn parse(text: &[u8]) -> Result<Self, LedgerError> {
        if text.len() > LARGEST {
            return Err(LedgerError::TooLarge);
        }
        let Some(text) = text.strip_suffix(b"\n") else {
            let reason = "its end is missing".to_owned();
            return if text.is_empty() {
                Ok(Self::default())
            } else {
                Err(LedgerError::Line { line: 1, reason })
            };
        };
        let mut ledger = Self::default();
        let mut patches = HashSet::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let wrong = |reason: String| LedgerError::Line { line: at + 1, reason };
            let written: WrittenLine =
                serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
            if !rule::holds("ledger.patch.once", patches.insert(written.patch.clone())) {
                return Err(wrong(format!("patch {} has a line already", written.patch)));
            }
            if written.info.starts_with(EARLIER) {
                let read = EarlierLine::read(written, line).map_err(wrong)?;
                ledger.earlier_places.entry(read.patch.clone()).or_insert(at);
                ledger.earlier.insert(at, read);
            } else {
                ledger.push(LedgerLine::read(written, B3).map_err(wrong)?);
            }
        }
        Ok(ledger)
    }

    /// Formats the file; empty without lines.
    pub fn write(&self) -> Vec<u8> {
        let earlier = self.earlier.values().map(|line| [&line.text[..], b"\n"].concat());
        earlier.chain(self.lines.iter().map(LedgerLine::write)).flatten().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.earlier.is_empty()
    }

    pub fn lines(&self) -> &[LedgerLine] {
        &self.lines
    }

    /// Returns the patches of all lines, of every form.
    pub fn patches(&self) -> impl Iterator<Item = &String> {
        self.earlier.values().map(|line| &line.patch).chain(self.lines.iter().map(|line| &line.patch))
    }

    /// Returns the earlier-form line of a patch, named as its save directory.
    pub fn earlier(&self, patch: &str) -> Option<&EarlierLine> {
        self.earlier.get(self.earlier_places.get(patch)?)
    }

    /// Returns the lines by patch, however it is spelled. Of several spellings the first line counts.
    pub fn by_id(&self) -> HashMap<PatchId, &LedgerLine> {
        let lines = self.lines.iter().rev();
        lines.filter_map(|line| Some((PatchId::new(&line.patch).ok()?, line))).collect()
    }

    /// Returns the line of a patch, named as its save directory.
    pub fn line(&self, patch: &str) -> Option<&LedgerLine> {
        self.lines.get(*self.places.get(patch)?)
    }

    /// Returns the digest that a script in the directory of a patch must have.
    pub fn script_digest(&self, patch: &str, name: &str) -> Option<Digest> {
        self.line(patch)?.scripts.get(name).copied()
    }

    /// Replaces the line of the same patch, or appends.
    pub fn set(&mut self, line: LedgerLine) {
        if let Some(at) = self.earlier_places.remove(&line.patch) {
            self.earlier.remove(&at);
        }
        let place = self.places.get(&line.patch).copied();
        match place.and_then(|place| self.lines.get_mut(place)) {
            Some(known) => *known = line,
            None => self.push(line),
        }
    }

    fn push(&mut self, line: LedgerLine) {
        self.places.entry(line.patch.clone()).or_insert(self.lines.len());
        self.lines.push(line);
    }

    /// `is_wanted` gets the patch and the digest of its record, if that can be compared.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&str, Option<Digest>) -> bool) {
        self.earlier.retain(|_, line| is_wanted(&line.patch, None));
        self.earlier_places.retain(|_, at| self.earlier.contains_key(at));
        self.places.clear();
        for line in std::mem::take(&mut self.lines) {
            if is_wanted(&line.patch, Some(line.info)) {
                self.push(line);
            }
        }
    }
}

impl EarlierLine {
    /// Reads a line that differs only in the prefix of its digests.
    fn read(written: WrittenLine, text: &[u8]) -> Result<Self, String> {
        let LedgerLine { run, patch, undo, snapshot, manifest, .. } = LedgerLine::read(written, EARLIER)?;
        let is_own = matches!(undo, LedgerUndo::Kept { is_classic: false, .. });
        let has_undo = is_own || snapshot.is_some() || manifest.is_some();
        Ok(Self { run, patch, has_undo, text: text.to_vec() })
    }
}

impl LedgerLine {
    /// On the host.
    pub fn is_at(&self, path: &ObjectPath) -> bool {
        matches!(&self.undo, LedgerUndo::Kept { place: UndoLocation::Host(at), .. } if at == path.as_bytes())
    }

    /// Returns the bytes of the old files, for undo data as files.
    pub fn files(&self) -> Option<u64> {
        match self.undo {
            LedgerUndo::Kept { files, .. } => files,
            LedgerUndo::Exported { .. } | LedgerUndo::None(_) => None,
        }
    }

    pub fn archive(&self) -> Option<(Digest, u64)> {
        match self.undo {
            LedgerUndo::Kept { b3, size, .. } => Some((b3, size)),
            LedgerUndo::Exported { .. } | LedgerUndo::None(_) => None,
        }
    }

    pub fn exported(&self) -> Option<(Digest, u64)> {
        match self.undo {
            LedgerUndo::Exported { b3, size } => Some((b3, size)),
            LedgerUndo::Kept { .. } | LedgerUndo::None(_) => None,
        }
    }

    /// Returns the run that deleted the undo data on purpose.
    pub fn dropped_by(&self) -> Option<&str> {
        (self.undo == LedgerUndo::None(WhyNone::Committed)).then_some(self.run.as_str())
    }

    fn read(written: WrittenLine, algorithm: &str) -> Result<Self, String> {
        if !rule::holds("ledger.run", is_run(&written.run)) {
            return Err("`run` is not a run".to_owned());
        }
        let applied = written.applied.as_deref();
        if !rule::holds("ledger.applied", applied.is_none_or(is_run)) {
            return Err("`applied` is not a run".to_owned());
        }
        let digest = |name: &str, text: &str| {
            tagged(text, algorithm).ok_or_else(|| format!("`{name}` is not a digest of this program"))
        };
        let scripts = written.scripts.iter().map(|(name, text)| {
            if !rule::holds("ledger.scripts.name", is_script_name(name)) {
                return Err("`scripts` has a name that no script has".to_owned());
            }
            Ok((name.clone(), digest("scripts", text)?))
        });
        Ok(Self {
            info: digest("info", &written.info)?,
            scripts: scripts.collect::<Result<_, _>>()?,
            snapshot: written.snapshot.as_deref().map(|text| digest("snapshot", text)).transpose()?,
            manifest: written.manifest.as_deref().map(|text| digest("manifest", text)).transpose()?,
            applied_by: written.applied.clone(),
            is_adopted: written.adopted,
            native: written
                .native
                .clone()
                .filter(|version| rule::holds("ledger.native", !version.chars().any(char::is_control))),
            undo: read_undo(&written, digest)?,
            run: written.run,
            patch: written.patch,
        })
    }

    fn write(&self) -> Vec<u8> {
        let text = |digest: &Digest| format!("{B3}{digest}");
        let mut written = WrittenLine {
            run: self.run.clone(),
            patch: self.patch.clone(),
            info: text(&self.info),
            undo: None,
            size: None,
            files: None,
            place: None,
            exported: None,
            why: None,
            scripts: self.scripts.iter().map(|(name, digest)| (name.clone(), text(digest))).collect(),
            snapshot: self.snapshot.as_ref().map(text),
            manifest: self.manifest.as_ref().map(text),
            applied: self.applied_by.clone(),
            adopted: self.is_adopted,
            native: self.native.clone(),
        };
        match &self.undo {
            LedgerUndo::Kept { b3, size, files, place, is_classic } => {
                written.undo = Some(text(b3));
                written.size = Some(*size);
                written.files = *files;
                written.place = Some(match place {
                    UndoLocation::Save => SAVE.to_owned(),
                    UndoLocation::Host(path) => encode(path),
                });
                written.why = is_classic.then_some(WrittenWhy::Classic);
            }
            LedgerUndo::Exported { b3, size } => {
                written.exported = Some(text(b3));
                written.size = Some(*size);
                written.why = Some(WrittenWhy::Exported);
            }
            LedgerUndo::None(why) => written.why = Some(WrittenWhy::None(*why)),
        }
        // Strings, numbers and maps with string keys: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

fn read_none(
    written: &WrittenLine,
    digest: impl Fn(&str, &str) -> Result<Digest, String>,
) -> Result<LedgerUndo, String> {
    let is_bare = written.files.is_none() && written.place.is_none() && written.snapshot.is_none();
    if let (Some(WrittenWhy::Exported), Some(exported), Some(size)) =
        (written.why, &written.exported, written.size)
    {
        // Only the manifest names the paths of the patch.
        if rule::holds("ledger.exported", is_bare && written.manifest.is_some()) {
            return Ok(LedgerUndo::Exported { b3: digest("exported", exported)?, size });
        }
    }
    let is_bare = is_bare && written.size.is_none() && written.exported.is_none();
    match written.why {
        Some(WrittenWhy::None(why)) if rule::holds("ledger.undo.none", is_bare) => Ok(LedgerUndo::None(why)),
        _ => Err("without `undo` it needs `why`, and has neither `size` nor `where`".to_owned()),
    }
}

fn read_undo(
    written: &WrittenLine,
    digest: impl Fn(&str, &str) -> Result<Digest, String>,
) -> Result<LedgerUndo, String> {
    let Some(undo) = &written.undo else {
        return read_none(written, digest);
    };
    let (Some(size), Some(place), None) = (written.size, &written.place, &written.exported) else {
        return Err("with `undo` it needs `size` and `where`".to_owned());
    };
    if !rule::holds("ledger.manifest.undo", written.manifest.is_none()) {
        return Err("it has `undo`, and also `manifest`, which is for a patch without undo data".to_owned());
    }
    let is_classic = match written.why {
        None => false,
        Some(WrittenWhy::Classic) => true,
        Some(WrittenWhy::None(_) | WrittenWhy::Exported) => {
            return Err("it has `undo`, and says why there is none".to_owned());
        }
    };
    let place = match place.as_str() {
        SAVE => UndoLocation::Save,
        path if path.starts_with('/') => UndoLocation::Host(decode(path).into_owned()),
        _ => return Err("`where` is neither `save` nor a path".to_owned()),
    };
    let is_possible = written.files.is_none() || (place == UndoLocation::Save && !is_classic);
    if !rule::holds("ledger.files", is_possible) {
        return Err("`files` is set for an archive that another tool made, or for one elsewhere".to_owned());
    }
    Ok(LedgerUndo::Kept { b3: digest("undo", undo)?, size, files: written.files, place, is_classic })
}

fn is_run(text: &str) -> bool {
    let run = Run::parse(text).filter(|run| run.number <= i64::MAX.unsigned_abs());
    run.is_some_and(|run| run.to_string() == text)
}

fn is_script_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn tagged(text: &str, algorithm: &str) -> Option<Digest> {
    let hex = text.strip_prefix(algorithm)?;
    Digest::from_hex(hex).filter(|digest| digest.to_string() == hex)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: &str = "17-9c1d6f20aa31b7e4";

    fn line() -> LedgerLine {
        LedgerLine {
            run: RUN.to_owned(),
            patch: "105181-05".to_owned(),
            info: Digest([0x77; 32]),
            undo: LedgerUndo::Kept {
                b3: Digest([0x5f; 32]),
                size: 51_200,
                files: None,
                place: UndoLocation::Save,
                is_classic: false,
            },
            scripts: [("prebackout".to_owned(), Digest([1; 32]))].into(),
            snapshot: None,
            manifest: None,
            applied_by: None,
            is_adopted: false,
            native: None,
        }
    }

    fn text(lines: &[LedgerLine]) -> String {
        let mut ledger = Ledger::default();
        for line in lines {
            ledger.push(line.clone());
        }
        String::from_utf8(ledger.write()).unwrap()
    }

    #[test]
    fn a_line_has_the_names_of_the_contract() {
        let (info, undo, script) = ("77".repeat(32), "5f".repeat(32), "01".repeat(32));
        let expected = format!(
            "{{\"run\":\"{RUN}\",\"patch\":\"105181-05\",\"info\":\"b3:{info}\",\"undo\":\"b3:{undo}\",\
             \"size\":51200,\"where\":\"save\",\"scripts\":{{\"prebackout\":\"b3:{script}\"}}}}\n"
        );
        assert_eq!(text(&[line()]), expected);
        let none = LedgerLine { undo: LedgerUndo::None(WhyNone::NoUndo), scripts: BTreeMap::new(), ..line() };
        let expected = format!(
            "{{\"run\":\"{RUN}\",\"patch\":\"105181-05\",\"info\":\"b3:{info}\",\"undo\":null,\
             \"why\":\"no-undo\"}}\n"
        );
        assert_eq!(text(std::slice::from_ref(&none)), expected);
        let listed = text(&[LedgerLine { manifest: Some(Digest([0x5f; 32])), ..none }]);
        assert_eq!(listed, expected.replace("}\n", &format!(",\"manifest\":\"b3:{undo}\"}}\n")));
    }

    #[test]
    fn a_native_version_of_a_line_is_text_of_one_line() {
        let read = |native: &str| {
            let written = Ledger::of_line(LedgerLine { native: Some(native.to_owned()), ..line() }).write();
            Ledger::parse(&written).unwrap().lines()[0].native.clone()
        };
        assert_eq!(read("1:2.0-1").as_deref(), Some("1:2.0-1"));
        assert_eq!(read("1\n\u{1b}[31m"), None);
    }

    #[test]
    fn what_no_run_writes_is_refused_by_its_line() {
        let good = text(&[line()]);
        let none = text(&[LedgerLine { undo: LedgerUndo::None(WhyNone::Committed), ..line() }]);
        for (from, to) in [
            (RUN, "17"),
            (RUN, "18446744073709551615-9c1d6f20aa31b7e4"),
            ("b3:77", "md5:77"),
            ("b3:5f", "b3:5F"),
            ("prebackout", "../prebackout"),
            (",\"size\":51200", ""),
            (",\"where\":\"save\"", ""),
            ("\"where\"", "\"elsewhere\""),
            ("\"save\"", "\"save\",\"manifest\":\"b3:{undo}\""),
            ("\"undo\"", "\"applied\":\"17\",\"undo\""),
            ("\"save\"", "\"/b/105181-05/X/undo.gz\",\"files\":7"),
            ("{\"run\"", "[\"run\""),
            ("}}\n", "}}"),
        ] {
            let bad = good.replacen(from, &to.replace("{undo}", &"5f".repeat(32)), 1);
            assert!(matches!(Ledger::parse(bad.as_bytes()), Err(LedgerError::Line { line: 1, .. })), "{bad}");
        }
        for (from, to) in [
            (",\"why\":\"committed\"", ""),
            ("\"undo\":null", "\"undo\":null,\"size\":1"),
            ("\"undo\":null", "\"undo\":null,\"snapshot\":\"b3:{undo}\""),
        ] {
            let bad = none.replacen(from, &to.replace("{undo}", &"5f".repeat(32)), 1);
            assert!(Ledger::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let undo = LedgerUndo::Exported { b3: Digest([0x5f; 32]), size: 7 };
        let exported =
            text(&[LedgerLine { undo, manifest: Some(Digest([1; 32])), snapshot: None, ..line() }]);
        assert!(Ledger::parse(exported.as_bytes()).is_ok(), "{exported}");
        let manifest = format!(",\"manifest\":\"b3:{}\"", "01".repeat(32));
        for (from, to) in [
            (",\"size\":7", ""),
            ("\"why\":\"exported\"", "\"why\":\"committed\""),
            ("\"why\":\"exported\"", "\"why\":\"exported\",\"where\":\"save\""),
            (&*manifest, ""),
            ("\"exported\":\"b3:5f", "\"exported\":\"b3:5F"),
        ] {
            let bad = exported.replacen(from, to, 1);
            assert!(bad != exported && Ledger::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let twice = Ledger::parse(format!("{good}{none}").as_bytes());
        assert!(matches!(twice, Err(LedgerError::Line { line: 2, .. })), "{twice:?}");
        assert_eq!(Ledger::parse(b"").unwrap(), Ledger::default());
    }

    #[test]
    fn a_line_of_an_earlier_form_stays_as_it_is_and_binds_nothing() {
        let none = LedgerLine { undo: LedgerUndo::None(WhyNone::NoUndo), ..line() };
        let earlier =
            text(&[line(), LedgerLine { patch: "105181-04".to_owned(), ..none }]).replace(B3, EARLIER);
        let mut ledger = Ledger::parse(earlier.as_bytes()).unwrap();
        let known = |patch: &str, ledger: &Ledger| ledger.earlier(patch).map(|line| line.has_undo);
        assert_eq!((known("105181-05", &ledger), known("105181-04", &ledger)), (Some(true), Some(false)));
        assert!(ledger.lines().is_empty() && !ledger.is_empty());
        assert_eq!(ledger.script_digest("105181-05", "prebackout"), None);
        let new = LedgerLine { patch: "105181-06".to_owned(), ..line() };
        ledger.set(new.clone());
        let both = earlier.clone() + &text(&[new]);
        assert_eq!(String::from_utf8(ledger.write()).unwrap(), both);
        assert_eq!(Ledger::parse(both.as_bytes()), Ok(ledger.clone()));

        ledger.set(line());
        assert!(ledger.earlier("105181-05").is_none() && ledger.line("105181-05").is_some());
        ledger.retain(|_, info| info.is_some());
        assert!(ledger.earlier.is_empty() && ledger.earlier("105181-04").is_none());
        let mixed = earlier.replacen("\"undo\":\"sha256:", "\"undo\":\"b3:", 1);
        assert!(matches!(Ledger::parse(mixed.as_bytes()), Err(LedgerError::Line { line: 1, .. })));
    }

    /// With a search through all lines for each patch, this would not end.
    #[test]
    fn the_lines_of_very_many_patches_are_found_by_patch() {
        let mut ledger = Ledger::default();
        let patches: Vec<String> = (0..100_000).map(|number| format!("{number}-01")).collect();
        for run in [RUN, "18-9c1d6f20aa31b7e4"] {
            for patch in &patches {
                ledger.set(LedgerLine { patch: patch.clone(), run: run.to_owned(), ..line() });
            }
        }
        assert_eq!(ledger.lines().len(), patches.len());
        let is_last =
            |patch: &String| ledger.line(patch).is_some_and(|line| line.patch == *patch && line.run != RUN);
        assert!(patches.iter().all(is_last));
        ledger.retain(|patch, _| patch.starts_with('7'));
        assert_eq!(ledger.lines().len(), 11_111);
        assert!(ledger.line("1-01").is_none());
        assert!(ledger.line("7999-01").is_some_and(|line| line.patch == "7999-01"));
    }

    #[test]
    fn a_line_takes_the_place_of_that_of_the_same_patch() {
        let mut ledger = Ledger::default();
        ledger.set(line());
        ledger.set(LedgerLine { patch: "2-01".to_owned(), ..line() });
        ledger.set(LedgerLine { is_adopted: true, ..line() });
        let patches: Vec<_> =
            ledger.lines().iter().map(|line| (line.patch.as_str(), line.is_adopted)).collect();
        assert_eq!(patches, [("105181-05", true), ("2-01", false)]);
        assert_eq!(ledger.script_digest("105181-05", "prebackout"), Some(Digest([1; 32])));
        assert_eq!(ledger.script_digest("105181-05", "postbackout"), None);
        ledger.retain(|patch, _| patch == "2-01");
        assert!(ledger.line("105181-05").is_none() && !ledger.is_empty());
    }

    fn any_line() -> impl Strategy<Value = LedgerLine> {
        let none = prop_oneof![Just(WhyNone::NoUndo), Just(WhyNone::NothingSaved), Just(WhyNone::Committed)];
        let host = proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|rest| UndoLocation::Host([b"/".to_vec(), rest].concat()));
        let place = prop_oneof![Just(UndoLocation::Save), host];
        let kept = (any::<[u8; 32]>(), any::<u64>(), place, any::<bool>()).prop_map(
            |(b3, size, place, is_classic)| LedgerUndo::Kept {
                b3: Digest(b3),
                size,
                files: None,
                place,
                is_classic,
            },
        );
        let exported = (any::<[u8; 32]>(), any::<u64>())
            .prop_map(|(b3, size)| LedgerUndo::Exported { b3: Digest(b3), size });
        let undo = prop_oneof![none.prop_map(LedgerUndo::None), kept, exported];
        let scripts =
            proptest::collection::btree_map("[a-z]{1,12}", any::<[u8; 32]>().prop_map(Digest), 0..3);
        let run = (0..=i64::MAX.unsigned_abs(), any::<u64>());
        (run, any::<String>(), any::<[u8; 32]>(), undo, scripts, any::<bool>()).prop_map(
            |((number, nonce), patch, info, undo, scripts, is_adopted)| {
                let snapshot = matches!(undo, LedgerUndo::Kept { .. }).then_some(Digest(info));
                let manifest = snapshot.is_none().then_some(Digest(info));
                let (run, info) = (Run { number, nonce }.to_string(), Digest(info));
                let applied_by = is_adopted.then(|| run.clone());
                let native = is_adopted.then(|| "1:2.0-1".to_owned());
                LedgerLine {
                    run,
                    patch,
                    info,
                    undo,
                    scripts,
                    snapshot,
                    manifest,
                    applied_by,
                    is_adopted,
                    native,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn any_ledger_comes_back(lines in proptest::collection::vec(any_line(), 0..5)) {
            let mut ledger = Ledger::default();
            for line in lines {
                ledger.set(line);
            }
            prop_assert_eq!(Ledger::parse(&ledger.write()), Ok(ledger));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Ledger::parse(&bytes);
        }
    }
}
