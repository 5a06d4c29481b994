//! Distfiles: checked by size and SHA-256 of their recipe, and fetched from its URLs.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::{Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use patchadm_bulk_values::records::{BY_DIGEST, RecipeRecord};
use patchadm_core::process::{close_inherited, leave_session_keyring};
use patchadm_inputs::http::{
    Address, HttpAnswer, HttpClient, HttpError, HttpProblem, HttpRequest, HttpSettings,
};
use patchadm_inputs::password::without_password;
use patchadm_inputs::sha256::{Sha256, Sha256Sum};
use patchadm_inputs::sign::sha256_text;
use patchadm_rootfs::{Dir, FileType, RootError, WritableFile, never};
use patchadm_svr4::package::Mode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid,
};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

use crate::space::{RoomWatch, must_have_room};
use crate::tree_copy::{copy_file, each_part};
use crate::work::{host_directory, made};

/// An upstream file that a recipe needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedDistfile {
    /// Relative path without `.` and `..`.
    pub name: String,
    pub sha256: Sha256Sum,
    pub size: u64,
    pub url: Option<String>,
}

impl ExpectedDistfile {
    pub(crate) fn of(record: &RecipeRecord) -> Vec<Self> {
        let wanted = record.distfiles().into_iter().map(|distfile| Self {
            name: distfile.name.to_owned(),
            sha256: distfile.sha256,
            size: distfile.size,
            url: distfile.url.map(str::to_owned),
        });
        wanted.collect()
    }
}

/// Names a distfile by its digest if other content has its name. The first user of a name keeps it, operator or recipe.
fn name_by_digest(wanted: &ExpectedDistfile) -> String {
    format!("{BY_DIGEST}/{}", sha256_text(&wanted.sha256))
}

/// Why a distfile is not there.
#[derive(Debug)]
pub(crate) enum FetchFailure {
    /// It does not match its recipe, or cannot be had.
    Package(String),
    /// The machine failed, or has no space for it; nothing is known of the package.
    Machine(String),
}

impl From<String> for FetchFailure {
    fn from(reason: String) -> Self {
        Self::Package(reason)
    }
}

impl From<RootError> for FetchFailure {
    fn from(error: RootError) -> Self {
        if error.is_no_space() { Self::Machine(error.to_string()) } else { Self::Package(error.to_string()) }
    }
}

impl FetchFailure {
    /// Rewords the reason.
    pub(crate) fn reworded(self, reword: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Package(reason) => Self::Package(reword(reason)),
            Self::Machine(reason) => Self::Machine(reword(reason)),
        }
    }
}

/// Checks that the distfiles of a package fit into its disk limit.
pub(crate) fn must_be_within(wanted: &[ExpectedDistfile], limit: Option<u64>) -> Result<(), String> {
    let bytes = wanted.iter().fold(0_u64, |bytes, distfile| bytes.saturating_add(distfile.size));
    match limit {
        Some(limit) if bytes > limit => {
            Err(format!("DISTFILES has {bytes} bytes, over the limit disk={limit} of the package"))
        }
        _ => Ok(()),
    }
}

#[derive(Debug)]
pub(crate) struct MissingDistfile<'a> {
    wanted: &'a ExpectedDistfile,
    reason: String,
}

impl std::fmt::Display for MissingDistfile<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.wanted.name, self.reason)
    }
}

