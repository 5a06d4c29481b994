//! The selection of roots: from lists, in directories, and by name.
//!
//! A list has one root per line, as bytes; blank lines and `#` comments are ignored.

use std::ffi::OsString;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use patchadm_cli::arguments::RootOption;
use patchadm_cli::arguments::options::ROOT_LISTS;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Stop;
use patchadm_cli::surroundings::SurroundingsError;
use patchadm_core::operation::many::{RootList, roots_at};
use patchadm_inputs::input_file::read_own;

/// In bytes.
const LARGEST_LIST: u64 = 16 << 20;

/// Roots changed at a time, for any number of processors.
const FEWEST_CHANGING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// Roots changed at a time for each processor.
const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Options that name many roots.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ManyRoots {
    /// Work on all roots listed in FILE or found in DIR; repeatable, like -R
    #[arg(long = "roots", id = ROOT_LISTS, value_name = "FILE|DIR", action = clap::ArgAction::Append)]
    lists: Vec<PathBuf>,
    /// The roots of `-R`.
    #[arg(skip)]
    named: Vec<PathBuf>,
    /// Number of roots to work on in parallel [default: 1 per CPU for queries, 2 per CPU but at least 8 for
    /// changes]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl ManyRoots {
    pub(crate) fn also(&mut self, root: &RootOption) {
        self.named = root.named().to_vec();
    }

    pub(crate) fn are_named(&self) -> bool {
        !self.lists.is_empty() || self.named.len() > 1 || self.jobs.is_some()
    }

    pub(super) fn jobs(&self) -> NonZeroUsize {
        self.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    /// Roots changed at a time: more than processors, because changes wait for the disk, and one flush serves all.
    pub(super) fn changing_jobs(&self) -> NonZeroUsize {
        self.jobs.unwrap_or_else(|| self.jobs().saturating_mul(TWO).max(FEWEST_CHANGING))
    }

    /// Roots of lists come first.
    pub(super) fn open(&self, call: &Invocation, usage: &'static str) -> anyhow::Result<RootList> {
        let wrong = |message: String| Stop::Usage { message, usage };
        if call.surroundings.install_root.is_some() {
            return Err(SurroundingsError::RootContends.into());
        }
        let mut paths = Vec::new();
        for list in &self.lists {
            if list.is_dir() {
                paths.extend(held(list).map_err(wrong)?);
                continue;
            }
            let text = read(list).map_err(|error| wrong(format!("{}: {error}", list.display())))?;
            paths.extend(parse(&text));
        }
        paths.extend(self.named.iter().cloned());
        if paths.is_empty() {
            return Err(wrong("no root is specified by -R or --roots".to_owned()).into());
        }
        let paths = paths.iter().map(std::path::absolute).collect::<io::Result<Vec<_>>>()?;
        Ok(RootList::new(paths).map_err(|same| wrong(format!("a root is specified twice: {same}")))?)
    }
}

/// Refuses a source that can be read only once: every root reads it itself.
pub(crate) fn must_be_read_often(sources: &[PathBuf], usage: &'static str) -> Result<(), Stop> {
    match read_once(sources) {
        None => Ok(()),
        Some(path) => {
            let message = format!(
                "{} can be read only once, but each root must read it: copy it to a file",
                path.display()
            );
            Err(Stop::Usage { message, usage })
        }
    }
}

pub(crate) fn read_once(sources: &[PathBuf]) -> Option<&PathBuf> {
    sources.iter().find(|path| {
        let metadata = path.metadata();
        path.as_path() == Path::new("-")
            || patchadm_inputs::input_file::is_standard_input(path)
            || metadata.is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
    })
}

/// Returns a directory's roots, at least one.
fn held(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let absolute =
        std::path::absolute(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let found = roots_at(&absolute).map_err(|error| error.to_string())?;
    if found.is_empty() {
        let directory = directory.display();
        return Err(format!("neither {directory} nor a directory in it is a root: none contains var/sadm"));
    }
    Ok(found)
}

fn read(list: &Path) -> io::Result<Vec<u8>> {
    if list != Path::new("-") {
        return read_own(list, LARGEST_LIST);
    }
    let mut text = Vec::new();
    io::stdin().take(LARGEST_LIST + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST_LIST) {
        return Err(io::Error::other(format!(
            "larger than {LARGEST_LIST} bytes, so it is not a list of roots"
        )));
    }
    Ok(text)
}

fn parse(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    lines.map(|line| PathBuf::from(OsString::from_vec(line.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_root_in_a_line_and_may_say_more_to_people() {
        let text = b"# the web servers\n/zones/web1/root\r\n\n  /zones/web 2/root \n\t# /zones/old\n/z\xff";
        let roots: Vec<PathBuf> = parse(text).collect();
        let names: Vec<_> = roots.iter().map(|root| root.to_string_lossy()).collect();
        assert_eq!(names, ["/zones/web1/root", "/zones/web 2/root", "/z\u{fffd}"]);
    }

    #[test]
    fn more_roots_are_changed_at_a_time_than_asked_unless_their_number_is_given() {
        let usual = ManyRoots::default();
        assert!(usual.changing_jobs() >= FEWEST_CHANGING && usual.changing_jobs() > usual.jobs());
        let given = ManyRoots { jobs: Some(NonZeroUsize::MIN), ..usual };
        assert_eq!((given.jobs(), given.changing_jobs()), (NonZeroUsize::MIN, NonZeroUsize::MIN));
    }

    #[test]
    fn what_can_be_read_once_only_is_no_source_for_many() {
        for path in ["-", "/dev/stdin", "/dev/null"] {
            assert!(must_be_read_often(&[PathBuf::from(path)], "").is_err(), "{path}");
        }
        let there_or_not = ["/etc/passwd", "/etc", "/no/such/patch"].map(PathBuf::from);
        assert!(must_be_read_often(&there_or_not, "").is_ok(), "a missing one is told of by each root");
    }
}
