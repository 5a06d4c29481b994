//! Options of a new patch and syntax checks of its scripts, shared by all verbs that make one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use patchadm_cli::arguments::object_path;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::native::FixedIn;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::program_run::{ProgramLimits, output_of};
use patchadm_making::build::{BuildRequest, ListChoices, PairNaming, PatchForm, PatchLists, ReadmeText};
use patchadm_releases::CompareOptions;
use patchadm_svr4::package::{ObjectPath, Word, is_class};
use patchadm_svr4::patch::{FixList, PatchId, PatchList, Requirements};

/// Forms with one file, by their words.
pub const FILE_FORMS: [(&str, PatchForm); 4] = [
    ("zip", PatchForm::Zip),
    ("tar", PatchForm::Tar),
    ("tar.gz", PatchForm::TarGz),
    ("datastream", PatchForm::Datastream),
];

/// Size limit for files that options name, in bytes.
const LARGEST: u64 = 16 << 20;

/// Options about a patch.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PatchOptions {
    /// Read package names from FILE, one `NAME PKG` per line
    #[arg(long, value_name = "FILE")]
    pkg_map: Option<PathBuf>,
    /// Set the architecture of the package [default: from the input]
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Set the version of the old release [default: from the input]
    #[arg(long, value_name = "VERSION")]
    base_version: Option<String>,
    /// Set the base directory of the package [default: from the input, else /]
    #[arg(long, value_name = "DIR", value_parser = object_path)]
    basedir: Option<ObjectPath>,
    /// Set the owner and group of all objects
    #[arg(long, value_name = "USER:GROUP")]
    owner: Option<String>,
    /// Require these patches; repeatable
    #[arg(long, value_name = "IDS", action = clap::ArgAction::Append)]
    requires: Vec<String>,
    /// Name patches that this one contains; repeatable
    #[arg(long, value_name = "IDS", action = clap::ArgAction::Append)]
    obsoletes: Vec<String>,
    /// Name patches that are incompatible with this one; repeatable
    #[arg(long, value_name = "IDS", action = clap::ArgAction::Append)]
    incompat: Vec<String>,
    /// Require an id that is reserved for restricted patches
    #[arg(long)]
    restricted: bool,
    /// Add a property, such as rebootafter; repeatable
    #[arg(long = "property", value_name = "WORD", action = clap::ArgAction::Append)]
    properties: Vec<String>,
    /// Set the dpkg or rpm versions that contain the fix, such as "dpkg openssl >= 3.0.18"
    #[arg(long, value_name = "TEXT")]
    fixed_in: Option<FixedIn>,
    /// Name what the patch fixes, such as "CVE-2026-1234 ACME-17"; repeatable
    #[arg(long, value_name = "IDS", action = clap::ArgAction::Append)]
    fixes: Vec<String>,
    /// Set the synopsis (one line)
    #[arg(long, value_name = "TEXT")]
    synopsis: Option<String>,
    /// Add a keyword; repeatable
    #[arg(long = "keyword", value_name = "TEXT", action = clap::ArgAction::Append)]
    keywords: Vec<String>,
    /// Name a bug that the patch fixes, for its README; repeatable
    #[arg(long = "bug", value_name = "TEXT", action = clap::ArgAction::Append)]
    bugs: Vec<String>,
    /// Treat paths that match GLOB as files that administrators edit; repeatable
    #[arg(long, value_name = "GLOB", value_parser = PathGlob::parse, action = clap::ArgAction::Append)]
    editable: Vec<PathGlob>,
    /// Treat paths that match GLOB as files that programs change; repeatable
    #[arg(long, value_name = "GLOB", value_parser = PathGlob::parse, action = clap::ArgAction::Append)]
    volatile: Vec<PathGlob>,
    /// Leave out paths that match GLOB, and everything below them; repeatable
    #[arg(long, value_name = "GLOB", value_parser = PathGlob::parse, action = clap::ArgAction::Append)]
    exclude: Vec<PathGlob>,
    /// Set the class of paths that match GLOB; repeatable
    #[arg(long = "class", value_name = "GLOB=CLASS", value_parser = class_of_glob, action = clap::ArgAction::Append)]
    classes: Vec<(PathGlob, Word)>,
    /// Add the class action script FILE, named i.CLASS; repeatable
    #[arg(long = "class-script", value_name = "FILE", action = clap::ArgAction::Append)]
    class_scripts: Vec<PathBuf>,
    /// Treat a different modification time as a change
    #[arg(long)]
    mtimes: bool,
    /// Leave out the scripts that a pkgadd without patch support needs
    #[arg(long)]
    no_scripts: bool,
    /// Make the patch even if other objects need libraries or symbol versions that it removes
    #[arg(long)]
    allow_abi_break: bool,
    /// Refuse to make a patch that overlaps with PATCH, a patch or a directory of patches; repeatable
    #[arg(long, value_name = "PATCH", action = clap::ArgAction::Append)]
    pub against: Vec<PathBuf>,
}

