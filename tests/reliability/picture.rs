//! Everything of a root that must change at once, and everything that no finished run leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use patchadm_changeset::format::journal::parse_head;
use patchadm_changeset::format::manifest::{MANIFEST, ObjectRecord, RECORDS, UndoManifest};
use patchadm_container as container;
use patchadm_rootfs::{Digest, FileType};
use patchadm_svr4::format::{cpio, datastream};

use serde_json::Value;

use crate::records::OWN;
use crate::reliability::promotions::view_of_stage;
use crate::reliability::stories::OUTSIDE;
use crate::tree::Tree;

/// The software and the whole package database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Exact to the last attribute and byte, except for the place of archives outside the root.
    exact: BTreeMap<String, Vec<String>>,
    /// Comparable between two roots with the same history: without times of records, the numbers of runs, and the times
    /// of directories in undo archives.
    alike: BTreeMap<String, String>,
}

impl Picture {
    pub(crate) fn of(root: &Path) -> Self {
        let mut exact = Tree::of(root, &OWN).objects().clone();
        for (path, columns) in exact.iter_mut().filter(|(path, _)| path.ends_with("/remote")) {
            columns[4].clear();
            columns[5] = pointer(root, &fs::read_to_string(root.join(path)).unwrap());
        }
        let alike = exact.iter().map(|(path, columns)| (path.clone(), alike(root, path, columns)));
        let mut alike: BTreeMap<String, String> = alike.collect();
        let outside = root.with_file_name(OUTSIDE);
        if outside.is_dir() {
            // Before the journal is published nobody knows the new archive there, whose name says that it is
            // incomplete.
            let is_archive = |path: &str| path.strip_suffix(".tmp").is_none();
            for (path, columns) in
                Tree::of(&outside, &[]).objects().iter().filter(|(path, _)| is_archive(path))
            {
                let name = format!("outside {}", without_run(path));
                let content =
                    if columns[0] == "100000" { archive(&outside.join(path)) } else { String::new() };
                alike.insert(name.clone(), [&columns[..4], &[content]].concat().join("\t"));
                exact.insert(name, columns.clone());
            }
        }
        if let Ok(text) = fs::read_to_string(root.join("var/sadm/patchadm/lost")) {
            alike.insert("lost".to_owned(), lost(&text));
            exact.insert("lost".to_owned(), vec![text]);
        }
        if let Ok(text) = fs::read_to_string(root.join("var/sadm/patchadm/trial/record")) {
            let mut record: Value = serde_json::from_str(&text).unwrap();
            // A failed end of a trial is recorded there; otherwise the state is as before it.
            record["stuck"] = Value::Null;
            exact.insert("trial".to_owned(), vec![record.to_string()]);
            record["run"] = Value::Null;
            alike.insert("trial".to_owned(), record.to_string());
        }
        if let Some(view) = view_of_stage(root) {
            alike.insert("stage".to_owned(), view.clone());
            exact.insert("stage".to_owned(), vec![view]);
        }
        Self { exact, alike }
    }

    /// True if this is the same root with nothing changed at all. Only the log of a patch may be longer.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.exact == other.exact
    }

    /// True if both roots have the same history; `logs` says whether logs count.
    pub(crate) fn is_like(&self, other: &Self, logs: bool) -> bool {
        let counts = |path: &&String| logs || !is_log(path);
        let ours = self.alike.iter().filter(|(path, _)| counts(path));
        ours.eq(other.alike.iter().filter(|(path, _)| counts(path)))
    }

    /// The differences, as text.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for (sign, one, another) in [('-', self, other), ('+', other, self)] {
            for (path, what) in
                one.alike.iter().filter(|(path, what)| another.alike.get(*path) != Some(*what))
            {
                text += &format!("{sign} {path}\t{what}\n");
            }
        }
        text
    }
}

fn is_log(path: &str) -> bool {
    path.starts_with("var/sadm/patch/") && path.ends_with("/log")
}

fn alike(root: &Path, path: &str, columns: &[String]) -> String {
    let mut columns = columns.to_vec();
    if path.starts_with("var/sadm/") {
        // the time
        columns[6].clear();
        let name = path.rsplit('/').next().unwrap_or_default();
        let what = match name {
            "undo" | "undo.gz" | "undo.Z" | "obsolete" | "obsolete.gz" | "obsolete.Z" => {
                Some(archive(&root.join(path)))
            }
            "undo.files" | "obsolete.files" => {
                Some(archive(&root.join(path)) + &stored(root, &root.join(path)))
            }
            "undo.b3" => Some(digest(&root.join(path))),
            // Behind the marker of the root; a file that a cut has torn has nothing there.
            "undo.paths" => {
                let text = fs::read_to_string(root.join(path)).unwrap();
                Some(text.get(16..).unwrap_or("torn").to_owned())
            }
            "remote" => Some(columns[5].clone()),
            "pkginfo" => Some(without_stamp(&fs::read_to_string(root.join(path)).unwrap())),
            "pkgmap" => Some(without_sum(&fs::read_to_string(root.join(path)).unwrap())),
            "promotion" => Some(promotion(&fs::read_to_string(root.join(path)).unwrap())),
            "log" => Some(log(root, &fs::read_to_string(root.join(path)).unwrap())),
            _ => None,
        };
        if let Some(what) = what {
            columns[4].clear();
            columns[5] = what;
        }
    }
    columns.join("\t")
}

