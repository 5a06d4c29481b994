//! `contents` made anew: from the pkgmaps of the packages as they were installed, over them the lines that each patch left,
//! in the order in which the patches were applied, and over these every line of the damaged file that can still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use super::owners::GoneOwners;
use super::{MendedRecord, kept, write};
use crate::operation::failure::Failure;
use crate::operation::record_damage::RegainedLines;
use crate::operation::session::Session;
use patchadm_inputs::database::agreement::is_closed;
use patchadm_inputs::database::contents::open_readable;
use patchadm_inputs::database::{RecordDamage, RecordView, all, installed};
use patchadm_planning::plan::RecordChange;
use patchadm_svr4::format::contents::{ContentsReader, is_comment};
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The number of paths that are named.
const MOST_TOLD: usize = 20;

/// The data that is always lost with `contents`.
const LOST: &str = "what installf registered and removef gave up, and directories that were made on the way to an object, \
                    are not in the records of the packages";

/// Makes `contents` anew, without packages that are gone; `damage` is its damage.
pub(super) fn mend(
    session: &Session<'_>,
    damage: Vec<RecordDamage>,
    mut gone: GoneOwners,
) -> Result<Vec<MendedRecord>, Failure> {
    let root = &session.ground.root;
    let view = RecordView::live(root);
    let mut regained = RegainedLines::default();
    match all::params_of_all(&view) {
        Ok(packages) => regained.packages(&session.ground, &packages, session.caller.interrupt)?,
        // The patches of a package decide about its lines.
        Err(error) => {
            let why = format!("it is made when the records of all packages can be read: {error}");
            let not_made =
                |damage| MendedRecord { damage, is_made: false, is_whole: false, said: vec![why.clone()] };
            let of_contents = damage.into_iter().take(1).map(not_made);
            return Ok(of_contents.chain(gone.given_up(&why)).collect());
        }
    }
    let readable = readable_lines(&view, &mut gone);
    let is_lost = readable.is_empty();
    let mut said = Vec::new();
    if !is_lost {
        let new: Vec<String> = regained
            .lines
            .keys()
            .filter(|path| !readable.contains_key(*path))
            .map(|path| root.show(path))
            .collect();
        said.push(format!("{} lines can be read and stay as they are", readable.len()));
        if !new.is_empty() {
            let shown: Vec<&str> = new.iter().take(MOST_TOLD).map(String::as_str).collect();
            let more = if new.len() > MOST_TOLD { " …" } else { "" };
            let what = "objects are recorded again as packages and patches brought them";
            said.push(format!("{} {what}: {}{more}", new.len(), shown.join(" ")));
        }
    }
    said.push(LOST.to_owned());
    said.append(&mut regained.unknown);
    let log = root.show(&places::pkglog());
    let (of_log, of_contents): (Vec<_>, Vec<_>) = damage.iter().partition(|damage| damage.file == log);
    let mut damaged = Vec::new();
    if !of_contents.is_empty() {
        damaged.extend(kept(root, &places::contents())?);
    }
    if !of_log.is_empty() {
        damaged.extend(kept(root, &places::pkglog())?);
    }
    said.extend(damaged.iter().map(|kept| format!("the damaged file is kept as {}", kept.shown)));
    let package = installed::packages(&view)?.pop().or_else(|| gone.last().cloned());
    let Some(package) = package else { return Ok(Vec::new()) };
    let mut texts: BTreeMap<ObjectPath, Vec<u8>> =
        regained.lines.iter().map(|(path, line)| (path.clone(), line.write())).collect();
    texts.extend(readable.into_iter().map(|(path, line)| (path, line.text)));
    let mut bytes = Vec::new();
    for text in texts.values() {
        bytes.extend_from_slice(text);
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&session.caller.now.trailer(super::COMMAND, &package).write());
    let path = places::contents();
    let made = RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None };
    let kept = damaged.into_iter().filter_map(|kept| kept.change);
    write(session, &package, std::iter::once(made).chain(kept).collect())?;
    let is_whole = regained.is_whole;
    let mut damage = damage.into_iter();
    let first = damage.next().map(|damage| MendedRecord { damage, is_made: true, is_whole, said });
    let others =
        damage.map(|damage| MendedRecord { damage, is_made: true, is_whole: true, said: Vec::new() });
    Ok(first.into_iter().chain(others).chain(gone.mended()).collect())
}

/// A line of the existing file, byte for byte as it is there unless another line of its path was merged into it.
struct ReadableLine {
    line: ContentsLine,
    text: Vec<u8>,
}

/// Returns the lines of the existing file without packages that are gone, as far as they can be read.
fn readable_lines(view: &RecordView<'_>, gone: &mut GoneOwners) -> BTreeMap<ObjectPath, ReadableLine> {
    let mut lines: BTreeMap<ObjectPath, ReadableLine> = BTreeMap::new();
    // Another object in its place has no lines.
    let Ok(Some(file)) = open_readable(view) else { return lines };
    let is_closed = file.metadata().is_ok_and(|seen| is_closed(&file, seen.len()));
    let mut reader = ContentsReader::new(BufReader::with_capacity(1 << 18, file));
    let mut last = None;
    while let Ok(Some(raw)) = reader.next_line() {
        last = None;
        let Ok(line) = ContentsLine::parse(raw) else { continue };
        if is_comment(raw) {
            continue;
        }
        last = Some(line.path.clone());
        if let Some(known) = lines.get_mut(&line.path) {
            known.line.adopt_owners(line);
            known.text = known.line.write();
        } else {
            let text = raw.to_vec();
            lines.insert(line.path.clone(), ReadableLine { line, text });
        }
    }
    // A line that was cut may belong to a package other than it says.
    if let Some(cut) = last.filter(|_| !is_closed) {
        lines.remove(&cut);
    }
    let without_gone = |(path, readable): (ObjectPath, ReadableLine)| {
        if !gone.own(&readable.line) {
            return Some((path, readable));
        }
        let line = gone.leave(view.root(), readable.line)?;
        let text = line.write();
        Some((path, ReadableLine { line, text }))
    };
    lines.into_iter().filter_map(without_gone).collect()
}

/// Returns the paths that a package owns by these lines.
pub(super) fn paths_of<'l>(
    lines: impl IntoIterator<Item = &'l ContentsLine>,
    package: &PkgInst,
) -> BTreeSet<ObjectPath> {
    lines.into_iter().filter(|line| line.is_owned_by(package)).map(|line| line.path.clone()).collect()
}