impl PatchOptions {
    /// `usage` is the verb's.
    pub fn request(&self, id: PatchId, now: i64, usage: &'static str) -> Result<BuildRequest, Stop> {
        Ok(BuildRequest {
            id,
            date: now,
            naming: self.naming(usage)?,
            choices: ListChoices {
                exclude: self.exclude.clone(),
                editable: self.editable.clone(),
                volatile: self.volatile.clone(),
                classes: self.classes.clone(),
                owner: self.owner.as_deref().map(|text| owner(text, usage)).transpose()?,
            },
            compare: CompareOptions { mtimes: self.mtimes, every_type: false },
            basedir: self.basedir.clone().unwrap_or_else(ObjectPath::root),
            lists: self.lists(usage)?,
            properties: self.properties.clone(),
            fixed_in: self.fixed_in.clone(),
            readme: self.readme(usage)?,
            with_scripts: !self.no_scripts,
            class_scripts: self.read_class_scripts(usage)?,
            restricted: self.restricted.then(|| Policy::RESTRICTED.to_owned()),
            allow_abi_break: self.allow_abi_break,
        })
    }

    fn lists(&self, usage: &'static str) -> Result<PatchLists, Stop> {
        let list = |words: &[String]| {
            PatchList::parse(&words.join(" "), PatchId::SEPARATOR).map_err(|error| wrong(&error, usage))
        };
        let requires = Requirements::parse(&self.requires.join(" "), PatchId::SEPARATOR);
        Ok(PatchLists {
            requires: requires.map_err(|error| wrong(&error, usage))?,
            obsoletes: list(&self.obsoletes)?,
            incompatibles: list(&self.incompat)?,
            fixes: self.fixes(usage)?,
        })
    }

    /// Refuses an id that only looks like that of a CVE record: no scanner would know it.
    fn fixes(&self, usage: &'static str) -> Result<FixList, Stop> {
        let fixes = FixList::parse(&self.fixes.join(" ")).map_err(|error| wrong(&error, usage))?;
        match fixes.iter().find_map(|id| Some((id, id.cve_fault()?))) {
            Some((id, fault)) => Err(wrong(&format!("<{id}> is not the id of a CVE record: {fault}"), usage)),
            None => Ok(fixes),
        }
    }

    fn naming(&self, usage: &'static str) -> Result<PairNaming, Stop> {
        let pkg_map = match &self.pkg_map {
            Some(path) => {
                let text = String::from_utf8_lossy(&read(path)?).into_owned();
                pkg_map(&text).map_err(|line| {
                    wrong(&format!("{}: line {line} is not `NAME PKG`", path.display()), usage)
                })?
            }
            None => BTreeMap::new(),
        };
        for (option, value) in [("--arch", &self.arch), ("--base-version", &self.base_version)] {
            if value.as_ref().is_some_and(|value| !is_line(value)) {
                return Err(wrong(&format!("{option} must be one line, and must not be empty"), usage));
            }
        }
        Ok(PairNaming {
            pkg: None,
            pkg_map,
            arch: self.arch.clone(),
            base_version: self.base_version.clone(),
        })
    }

    fn readme(&self, usage: &'static str) -> Result<ReadmeText, Stop> {
        let texts = self.synopsis.iter().chain(&self.keywords).chain(&self.bugs).chain(&self.properties);
        if let Some(text) = texts.into_iter().find(|text| !is_line(text)) {
            return Err(wrong(&format!("<{}> is not one line of text", text.escape_debug()), usage));
        }
        Ok(ReadmeText {
            synopsis: self.synopsis.clone(),
            keywords: self.keywords.clone(),
            bugs: self.bugs.clone(),
        })
    }

    fn read_class_scripts(&self, usage: &'static str) -> Result<BTreeMap<String, Vec<u8>>, Stop> {
        let mut scripts = BTreeMap::new();
        for path in &self.class_scripts {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let class = name.strip_prefix("i.").map(str::as_bytes);
            if class.is_none_or(|class| !is_class(class)) {
                return Err(wrong(&format!("{} is not called i.CLASS", path.display()), usage));
            }
            scripts.insert(name.to_owned(), read(path)?);
        }
        Ok(scripts)
    }
}

/// True for one line that is not empty.
fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

pub fn wrong(error: &dyn std::fmt::Display, usage: &'static str) -> Stop {
    Stop::Usage { message: error.to_string(), usage }
}