/// Checks distfiles and fetches missing ones. Returns the ones still missing, in order; an error
/// is a failure of the machine.
pub(crate) fn provide<'a>(
    directory: &Path,
    wanted: &'a [ExpectedDistfile],
    sources: &Sources,
    interrupt: &dyn Fn() -> Option<i32>,
) -> Result<Vec<MissingDistfile<'a>>, FetchFailure> {
    let mut missing = Vec::new();
    let deadline = sources.package_time.and_then(Deadline::after);
    for wanted in wanted {
        let Err(reason) = find(directory, wanted) else { continue };
        let Some(url) = &wanted.url else {
            missing.push(MissingDistfile { wanted, reason });
            continue;
        };
        match place_when_right(directory, wanted, |add| sources.read(url, deadline, interrupt, add)) {
            Ok(()) => {}
            Err(FetchFailure::Package(error)) => {
                let reason = format!("{reason}; {}: {error}", without_password(url));
                missing.push(MissingDistfile { wanted, reason });
            }
            Err(failed @ FetchFailure::Machine(_)) => {
                return Err(failed.reworded(|reason| format!("{}: {reason}", wanted.name)));
            }
        }
    }
    Ok(missing)
}

/// Takes missing distfiles from another directory without following links. `source` names its writer in errors.
pub(crate) fn take_from(
    directory: &Path,
    from: &Path,
    missing: &[MissingDistfile<'_>],
    source: &str,
) -> Result<(), FetchFailure> {
    for missing in missing {
        let wanted = missing.wanted;
        let take = || -> Result<(), FetchFailure> {
            check(from, &wanted.name, wanted)?;
            let Some((dir, name)) = place(from, &wanted.name, false)? else { return Ok(()) };
            let file = dir.open_regular(&name)?;
            let failed = |error: &io::Error| FetchFailure::Package(error.to_string());
            place_when_right(directory, wanted, |add| each_part(&file, failed, add))
        };
        take().map_err(|failed| failed.reworded(|reason| format!("{missing}; {source}: {reason}")))?;
    }
    Ok(())
}

/// Copies distfiles into an empty directory. The inner error names a file that differs from its recipe.
pub(crate) fn copy_distfiles(
    from: &Path,
    to: &Path,
    wanted: &[ExpectedDistfile],
) -> Result<Result<(), String>, RootError> {
    for distfile in wanted {
        let by_digest = name_by_digest(distfile);
        let copied = copy_one(from, &distfile.name, to, distfile).or_else(|reason| {
            match copy_one(from, &by_digest, to, distfile) {
                Err(CopyRefusal::Package(_)) => Err(reason),
                copied => copied,
            }
        });
        match copied {
            Ok(()) => {}
            Err(CopyRefusal::Package(reason)) => return Ok(Err(format!("{}: {reason}", distfile.name))),
            Err(CopyRefusal::NoSpace(error)) => return Err(error),
        }
    }
    Ok(Ok(()))
}

enum CopyRefusal {
    /// It differs from its recipe, or has an impossible name.
    Package(String),
    NoSpace(RootError),
}

impl From<RootError> for CopyRefusal {
    fn from(error: RootError) -> Self {
        if error.is_no_space() { Self::NoSpace(error) } else { Self::Package(error.to_string()) }
    }
}

fn copy_one(from: &Path, name: &str, to: &Path, wanted: &ExpectedDistfile) -> Result<(), CopyRefusal> {
    let missing = || CopyRefusal::Package("it does not exist".to_owned());
    let (dir, name) = place(from, name, false)?.ok_or_else(missing)?;
    let seen = dir.look(&name)?.ok_or_else(missing)?;
    has_size(seen.size, wanted).map_err(CopyRefusal::Package)?;
    let (copies, copy) = place(to, &wanted.name, true)?.ok_or_else(missing)?;
    copy_file(&dir, &name, &copies, &copy)?;
    copies.set_mode(&copy, Mode::of(0o644))?;
    let checked = check(to, &wanted.name, wanted).map_err(CopyRefusal::Package);
    if checked.is_err() {
        copies.remove(&copy)?;
    }
    checked
}

/// Finds a distfile under its name or digest.
fn find(directory: &Path, wanted: &ExpectedDistfile) -> Result<(), String> {
    check(directory, &wanted.name, wanted)
        .or_else(|reason| check(directory, &name_by_digest(wanted), wanted).map_err(|_| reason))
}

fn check(directory: &Path, name: &str, wanted: &ExpectedDistfile) -> Result<(), String> {
    let shown = |error: RootError| error.to_string();
    let missing = || "it does not exist".to_owned();
    let (dir, name) = place(directory, name, false).map_err(shown)?.ok_or_else(missing)?;
    let (file, seen) = dir.open_seen(&name).map_err(shown)?.ok_or_else(missing)?;
    has_size(seen.size, wanted)?;
    let mut sums = DistfileSums::default();
    let add = |bytes: &[u8]| {
        sums.add(bytes);
        Ok(())
    };
    each_part(&file, |error| dir.read_error(&name, error), add).map_err(shown)?;
    sums.compare(wanted)
}

fn has_size(size: u64, wanted: &ExpectedDistfile) -> Result<(), String> {
    if size == wanted.size {
        return Ok(());
    }
    Err(format!("it has {size} bytes instead of {}", wanted.size))
}

#[derive(Default)]
struct DistfileSums {
    size: u64,
    sha256: Sha256,
}

impl DistfileSums {
    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    fn compare(self, wanted: &ExpectedDistfile) -> Result<(), String> {
        has_size(self.size, wanted)?;
        if self.sha256.finalize() == wanted.sha256 { Ok(()) } else { Err("its SHA-256 differs".to_owned()) }
    }
}

fn place(directory: &Path, name: &str, is_made: bool) -> Result<Option<(Dir, Vec<u8>)>, RootError> {
    let (above, name) = name.rsplit_once('/').unwrap_or(("", name));
    let mut dir = host_directory(directory)?;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        let is_directory =
            dir.look(part.as_bytes())?.is_some_and(|seen| seen.file_type == FileType::Directory);
        if !is_directory {
            if !is_made {
                return Ok(None);
            }
            must_have_room(&dir, 0)?;
        }
        dir = made(&dir, part.as_bytes())?;
    }
    Ok(Some((dir, name.as_bytes().to_vec())))
}