/// The patches that ended, without the marker of the root and the time.
fn lost(text: &str) -> String {
    let line = |line: &str| {
        let mut ended: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        ended.retain(|name, _| name != "root" && name != "time");
        Value::Object(ended).to_string()
    };
    text.lines().map(line).collect::<Vec<_>>().join("|")
}

/// A pointer without details that differ between any two roots: the directory beside them, and the numbers of runs.
fn pointer(root: &Path, text: &str) -> String {
    let directory = root.parent().unwrap().display().to_string();
    text.lines().map(|line| without_run(&line.replace(&directory, "@BESIDE@"))).collect::<Vec<_>>().join("|")
}

/// A path without the name of the run in the name of an archive.
pub(crate) fn without_run(path: &str) -> String {
    match path.rsplit_once("/undo-") {
        Some((directory, name)) => {
            let suffix = name.split_once('.').map_or("", |(_, suffix)| suffix);
            format!("{directory}/undo-RUN.{suffix}")
        }
        None => path.to_owned(),
    }
}

/// The archives that differ from those that the ledgers of a root name.
pub(crate) fn strangers(root: &Path) -> Vec<String> {
    let ledgers = root.join("var/sadm/patchadm/ledger");
    let mut found = Vec::new();
    for package in names(&ledgers) {
        let ledger = ledgers.join(&package);
        let text = fs::read_to_string(&ledger).unwrap();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                found.push(ledger.display().to_string());
                continue;
            };
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let save = root.join("var/sadm/pkg").join(&package).join("save").join(word("patch"));
            let is_archive = |name: &String| {
                let names = ["undo", "undo.gz", "undo.Z", "undo.files"];
                names.contains(&name.replace("obsolete", "undo").as_str())
            };
            let archive = match word("where").as_str() {
                "save" => names(&save).into_iter().find(is_archive).map(|name| save.join(name)),
                place => Some(PathBuf::from(place)),
            };
            let named = [(archive, "undo"), (Some(save.join("snapshot/undo.gz")), "snapshot")];
            for (archive, word_of) in named {
                let bytes = archive.as_ref().and_then(|archive| fs::read(archive).ok());
                let Some(bytes) = bytes.filter(|_| line[word_of].is_string()) else { continue };
                if word(word_of) != format!("b3:{}", Digest::of(&bytes)) {
                    found.push(archive.unwrap_or_default().display().to_string());
                }
            }
        }
    }
    found
}

