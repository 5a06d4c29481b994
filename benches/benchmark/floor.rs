//! The floor: the least work of a program that changes a tree safely and can revert the change.
//!
//! It saves the old objects as one serial gzip-1 stream, writes the new ones beside their targets, syncs, renames,
//! deletes, and syncs again. To revert the change, it decompresses the old objects beside the targets and does the
//! same. It checks nothing, records nothing, recovers from nothing, and knows the changes beforehand. It prints the
//! seconds of each phase.
//!
//! The link floor gives the old objects second names in a directory instead. To revert the change, it links them
//! beside the targets, continues like the gzip floor, and removes that directory.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::workload::Workload;

/// Bytes before the name and the content of an object in the undo stream: the lengths of both, mode, time.
const HEAD: usize = 32;

/// Letters of the changes. A line of the file is a letter, a blank and a path.
const REPLACE: &str = "r";
const ADD: &str = "a";
const DELETE: &str = "d";

/// Writes the changes of the patch of a workload, for the floor to read.
pub(crate) fn write_changes(file: &Path, workload: &Workload) -> Result<()> {
    let mut text = String::new();
    for (number, object) in workload.delivered().enumerate() {
        let letter = if number < workload.replaced.len() { REPLACE } else { ADD };
        text += &format!("{letter} {}\n", object.path);
    }
    text.extend(workload.gone().map(|object| format!("{DELETE} {}\n", object.path)));
    fs::write(file, text)?;
    Ok(())
}

/// Applies `changes` with the files below `source` to `root`, and keeps old objects in `undo`.
pub(crate) fn apply(changes: &Path, source: &Path, root: &Path, undo: &Path) -> Result<()> {
    let mut phases = PhaseClock::begin();
    let changes = read_changes(changes)?;
    let mut saved =
        GzEncoder::new(BufWriter::with_capacity(1 << 18, File::create(undo)?), Compression::new(1));
    for (_, path) in changes.iter().filter(|(letter, _)| letter != ADD) {
        save(&mut saved, path, &root.join(path))?;
    }
    saved.finish()?.flush()?;
    phases.end(COMPRESS);
    put_in_place(&changes, source, root, phases)
}

/// Like [`apply`], but keeps old objects under second names in a new directory `saved`.
pub(crate) fn apply_by_links(changes: &Path, source: &Path, root: &Path, saved: &Path) -> Result<()> {
    let phases = PhaseClock::begin();
    let changes = read_changes(changes)?;
    fs::create_dir(saved)?;
    for (number, path) in old_objects(&changes) {
        fs::hard_link(root.join(path), saved.join(number.to_string()))?;
    }
    put_in_place(&changes, source, root, phases)
}

/// Writes the new objects beside their targets, and switches.
fn put_in_place(
    changes: &[(String, String)],
    source: &Path,
    root: &Path,
    mut phases: PhaseClock,
) -> Result<()> {
    for (_, path) in changes.iter().filter(|(letter, _)| letter != DELETE) {
        let (from, target) = (source.join(path), root.join(path));
        let content = fs::read(&from).with_context(|| format!("{}", from.display()))?;
        if let Some(parent) = target.parent().filter(|parent| !parent.exists()) {
            fs::create_dir_all(parent)?;
        }
        let state = fs::metadata(&from)?;
        put(&beside(&target), &content, state.mode(), state.mtime())?;
    }
    phases.end(STAGE);
    sync(root)?;
    phases.end(SYNC);
    switch(root, changes)?;
    phases.end(SWITCH);
    sync(root)?;
    phases.end(SYNC);
    Ok(())
}

/// Returns the objects that changes replace or delete, each with its number.
fn old_objects(changes: &[(String, String)]) -> impl Iterator<Item = (usize, &String)> {
    let old = changes.iter().enumerate().filter(|(_, (letter, _))| letter != ADD);
    old.map(|(number, (_, path))| (number, path))
}

/// Reverts the changes of [`apply`].
pub(crate) fn back_out(changes: &Path, root: &Path, undo: &Path) -> Result<()> {
    let mut phases = PhaseClock::begin();
    let changes = read_changes(changes)?;
    let mut saved = GzDecoder::new(BufReader::with_capacity(1 << 18, File::open(undo)?));
    while let Some(object) = next_saved(&mut saved)? {
        put(&beside(&root.join(object.path)), &object.content, object.mode, object.mtime)?;
    }
    phases.end(STAGE);
    take_back(root, changes, phases, || Ok(fs::remove_file(undo)?))
}