/// Writes a distfile from `read`, and moves it into place if it is correct. The reserve of the file system is left.
fn place_when_right(
    directory: &Path,
    wanted: &ExpectedDistfile,
    read: impl FnOnce(AddBytes<'_>) -> Result<(), FetchFailure>,
) -> Result<(), FetchFailure> {
    let dir = host_directory(directory)?;
    dir.remove_leftovers("fetch")?;
    let room = RoomWatch::begin(&dir, wanted.size)?;
    let (private, mut file) = dir.create_private("fetch")?;
    let placed = read_into((&mut file, room), wanted, read).and_then(|()| {
        file.set_mode(Mode::of(0o644)).and_then(|()| file.sync())?;
        Ok(move_into_place((&dir, &private), directory, wanted)?)
    });
    if placed.is_err() {
        // Nobody looks for this name.
        let _ = dir.remove(&private);
    }
    placed
}

/// Moves a verified distfile to its name, or to its digest if other content has the name.
fn move_into_place(
    (from, private): (&Dir, &[u8]),
    directory: &Path,
    wanted: &ExpectedDistfile,
) -> Result<(), RootError> {
    // A name is also taken if a file has the name of its directory.
    if let Ok(Some((dir, name))) = place(directory, &wanted.name, true)
        && dir.look(&name)?.is_none()
        && from.move_to(private, &dir, &name).is_ok()
    {
        return Ok(());
    }
    // These names belong to this program, so it removes other objects there. A rename replaces a file, because a
    // concurrent build may be about to open it.
    let is_directory = |dir: &Dir, name: &[u8]| -> Result<Option<bool>, RootError> {
        Ok(dir.look(name)?.map(|seen| seen.file_type == FileType::Directory))
    };
    if is_directory(from, BY_DIGEST.as_bytes())? == Some(false) {
        from.remove(BY_DIGEST.as_bytes())?;
    }
    let Some((dir, name)) = place(directory, &name_by_digest(wanted), true)? else { return Ok(()) };
    if is_directory(&dir, &name)? == Some(true) {
        dir.remove_tree(&name)?;
    }
    from.replace(private, &dir, &name)
}

fn read_into(
    (file, mut room): (&mut WritableFile, RoomWatch<&Dir>),
    wanted: &ExpectedDistfile,
    read: impl FnOnce(AddBytes<'_>) -> Result<(), FetchFailure>,
) -> Result<(), FetchFailure> {
    let mut sums = DistfileSums::default();
    read(&mut |bytes: &[u8]| {
        sums.add(bytes);
        if sums.size > wanted.size {
            return Err(format!("it has more than {} bytes", wanted.size).into());
        }
        room.add(bytes)?;
        Ok(file.put(bytes)?)
    })?;
    Ok(sums.compare(wanted)?)
}

/// Makes the program the process that fetches a source.
pub const FETCH_PROCESS: &str = "__bulk-fetch";

const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Time for the process to exit after its output, and the pause between two checks.
const LONGEST_END: Duration = Duration::from_secs(5);
const SHORT_PAUSE: Duration = Duration::from_millis(2);

/// Minimum bytes a second on average, so that the size of a distfile bounds the time that its source can take: half of what
/// each of four fetches has on a line of 1 Mbit/s.
const LEAST_RATE: u64 = 16 << 10;

/// Before the rate counts: time for names, proxies and redirects.
const UNRATED: Duration = Duration::from_secs(120);

const LONGEST_REASON: u64 = 512;
const LONGEST_ORDER: u64 = 64 << 10;

pub(crate) type AddBytes<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), FetchFailure>;

#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Directories of this machine with distfiles.
    pub directories: Vec<PathBuf>,
    pub http: HttpSettings,
    /// `None` for the caller.
    pub user: Option<(u32, u32)>,
    /// Time limit for reading a file of this machine.
    pub time: Option<Duration>,
    /// Time limit for all distfiles of a package.
    pub package_time: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    time: Duration,
}

