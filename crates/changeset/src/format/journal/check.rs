//! Permitted field values. The root's owner can forge checksums, so each field that decides what is read, changed,
//! removed or signalled must have a value that the engine writes. These checks need no root; the transaction makes the
//! others before recovery begins.

use std::collections::HashSet;

use super::{
    Domain, Identity, Journal, JournalArchive, JournalError, JournalHead, JournalHeader, NotedDigest, Op,
    OpKind, RunRecord, ScriptProgress, StoredFiles,
};

use crate::format::escaped::is_hex;
use crate::format::manifest::decode;
use crate::format::outside_path::is_archive_name;
use crate::format::run::{RUNS, Run};
use crate::format::undo_files::StoredName;
use patchadm_rootfs::{Inode, Timestamp, is_label};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{NO_ACCOUNT, ObjectPath, PkgInst};
use patchadm_svr4::places;

/// In characters: longer names are cut, because sectors are short.
pub const LONGEST_SCRIPT_NAME: usize = 80;

const LONGEST_PATCH_ID: usize = 128;

const FILE_TYPES: &str = "fdlpsbc";

enum Record<'a> {
    Named(String),
    /// Described on demand: there are many, and an error is rare.
    ChangeOf(&'a ObjectPath),
}

impl Record<'_> {
    fn must(&self, name: &'static str, field: &'static str, kept: bool) -> Result<(), JournalError> {
        if holds(name, kept) { Ok(()) } else { Err(JournalError::Field { field, of: self.words() }) }
    }

    fn words(&self) -> String {
        match self {
            Self::Named(words) => words.clone(),
            Self::ChangeOf(path) => format!("the change of {path}"),
        }
    }
}

pub(super) fn head(head: &JournalHead) -> Result<(), JournalError> {
    header(&head.header)?;
    head.progress.as_ref().map_or(Ok(()), progress)
}

fn header(header: &JournalHeader) -> Result<(), JournalError> {
    let its = Record::Named("its header".to_owned());
    its.must("journal.header.version", "version", header.version > 0)?;
    its.must("journal.header.run", "run", Run::is_name(&header.run))?;
    its.must("journal.header.root", "root", is_marker(&header.root))?;
    its.must("journal.header.db", "db", header.db <= header.lines)
}

fn progress(progress: &ScriptProgress) -> Result<(), JournalError> {
    let its = Record::Named("its progress".to_owned());
    its.must("journal.progress.number", "number", progress.number < RUNS)?;
    let Some(script) = &progress.script else { return Ok(()) };
    // kill(2): group 0 is the caller's, 1 every process, a negative number one process.
    its.must("journal.progress.group", "group", script.group > 1)?;
    let is_name = script.name.chars().count() <= LONGEST_SCRIPT_NAME;
    its.must("journal.progress.name", "name", is_name)?;
    its.must("journal.progress.boot", "boot_id", is_boot_id(&script.boot_id))
}

pub(super) fn lines(journal: &Journal) -> Result<(), JournalError> {
    let run = &journal.head.header.run;
    for (index, domain) in journal.domains.iter().enumerate() {
        let its = Record::Named(format!("its domain {index}"));
        its.must("journal.domain.stage", "stage", is_stage(domain, index, run))?;
    }
    for (index, archive) in journal.archives.iter().enumerate() {
        self::archive(archive, &journal.domains, format!("its archive {index}"))?;
    }
    run_record(&journal.run_record)?;
    let own = journal.own_directory();
    let mut staged = HashSet::new();
    for op in &journal.ops {
        let its = Record::ChangeOf(&op.path);
        self::op(op, journal, own.as_ref(), &its)?;
        its.must("journal.op.once", "stage", staged.insert((op.domain, &op.stage)))?;
    }
    Ok(())
}

impl Journal {
    /// Returns the physical path of our own directory, from the first domain's stage.
    pub fn own_directory(&self) -> Option<ObjectPath> {
        self.domains.first()?.stage.parent()?.parent()
    }