/// Reverts the changes of [`apply_by_links`] with the second names in `saved`.
pub(crate) fn back_out_by_links(changes: &Path, root: &Path, saved: &Path) -> Result<()> {
    let mut phases = PhaseClock::begin();
    let changes = read_changes(changes)?;
    for (number, path) in old_objects(&changes) {
        fs::hard_link(saved.join(number.to_string()), beside(&root.join(path)))?;
    }
    phases.end(STAGE);
    take_back(root, changes, phases, || Ok(()))?;
    Ok(fs::remove_dir_all(saved)?)
}

/// Switches back to the old objects, which are beside their targets, and removes directories that become empty.
fn take_back(
    root: &Path,
    changes: Vec<(String, String)>,
    mut phases: PhaseClock,
    then: impl FnOnce() -> Result<()>,
) -> Result<()> {
    sync(root)?;
    phases.end(SYNC);
    let mut reverse = changes;
    for (letter, _) in &mut reverse {
        *letter = match letter.as_str() {
            ADD => DELETE.to_owned(),
            DELETE => ADD.to_owned(),
            other => other.to_owned(),
        };
    }
    switch(root, &reverse)?;
    phases.end(SWITCH);
    for (_, path) in reverse.iter().filter(|(letter, _)| letter == DELETE) {
        // Removes only empty directories.
        let _ = root.join(path).parent().map(fs::remove_dir);
    }
    then()?;
    sync(root)?;
    phases.end(SYNC);
    Ok(())
}

/// The phases of a floor.
pub(crate) const COMPRESS: &str = "compress";
pub(crate) const STAGE: &str = "stage";
pub(crate) const SYNC: &str = "sync";
pub(crate) const SWITCH: &str = "switch";

/// A clock that prints how long each phase took.
struct PhaseClock(Instant);

impl PhaseClock {
    fn begin() -> Self {
        Self(Instant::now())
    }

    /// Prints the seconds since the end of the previous phase.
    fn end(&mut self, name: &str) {
        println!("{name} {}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

/// Copies one file durably to a new name beside `target`, and renames it there.
pub(crate) fn copy_durably(from: &Path, target: &Path) -> Result<()> {
    let new = beside(target);
    let mut input = File::open(from)?;
    let mut output = File::create(&new)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            length => output.write_all(&buffer[..length])?,
        }
    }
    output.sync_all()?;
    fs::rename(&new, target)?;
    File::open(target.parent().context("a file has a directory")?)?.sync_all()?;
    Ok(())
}

pub(crate) fn read_changes(file: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(file)?;
    let split = |line: &str| line.split_once(' ').map(|(letter, path)| (letter.to_owned(), path.to_owned()));
    Ok(text.lines().filter_map(split).collect())
}

fn save(out: &mut impl Write, path: &str, object: &Path) -> Result<()> {
    let content = fs::read(object).with_context(|| format!("{}", object.display()))?;
    let state = fs::metadata(object)?;
    for number in
        [path.len() as u64, content.len() as u64, u64::from(state.mode()), state.mtime().cast_unsigned()]
    {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(path.as_bytes())?;
    out.write_all(&content)?;
    Ok(())
}

/// An object of the undo stream.
struct Saved {
    path: String,
    content: Vec<u8>,
    mode: u32,
    mtime: i64,
}

/// Reads the next object of an undo stream, or `None` at its end.
fn next_saved(input: &mut impl Read) -> Result<Option<Saved>> {
    let mut head = [0; HEAD];
    match input.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|offset| head[at * 8 + offset]));
    let mut path = vec![0; number(0) as usize];
    input.read_exact(&mut path)?;
    let mut content = vec![0; number(1) as usize];
    input.read_exact(&mut content)?;
    let path = String::from_utf8(path)?;
    Ok(Some(Saved { path, content, mode: number(2) as u32, mtime: number(3).cast_signed() }))
}

fn put(path: &Path, content: &[u8], mode: u32, mtime: i64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("{}", path.display()))?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    let mtime = u64::try_from(mtime)?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))?;
    Ok(())
}

/// Renames the new objects to their targets, and deletes.
fn switch(root: &Path, changes: &[(String, String)]) -> Result<()> {
    for (letter, path) in changes {
        let target = root.join(path);
        if letter == REPLACE || letter == ADD {
            fs::rename(beside(&target), &target).with_context(|| format!("{}", target.display()))?;
        } else {
            fs::remove_file(&target)?;
        }
    }
    Ok(())
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn sync(root: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}