impl Deadline {
    fn after(time: Duration) -> Option<Self> {
        Instant::now().checked_add(time).map(|at| Self { at, time })
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum FetchOrder {
    File { directory: PathBuf, path: PathBuf },
    Url { url: String, http: Box<HttpSettings> },
}

impl Sources {
    fn read(
        &self,
        url: &str,
        of_package: Option<Deadline>,
        interrupt: &dyn Fn() -> Option<i32>,
        add: AddBytes<'_>,
    ) -> Result<(), FetchFailure> {
        let (order, time) = match url.strip_prefix("file:") {
            Some(path) => (self.file_order(path)?, self.time),
            None => (FetchOrder::Url { url: url.to_owned(), http: Box::new(self.http.clone()) }, None),
        };
        let order = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        if order.len() as u64 > LONGEST_ORDER {
            return Err("its URL is too long".to_owned().into());
        }
        let mut process = self.start(&order).map_err(|error| error.to_string())?;
        let deadlines = [of_package, time.and_then(Deadline::after)];
        let read = hand_on(&mut process, &deadlines, interrupt, add);
        if read.is_err() {
            // It may have exited already.
            let _ = process.kill();
        }
        let ended = end_of(&mut process).map_err(|error| error.to_string())?;
        read?;
        if ended.success() {
            return Ok(());
        }
        let said = last_words(&mut process);
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        let reason = if said.is_empty() {
            format!("the process that fetches it ended with {ended}")
        } else {
            said.to_owned()
        };
        Err(reason.into())
    }

    fn file_order(&self, path: &str) -> Result<FetchOrder, String> {
        // `file:///path` is `file:/path`.
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
        let path: PathBuf = Path::new(path).components().collect();
        let steps_up = path.components().any(|part| part == Component::ParentDir);
        let within = |directory: &&PathBuf| path.starts_with(directory);
        let Some(directory) = self.directories.iter().find(within).filter(|_| !steps_up) else {
            return Err("it is below no `file_source` of bulk.conf".to_owned());
        };
        let below = path.strip_prefix(directory).unwrap_or(&path).to_owned();
        Ok(FetchOrder::File { directory: directory.clone(), path: below })
    }

    fn start(&self, order: &[u8]) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("patchadm").arg(FETCH_PROCESS).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((uid, gid)) = self.user {
            // This also drops all supplementary groups.
            command.uid(uid).gid(gid);
        }
        let mut process = command.spawn()?;
        if let Some(mut input) = process.stdin.take()
            && let Err(error) = input.write_all(order)
            // A process that has ended says why by its output and status.
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error);
        }
        Ok(process)
    }
}