    /// The journal cannot prove which directory is ours, so the caller passes its physical path.
    pub fn must_be_of(&self, own: &ObjectPath) -> Result<(), JournalError> {
        let is_there = self.own_directory().is_none_or(|said| said == *own);
        Record::Named("its domain 0".to_owned()).must("journal.domain.place", "stage", is_there)
    }
}

/// The first domain's stage is in our own directory; others are in `.patchadm` of their topmost directory, or in that
/// directory itself.
fn is_stage(domain: &Domain, index: usize, run: &str) -> bool {
    let (holder, name) = (domain.stage.parent(), domain.stage.name());
    let Some(holder) = holder else { return false };
    if index == 0 {
        return name == run.as_bytes() && holder.name() == b"stage" && holder.is_below(&domain.top);
    }
    if holder == domain.top {
        return name == format!(".patchadm-{run}").as_bytes();
    }
    name == run.as_bytes() && holder.name() == b".patchadm" && holder.parent().as_ref() == Some(&domain.top)
}

pub(super) fn run_record(run_record: &RunRecord) -> Result<(), JournalError> {
    let its = Record::Named("its story".to_owned());
    let logs = [&run_record.log]
        .into_iter()
        .chain(run_record.others.iter().map(|patch_record| &patch_record.log))
        .flatten();
    for log in logs {
        its.must("journal.story.log", "log", is_log(log))?;
    }
    Ok(())
}

fn is_log(path: &ObjectPath) -> bool {
    let id = path
        .as_bytes()
        .strip_prefix(places::BELOW_PATCHES.as_bytes())
        .and_then(|rest| rest.strip_suffix(b"/log"));
    path.as_bytes() == places::OWN_LOG.as_bytes() || id.is_some_and(is_patch_id)
}

fn archive(archive: &JournalArchive, domains: &[Domain], of: String) -> Result<(), JournalError> {
    let its = Record::Named(of);
    let is_saved = |path: &ObjectPath| is_archive_name(path.name());
    its.must("journal.archive.path", "path", archive.path.as_ref().is_none_or(is_saved))?;
    let is_staged = |path: &ObjectPath| {
        let records = |domain: &Domain| domain.stage.join(b"db").is_ok_and(|records| path.is_below(&records));
        is_archive_name(path.name()) && domains.iter().any(records)
    };
    its.must("journal.archive.staged", "staged", archive.staged.as_ref().is_none_or(is_staged))?;
    let are_stored = archive.files.as_deref().is_none_or(|names| are_stored_names(names, domains.len()));
    its.must("journal.archive.files", "files", are_stored)?;
    elsewhere(archive, &its)
}

fn are_stored_names(names: &[String], directories: usize) -> bool {
    let is_there = |name: StoredName| name.directory < directories;
    names.iter().all(|name| StoredName::parse(name).is_some_and(is_there))
}

fn is_possible_drop(drop: &StoredFiles) -> bool {
    drop.directories.is_possible() && are_stored_names(&drop.names, drop.directories.directories.len())
}

/// For archives outside the root.
pub fn archive_elsewhere(archive: &JournalArchive, of: String) -> Result<(), JournalError> {
    let its = Record::Named(of);
    its.must("journal.archive.path", "path", archive.path.is_none())?;
    its.must("journal.archive.staged", "staged", archive.staged.is_none())?;
    its.must("journal.archive.files", "files", archive.files.is_none())?;
    elsewhere(archive, &its)
}

fn elsewhere(archive: &JournalArchive, its: &Record<'_>) -> Result<(), JournalError> {
    its.must("journal.archive.outside", "outside", archive.outside.as_deref().is_none_or(is_elsewhere))?;
    its.must("journal.archive.drop", "drop", archive.drop.as_ref().is_none_or(is_possible_drop))?;
    its.must("journal.archive.discard", "discard", archive.discard.as_deref().is_none_or(is_elsewhere))?;
    its.must("journal.archive.inode", "inode", archive.inode.as_ref().is_none_or(is_inode))
}

