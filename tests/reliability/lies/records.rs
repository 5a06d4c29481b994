//! The records of a root, value by value: how each kind is written, its values, and how one of them is replaced so that
//! every checksum and digest over it is right again.
//!
//! A line of any record is treated as a JSON value: one of the journal as it is, words and settings as a list of texts.
//! So the additions of a version to a format are found without being named here.

use std::fs;
use std::path::{Path, PathBuf};

use patchadm_rootfs::Digest;
use serde_json::{Value, json};

use super::{stored, undo};

/// Bytes of a sector of the journal, and how many there are.
const SECTOR: usize = 512;
const SECTORS: usize = 8;

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Sectors, then lines with a checksum; the first sector has length and digest of what follows.
    Journal,
    /// A sector, then lines of words.
    Stamp,
    /// Lines of a checksum and a JSON value.
    Checked,
    /// Lines of JSON.
    Json,
    /// Lines of words, with this character between them.
    Words(char),
    /// Lines `NAME=VALUE`.
    Settings,
    /// The name of the file itself.
    Name,
    /// The manifest within an undo archive, covered by the digests beside the archive and by the ledger.
    Manifest,
    /// The manifest within an archive that the ledger does not bind: its writer could write to its place only.
    Unbound,
    /// The manifest of undo data as files, bound by the ledger.
    Stored,
    /// A digest, followed by a JSON value.
    Digested,
}

impl Form {
    /// Number of sectors at the beginning.
    fn sectors(self) -> usize {
        match self {
            Self::Journal => SECTORS,
            Self::Stamp => 1,
            _ => 0,
        }
    }
}

/// The records, by the beginning and the end of their path in the root, with their form and their kind.
const RECORDS: [(&str, &str, Form, &str); 35] = [
    ("var/sadm/patchadm/journal", "journal", Form::Journal, "journal"),
    ("var/sadm/patchadm/ops-", "", Form::Checked, "journal"),
    ("var/sadm/patchadm/stage/", "/notes", Form::Checked, "notes"),
    ("var/sadm/patchadm/stage/", "/alone", Form::Checked, "alone"),
    ("var/sadm/patchadm/stage/", "/marker", Form::Words(' '), "marker"),
    ("var/sadm/patchadm/stage/", "/queue", Form::Words(' '), "queue"),
    ("var/sadm/patchadm/history", "", Form::Json, "history"),
    ("var/sadm/patchadm/trial/record", "", Form::Json, "trial"),
    ("var/sadm/patchadm/ledger/", "", Form::Json, "ledger"),
    ("var/sadm/patchadm/root-id", "", Form::Words(' '), "root-id"),
    ("var/sadm/patchadm/contents.stamp", "", Form::Stamp, "stamp"),
    ("var/sadm/install/contents", "", Form::Words(' '), "contents"),
    ("var/sadm/install/.lockfile", "", Form::Words(' '), "lock"),
    ("var/sadm/pkg/ACME", "/pkginfo", Form::Settings, "pkginfo"),
    ("var/sadm/pkg/ACME", "/remote", Form::Settings, "remote"),
    ("var/sadm/pkg/ACME", "/undo.b3", Form::Words(' '), "digest"),
    ("var/sadm/pkg/ACME", "/undo.paths", Form::Words(' '), "paths"),
    ("var/sadm/pkg/ACME", "/obsoleted_by", Form::Words(' '), "obsoleted_by"),
    ("var/sadm/pkg/ACME", "/undo", Form::Manifest, "manifest"),
    ("var/sadm/pkg/ACME", "/undo", Form::Unbound, "unbound manifest"),
    ("var/sadm/pkg/ACME", "/save/100-01", Form::Name, "save directory"),
    ("var/sadm/pkg/ACME", "/save/101-01", Form::Name, "save directory"),
    ("var/sadm/pkg/ACME", "/undo.files", Form::Stored, "stored manifest"),
    ("var/sadm/pkg/ACME", "/save/103-01", Form::Name, "save directory"),
    ("var/sadm/patchadm/undo/", "/identities", Form::Digested, "identities"),
    ("var/sadm/patchadm/undo/", "", Form::Name, "undo directory"),
    ("var/sadm/patchadm/undo/", "", Form::Name, "stored file"),
    ("var/sadm/patchadm/stage/", "", Form::Name, "stage"),
    ("opt/ACMEweb/mnt/.patchadm/", "/marker", Form::Words(' '), "marker"),
    ("opt/ACMEweb/mnt/.patchadm/", "", Form::Name, "stage"),
    ("var/sadm/patch/", "/prebackout", Form::Words(' '), "hook"),
    ("var/sadm/patch/", "/postbackout", Form::Words(' '), "hook"),
    ("etc/passwd", "", Form::Words(':'), "passwd"),
    ("etc/group", "", Form::Words(':'), "group"),
    ("etc/patchadm/policy", "", Form::Settings, "policy"),
];

