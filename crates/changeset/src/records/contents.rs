//! Looks up lines of `contents`, by binary search ([`stamped`](super::stamped)) or in one pass, with the same result. A
//! missing file is an empty database; two lines of a path merge their owners; logged changes of another tool
//! ([`patchadm_svr4::format::pkglog`]) count.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, Write as _};

use crate::format::contents_merge::{ContentsEdits, overlay, overlay_unsorted};
use crate::format::contents_stamp::link_of;
use crate::format::installf_queue::InstallfRequests;
use crate::records::stamped::{WantedLines, search};
use crate::records::{RecordError, RecordView, failed as not_done, named, places};
use patchadm_rootfs::{RootError, is_hollow};
use patchadm_svr4::format::contents::{ContentsError, ContentsReader, is_comment, key_of};
use patchadm_svr4::format::pkglog::Pkglog;
use patchadm_svr4::package::{ContentsLine, ObjectPath, OwnerStatus, OwningPackage, PkgInst};

pub use super::stamped::ContentsLines;

/// `wants` sees every raw line except comments, without the newline. An invalid accepted line is an error.
pub fn scan(
    view: &RecordView<'_>,
    mut wants: impl FnMut(&[u8]) -> bool,
) -> Result<ContentsLines, RecordError> {
    match open(view)? {
        Some(file) => scan_file(view, file, &mut wants),
        None => Ok(ContentsLines::new()),
    }
}

/// Includes complete changes in another tool's log; `None` if there is no database.
pub fn open(view: &RecordView<'_>) -> Result<Option<File>, RecordError> {
    // The tool replaces `contents` before it removes the log, and a log can be applied twice.
    let log = read_log(view)?.map(|log| log.edits).filter(|edits| !edits.is_empty());
    let file = open_itself(view)?;
    match log {
        Some(edits) => overlaid(view, file, &edits).map(Some),
        None => Ok(file),
    }
}

/// Like [`open`], but ignores damage in the log.
pub fn open_readable(view: &RecordView<'_>) -> Result<Option<File>, RecordError> {
    let edits = readable_log(view)?;
    let file = open_itself(view)?;
    if edits.is_empty() { Ok(file) } else { overlaid(view, file, &edits).map(Some) }
}

fn open_itself(view: &RecordView<'_>) -> Result<Option<File>, RecordError> {
    let path = places::contents();
    let file = view.open(&path)?;
    if file.is_none() && view.look(&path)?.is_some() {
        // An unreadable object is not an empty database.
        return Err(RecordError::NoFile { root: named(view), path: view.root().show(&path) });
    }
    if file.as_ref().is_some_and(is_hollow) {
        return Err(RootError::Hollow(view.root().show(&path)).into());
    }
    Ok(file)
}

fn scan_file(
    view: &RecordView<'_>,
    mut file: File,
    wants: &mut impl FnMut(&[u8]) -> bool,
) -> Result<ContentsLines, RecordError> {
    // A failed search may have moved the position.
    let picked = file.rewind().map_err(ContentsError::from);
    picked
        .and_then(|()| pick(BufReader::with_capacity(1 << 18, file), wants))
        .map_err(|reason| RecordError::of_contents(view, reason))
}

fn pick(
    from: BufReader<impl Read>,
    wants: &mut impl FnMut(&[u8]) -> bool,
) -> Result<ContentsLines, ContentsError> {
    let mut reader = ContentsReader::new(from);
    let mut lines = ContentsLines::new();
    let mut later: BTreeMap<ObjectPath, Vec<OwningPackage>> = BTreeMap::new();
    loop {
        let number = reader.line() + 1;
        let Some(raw) = reader.next_line()? else { break };
        if is_comment(raw) || !wants(raw) {
            continue;
        }
        let line = ContentsLine::parse(raw).map_err(|error| ContentsError::Line { line: number, error })?;
        match lines.entry(line.path.clone()) {
            Entry::Occupied(_) => later.entry(line.path).or_default().extend(line.owners),
            Entry::Vacant(free) => {
                free.insert(line);
            }
        }
    }
    for (path, owners) in later {
        if let Some(line) = lines.get_mut(&path) {
            line.adopt_owners(owners);
        }
    }
    Ok(lines)
}

