//! Recorded files with the recorded links that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_svr4::package::{ContentsLine, ObjectPath};

/// Returns every file of these lines with its own path and those of the links that lead to it, in order. Leaves out
/// directories, and links that lead elsewhere.
pub(super) fn files_with_links<'a>(
    lines: impl Iterator<Item = &'a ContentsLine>,
) -> BTreeMap<ObjectPath, Vec<ObjectPath>> {
    let (mut files, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for line in lines.filter(|line| !line.object.ftype.is_directory()) {
        match target_of(line) {
            Some(target) => drop(targets.insert(line.path.clone(), target)),
            None => drop(files.insert(line.path.clone(), vec![line.path.clone()])),
        }
    }
    for path in targets.keys() {
        let (mut at, mut seen) = (path, BTreeSet::new());
        while let Some(next) = targets.get(at).filter(|_| seen.insert(at)) {
            at = next;
        }
        if let Some(paths) = files.get_mut(at) {
            paths.push(path.clone());
        }
    }
    for paths in files.values_mut() {
        paths.sort();
    }
    files
}

/// Returns the name by which a file is opened: the shortest name among the links that no other link leads to.
pub(super) fn opened_name(paths: &[ObjectPath], lines: &BTreeMap<ObjectPath, ContentsLine>) -> String {
    let targets: BTreeSet<ObjectPath> =
        paths.iter().filter_map(|path| lines.get(path)).filter_map(target_of).collect();
    let first = paths.iter().filter(|path| !targets.contains(*path)).map(ObjectPath::name);
    let name = first.min_by_key(|name| (name.len(), *name)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Returns the path that a recorded link leads to; its own path if the target makes no sense.
fn target_of(line: &ContentsLine) -> Option<ObjectPath> {
    let target = line.object.target.as_deref()?;
    Some(line.path.link_source(target).unwrap_or_else(|_| line.path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_name_of_the_link_that_programs_open() {
        let lines: BTreeMap<ObjectPath, ContentsLine> = [
            "/usr/lib d none 0755 root root X-SO",
            "/usr/lib/a.so.1=a.so.1.2 s none X-SO",
            "/usr/lib/a.so.1.2=a.so.1.2.3 s none X-SO",
            "/usr/lib/a.so.1.2.3 f none 0644 root root 1 2 3 X-SO",
            "/usr/lib/b.so.1 f none 0644 root root 1 2 3 X-SO",
            "/usr/lib/loop=loop s none X-SO",
        ]
        .into_iter()
        .map(|text| ContentsLine::parse(text.as_bytes()).unwrap())
        .map(|line| (line.path.clone(), line))
        .collect();
        let files = files_with_links(lines.values());
        let shown: Vec<(String, usize)> =
            files.values().map(|paths| (opened_name(paths, &lines), paths.len())).collect();
        assert_eq!(shown, [("a.so.1".to_owned(), 3), ("b.so.1".to_owned(), 1)]);
    }
}