/// A record of a root.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: &'static str,
    pub(super) form: Form,
    /// Its path in the root.
    pub(super) path: String,
}

/// A value of a record.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) record: Record,
    /// The kind of its line: `journal op replace`, `queue changed`.
    pub(super) kind: String,
    pub(super) line: usize,
    /// A JSON pointer within the line.
    pub(super) pointer: String,
    /// The true value; null if the field is absent.
    pub(super) truth: Value,
}

/// A value that replaces another one, or is added.
pub(super) type Told = (usize, String, Value);

impl Field {
    /// The last word of its name.
    pub(super) fn name(&self) -> &str {
        self.pointer.rsplit('/').next().unwrap_or_default()
    }
}

impl Record {
    /// The records of a root.
    pub(super) fn all(root: &Path) -> Vec<Self> {
        let paths = super::roots::paths(root);
        let found = RECORDS.iter().flat_map(|&(begin, end, form, kind)| {
            let is_one = move |path: &&String| {
                let rest = path.strip_prefix(begin);
                let depth = rest.map_or(0, |rest| rest.matches('/').count());
                let ends = match kind {
                    "stage" | "undo directory" => depth == 0,
                    "stored file" => depth == 1 && !path.ends_with("/identities"),
                    _ => path.ends_with(end),
                };
                rest.is_some() && ends
            };
            let of = move |path: &String| Self { kind, form, path: path.clone() };
            paths.iter().filter(is_one).map(of).collect::<Vec<_>>()
        });
        found.filter(|record| record.form == Form::Name || root.join(&record.path).is_file()).collect()
    }

    /// Its lines; null for a sector that is blank.
    pub(super) fn read(&self, root: &Path) -> Vec<Value> {
        let at = root.join(&self.path);
        match self.form {
            Form::Name => return vec![json!([at.file_name().unwrap().to_str().unwrap()])],
            Form::Manifest | Form::Unbound => {
                return lines(&undo::manifest(&at)).iter().map(|line| plain(line)).collect();
            }
            Form::Stored => {
                return lines(&stored::manifest(&at)).iter().map(|line| plain(line)).collect();
            }
            Form::Digested => {
                let bytes = fs::read(&at).unwrap();
                return lines(&bytes).iter().map(|line| json!([plain(line)])).collect();
            }
            _ => {}
        }
        let bytes = fs::read(&at).unwrap();
        let (head, body) = bytes.split_at(SECTOR * self.form.sectors());
        let head = head.chunks(SECTOR).map(|sector| checked(sector.trim_ascii_end()));
        head.chain(lines(body).into_iter().map(|line| self.line(line))).collect()
    }

    fn line(&self, line: &[u8]) -> Value {
        let text = String::from_utf8_lossy(line).into_owned();
        match self.form {
            Form::Journal | Form::Checked => checked(line),
            Form::Json => plain(line),
            Form::Words(between) => text.split(between).collect(),
            Form::Stamp => text.split(' ').collect(),
            _ => text.split_once('=').map_or_else(|| json!([text]), |(name, value)| json!([name, value])),
        }
    }

    /// Writes its lines, and corrects every checksum and digest over them. With `keeps_header` the first sector of a
    /// journal is written as given.
    pub(super) fn write(&self, root: &Path, values: &[Value], keeps_header: bool) {
        let at = root.join(&self.path);
        match self.form {
            Form::Name => return rename(&at, &text_of(&values[0][0])),
            Form::Manifest | Form::Unbound => {
                let is_bound = self.form == Form::Manifest;
                return undo::write(root, &at, &print_all(values, printed), is_bound);
            }
            Form::Stored => return stored::write(root, &at, &print_all(values, printed)),
            Form::Digested => {
                let body = printed(&values[1][0]);
                let of_body = if keeps_header { text_of(&values[0][0]) } else { digest(&body) };
                return fs::write(&at, [of_body.as_bytes(), b"\n", &body].concat()).unwrap();
            }
            _ => {}
        }
        let before = fs::read(&at).unwrap();
        let mut values = values.to_vec();
        let start = self.form.sectors();
        let body = print_all(&values[start..], |value| self.print(value));
        let old = before.get(start * SECTOR..).unwrap_or_default();
        if self.form == Form::Journal && !keeps_header {
            let db = leading(&values[start..], self);
            rebind(&mut values[0], (&digest(old), old.len()), (&digest(&body), body.len()));
            if values[0].get("db").is_some() {
                values[0]["db"] = json!(db);
            }
        }
        if self.kind == "paths" && !keeps_header {
            let lines = print_all(&values[1..], |value| self.print(value));
            values[0][1] = json!(format!("{:08x}", crc32c::crc32c(&lines)));
        }
        let body = print_all(&values[start..], |value| self.print(value));
        let sectors: Vec<u8> = values[..start].iter().flat_map(sector).collect();
        fs::write(&at, [&sectors[..], &body].concat()).unwrap();
        if self.path.starts_with("var/sadm/patchadm/ops-") {
            bind_in_journal(root, (&digest(old), old.len()), (&digest(&body), body.len()));
        }
    }