/// Checks the form `DIR/<id>/<PKG>/NAME`.
fn is_elsewhere(text: &str) -> bool {
    let Ok(path) = ObjectPath::new(&decode(text)) else { return false };
    let above: Vec<ObjectPath> = path.ancestors().take(3).collect();
    let [package, patch, _directory] = above.as_slice() else { return false };
    let is_package = std::str::from_utf8(package.name()).is_ok_and(|name| PkgInst::new(name).is_ok());
    is_archive_name(path.name()) && is_package && is_patch_id(patch.name())
}

fn op(op: &Op, journal: &Journal, own: Option<&ObjectPath>, its: &Record<'_>) -> Result<(), JournalError> {
    let domain = journal.domains.get(op.domain);
    let is_in = |domain: &Domain| op.path.is_below(&domain.top);
    its.must("journal.op.domain", "domain", domain.is_some_and(is_in))?;
    its.must("journal.op.path", "path", is_target(&op.path, op.db, own))?;
    let is_end = match (&op.to, op.kind) {
        (Some(to), OpKind::Move) => is_target(to, op.db, own),
        (to, kind) => to.is_none() && kind != OpKind::Move,
    };
    its.must("journal.op.to", "to", is_end)?;
    its.must("journal.op.stage", "stage", is_staged_name(&op.stage))?;
    its.must("journal.op.db", "db", op.stage.starts_with("db/") == op.db)?;
    let is_archive = |undo: &(usize, String)| undo.0 < journal.archives.len();
    tree(op, its)?;
    its.must("journal.op.undo", "undo", op.undo.as_deref().is_none_or(is_archive))?;
    its.must("journal.op.parent", "parent", op.parent.as_ref().is_none_or(is_inode))?;
    its.must("journal.op.touched", "touched", op.touched.as_deref().is_none_or(is_time))?;
    for identity in [&op.old, &op.new, &op.copy].into_iter().flatten() {
        self::identity(identity, its)?;
    }
    its.must("journal.op.attr", "new", op.kind != OpKind::Attr || is_one_object(op))?;
    its.must("journal.op.xattrs", "xattrs", sets_only_settable(op))
}

/// For exchanges only. No lie depends on these fields: without them the op replaces a directory, and outgoing objects
/// are compared with the list.
fn tree(op: &Op, its: &Record<'_>) -> Result<(), JournalError> {
    let is_directory =
        |identity: &Option<Box<Identity>>| identity.as_ref().is_some_and(|it| it.file_type == 'd');
    let is_whole = match op.kind {
        OpKind::Tree => {
            let number = op.stage.strip_prefix("o/tree.").unwrap_or_default();
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let is_sealed = op.list.as_ref().is_some_and(|list| list.digest().is_some());
            is_number && is_sealed && is_directory(&op.old) && is_directory(&op.new) && op.undo.is_none()
        }
        _ => op.list.is_none(),
    };
    if is_whole { Ok(()) } else { Err(JournalError::Field { field: "list", of: its.words() }) }
}

/// Among our own files, only records may change, never those of the protocol. If someone replaced our directory by a
/// link, objects may lie beside them.
fn is_target(path: &ObjectPath, db: bool, own: Option<&ObjectPath>) -> bool {
    let Some(own) = own.filter(|own| path == *own || path.is_below(own)) else {
        return !path.relative().is_empty();
    };
    let below = path.relative().get(own.relative().len()..).unwrap_or_default();
    let mut names = below.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    let is_protocol = |first: &[u8]| {
        let begins = |name: &[u8]| first.starts_with(name);
        first == b"stage" || begins(b"journal") || begins(b"ops-") || begins(b"root-id")
    };
    // It is elsewhere if someone replaced it by a link.
    let is_shared = own.as_bytes() != places::OWN_DIRECTORY.as_bytes();
    (db || is_shared) && names.next().is_some_and(|first| !is_protocol(first))
}