/// Says whether the archive beside this file is the one that the file names.
fn digest(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut words = text.split_whitespace();
    let (digest, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let name = without_run(&format!("/{name}"));
    let Ok(archive) = fs::read(path.with_file_name(name.trim_start_matches('/'))) else {
        return format!("of {name}, which is elsewhere");
    };
    let found = Digest::of(&archive).to_string();
    if found == digest { format!("of {name}") } else { format!("{digest} is not of {name}: {found}") }
}

/// The record of a promotion without the run, which differs each time.
fn promotion(text: &str) -> String {
    let mut record: Value = serde_json::from_str(text).unwrap();
    record["run"].take();
    record.to_string()
}

/// The text of a log without details that differ between any two roots.
fn log(root: &Path, text: &str) -> String {
    let text = text.replace(&root.display().to_string(), "@ROOT@");
    let line = |line: &str| if line.starts_with("# run ") { "# run" } else { line }.to_owned();
    text.lines().map(line).collect::<Vec<_>>().join("|")
}

/// The members of an undo archive with their digests, without data that depends on the times of directories.
fn archive(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let read = || -> Result<String, Box<dyn std::error::Error>> {
        let mut stream = datastream::DatastreamReader::new(container::open_container(&bytes[..])?.reader)?;
        let mut text = String::new();
        while stream.next_part()?.is_some() {
            while let Some(member) = stream.next_member()? {
                let name = String::from_utf8_lossy(member.path.as_bytes()).into_owned();
                let mut content = Vec::new();
                stream.read_to_end(&mut content)?;
                if name == format!("install/{MANIFEST}") {
                    content = without_times(&content)?;
                } else if name == format!("install/{RECORDS}") {
                    content = records(&content)?;
                } else if name == "pkgmap" {
                    content.clear();
                } else if name.ends_with("pkginfo") {
                    content = without_stamp(&String::from_utf8_lossy(&content)).into_bytes();
                }
                let digest = Digest::of(&content).to_string();
                text += &format!("{name} {} ", &digest[..6]);
            }
        }
        Ok(text)
    };
    read().unwrap_or_else(|error| format!("damaged: {error}"))
}

/// The digests of the old files that undo data as files names, by path; missing files are reported.
fn stored(root: &Path, path: &Path) -> String {
    let content = |(object, file): (String, PathBuf)| match fs::read(root.join(file)) {
        Ok(bytes) => format!("{object} {} ", &Digest::of(&bytes).to_string()[..6]),
        Err(error) => format!("{object}: {error} "),
    };
    stored_files(path).into_iter().map(content).collect()
}

/// The objects of undo data as files, and the paths of their content, relative to the root.
fn stored_files(path: &Path) -> Vec<(String, PathBuf)> {
    let bytes = fs::read(path).unwrap();
    let read = || -> Result<Option<UndoManifest>, Box<dyn std::error::Error>> {
        let mut stream = datastream::DatastreamReader::new(container::open_container(&bytes[..])?.reader)?;
        while stream.next_part()?.is_some() {
            while let Some(member) = stream.next_member()? {
                let is_manifest = member.path.as_bytes() == format!("install/{MANIFEST}").as_bytes();
                let mut content = Vec::new();
                stream.read_to_end(&mut content)?;
                if is_manifest {
                    return Ok(Some(UndoManifest::parse(&content)?));
                }
            }
        }
        Ok(None)
    };
    let Ok(Some(manifest)) = read() else { return Vec::new() };
    let files = manifest.header.files.as_ref();
    let place = |object: &ObjectRecord| {
        let stored = object.stored_name()?;
        let directory = files?.directory(stored.directory)?;
        let directory = String::from_utf8_lossy(directory.relative()).into_owned();
        Some((object.path.clone(), Path::new(&directory).join(stored.name)))
    };
    manifest.all_objects().filter_map(place).collect()
}

/// The old files in undo directories that no undo data names.
pub(crate) fn unnamed_files(root: &Path) -> Vec<String> {
    let packages = root.join("var/sadm/pkg");
    let mut named = Vec::new();
    for package in names(&packages) {
        let saves = packages.join(package).join("save");
        for save in names(&saves) {
            for name in ["undo.files", "obsolete.files"] {
                let path = saves.join(&save).join(name);
                let files = if path.exists() { stored_files(&path) } else { Vec::new() };
                named.extend(files.into_iter().map(|(_, file)| file));
            }
        }
    }
    let undo = Path::new("var/sadm/patchadm/undo");
    let mut found = Vec::new();
    for run in names(&root.join(undo)) {
        for name in names(&root.join(undo).join(&run)) {
            let file = undo.join(&run).join(&name);
            if name != "identities" && !named.contains(&file) {
                found.push(file.display().to_string());
            }
        }
    }
    found
}

/// Parameters without the stamp of dpkg, which is made of inodes and times.
fn without_stamp(pkginfo: &str) -> String {
    pkginfo.lines().filter(|line| !line.starts_with("NATIVE_STAMP=")).collect::<Vec<_>>().join("|")
}

/// A pkgmap without the sum of the pkginfo.
fn without_sum(pkgmap: &str) -> String {
    pkgmap.lines().filter(|line| !line.contains(" i pkginfo ")).collect::<Vec<_>>().join("|")
}

/// The record files of an archive without their times.
fn records(archive: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut reader = cpio::CpioReader::new(archive);
    let mut text = Vec::new();
    while let Some(header) = reader.next_member()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        let plain = String::from_utf8_lossy(&content);
        let content = match header.name.rsplit(|byte| *byte == b'/').next() {
            Some(b"pkginfo") => without_stamp(&plain).into_bytes(),
            Some(b"pkgmap") => without_sum(&plain).into_bytes(),
            _ => content,
        };
        text.extend_from_slice(&header.name);
        text.extend_from_slice(&content);
    }
    Ok(text)
}

fn without_times(manifest: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut manifest = UndoManifest::parse(manifest)?;
    manifest.header.files = None;
    for object in &mut manifest.objects {
        object.file = None;
        for state in object.was.iter_mut().chain(&mut object.became) {
            // records are written now, and links are not given a time
            if state.kind != FileType::Regular || object.path.starts_with("/var/sadm") {
                state.mtime.seconds = 0;
                state.mtime.nanoseconds = 0;
            }
        }
    }
    Ok(manifest.to_bytes())
}

/// Remains of an unfinished run, which must not exist after recovery.
pub(crate) fn strays(root: &Path) -> Vec<String> {
    let own = root.join("var/sadm/patchadm");
    let known = [
        "attempts",
        "contents.stamp",
        "elf.cache",
        "history",
        "journal",
        "ledger",
        "log",
        "lost",
        "root-id",
        "script.lock",
        "stage",
        "stages",
        "trial",
        "undo",
        "unprivileged",
    ];
    // An unfinished cache is removed by the next run that writes one.
    let prefixes = ["journal.damaged-", ".elf-cache-"];
    let is_known =
        |name: &String| known.contains(&&**name) || prefixes.iter().any(|prefix| name.starts_with(prefix));
    let mut found: Vec<String> = names(&own).into_iter().filter(|name| !is_known(name)).collect();
    found.extend(names(&own.join("stage")));
    if let Ok(journal) = fs::read(own.join("journal")) {
        match journal.get(..4096).map(parse_head) {
            // The ops of the last run stay as long as its journal.
            Some(Ok(head)) if head.done => found.retain(|name| *name != format!("ops-{}", head.header.run)),
            _ => found.push("a journal that is not done".to_owned()),
        }
    }
    found
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