    fn print(&self, value: &Value) -> Vec<u8> {
        let joined = |between: &str| {
            let words = value.as_array().into_iter().flatten().map(text_of);
            words.collect::<Vec<_>>().join(between).into_bytes()
        };
        match self.form {
            Form::Journal | Form::Checked => with_checksum(value),
            Form::Words(between) => joined(&between.to_string()),
            Form::Stamp => joined(" "),
            Form::Settings => joined("="),
            _ => printed(value),
        }
    }

    /// Replaces values; true if that was possible.
    pub(super) fn tell(&self, root: &Path, told: &[Told]) -> bool {
        let mut values = self.read(root);
        let can = told.iter().all(|(line, pointer, value)| match values.get_mut(*line) {
            Some(target) => put(target, pointer, value.clone()),
            None => false,
        });
        let names = match self.kind {
            "paths" => &["/2"][..],
            "identities" => &["/0"],
            _ => &["/lines", "/b3", "/db", "/ops"],
        };
        let about_header = told
            .iter()
            .any(|(line, pointer, _)| *line == 0 && names.iter().any(|own| pointer.starts_with(own)));
        if can {
            self.write(root, &values, about_header);
        }
        can
    }

    /// The values in the record, and those that could be added.
    pub(super) fn fields(&self, root: &Path) -> Vec<Field> {
        let mut fields = Vec::new();
        for (line, value) in self.read(root).iter().enumerate() {
            let kind = self.kind_of(line, value);
            let mut found = Vec::new();
            leaves(value, String::new(), &mut found);
            found.retain(|(_, truth)| self.form != Form::Words(' ') || *truth != json!(""));
            fields.extend(found.into_iter().map(|(pointer, truth)| Field {
                record: self.clone(),
                kind: kind.clone(),
                line,
                pointer,
                truth,
            }));
        }
        fields
    }