/// Includes shared objects.
pub fn lines_of_package(view: &RecordView<'_>, package: &PkgInst) -> Result<ContentsLines, RecordError> {
    let name = package.as_str().as_bytes();
    let mut lines =
        scan(view, |raw| raw.split(|&b| b == b' ' || b == b'\t').any(|field| names(field, name)))?;
    lines.retain(|_, line| line.is_owned_by(package));
    Ok(lines)
}

/// Returns true if `line` has an owner that `other` lacks.
pub fn has_other_owner(line: &ContentsLine, other: Option<&ContentsLine>) -> bool {
    let is_known = |package| other.is_some_and(|other| other.is_owned_by(package));
    line.owners.iter().any(|owner| !is_known(&owner.package))
}

/// One pass for all packages.
pub fn lines_of_packages(
    view: &RecordView<'_>,
    packages: &BTreeSet<PkgInst>,
) -> Result<BTreeMap<PkgInst, ContentsLines>, RecordError> {
    if packages.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted: HashSet<&[u8]> = packages.iter().map(|package| package.as_str().as_bytes()).collect();
    let names_one = |field: &[u8]| {
        let is_end = |byte: &u8| matches!(byte, b'\\' | b':');
        let name = field.split(is_end).next().unwrap_or_default();
        wanted.contains(name) || name.split_first().is_some_and(|(_, rest)| wanted.contains(rest))
    };
    let lines = scan(view, |raw| raw.split(|&b| b == b' ' || b == b'\t').any(names_one))?;
    let mut owned: BTreeMap<PkgInst, ContentsLines> =
        packages.iter().map(|package| (package.clone(), ContentsLines::new())).collect();
    for (path, line) in lines {
        for owner in &line.owners {
            if let Some(lines) = owned.get_mut(&owner.package) {
                lines.insert(path.clone(), line.clone());
            }
        }
    }
    Ok(owned)
}

pub fn paths_marked(
    view: &RecordView<'_>,
    package: &PkgInst,
    marks: &[OwnerStatus],
) -> Result<BTreeSet<ObjectPath>, RecordError> {
    let marked = lines_of_package(view, package)?.into_values().filter(|line| {
        let own = line.owners.iter().find(|owner| owner.package == *package);
        own.and_then(|owner| owner.status).is_some_and(|status| marks.contains(&status))
    });
    Ok(marked.map(|line| line.path).collect())
}

/// Includes pending paths of packages that the queue finishes.
pub fn paths_of_queue(
    view: &RecordView<'_>,
    queue: &InstallfRequests,
) -> Result<BTreeSet<ObjectPath>, RecordError> {
    let mut paths = queue.paths();
    for package in queue.finishing() {
        paths.extend(paths_marked(view, &package, &[OwnerStatus::Pending, OwnerStatus::Removing])?);
    }
    Ok(paths)
}

/// Checks `[status]name[\][:class]`.
fn names(field: &[u8], name: &[u8]) -> bool {
    let is_owner = |field: &[u8]| match field.strip_prefix(name) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"\\") || rest.starts_with(b":"),
        None => false,
    };
    is_owner(field) || field.split_first().is_some_and(|(_, rest)| is_owner(rest))
}

