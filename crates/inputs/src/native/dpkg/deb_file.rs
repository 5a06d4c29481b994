//! Relations and paths of a package file, from dpkg-deb(1).

use std::cmp::Ordering;
use std::process::Command;
use std::time::Duration;

use super::version::compare;
use crate::program_run::{ProgramLimits, output_of};
use patchadm_svr4::package::ObjectPath;

const LIMITS: ProgramLimits = ProgramLimits { time: Duration::from_secs(60), bytes: 64 << 20 };

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebRelation {
    pub name: String,
    /// Such as `<<` and `1.0-2`; `None` for all versions.
    bound: Option<(String, String)>,
    is_replaced: bool,
}

impl DebRelation {
    /// `installed` is the version of the other package.
    pub fn may_overwrite(&self, installed: &str) -> bool {
        let is_meant = self.bound.as_ref().is_none_or(|(sign, version)| {
            let order = compare(installed, version);
            match sign.as_str() {
                "<<" => order == Ordering::Less,
                "<=" | "<" => order != Ordering::Greater,
                "=" => order == Ordering::Equal,
                ">=" | ">" => order != Ordering::Less,
                ">>" => order == Ordering::Greater,
                _ => false,
            }
        });
        self.is_replaced && is_meant
    }
}

/// Returns the packages that the package in a file replaces or provides; none if it is unreadable.
pub fn relations(file: &str) -> Vec<DebRelation> {
    answer(&["--field", file, "Replaces", "Provides"]).map(|text| parse_relations(&text)).unwrap_or_default()
}

/// Returns the paths of a package file except directories; none if it is unreadable.
pub fn paths(file: &str) -> Vec<ObjectPath> {
    answer(&["--contents", file])
        .map(|text| text.lines().filter_map(parse_path).collect())
        .unwrap_or_default()
}

fn answer(arguments: &[&str]) -> Option<String> {
    // A file whose name begins with a dash would be an option.
    if arguments.get(1).is_some_and(|file| file.starts_with('-')) {
        return None;
    }
    let mut command = Command::new("dpkg-deb");
    command.args(arguments).env("LC_ALL", "C");
    let (answer, ended) = output_of(&mut command, "dpkg-deb", b"", LIMITS).ok()?;
    ended.success().then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// A line that begins with a blank continues the field before it.
pub(super) fn parse_relations(text: &str) -> Vec<DebRelation> {
    let mut relations = Vec::new();
    for field in text.replace("\n ", " ").replace("\n\t", " ").lines() {
        let Some((name, list)) = field.split_once(':') else { continue };
        let is_replaced = name == "Replaces";
        relations.extend(list.split([',', '|']).filter_map(|one| parse_relation(one, is_replaced)));
    }
    relations
}

/// Parses `NAME`, `NAME:ARCH` or `NAME (SIGN VERSION)`.
fn parse_relation(text: &str, is_replaced: bool) -> Option<DebRelation> {
    let (name, bound) = text.split_once('(').unwrap_or((text, ""));
    let name = name.split(':').next().unwrap_or_default().trim();
    let bound = bound.split(')').next().unwrap_or_default().trim();
    let version = bound.trim_start_matches(['<', '=', '>']);
    let sign = bound.strip_suffix(version).unwrap_or_default();
    let bound = (!sign.is_empty()).then(|| (sign.to_owned(), version.trim().to_owned()));
    (!name.is_empty()).then(|| DebRelation { name: name.to_owned(), bound, is_replaced })
}

/// Parses a line of a table of contents: mode, owner, size, date, time, `./PATH`, and ` -> TARGET` for links.
fn parse_path(line: &str) -> Option<ObjectPath> {
    let kind = line.chars().next().filter(|kind| *kind != 'd')?;
    let mut rest = line;
    for _ in 0..5 {
        rest = rest.trim_start().split_once(' ')?.1;
    }
    let path = rest.trim_start();
    let path = match kind {
        'l' => path.split(" -> ").next()?,
        'h' => path.split(" link to ").next()?,
        _ => path,
    };
    ObjectPath::new(&unescaped(path.strip_prefix('.')?)).ok()
}

/// Undoes the escapes of tar(1): `\\`, letters for control characters, and `\ooo` for other bytes.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            let Some((&letter, after)) = after.split_first() else { break };
            rest = after;
            bytes.push(match letter {
                b'n' => b'\n',
                b't' => b'\t',
                other => other,
            });
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_replaces_and_provides_is_read_with_its_bounds() {
        let text = "Replaces: libssl3 (<< 3.0.2-1),\n libssl1.1:any\nProvides: libssl3 (= 3.2), libssl-dev | other\n";
        let relations = parse_relations(text);
        let names: Vec<&str> = relations.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["libssl3", "libssl1.1", "libssl3", "libssl-dev", "other"]);
        let [older, all, provided, ..] = relations.as_slice() else { panic!("{relations:?}") };
        assert!(older.may_overwrite("3.0.1-1") && !older.may_overwrite("3.0.2-1"));
        assert!(all.may_overwrite("1.1") && !provided.may_overwrite("3.2"));
        for (sign, versions) in
            [("<=", "1 2"), ("=", "2"), (">=", "2 3"), (">>", "3"), ("<<", "1"), ("nonsense", "")]
        {
            let relation = parse_relations(&format!("Replaces: web ({sign} 2)\n")).remove(0);
            let meant = ["1", "2", "3"].into_iter().filter(|version| relation.may_overwrite(version));
            let all = if sign == "nonsense" { "1 2 3" } else { versions };
            assert_eq!(meant.collect::<Vec<_>>().join(" "), all, "{sign}");
        }
        assert_eq!(parse_relations(""), []);
    }

    #[test]
    fn a_table_of_contents_names_files_and_links_whatever_their_names_are() {
        let text = "\
drwxr-xr-x root/root         0 2024-01-01 00:00 ./usr/lib/
-rw-r--r-- root/root        12 2024-01-01 00:00 ./usr/lib/a file
lrwxrwxrwx root/root         0 2024-01-01 00:00 ./usr/lib/link -> a file
hrw-r--r-- root/root         0 2024-01-01 00:00 ./usr/lib/other link to ./usr/lib/a file
-rw-r--r-- root/root         1 2024-01-01 00:00 ./usr/lib/\\303\\274 and \\\\
rubbish
";
        let paths: Vec<String> = text.lines().filter_map(parse_path).map(|path| path.to_string()).collect();
        assert_eq!(paths, ["/usr/lib/a file", "/usr/lib/link", "/usr/lib/other", "/usr/lib/ü and \\"]);
    }
}