pub fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    let refused = |reason: String| Stop::Refused {
        exit: Exit::failed(ExitCause::NotFound),
        message: format!(
            "no patch was made\n{} cannot be read: {reason}\nhint: specify another file",
            path.display()
        ),
    };
    let text = read_start(path, LARGEST).map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(refused("it is larger than 16 MiB".to_owned()));
    }
    Ok(text)
}

/// Parses `NAME PKG` lines; the error is the number of an invalid line.
fn pkg_map(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut map = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(name), _, _) if name.starts_with('#') => {}
            (Some(name), Some(pkg), None) => {
                map.insert(name.to_owned(), pkg.to_owned());
            }
            _ => return Err(index + 1),
        }
    }
    Ok(map)
}

fn owner(text: &str, usage: &'static str) -> Result<(Word, Word), Stop> {
    let named = text.split_once(':').filter(|(user, group)| is_line(user) && is_line(group));
    let (user, group) =
        named.ok_or_else(|| wrong(&"--owner must be a user and a group: USER:GROUP", usage))?;
    if let Some(number) =
        [user, group].into_iter().find(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    {
        let message = format!("--owner must be the names of a user and a group, and {number} is a number");
        return Err(wrong(&message, usage));
    }
    Ok((user.into(), group.into()))
}

fn class_of_glob(text: &str) -> Result<(PathGlob, Word), String> {
    let (glob, class) = text.rsplit_once('=').ok_or("it has no `=`")?;
    if !is_class(class.as_bytes()) {
        return Err("the text after `=` is not a class".to_owned());
    }
    Ok((PathGlob::parse(glob).map_err(|error| error.to_string())?, class.into()))
}

/// A shell may print a warning for each line.
const LIMITS: ProgramLimits = ProgramLimits { time: Duration::from_secs(60), bytes: 4 << 20 };

const SHELL: &str = "/bin/sh";

/// Limits processor time in seconds, and memory in KiB, as far as the shell can.
const LIMITED: &str = "ulimit -t 30 2>/dev/null; ulimit -v 1048576 2>/dev/null; exec /bin/sh -n 2>&1";

/// Checks a script's syntax with the shell of this machine, without running it. Accepts scripts for other interpreters,
/// and all without a shell. Refuses a script that takes the shell too long.
pub fn read_by_shell(text: &[u8]) -> Result<(), String> {
    if !is_for_shell(text) || !Path::new(SHELL).exists() {
        return Ok(());
    }
    let mut command = Command::new(SHELL);
    command.args(["-c", LIMITED]).env_clear().current_dir("/");
    let (said, ended) = output_of(&mut command, SHELL, text, LIMITS)?;
    if ended.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let reason = said.lines().find(|line| !line.contains(": warning: ")).unwrap_or("a shell cannot read it");
    Err(reason.strip_prefix("/bin/sh: ").unwrap_or(reason).to_owned())
}

fn is_for_shell(text: &[u8]) -> bool {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix(b"#!") else { return true };
    let program = interpreter.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    program.ends_with(b"sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_names_has_two_words_a_line() {
        let map = pkg_map("# names\ncurl ACMEcurl\n\nlibssl3  ACMEssl\n").unwrap();
        assert_eq!(
            map.iter().map(|(name, pkg)| format!("{name} {pkg}")).collect::<Vec<_>>().join(", "),
            "curl ACMEcurl, libssl3 ACMEssl"
        );
        assert_eq!(pkg_map("curl ACMEcurl\ncurl\n"), Err(2));
        assert_eq!(pkg_map("a b c\n"), Err(1));
    }

    #[test]
    fn a_class_stands_behind_the_last_equals_sign() {
        let (glob, class) = class_of_glob("etc/a=b=cfg").unwrap();
        assert_eq!((glob.as_str(), class.as_str()), ("etc/a=b", "cfg"));
        assert!(class_of_glob("etc").is_err() && class_of_glob("etc=a/b").is_err());
    }

    #[test]
    fn a_shell_tells_what_it_cannot_read_and_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("ran");
        assert_eq!(read_by_shell(format!("touch {}\n", mark.display()).as_bytes()), Ok(()));
        assert!(!mark.exists());
        assert!(read_by_shell(b"if true; then\n").is_err());
        assert_eq!(read_by_shell(b"#!/usr/bin/perl\nif (\n"), Ok(()));
    }

    #[test]
    fn a_script_with_a_warning_in_each_line_is_read_to_its_end() {
        let warned = "a=$(cat <<x)\nx\n".repeat(10_000);
        assert_eq!(read_by_shell(warned.as_bytes()), Ok(()));
        let error = read_by_shell(format!("{warned}if true; then\n").as_bytes()).unwrap_err();
        assert!(!error.contains("warning"), "{error}");
    }
}