fn hand_on(
    process: &mut Child,
    deadlines: &[Option<Deadline>],
    interrupt: &dyn Fn() -> Option<i32>,
    add: AddBytes<'_>,
) -> Result<(), FetchFailure> {
    let Some(mut output) = process.stdout.take() else { return Ok(()) };
    let began = Instant::now();
    let mut bytes = 0;
    let mut part = vec![0; 1 << 16];
    loop {
        if interrupt().is_some() {
            return Err("the run is stopping".to_owned().into());
        }
        let now = Instant::now();
        if let Some(missed) = deadlines.iter().flatten().find(|deadline| now > deadline.at) {
            return Err(format!("it took longer than {} s", missed.time.as_secs()).into());
        }
        if is_too_slow(bytes, now.saturating_duration_since(began)) {
            return Err(format!("fewer than {LEAST_RATE} bytes a second arrived").into());
        }
        if !is_readable(&output).map_err(|errno| errno.to_string())? {
            continue;
        }
        match output.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                bytes += read as u64;
                add(part.get(..read).unwrap_or_default())?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string().into()),
        }
    }
}

fn is_too_slow(bytes: u64, took: Duration) -> bool {
    bytes < took.saturating_sub(UNRATED).as_secs().saturating_mul(LEAST_RATE)
}

/// Reaps a process after its output ended, and kills one that stays.
fn end_of(process: &mut Child) -> io::Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(ended) = process.try_wait()? {
            return Ok(ended);
        }
        if began.elapsed() > LONGEST_END {
            process.kill()?;
            return process.wait();
        }
        std::thread::sleep(SHORT_PAUSE);
    }
}

/// Returns the standard error of an exited process, even if others have it open.
fn last_words(process: &mut Child) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(words) = process.stderr.take()
        && rustix::fs::fcntl_setfl(&words, OFlags::NONBLOCK).is_ok()
    {
        // A read error counts as the end.
        let _ = words.take(LONGEST_REASON).read_to_end(&mut said);
    }
    said
}

fn is_readable(output: &ChildStdout) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&PAUSE)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Prints the source that the order on standard input names, or returns why it cannot. For a dedicated process.
pub fn serve_fetch(input: impl io::Read, output: &mut dyn Write) -> Result<(), String> {
    give_up_rights().map_err(|error| error.to_string())?;
    print_source(input, output)
}

/// Gives up inherited descriptors, session, terminal, and ways to gain privileges.
fn give_up_rights() -> io::Result<()> {
    close_inherited()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setsid()?;
    leave_session_keyring()?;
    set_no_new_privs(true)?;
    // It knows a proxy's password, which other processes of that user must not read.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn print_source(input: impl io::Read, output: &mut dyn Write) -> Result<(), String> {
    let shown = |error: &dyn std::fmt::Display| error.to_string();
    match serde_json::from_reader(input.take(LONGEST_ORDER)).map_err(|error| shown(&error))? {
        FetchOrder::File { directory, path } => print_file(&directory, path.as_os_str(), output)?,
        FetchOrder::Url { url, http } => print_answer(&url, &http, output)?,
    }
    output.flush().map_err(|error| shown(&error))
}