/// Includes hard links to them, direct or through other links.
pub fn lines_of_paths(
    view: &RecordView<'_>,
    paths: &BTreeSet<ObjectPath>,
) -> Result<ContentsLines, RecordError> {
    let Some(file) = open(view)? else { return Ok(ContentsLines::new()) };
    let wanted = WantedLines { paths: Some(paths), with_links: true, ..WantedLines::default() };
    if let Some(lines) = search(view, &file, wanted) {
        return Ok(lines);
    }
    let wanted: HashSet<&[u8]> = paths.iter().map(ObjectPath::as_bytes).collect();
    let mut links = Vec::new();
    let mut found = scan_file(view, file, &mut |raw| {
        links.extend(link_of(raw));
        wanted.contains(key_of(raw).as_ref())
    })?;
    let names = links_to(&links, paths);
    if names.iter().any(|name| !found.contains_key(name)) {
        let wanted: HashSet<&[u8]> = names.iter().map(ObjectPath::as_bytes).collect();
        found.append(&mut scan(view, |raw| wanted.contains(key_of(raw).as_ref()))?);
    }
    Ok(found)
}

pub fn lines_below(view: &RecordView<'_>, directories: &[ObjectPath]) -> Result<ContentsLines, RecordError> {
    let inside: Vec<Vec<u8>> =
        directories.iter().map(|directory| [directory.as_bytes(), b"/"].concat()).collect();
    lines_at(view, &BTreeSet::new(), &inside)
}

/// Includes all paths that begin with one of `prefixes`.
pub fn lines_at(
    view: &RecordView<'_>,
    paths: &BTreeSet<ObjectPath>,
    prefixes: &[Vec<u8>],
) -> Result<ContentsLines, RecordError> {
    let Some(file) = open(view)? else { return Ok(ContentsLines::new()) };
    if let Some(lines) = search(view, &file, WantedLines { paths: Some(paths), with_links: false, prefixes })
    {
        return Ok(lines);
    }
    let wanted: HashSet<&[u8]> = paths.iter().map(ObjectPath::as_bytes).collect();
    let prefixes = Prefixes::of(prefixes);
    scan_file(view, file, &mut |raw| {
        let path = key_of(raw);
        wanted.contains(path.as_ref()) || prefixes.begin(&path)
    })
}

/// Sorted; none begins with another one, so that only the last one up to a path can begin it.
struct Prefixes<'p>(Vec<&'p [u8]>);

impl<'p> Prefixes<'p> {
    fn of(prefixes: &'p [Vec<u8>]) -> Self {
        let mut sorted: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, before| next.starts_with(before));
        Self(sorted)
    }

    /// Returns true if one of them is the beginning of the path.
    fn begin(&self, path: &[u8]) -> bool {
        let after = self.0.partition_point(|prefix| *prefix <= path);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|prefix| path.starts_with(prefix))
    }
}