    fn kind_of(&self, line: usize, value: &Value) -> String {
        let word = |at: usize| value[at].as_str().unwrap_or_default();
        let of = match (self.kind, self.form) {
            ("journal", Form::Journal) if line < SECTORS => {
                ["header", "progress", "progress", "outcome", "done", "blank", "blank", "blank"][line]
                    .to_owned()
            }
            ("journal" | "notes", _) => {
                let name = value.as_object().and_then(|object| object.keys().next().cloned());
                let kind = value.pointer("/op/kind").and_then(Value::as_str).unwrap_or_default();
                format!("{} {kind}", name.unwrap_or_default()).trim_end().to_owned()
            }
            ("queue" | "pkginfo" | "policy" | "remote", _) => word(0).to_owned(),
            ("contents", _) => word(1).to_owned(),
            ("manifest" | "unbound manifest" | "stored manifest", _) if line == 0 => "header".to_owned(),
            ("manifest" | "unbound manifest" | "stored manifest", _) => {
                let kind = |state: &str| value.pointer(&format!("/{state}/kind")).and_then(Value::as_str);
                kind("was").or(kind("became")).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        format!("{} {of}", self.kind).trim_end().to_owned()
    }
}

/// Names of values that may be added, by the name that marks the object that would have them.
const ABSENT: [(&str, &[&str]); 6] = [
    ("kind", &["to", "copy", "undo", "parent", "touched", "editable", "whole"]),
    ("file_type", &["xattrs"]),
    ("staged", &["outside", "inode", "discard"]),
    ("mtime", &["xattrs", "device"]),
    ("made_records", &["scripts"]),
    ("done", &["unsynced"]),
];

fn leaves(value: &Value, pointer: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(object) => {
            let is_whole = ["script", "xattrs"].iter().any(|name| pointer.ends_with(name));
            if is_whole {
                found.push((pointer.clone(), value.clone()));
            }
            for (name, value) in object {
                leaves(value, format!("{pointer}/{name}"), found);
            }
            let absent =
                ABSENT.iter().filter(|(mark, _)| object.contains_key(*mark)).flat_map(|(_, names)| *names);
            for name in absent.filter(|name| !object.contains_key(**name)) {
                found.push((format!("{pointer}/{name}"), Value::Null));
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                leaves(value, format!("{pointer}/{at}"), found);
            }
        }
        _ => found.push((pointer, value.clone())),
    }
}

/// Puts a value at a pointer, whose last name need not exist yet.
fn put(target: &mut Value, pointer: &str, value: Value) -> bool {
    if pointer.is_empty() {
        *target = value;
        return true;
    }
    let (above, name) = pointer.rsplit_once('/').unwrap_or_default();
    match target.pointer_mut(above) {
        Some(Value::Object(object)) => drop(object.insert(name.to_owned(), value)),
        Some(Value::Array(list)) => match name.parse().ok().and_then(|at: usize| list.get_mut(at)) {
            Some(place) => *place = value,
            None => return false,
        },
        _ => return false,
    }
    true
}

/// Number of bytes of the lines that readers of the package database need.
fn leading(values: &[Value], record: &Record) -> usize {
    let is_object = |value: &Value| value.get("op").is_some_and(|op| op.get("db") != Some(&json!(true)));
    let leading = values.iter().take_while(|value| !is_object(value));
    leading.map(|value| record.print(value).len() + 1).sum()
}

/// Replaces an old digest and length by new ones.
fn rebind(header: &mut Value, old: (&str, usize), new: (&str, usize)) {
    match header {
        Value::Object(object) => object.values_mut().for_each(|value| rebind(value, old, new)),
        Value::String(text) if text.contains(old.0) => *text = text.replace(old.0, new.0),
        Value::Number(number) if number.as_u64() == Some(old.1 as u64) => *header = json!(new.1),
        _ => {}
    }
}

fn bind_in_journal(root: &Path, old: (&str, usize), new: (&str, usize)) {
    let at = root.join("var/sadm/patchadm/journal");
    let mut bytes = fs::read(&at).unwrap();
    let mut header = checked(bytes[..SECTOR].trim_ascii_end());
    rebind(&mut header, old, new);
    bytes.splice(..SECTOR, sector(&header));
    fs::write(at, bytes).unwrap();
}

/// Replaces the old digest and size of an archive by new ones: beside the archive and, if it is to be bound, in the
/// ledger.
pub(super) fn vouch(root: &Path, old: (&str, usize), new: (&str, usize), is_bound: bool) {
    let kinds = if is_bound { &["digest", "ledger"][..] } else { &["digest"] };
    for record in Record::all(root).iter().filter(|record| kinds.contains(&record.kind)) {
        let mut values = record.read(root);
        for value in values.iter_mut().filter(|value| value.to_string().contains(old.0)) {
            match value {
                Value::Array(words) => words.iter_mut().for_each(|word| rebind(word, old, new)),
                line => rebind(line, old, new),
            }
        }
        record.write(root, &values, false);
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect()
}

fn plain(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_else(|_| json!(String::from_utf8_lossy(line)))
}

fn checked(line: &[u8]) -> Value {
    line.get(9..).map_or(Value::Null, plain)
}

fn printed(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn with_checksum(value: &Value) -> Vec<u8> {
    let json = printed(value);
    [format!("{:08x} ", crc32c::crc32c(&json)).as_bytes(), &json].concat()
}

fn sector(value: &Value) -> Vec<u8> {
    let text = if value.is_null() { Vec::new() } else { with_checksum(value) };
    let mut sector = text[..text.len().min(SECTOR - 1)].to_vec();
    sector.resize(SECTOR - 1, b' ');
    sector.push(b'\n');
    sector
}

fn print_all(values: &[Value], print: impl Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    values.iter().flat_map(|value| [print(value), b"\n".to_vec()].concat()).collect()
}

/// A value as text; a string without its quotes.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Renames a file within its directory, if that is possible.
fn rename(at: &Path, name: &str) {
    let to: PathBuf = at.with_file_name(name);
    if at != to && !name.contains('/') {
        // A name that cannot be given cannot be told; nothing has changed then.
        let _ = fs::rename(at, to);
    }
}