fn print_file(directory: &Path, path: &OsStr, output: &mut dyn Write) -> Result<(), String> {
    let mut file = open_below(directory, path).map_err(|errno| match errno {
        Errno::LOOP => "it is a symbolic link, or reached through one".to_owned(),
        errno => io::Error::from(errno).to_string(),
    })?;
    match file.metadata() {
        Ok(seen) if seen.is_file() => {}
        Ok(_) => return Err("it is not a regular file".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    io::copy(&mut file, output).map(drop).map_err(|error| error.to_string())
}

fn open_below(directory: &Path, path: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, rustix::fs::Mode::empty())?;
    // Does not block on a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(&directory, path, flags, rustix::fs::Mode::empty(), resolve).map(File::from)
}

fn print_answer(url: &str, http: &HttpSettings, output: &mut dyn Write) -> Result<(), String> {
    let address = Address::parse(url).map_err(|error| error.to_string())?;
    let client = HttpClient::new(http);
    let answer = client.get(&HttpRequest::whole(&address), &never);
    let failed = |error: HttpError| match error.problem {
        HttpProblem::Local(_) => format!("{error}, and is not a `local_source` of bulk.conf"),
        _ => error.to_string(),
    };
    let HttpAnswer::Content(mut body) = answer.map_err(failed)? else {
        return Err("the server says that nothing has changed".to_owned());
    };
    while let Some(bytes) = body.next_bytes(&never).map_err(|error| error.to_string())? {
        output.write_all(&bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use patchadm_rootfs::never;

    use super::*;

    fn wanted(name: &str, bytes: &[u8], url: Option<String>) -> ExpectedDistfile {
        let sha256 = Sha256::digest(bytes);
        ExpectedDistfile { name: name.to_owned(), sha256, size: bytes.len() as u64, url }
    }

    fn reason(failed: FetchFailure) -> String {
        match failed {
            FetchFailure::Package(reason) => reason,
            FetchFailure::Machine(reason) => panic!("a failure of the machine: {reason}"),
        }
    }

    #[test]
    fn a_distfile_for_which_there_is_no_room_is_no_failure_of_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let distfiles = dir.path().join("distfiles");
        let large = ExpectedDistfile { size: u64::MAX / 2, ..wanted("large", b"", None) };
        let failed = place_when_right(&distfiles, &large, |_| panic!("nothing is fetched")).unwrap_err();
        let FetchFailure::Machine(reason) = failed else { panic!("{failed:?}") };
        assert!(reason.contains("distfiles has ") && reason.contains(" bytes free"), "{reason}");
        let url = Some("file:/none/large".to_owned());
        let large = [ExpectedDistfile { url, ..large }];
        let sources = Sources { directories: vec!["/none".into()], ..Sources::default() };
        let provided = provide(&distfiles, &large, &sources, &never);
        assert!(matches!(provided, Err(FetchFailure::Machine(_))), "{provided:?}");
        assert_eq!(std::fs::read_dir(&distfiles).unwrap().count(), 0);
    }

    #[test]
    fn a_source_that_trickles_is_given_up_after_a_time_that_its_size_bounds() {
        let second = Duration::from_secs(1);
        assert!(!is_too_slow(0, UNRATED), "the server may be far away");
        assert!(is_too_slow(0, UNRATED + second));
        assert!(!is_too_slow(LEAST_RATE, UNRATED + second));
        let hour = 3600 * second;
        assert!(is_too_slow(1024 * hour.as_secs(), hour), "the HTTP client takes it for a slow server only");
        let size = 100 << 20;
        let longest = UNRATED + second * u32::try_from(size / LEAST_RATE + 1).unwrap();
        assert!(is_too_slow(size, longest), "no distfile of 100 MiB takes longer");
    }

    #[test]
    fn a_package_whose_time_for_distfiles_is_over_lacks_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "x").unwrap();
        let wanted = [wanted("x", b"x", Some(format!("file:{}", path.display())))];
        let sources = Sources {
            directories: vec![dir.path().to_owned()],
            package_time: Some(Duration::ZERO),
            ..Sources::default()
        };
        let missing = provide(&dir.path().join("distfiles"), &wanted, &sources, &never).unwrap();
        let said = missing[0].to_string();
        assert!(said.ends_with(": it took longer than 0 s"), "{said}");
    }

    #[test]
    fn the_password_of_a_source_is_in_no_message() {
        let dir = tempfile::tempdir().unwrap();
        let url = Some("http://user:SECRET@127.0.0.1:9/x".to_owned());
        let wanted = [wanted("x", b"x", url)];
        let missing = provide(dir.path(), &wanted, &Sources::default(), &never).unwrap();
        let said = missing[0].to_string();
        assert!(said.contains("127.0.0.1:9/x") && !said.contains("SECRET"), "{said}");
    }

    #[test]
    fn what_is_missing_is_taken_from_a_directory_where_it_is_right_and_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, from) = (dir.path().join("distfiles"), dir.path().join("from"));
        std::fs::create_dir_all(from.join("a")).unwrap();
        std::fs::write(from.join("a/x.tar"), "upstream").unwrap();
        std::fs::write(from.join("y"), "other").unwrap();
        std::os::unix::fs::symlink("a/x.tar", from.join("z")).unwrap();
        let taken = |wanted: ExpectedDistfile| {
            let wanted = [wanted];
            let missing = provide(&distfiles, &wanted, &Sources::default(), &never).unwrap();
            take_from(&distfiles, &from, &missing, "fetch").map_err(reason)
        };
        taken(wanted("a/x.tar", b"upstream", None)).unwrap();
        assert_eq!(std::fs::read(distfiles.join("a/x.tar")).unwrap(), b"upstream");
        let said = taken(wanted("y", b"wrong", None)).unwrap_err();
        assert_eq!(said, "y: it does not exist; fetch: its SHA-256 differs");
        assert!(taken(wanted("z", b"upstream", None)).is_err());
        let said = taken(wanted("none", b"", None)).unwrap_err();
        assert_eq!(said, "none: it does not exist; fetch: it does not exist");
        assert_eq!(std::fs::read_dir(&distfiles).unwrap().count(), 1);
    }

    #[test]
    fn a_build_sees_copies_that_are_what_its_recipe_says() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, copies) = (dir.path().join("distfiles"), dir.path().join("copies"));
        std::fs::create_dir_all(distfiles.join("a")).unwrap();
        std::fs::write(distfiles.join("a/x.tar"), "upstream").unwrap();
        let copied = |wanted: ExpectedDistfile| copy_distfiles(&distfiles, &copies, &[wanted]).unwrap();
        copied(wanted("a/x.tar", b"upstream", None)).unwrap();
        assert_eq!(std::fs::read(copies.join("a/x.tar")).unwrap(), b"upstream");
        std::fs::remove_dir_all(&copies).unwrap();
        let said = copied(wanted("a/x.tar", b"UPSTREAM", None)).unwrap_err();
        assert_eq!(said, "a/x.tar: its SHA-256 differs");
        let said = copied(wanted("b/y.tar", b"", None)).unwrap_err();
        assert_eq!(said, "b/y.tar: it does not exist");
    }

    #[test]
    fn a_name_keeps_its_content_and_another_content_has_its_digest_as_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, copies) = (dir.path().join("distfiles"), dir.path().join("copies"));
        std::fs::create_dir(&distfiles).unwrap();
        std::fs::write(distfiles.join("v.tar"), "by hand!").unwrap();
        let place = |name: &str| {
            let wanted = wanted(name, b"upstream", None);
            place_when_right(&distfiles, &wanted, |add| add(b"upstream"))
        };
        let hex = sha256_text(&Sha256::digest(b"upstream"));
        // Nobody owns a digest's name with other content, and there is no name below a file.
        std::fs::create_dir_all(distfiles.join("by-sha256").join(&hex)).unwrap();
        for name in ["v.tar", "v.tar/x", "new/x", "last.tar/x"] {
            if name == "last.tar/x" {
                std::fs::remove_dir_all(distfiles.join("by-sha256")).unwrap();
                std::fs::write(distfiles.join("by-sha256"), "a file").unwrap();
                std::fs::write(distfiles.join("last.tar"), "by hand!").unwrap();
                assert!(find(&distfiles, &wanted(name, b"upstream", None)).is_err(), "it is to be fetched");
            }
            place(name).unwrap();
            let wanted = wanted(name, b"upstream", None);
            assert_eq!(find(&distfiles, &wanted), Ok(()), "{name}");
            copy_distfiles(&distfiles, &copies, &[wanted]).unwrap().unwrap();
            assert_eq!(std::fs::read(copies.join(name)).unwrap(), b"upstream");
            std::fs::remove_dir_all(&copies).unwrap();
        }
        assert_eq!(std::fs::read(distfiles.join("v.tar")).unwrap(), b"by hand!");
        assert_eq!(std::fs::read(distfiles.join("new/x")).unwrap(), b"upstream");
        assert_eq!(std::fs::read(distfiles.join("by-sha256").join(hex)).unwrap(), b"upstream");
    }

    #[test]
    fn distfiles_that_collide_are_the_failure_of_their_package() {
        let dir = tempfile::tempdir().unwrap();
        let (distfiles, copies) = (dir.path().join("distfiles"), dir.path().join("copies"));
        std::fs::create_dir_all(distfiles.join("by-sha256")).unwrap();
        std::fs::write(distfiles.join("x"), "upstream").unwrap();
        let hex = sha256_text(&Sha256::digest(b"upstream"));
        std::fs::write(distfiles.join("by-sha256").join(hex), "upstream").unwrap();
        for other in ["x", "x/y"] {
            let both = [wanted("x", b"upstream", None), wanted(other, b"upstream", None)];
            assert!(copy_distfiles(&distfiles, &copies, &both).unwrap().is_err(), "{other}");
            std::fs::remove_dir_all(&copies).unwrap();
        }
    }

    #[test]
    fn nothing_outside_the_directories_is_even_looked_for() {
        let sources = Sources { directories: vec!["/srv/sources".into()], ..Sources::default() };
        for path in
            ["/etc/passwd", "/srv/sources/../../etc/passwd", "/srv/sources-of-others/x", "srv/sources/x"]
        {
            let failed = sources.read(&format!("file:{path}"), None, &never, &mut |_| Ok(())).unwrap_err();
            assert_eq!(reason(failed), "it is below no `file_source` of bulk.conf", "{path}");
        }
    }

    #[test]
    fn a_file_is_printed_and_neither_a_pipe_nor_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let sources = dir.path().join("sources");
        std::fs::create_dir(&sources).unwrap();
        std::fs::write(sources.join("x"), "upstream").unwrap();
        std::fs::write(dir.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("../secret", sources.join("out")).unwrap();
        std::os::unix::fs::symlink("x", sources.join("link")).unwrap();
        std::os::unix::fs::symlink(".", sources.join("above")).unwrap();
        rustix::fs::mknodat(CWD, sources.join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let printed = |name: &str| {
            let order = FetchOrder::File { directory: sources.clone(), path: name.into() };
            let mut output = Vec::new();
            print_source(&serde_json::to_vec(&order).unwrap()[..], &mut output).map(|()| output)
        };
        assert_eq!(printed("x"), Ok(b"upstream".to_vec()));
        for link in ["link", "above/x"] {
            let said = printed(link).unwrap_err();
            assert_eq!(said, "it is a symbolic link, or reached through one", "{link}");
        }
        assert_eq!(printed("pipe"), Err("it is not a regular file".to_owned()));
        assert!(printed("out").is_err());
        assert!(printed("none").is_err());
    }
}
