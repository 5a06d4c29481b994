//! Directories of Debian packages that a test makes, and runs over them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::scenario::{Run, Scenario};

/// A Debian package.
#[derive(Clone)]
pub(crate) struct Deb {
    name: String,
    version: String,
    fields: String,
    files: BTreeMap<String, Vec<u8>>,
    scripts: Vec<String>,
}

impl Deb {
    /// A package with one file with this text.
    pub(crate) fn new(name: &str, version: &str, text: &str) -> Self {
        let files = BTreeMap::from([(format!("usr/share/{name}"), text.as_bytes().to_vec())]);
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            fields: String::new(),
            files,
            scripts: Vec::new(),
        }
    }

    /// Sets the source that it was built from.
    pub(super) fn of(mut self, source: &str) -> Self {
        self.fields = format!("Source: {source}\n");
        self
    }

    pub(crate) fn script(mut self, name: &str) -> Self {
        self.scripts.push(name.to_owned());
        self
    }

    pub(super) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }

    /// Writes it into a directory, under the name that it has in an archive; returns the path.
    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(format!("{}_{}_all.deb", self.name, self.version));
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: all\n{}Description: for a test\n",
            self.name, self.version, self.fields
        );
        let mut members = BTreeMap::from([("control".to_owned(), control.into_bytes())]);
        members.extend(self.scripts.iter().map(|name| (name.clone(), b"#!/bin/sh\n".to_vec())));
        let control = archive(&members);
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", control),
            ("data.tar", archive(&self.files)),
        ] {
            bytes.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes(),
            );
            bytes.extend(&content);
            if content.len() % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// A tar archive of files owned by root, with a fixed time in 1998.
fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(900_000_000);
        header.set_username("root").unwrap();
        header.set_groupname("root").unwrap();
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Two directories: only a library package of `curl` changed, `openssl` changed, `less` did not.
pub(super) fn stage() -> Scenario {
    let stage = Scenario::new();
    let (release, stable) = (stage.beside("release"), stage.beside("stable"));
    let less = Deb::new("less", "590", "less\n");
    for directory in [&release, &stable] {
        less.write(directory);
    }
    for (directory, version, text) in [(&release, "1:3.0", "ssl\n"), (&stable, "1:3.1", "ssl, mended\n")] {
        Deb::new("openssl", version, text).write(directory);
    }
    curl("7.1", "curl\n").write(&release);
    libcurl("7.1", "library\n").write(&release);
    curl("7.2", "curl\n").write(&stable);
    libcurl("7.2", "library, mended\n").file("usr/share/fresh", "fresh\n").write(&stable);
    stage
}

pub(super) fn curl(version: &str, text: &str) -> Deb {
    Deb::new("curl", version, text)
}

pub(super) fn libcurl(version: &str, text: &str) -> Deb {
    Deb::new("libcurl4", version, text).of("curl (7.88.1-10)")
}

/// Replaces a package with another version of it.
pub(super) fn replace(directory: &Path, deb: &Deb) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{}_", deb.name)) {
            fs::remove_file(path).unwrap();
        }
    }
    deb.write(directory);
}

/// The command with these directories.
pub(super) const DELTA: &str = "delta --release release --stable stable --work work";

pub(super) fn delta(stage: &Scenario, options: &str) -> Run {
    stage.run(&format!("{DELTA} --json {options}"))
}

/// `SOURCE STATE ID` of each source in a document.
pub(super) fn told(run: &Run) -> Vec<String> {
    let document = document(run);
    let sources = document["sources"].as_array().unwrap_or_else(|| panic!("{}{}", run.stdout, run.stderr));
    let word = |source: &Value, field: &str| source[field].as_str().unwrap_or("-").to_owned();
    sources
        .iter()
        .map(|source| ["source", "state", "id"].map(|field| word(source, field)).join(" "))
        .collect()
}

/// The document that a run printed.
pub(super) fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", run.stdout, run.stderr))
}

/// A field of a source in the document of a run, as text.
pub(super) fn field(run: &Run, source: &str, field: &str) -> String {
    let document = document(run);
    let found = document["sources"].as_array().unwrap().iter().find(|one| one["source"] == source).cloned();
    match &found.unwrap()[field] {
        Value::String(text) => text.clone(),
        other => other.to_string().replace('"', ""),
    }
}

/// Everything in the working directory that a run leaves for good: no logs, no lock, and without the news of the run
/// that built a patch, which says why. Names of private files would be included.
pub(super) fn work(stage: &Scenario) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![stage.beside("work")]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(stage.beside("work")).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
            } else if name != "lock" && !is_log(&name) {
                let bytes = fs::read(path).unwrap();
                found.insert(name.clone(), if name == "state.json" { without_news(&bytes) } else { bytes });
            }
        }
    }
    found
}

fn without_news(state: &[u8]) -> Vec<u8> {
    let Ok(mut state) = serde_json::from_slice::<Value>(state) else { return state.to_vec() };
    state["sources"].as_array_mut().into_iter().flatten().for_each(|record| {
        record.as_object_mut().unwrap().remove("told");
    });
    serde_json::to_vec_pretty(&state).unwrap()
}

fn is_log(name: &str) -> bool {
    name.strip_prefix("logs/").is_some_and(|log| !log.starts_with('.'))
}

/// The names of these files.
pub(super) fn names(stage: &Scenario) -> Vec<String> {
    work(stage).into_keys().collect()
}

/// The members of a patch, by name.
pub(super) fn members(stage: &Scenario, patch: &str) -> BTreeMap<String, String> {
    let bytes = fs::read(stage.beside(&format!("work/patches/{patch}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(bytes.as_slice()));
    let members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let (name, mut text) = (entry.path().unwrap().display().to_string(), Vec::new());
        std::io::Read::read_to_end(&mut entry, &mut text).unwrap();
        (name.trim_start_matches("./").to_owned(), String::from_utf8_lossy(&text).into_owned())
    });
    members.collect()
}
