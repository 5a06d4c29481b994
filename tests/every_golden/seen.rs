//! The items that are compared after a step, all in one place.
//!
//! Every observation of a step becomes a pair: a name and a value. Both sides consist of the same pairs:
//!
//! | what | value |
//! | --- | --- |
//! | `exit code` | of the command |
//! | `stdout: LINE`, `stderr: LINE` | how often the line was printed; blank lines do not count |
//! | `order of stdout`, `order of stderr` | the lines that both printed, in their order |
//! | `contents PATH` | the line of the package database; `contents trailer` is the first of the two last ones |
//! | `pkginfo PKG NAME`, `order of pkginfo PKG` | each parameter; the names that both have, in their order |
//! | `/PATH`, `/PATH: mode`, `: owner`, `: links`, `: size`, `: time`, `: target`, `: bytes` | each object of the root |
//! | `undo PKG/ID …` | packages, parameters, pkgmap lines and members of a stream with undo data |
//! | `remote PKG/ID` | the pointer to undo data elsewhere |
//! | `env SCRIPT.N NAME` | each variable, the arguments, the directory and the mask that a script saw |
//!
//! Left out: times other than those of delivered objects; the values of PATH and TMPDIR, ids, descriptors and names
//! of scripts; links, sizes and times of directories; times of objects that are not files; size and bytes of files
//! that are compared by meaning (`contents`, `pkginfo`, undo data, pointers to it) or that name processes (the lock
//! file).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use patchadm_svr4::format::params::ParamFile;

use super::undo;
use super::words::stable;

/// The observed values, by name.
pub(super) type Seen = BTreeMap<String, String>;

/// The listing format that classic snapshots and ours share: a format of find(1).
pub(super) const LISTING: &str = "%y %m %U:%G %n %s %TY-%Tm-%Td_%TH:%TM:%.2TS %p %l\\n";

/// The beginning of an error about a device.
const DEVICE: &str = "could not process datastream from <";

/// Adds the output of a command on a stream.
pub(super) fn printed(seen: &mut Seen, stream: &str, text: &str) {
    let text = stable(text);
    let lines = text.lines().map(|line| match line.split_once(">: ") {
        Some((start, _)) if start.contains(DEVICE) => &line[..=start.len()],
        _ => line.trim_end(),
    });
    let lines: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with("- ")).collect();
    for line in &lines {
        let times = lines.iter().filter(|other| *other == line).count();
        seen.insert(format!("{stream}: {line}"), times.to_string());
    }
    seen.insert(format!("order of {stream}"), lines.join("\n"));
}

/// Adds the lines of `contents`.
pub(super) fn contents(seen: &mut Seen, text: &str) {
    for line in text.lines() {
        let what = match line.strip_prefix('#') {
            None => line.split([' ', '=']).next().unwrap(),
            Some(words) if words.starts_with(" Last modified by") => "trailer",
            Some(_) => continue,
        };
        seen.insert(format!("contents {what}"), stable(line));
    }
}

/// Adds the parameters of an installed package.
pub(super) fn pkginfo(seen: &mut Seen, package: &str, text: &str) {
    let params = ParamFile::parse(text.as_bytes()).unwrap().params();
    let mut names = Vec::new();
    for (name, value) in params.iter() {
        let value = if name == "PATH" { "-".into() } else { String::from_utf8_lossy(value) };
        let value = stable(&format!("{name}={value}"));
        seen.insert(format!("pkginfo {package} {name}"), value);
        names.push(name);
    }
    seen.insert(format!("order of pkginfo {package}"), names.join("\n"));
}

/// A root: its objects, its `contents`, its packages.
pub(super) struct Snapshot<'a> {
    /// As [`LISTING`] prints it.
    pub(super) listing: &'a str,
    /// The first 16 hexadecimal digits of the SHA-256 of a file.
    pub(super) digest: &'a dyn Fn(&str) -> Option<String>,
    pub(super) contents: &'a str,
    /// The directories of the packages.
    pub(super) packages: &'a Path,
    /// Replaces paths of this machine with placeholders.
    pub(super) places: &'a dyn Fn(&str) -> String,
}

pub(super) fn snapshot(seen: &mut Seen, root: &Snapshot<'_>) {
    for line in root.listing.lines() {
        object(seen, line, root.digest);
    }
    contents(seen, root.contents);
    for package in fs::read_dir(root.packages).into_iter().flatten().map(Result::unwrap) {
        let name = package.file_name().into_string().unwrap();
        if let Ok(text) = fs::read_to_string(package.path().join("pkginfo")) {
            pkginfo(seen, &name, &(root.places)(&text));
        }
        for patch in fs::read_dir(package.path().join("save")).into_iter().flatten().map(Result::unwrap) {
            let id = patch.file_name().into_string().unwrap();
            undo::stream(seen, &format!("{name}/{id}"), &patch.path(), root.places);
            if let Ok(text) = fs::read_to_string(patch.path().join("remote")) {
                seen.insert(format!("remote {name}/{id}"), (root.places)(&text));
            }
        }
    }
}

/// Adds the object of one line of a listing.
pub(super) fn object(seen: &mut Seen, line: &str, digest: &dyn Fn(&str) -> Option<String>) {
    let columns: Vec<&str> = line.splitn(7, ' ').collect();
    let (place, target) = columns[6].split_once(' ').unwrap();
    let path = place.strip_prefix('.').unwrap_or(place);
    // Dumps of environments are compared by content, and have the process id in their names.
    if path.is_empty() || path.starts_with("/envdump/") {
        return;
    }
    let (kind, is_file) = (columns[0], columns[0] == "f");
    seen.insert(path.to_owned(), kind.to_owned());
    let mut column = |name: &str, value: &str| seen.insert(format!("{path}: {name}"), value.to_owned());
    column("mode", columns[1]);
    column("owner", columns[2]);
    if kind != "d" {
        column("links", columns[3]);
        column("target", target);
    }
    if is_file {
        let is_delivered = columns[5].starts_with("2001-02-03");
        column("time", if is_delivered { columns[5] } else { "now" });
    }
    if is_file && !is_compared_by_meaning(path) {
        column("size", columns[4]);
        column("bytes", &digest(place).unwrap_or_default());
    }
}

fn is_compared_by_meaning(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    let is_pkginfo =
        name == "pkginfo" && path.starts_with("/var/sadm/pkg/") && path.matches('/').count() == 5;
    let is_read = ["/var/sadm/install/contents", "/var/sadm/install/.lockfile"].contains(&path);
    is_read || is_pkginfo || name == "remote" || undo::NAMES.contains(&name)
}

/// The value of a side that has none.
const NOTHING: &str = "nothing";

/// The differences: name, classic value, our value.
pub(super) fn differences(classic: &Seen, ours: &Seen) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for what in classic.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        let values = [classic, ours].map(|side| side.get(what).map_or(NOTHING, String::as_str));
        let [theirs, own] = if what.starts_with("order of ") {
            [common(values[0], values[1]), common(values[1], values[0])]
        } else {
            values.map(str::to_owned)
        };
        // An object that only one side has is one difference, regardless of its columns.
        let object = what.starts_with('/').then(|| what.split_once(": ")).flatten();
        let is_said = object.is_some_and(|(path, _)| !classic.contains_key(path) || !ours.contains_key(path));
        if theirs != own && !is_said {
            found.push((what.clone(), theirs, own));
        }
    }
    found
}

/// The lines of a text that another text has, too.
fn common(text: &str, other: &str) -> String {
    let others: BTreeSet<&str> = other.lines().collect();
    text.lines().filter(|line| others.contains(line)).collect::<Vec<_>>().join("\n")
}