fn links_to(links: &[(ObjectPath, ObjectPath)], paths: &BTreeSet<ObjectPath>) -> BTreeSet<ObjectPath> {
    let mut names_of: BTreeMap<&ObjectPath, Vec<&ObjectPath>> = BTreeMap::new();
    for (name, source) in links {
        names_of.entry(source).or_default().push(name);
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<&ObjectPath> = paths.iter().collect();
    while let Some(source) = open.pop() {
        for &name in names_of.get(source).into_iter().flatten() {
            if found.insert(name.clone()) {
                open.push(name);
            }
        }
    }
    found
}

/// 256 MiB; the tools roll it over long before.
const LARGEST_LOG: u64 = 256 << 20;

/// `None` if there is none.
pub fn read_log(view: &RecordView<'_>) -> Result<Option<Pkglog>, RecordError> {
    let path = places::pkglog();
    let shown = || view.root().show(&path);
    match view.read(&path, LARGEST_LOG)? {
        Some(text) => {
            let log = Pkglog::parse(&text);
            log.map(Some).map_err(|reason| RecordError::Pkglog { root: named(view), path: shown(), reason })
        }
        // An unreadable object is not an empty log.
        None if view.look(&path)?.is_some() => Err(RecordError::NoFile { root: named(view), path: shown() }),
        None => Ok(None),
    }
}

/// Skips damage.
pub fn readable_log(view: &RecordView<'_>) -> Result<ContentsEdits, RecordError> {
    let text = view.read(&places::pkglog(), LARGEST_LOG)?.unwrap_or_default();
    Ok(Pkglog::parse_readable(&text).0.edits)
}

/// Returns a file in memory. `contents` may be missing.
fn overlaid(
    view: &RecordView<'_>,
    contents: Option<File>,
    edits: &ContentsEdits,
) -> Result<File, RecordError> {
    let made = merged(contents, edits).map_err(|reason| RecordError::of_contents(view, reason))?;
    in_memory(&made)
        .map_err(|error| not_done("overlay", view.root().show(&places::contents()), &error).into())
}

fn merged(contents: Option<File>, edits: &ContentsEdits) -> Result<Vec<u8>, ContentsError> {
    let mut made = Vec::new();
    let Some(mut contents) = contents else {
        overlay(&b""[..], &mut made, edits)?;
        return Ok(made);
    };
    match overlay(BufReader::with_capacity(1 << 18, &contents), &mut made, edits) {
        Err(ContentsError::Unsorted { .. }) => {
            made.clear();
            contents.rewind()?;
            overlay_unsorted(BufReader::with_capacity(1 << 18, &contents), &mut made, edits)?;
        }
        merged => merged?,
    }
    Ok(made)
}

fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("contents", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Root;
    use std::fs;

    const CONTENTS: &str = "\
/opt d none 0755 root root X Y
/opt/a f none 0755 root root 6 542 1577836800 X
/opt/a=odd\\040name s none Z
/opt/b=a l none +X Y:cfg
/opt/c=../opt/./b 1 l none Y\\
/opt/d=a s none X
/opt/e f none broken
/opt/with\\040blank e cfg 0644 root root ? ? ? Y
# Last modified by pkgadd for X package
# Fri Nov 20 06:37:39 2026
";

    fn root(contents: Option<&str>) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        if let Some(text) = contents {
            fs::write(dir.path().join("var/sadm/install/contents"), text).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn paths(of: &[&str]) -> BTreeSet<ObjectPath> {
        of.iter().map(|path| ObjectPath::new(path.as_bytes()).unwrap()).collect()
    }

    fn found(lines: &ContentsLines) -> Vec<String> {
        lines.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_path_brings_the_links_that_lead_to_it_and_no_other_line_is_parsed() {
        let (_dir, root) = root(Some(CONTENTS));
        let view = RecordView::live(&root);
        let lines = lines_of_paths(&view, &paths(&["/opt/a", "/opt/with blank", "/none"])).unwrap();
        assert_eq!(found(&lines), ["/opt/a", "/opt/b", "/opt/c", "/opt/with blank"]);
        let owners = &lines[&ObjectPath::new(b"/opt/a").unwrap()].owners;
        assert_eq!(owners.iter().map(|o| o.package.as_str()).collect::<Vec<_>>(), ["X", "Z"]);
        let directory = lines_of_paths(&view, &paths(&["/opt"])).unwrap();
        assert_eq!(found(&directory), ["/opt"]);
    }

    #[test]
    fn the_lines_below_a_directory_are_not_those_of_its_namesakes() {
        let contents = "/opt/a d none 0755 root root X\n/opt/a/c=d s none X\n/opt/ab=x s none X\n";
        let (_dir, root) = root(Some(contents));
        let directories: Vec<_> = paths(&["/opt/a", "/var"]).into_iter().collect();
        assert_eq!(found(&lines_below(&RecordView::live(&root), &directories).unwrap()), ["/opt/a/c"]);
    }

    #[test]
    fn a_prefix_begins_paths_whatever_other_prefixes_lie_between() {
        let of = ["/a/", "/a/b/", "/ab/", "/b"].map(|prefix| prefix.as_bytes().to_vec());
        let prefixes = Prefixes::of(&of);
        for path in ["/a/x", "/a/b/c", "/a/z/y", "/ab/c", "/b", "/bc"] {
            assert!(prefixes.begin(path.as_bytes()), "{path}");
        }
        for path in ["/", "/a", "/aa/x", "/ab", "/c"] {
            assert!(!prefixes.begin(path.as_bytes()), "{path}");
        }
        assert!(!Prefixes::of(&[]).begin(b"/a"));
    }

    /// With a comparison of each line with each directory, this would not end.
    #[test]
    fn lines_below_very_many_directories_are_found_in_one_pass() {
        let names: Vec<String> = (0..100_000).map(|number| format!("/opt/{number}")).collect();
        let lines: Vec<String> =
            names.iter().map(|name| format!("{name} x none 0755 a b X\n{name}/f=t s none X\n")).collect();
        let contents = lines.concat();
        let (_dir, root) = root(Some(&contents));
        let directories: Vec<ObjectPath> =
            names.iter().map(|name| ObjectPath::new(name.as_bytes()).unwrap()).collect();
        let lines = lines_below(&RecordView::live(&root), &directories).unwrap();
        assert_eq!(lines.len(), names.len());
    }

    /// With a comparison of each owner with each, this would not end.
    #[test]
    fn the_owners_of_very_many_lines_of_one_path_are_united_once() {
        let lines: Vec<String> =
            (0..200_000).map(|number| format!("/x d none 0755 a b P{}\n", number / 2)).collect();
        let contents = lines.concat();
        let (_dir, root) = root(Some(&contents));
        let lines = scan(&RecordView::live(&root), |_| true).unwrap();
        let owners: Vec<&str> =
            lines.values().flat_map(|line| &line.owners).map(|owner| owner.package.as_str()).collect();
        assert_eq!((owners.len(), owners[0], owners[99_999]), (100_000, "P0", "P99999"));
    }

    #[test]
    fn a_wanted_line_that_cannot_be_parsed_is_named() {
        let (dir, root) = root(Some(CONTENTS));
        let error = lines_of_paths(&RecordView::live(&root), &paths(&["/opt/e"])).unwrap_err().to_string();
        let path = dir.path().join("var/sadm/install/contents");
        assert!(error.starts_with(&format!("{}: line 7: ", path.display())), "{error}");
    }

    #[test]
    fn the_lines_of_a_package_are_found_whatever_marks_its_name_has() {
        let (_dir, root) = root(Some(&CONTENTS.replace("/opt/e f none broken\n", "")));
        let of = |name: &str| {
            found(&lines_of_package(&RecordView::live(&root), &PkgInst::new(name).unwrap()).unwrap())
        };
        assert_eq!(of("X"), ["/opt", "/opt/a", "/opt/b", "/opt/d"]);
        assert_eq!(of("Y"), ["/opt", "/opt/b", "/opt/c", "/opt/with blank"]);
        assert_eq!(of("root"), [""; 0], "a user is no owner");
        let all = ["X", "Y", "Z", "root"].map(|name| PkgInst::new(name).unwrap());
        let together = lines_of_packages(&RecordView::live(&root), &all.clone().into()).unwrap();
        for package in all {
            assert_eq!(found(&together[&package]), of(package.as_str()), "{package}");
        }
    }

    #[test]
    fn a_queue_is_about_what_it_names_and_what_it_makes_final() {
        let contents = "/a f none ? ? ? ? ? ? +X\n/b f none ? ? ? ? ? ? -X\n/c f none ? ? ? ? ? ? X +Y\n";
        let (_dir, root) = root(Some(contents));
        let of = |queue: &str| {
            let queue = InstallfRequests::parse(queue.as_bytes()).unwrap();
            let paths = paths_of_queue(&RecordView::live(&root), &queue).unwrap();
            paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("add X ? /n=m l\nremove X /o\n"), "/m /n /o");
        assert_eq!(of("finish-add X ?\n"), "/a /b");
        assert_eq!(of("finish-add Y ?\nremove X /a\n"), "/a /c");
    }

    #[test]
    fn a_root_without_contents_has_no_lines() {
        let (_dir, root) = root(None);
        assert!(lines_of_paths(&RecordView::live(&root), &paths(&["/opt"])).unwrap().is_empty());
    }
}