/// `(o|db)/[A-Za-z0-9][A-Za-z0-9.]*`.
fn is_staged_name(name: &str) -> bool {
    let name = name.strip_prefix("o/").or_else(|| name.strip_prefix("db/")).unwrap_or_default();
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

/// An attribute change concerns one object that is otherwise unchanged.
fn is_one_object(op: &Op) -> bool {
    let kept = |one: &Identity| {
        let Identity { file_type, size, inode, b3, target, .. } = one.clone();
        (file_type, size, inode, b3, target)
    };
    op.old.as_deref().map(kept) == op.new.as_deref().map(kept)
}

/// Undoing may only set attributes that the engine sets: all for a held directory, changed ones for others.
fn sets_only_settable(op: &Op) -> bool {
    let of = |identity: &Option<Box<Identity>>| {
        identity.as_ref().and_then(|one| one.xattrs.clone()).unwrap_or_default()
    };
    let (old, new) = (of(&op.old), of(&op.new));
    let is_set = |key: &String| match op.kind {
        OpKind::Attr => old.get(key) != new.get(key),
        OpKind::Protect => true,
        _ => false,
    };
    old.keys().chain(new.keys()).filter(|key| is_set(key)).all(|key| is_settable(&decode(key)))
}

/// True for attributes of users, access control lists and labels, which pass to an object's next version. File
/// capabilities equal set-id bits; those of overlayfs and the integrity measurement are not the object's.
pub fn is_settable(key: &[u8]) -> bool {
    is_label(key) || key.starts_with(b"user.") || key.starts_with(b"system.posix_acl_")
}

pub fn noted_path(path: &str, of: &str) -> Result<ObjectPath, JournalError> {
    let parsed = ObjectPath::new(&decode(path)).ok().filter(|path| !path.relative().is_empty());
    parsed.ok_or_else(|| JournalError::Field { field: "path", of: of.to_owned() })
}

pub fn noted_stage(path: &str, run: &str) -> Result<ObjectPath, JournalError> {
    let its = Record::Named("one of its lines".to_owned());
    let path = noted_path(path, &its.words())?;
    its.must("alone.path", "path", path.name() == format!(".patchadm-{run}").as_bytes())?;
    Ok(path)
}

pub fn noted_identity(noted: &Identity, of: String) -> Result<(), JournalError> {
    identity(noted, &Record::Named(of))
}

fn identity(identity: &Identity, its: &Record<'_>) -> Result<(), JournalError> {
    its.must("journal.identity.type", "file_type", FILE_TYPES.contains(identity.file_type))?;
    its.must("journal.identity.mode", "mode", identity.mode <= 0o7777)?;
    its.must("journal.identity.uid", "uid", identity.uid != NO_ACCOUNT)?;
    its.must("journal.identity.gid", "gid", identity.gid != NO_ACCOUNT)?;
    its.must("journal.identity.mtime", "mtime", is_time(&identity.mtime))?;
    its.must("journal.identity.inode", "inode", is_inode(&identity.inode))?;
    let is_digest = |noted: &NotedDigest| noted.digest().is_some();
    its.must("journal.identity.b3", "b3", identity.b3.as_ref().is_none_or(is_digest))
}

fn is_time(time: &Timestamp) -> bool {
    time.nanoseconds < 1_000_000_000
}

fn is_inode(inode: &Inode) -> bool {
    inode.born.as_ref().is_none_or(is_time)
}

fn is_marker(text: &str) -> bool {
    is_hex(text, 16)
}

/// The form of `/proc/sys/kernel/random/boot_id`.
pub fn is_boot_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, digits)| is_hex(part, digits))
}

/// It becomes a directory name, and only that matters here.
fn is_patch_id(name: &[u8]) -> bool {
    let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(byte);
    name.len() <= LONGEST_PATCH_ID
        && name.first().is_some_and(|first| !b"-.".contains(first))
        && name.last().is_some_and(u8::is_ascii_digit)
        && name.iter().all(is_of_it)
}

#[cfg(test)]
mod tests;
