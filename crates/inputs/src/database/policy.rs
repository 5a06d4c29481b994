//! Reads `etc/patchadm/policy` (patchadm-policy(5)), in the syntax of an admin file. Every setting is optional, and an
//! empty value sets nothing. Blanks around a name do not count. Unknown names and values, and lines without a value, are errors: a
//! misspelt policy would be no policy.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use regex::RegexBuilder;

use super::places;
use crate::password::without_password;
use crate::path_glob::PathGlob;
use crate::policy::{
    DeleteLimit, Edited, LibraryWords, NativeUpgrade, Policy, RootPatterns, ScriptPolicy, UndoLimit,
    percentage,
};
use crate::sign::DemandWord;
use crate::trial::TrialDuration;
use patchadm_changeset::plan::UndoFormat;
use patchadm_rootfs::{Root, RootError, Untrusted};
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile, ParamsError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

const SETTINGS: [&str; 34] = [
    "restricted",
    "separator",
    "undo_format",
    "undo_dir",
    "undo_keep",
    "undo_max",
    "undo_warn",
    "edited",
    "wait",
    "trial",
    "scripts",
    "script_timeout",
    "exclude",
    "signature",
    "keys",
    "depot",
    "ca",
    "proxy",
    "cache",
    "cache_limit",
    "first",
    "max_delete",
    "promote_exclude",
    "promote_before",
    "promote_after",
    "shlibs",
    "shlib_keep",
    "shlib_skip",
    "shlib_scan",
    "native_upgrade",
    "adopt",
    "trusted_roots",
    "as_owner_roots",
    "untrusted_roots",
];

/// Only the host may set which roots the superuser trusts.
const OF_THE_HOST: [&str; 3] = ["trusted_roots", "as_owner_roots", "untrusted_roots"];

/// Of one setting.
const MOST_PATTERNS: usize = 1000;
const LONGEST_PATTERNS: usize = 16 << 10;

/// In bytes, for `restricted`.
const LARGEST_REGEX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{path}: {reason}")]
    Syntax { path: String, reason: ParamsError },
    /// A line has no separator between name and value.
    #[error("{path}, line {line}: not a setting: write NAME=VALUE")]
    NoValue {
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// The next line would count as text of the comment.
    #[error("{path}, line {line}: a comment ends in a backslash, so the next line is part of it")]
    ContinuedComment {
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// A user other than the superuser may change the host's policy.
    #[error("the policy of this host is ignored, because others may write to it: {0}")]
    NotTheHosts(Box<Untrusted>),
    #[error("{path}, line {line}: {name}: {reason}")]
    Setting {
        path: String,
        /// Counted from 1.
        line: usize,
        name: String,
        reason: String,
    },
}

/// Returns the policy of the root, or the caller's instead; defaults if there is none. Settings for the host only are
/// errors in another root.
pub fn of_root(root: &Root) -> Result<Policy, PolicyError> {
    let path = places::policy();
    let (shown, text) = match root.text_instead(&path) {
        Some((name, text)) => (name.to_owned(), Some(text.to_vec())),
        None => (root.show(&path), root.read(&path, LARGEST_FILE as u64)?),
    };
    let Some(text) = text else { return Ok(Policy::default()) };
    let policy = parse(&text, &shown)?;
    if !root.is_system() {
        let params = ParamFile::parse(&text).map(|file| file.params()).unwrap_or_default();
        let is_set =
            |host: &&&str| params.iter().any(|(name, value)| name.trim() == **host && !value.is_empty());
        if let Some(name) = OF_THE_HOST.iter().find(is_set) {
            return Err(PolicyError::Setting {
                path: shown,
                line: line_of(&text, name),
                name: (*name).to_owned(),
                reason: "this setting is valid only in the policy of the host".to_owned(),
            });
        }
    }
    Ok(policy)
}

/// Replaces the root's policy by the caller's file `path`.
pub fn instead(root: Root, path: &Path, text: &[u8]) -> Root {
    root.with_text_instead(places::policy(), path.display().to_string(), text.to_vec())
}

pub fn is_of_caller(root: &Root) -> bool {
    root.text_instead(&places::policy()).is_some()
}

/// Returns the policy of the running system, a limit for other roots; defaults if there is none. File and parent
/// directories must be the superuser's alone.
pub fn of_host(host: &Root) -> Result<Policy, PolicyError> {
    let path = places::policy();
    // Without a file it does not matter who could write one.
    if host.read(&path, LARGEST_FILE as u64)?.is_none() {
        return Ok(Policy::default());
    }
    let host = host.clone().guarded(super::host_policy(), None);
    match host.read(&path, LARGEST_FILE as u64) {
        Ok(Some(text)) => parse(&text, &host.show(&path)),
        Ok(None) => Ok(Policy::default()),
        Err(RootError::Untrusted(place)) => Err(PolicyError::NotTheHosts(place)),
        Err(error) => Err(error.into()),
    }
}

pub fn parse(text: &[u8], path: &str) -> Result<Policy, PolicyError> {
    let file =
        ParamFile::parse(text).map_err(|reason| PolicyError::Syntax { path: path.to_owned(), reason })?;
    if let Some(line) = continued_comment(text) {
        return Err(PolicyError::ContinuedComment { path: path.to_owned(), line });
    }
    if let Some(line) = line_without_value(text) {
        return Err(PolicyError::NoValue { path: path.to_owned(), line });
    }
    let params = file.params();
    let mut policy = Policy::default();
    let mut seen = HashSet::new();
    let settings = params.iter().map(|(name, value)| (name.trim(), value));
    for (name, value) in settings.filter(|(name, value)| !value.is_empty() && !name.starts_with('#')) {
        if !seen.insert(name) {
            continue;
        }
        let value = str::from_utf8(value).map_err(|_| "it is not UTF-8".to_owned());
        let mut set_shown = |value: &str| {
            // Any value may be an address with a password.
            let without_passwords = |reason: String| reason.replace(value, &without_password(value));
            set(&mut policy, name, value).map_err(without_passwords)
        };
        value.and_then(&mut set_shown).map_err(|reason| PolicyError::Setting {
            path: path.to_owned(),
            line: line_of(text, name),
            name: name.escape_debug().to_string(),
            reason,
        })?;
    }
    Ok(policy)
}

fn set(policy: &mut Policy, name: &str, value: &str) -> Result<(), String> {
    match name {
        "restricted" => {
            must_be_bounded(std::iter::once(value))?;
            let regex = RegexBuilder::new(value).size_limit(LARGEST_REGEX).build();
            policy.restricted = regex.map_err(|error| regex_reason(&error))?;
        }
        "separator" => policy.separator = separator(value)?,
        "undo_format" | "undo_dir" | "undo_keep" | "undo_max" | "undo_warn" => {
            set_of_undo(policy, name, value)?;
        }
        "edited" => {
            let words = [("stop", Edited::Stop), ("replace", Edited::Replace), ("keep", Edited::Keep)];
            policy.edited = word(value, &words)?;
        }
        "wait" => policy.wait = seconds(value)?,
        "trial" => policy.trial = Some(TrialDuration::parse(value)?),
        "scripts" => {
            let words =
                [("run", ScriptPolicy::Run), ("known", ScriptPolicy::Known), ("none", ScriptPolicy::None)];
            policy.scripts = word(value, &words)?;
        }
        "script_timeout" => policy.script_timeout = seconds(value)?,
        "exclude" => policy.exclude = words(value),
        "first" => policy.first = words(value),
        "max_delete" => {
            policy.max_delete = DeleteLimit::parse(value)
                .ok_or_else(|| format!("<{value}> is neither a number nor a percentage"))?;
        }
        "promote_exclude" => {
            policy.promote_exclude = patterns(value)?;
        }
        "shlibs" | "shlib_keep" | "shlib_skip" | "shlib_scan" => set_of_libraries(policy, name, value)?,
        "native_upgrade" => {
            let words = [("warn", NativeUpgrade::Warn), ("stop", NativeUpgrade::Stop)];
            policy.native_upgrade = word(value, &words)?;
        }
        "adopt" => policy.adopts = word(value, &[("ask", false), ("auto", true)])?,
        "promote_before" => policy.promote_before = Some(program(value)?),
        "promote_after" => policy.promote_after = Some(program(value)?),
        "depot" => policy.depot = Some(depot(value)?),
        "proxy" => policy.proxy = Some(value.to_owned()),
        "ca" => policy.ca = Some(absolute(value)?),
        "cache" => policy.cache = Some(absolute(value)?),
        "cache_limit" => {
            policy.cache_limit = value.parse().map_err(|_| format!("<{value}> is not a number of bytes"))?;
        }
        "signature" => policy.signature = Some(word(value, &DemandWord::ALL)?),
        "keys" => {
            let path = ObjectPath::new(value.as_bytes());
            policy.keys = path.map_err(|_| format!("<{value}> is not an absolute path"))?;
            policy.names_keys = true;
        }
        "trusted_roots" => policy.trusted_roots = root_patterns(value)?,
        "as_owner_roots" => policy.as_owner_roots = root_patterns(value)?,
        "untrusted_roots" => policy.untrusted_roots = root_patterns(value)?,
        _ => return Err(format!("no such setting; the settings are {}", SETTINGS.join(", "))),
    }
    Ok(())
}

fn set_of_undo(policy: &mut Policy, name: &str, value: &str) -> Result<(), String> {
    match name {
        "undo_format" => {
            policy.undo_format = word(value, &UndoFormat::ALL)?;
        }
        "undo_dir" => policy.undo_dir = Some(absolute(value)?),
        "undo_keep" => {
            let number = value.parse().map_err(|_| format!("<{value}> is not a number of patches"))?;
            policy.undo_keep = Some(number);
        }
        "undo_max" => policy.undo_max = Some(UndoLimit::parse(value)?),
        _ => policy.undo_warn = percentage(value)?,
    }
    Ok(())
}

fn set_of_libraries(policy: &mut Policy, name: &str, value: &str) -> Result<(), String> {
    match name {
        "shlib_keep" => policy.shlib_keep = patterns(value)?,
        "shlib_skip" => policy.shlib_skip = patterns(value)?,
        "shlib_scan" => {
            let paths = words(value).into_iter().map(|word| program(&word));
            policy.shlib_scan = paths.collect::<Result<_, _>>()?;
        }
        _ => {
            policy.shlibs = LibraryWords::parse(value)
                .ok_or_else(|| format!("<{value}> is not one of report, keep, stop and keep,stop"))?;
        }
    }
    Ok(())
}

fn words(value: &str) -> Vec<String> {
    let words = value.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Compiled patterns take 150 times as much memory as their text.
fn must_be_bounded<'v>(patterns: impl Iterator<Item = &'v str>) -> Result<(), String> {
    let (mut count, mut length) = (0, 0);
    for pattern in patterns {
        (count, length) = (count + 1, length + pattern.len());
        if count > MOST_PATTERNS || length > LONGEST_PATTERNS {
            return Err(format!(
                "it has more than {MOST_PATTERNS} patterns, or they are longer than {LONGEST_PATTERNS} bytes in total"
            ));
        }
    }
    Ok(())
}

fn root_patterns(value: &str) -> Result<RootPatterns, String> {
    must_be_bounded(words(value).iter().map(String::as_str))?;
    RootPatterns::parse(value)
}

fn patterns(value: &str) -> Result<Vec<PathGlob>, String> {
    must_be_bounded(words(value).iter().map(String::as_str))?;
    let patterns = words(value).into_iter().map(|word| PathGlob::parse(&word));
    patterns.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn absolute(value: &str) -> Result<PathBuf, String> {
    if value.starts_with('/') {
        Ok(PathBuf::from(value))
    } else {
        Err(format!("<{value}> is not an absolute path"))
    }
}

fn program(value: &str) -> Result<ObjectPath, String> {
    let path = ObjectPath::new(value.as_bytes())
        .ok()
        .filter(|path| value.starts_with('/') && !path.name().is_empty());
    path.ok_or_else(|| format!("<{value}> is not the absolute path of a file"))
}

/// Accepts an address, or an absolute path: the same in every working directory.
fn depot(value: &str) -> Result<String, String> {
    let schemes = ["http://", "https://", "file:/"];
    if value.starts_with('/') || schemes.iter().any(|scheme| value.starts_with(scheme)) {
        return Ok(value.to_owned());
    }
    Err(format!("<{value}> is neither an absolute path nor a file:, http: or https: URL"))
}

fn seconds(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("<{value}> is not a number of seconds"))
}

fn word<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("<{value}> is not one of {}", words.join(", "))
    })
}

fn separator(value: &str) -> Result<String, String> {
    match PatchId::parse(&format!("1{value}1"), value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(error.reason.to_owned()),
    }
}

/// Without the multi-line picture.
fn regex_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("not a regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
}

/// Returns the first line that sets `name`, after continued lines are joined.
fn line_of(text: &[u8], name: &str) -> usize {
    let mut continued = false;
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let rest = line.trim_ascii_start().strip_prefix(name.as_bytes()).filter(|_| !continued);
        let separator = rest.and_then(|rest| rest.trim_ascii_start().first());
        if separator.is_some_and(|byte| b"=:".contains(byte)) {
            return at + 1;
        }
        continued = line.ends_with(b"\\");
    }
    1
}

/// The first line of a comment that the next line continues. The setting there would count as text of the comment.
fn continued_comment(text: &[u8]) -> Option<usize> {
    let mut continued = false;
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let has_backslash = line.ends_with(b"\\");
        if has_backslash && !continued && line.trim_ascii_start().starts_with(b"#") {
            return Some(at + 1);
        }
        // Only a value can be continued.
        continued = has_backslash && (continued || line.iter().any(|byte| b"=:".contains(byte)));
    }
    None
}

/// The first line that is neither blank, a comment nor a setting. A line that continues another, or stands after an opening
/// quote, belongs to that one.
fn line_without_value(text: &[u8]) -> Option<usize> {
    let mut continued = false;
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let mut pieces = line.splitn(2, |byte| b"=:".contains(byte));
        let name = pieces.next().unwrap_or_default().trim_ascii();
        let value = pieces.next().map(<[u8]>::trim_ascii_start);
        if value.is_some_and(|value| value.starts_with(b"\"") || value.starts_with(b"'")) {
            // Its value may have several lines.
            return None;
        }
        if value.is_none() && !continued && !name.is_empty() && !name.starts_with(b"#") {
            return Some(at + 1);
        }
        continued = line.ends_with(b"\\");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        parse(text.as_bytes(), "/etc/patchadm/policy").map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_policy_sets_everything() {
        let text = "# ours\nrestricted=^R\nseparator=_\nundo_format=Z\nundo_dir=/net/undo\nedited=keep\n\
            wait=30\nexclude=100_01,101_02 IDR3_1\nscripts=known\nscript_timeout=0\n";
        let policy = read(text).unwrap();
        assert!(policy.is_restricted("R100") && !policy.is_restricted("IDR148363"));
        assert_eq!(policy.separator, "_");
        assert_eq!(policy.undo_format, UndoFormat::Compress);
        assert_eq!(policy.undo_dir, Some(PathBuf::from("/net/undo")));
        assert_eq!((policy.edited, policy.wait), (Edited::Keep, 30));
        assert_eq!((policy.scripts, policy.script_timeout), (ScriptPolicy::Known, 0));
        assert_eq!(policy.exclude, ["100_01", "101_02", "IDR3_1"]);
    }

    #[test]
    fn a_policy_limits_undo_data() {
        let policy = read("undo_keep=5\nundo_max=2G\nundo_warn=0%\n").unwrap();
        assert_eq!((policy.undo_keep, policy.undo_warn), (Some(5), 0));
        assert_eq!(policy.undo_max, Some(UndoLimit::Bytes(2 << 30)));
        assert_eq!(read("undo_max=0\n").unwrap().undo_max, Some(UndoLimit::Bytes(0)));
        let policy = read("").unwrap();
        assert_eq!((policy.undo_keep, policy.undo_max, policy.undo_warn), (None, None, 10));
        for wrong in ["undo_keep=-1", "undo_keep=many", "undo_max=2X", "undo_max=101%", "undo_warn=5"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_policy_says_what_is_fetched_from_where() {
        let text = "depot=https://patches.example.org/solaris\nca=/etc/ca.pem\nproxy=proxy:3128\ncache=/var/tmp/c\n\
            cache_limit=1000000\nfirst=SUNWswmt,SUNWcsu\n";
        let policy = read(text).unwrap();
        assert_eq!(policy.depot.as_deref(), Some("https://patches.example.org/solaris"));
        assert_eq!(policy.ca, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!((policy.proxy.as_deref(), policy.cache_limit), (Some("proxy:3128"), 1_000_000));
        assert_eq!(policy.cache, Some(PathBuf::from("/var/tmp/c")));
        assert_eq!(policy.first, ["SUNWswmt", "SUNWcsu"]);
        assert_eq!(read("").unwrap().cache_limit, 2_147_483_648);
        for wrong in ["depot=patches", "depot=ftp://x/", "ca=x", "cache=x", "cache_limit=2G"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bounded_policy_takes_depots_and_cache_from_the_host_alone() {
        let host = read("depot=/srv/depot\ncache_limit=5\n").unwrap();
        let other =
            read("depot=http://evil/\nca=/x\nproxy=evil:1\ncache=/x\ncache_limit=9\nfirst=A\n").unwrap();
        let bounded = other.bounded_by(&host);
        assert_eq!(bounded.depot.as_deref(), Some("/srv/depot"));
        assert_eq!((bounded.ca, bounded.proxy, bounded.cache), (None, None, None));
        assert_eq!((bounded.cache_limit, bounded.first), (5, vec!["A".to_owned()]));
    }

    #[test]
    fn every_setting_that_an_error_names_exists() {
        for name in SETTINGS {
            let error = read(&format!("{name}=*\n")).err().unwrap_or_default();
            assert!(!error.contains("no such setting"), "{name}: {error}");
        }
    }

    #[test]
    fn what_is_absent_or_empty_has_its_default() {
        let policy = read("restricted=\nundo_dir=\nwait=\n").unwrap();
        assert!(policy.is_restricted("IDR148363"));
        assert_eq!((policy.undo_dir, policy.wait, policy.separator.as_str()), (None, 0, "-"));
        assert_eq!((policy.scripts, policy.script_timeout), (ScriptPolicy::Run, 3600));
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(of_root(&root).unwrap().edited, Edited::Stop);
    }

    #[test]
    fn only_the_host_says_which_roots_are_trusted() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/patchadm")).unwrap();
        let file = dir.path().join("etc/patchadm/policy");
        std::fs::write(&file, "wait=1\nuntrusted_roots=/zones/* /images\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let error = of_root(&root).unwrap_err().to_string();
        assert!(
            error.ends_with("line 2: untrusted_roots: this setting is valid only in the policy of the host")
        );
        if rustix::process::geteuid().is_root() {
            assert!(of_host(&root).unwrap().untrusted_roots.name(b"/zones/a"));
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
            let error = of_host(&root).unwrap_err();
            assert!(
                matches!(&error, PolicyError::NotTheHosts(told) if told.path.ends_with("policy")),
                "{error}"
            );
        }
    }

    #[test]
    fn patterns_are_bounded_in_number_and_length() {
        for name in ["promote_exclude", "shlib_keep", "shlib_skip", "trusted_roots", "untrusted_roots"] {
            assert!(read(&format!("{name}={}", "/a ".repeat(MOST_PATTERNS))).is_ok(), "{name}");
            for many in ["/a ".repeat(MOST_PATTERNS + 1), format!("/{} ", "a".repeat(4000)).repeat(5)] {
                let error = read(&format!("{name}={many}")).unwrap_err();
                assert!(error.contains("it has more than 1000 patterns, or they are longer"), "{error}");
            }
        }
        assert!(read(&format!("restricted={}", "a".repeat(LONGEST_PATTERNS + 1))).is_err());
        let error = read("restricted=(\\pL{100}){100}\n").unwrap_err();
        assert!(error.contains("restricted: not a regular expression: "), "{error}");
    }

    #[test]
    fn of_a_name_that_comes_twice_the_first_line_counts() {
        assert_eq!(read("edited=keep\nedited=replace\n").unwrap().edited, Edited::Keep);
    }

    #[test]
    fn blanks_around_a_name_do_not_count() {
        let policy = read("  depot = /srv/depot\nedited\t=\tkeep\nedited = replace\nwait = 30 \n").unwrap();
        assert_eq!(policy.depot.as_deref(), Some("/srv/depot"));
        assert_eq!((policy.edited, policy.wait), (Edited::Keep, 30));
        assert!(read("wait = 1\nedited = maybe\n").unwrap_err().contains("line 2: edited: "));
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/patchadm")).unwrap();
        std::fs::write(dir.path().join("etc/patchadm/policy"), "wait=1\n trusted_roots = /zones/*\n")
            .unwrap();
        let error = of_root(&Root::open(dir.path()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("line 2: trusted_roots: "), "{error}");
    }

    #[test]
    fn a_line_without_a_value_is_an_error_that_names_the_form() {
        for (text, line) in [("# ours\n\ndepot /srv/depot\n", 3), ("wait=1\nedited", 2)] {
            let expected = format!("/etc/patchadm/policy, line {line}: not a setting: write NAME=VALUE");
            assert_eq!(read(text).unwrap_err(), expected);
        }
        assert!(read("exclude=100-01 \\\n101-01\n# a comment\n  # another=1\n\n").is_ok());
    }

    #[test]
    fn a_comment_cannot_go_on_in_the_line_of_a_setting() {
        for text in [
            "wait=1\n# x=1 \\\nsignature=require\n",
            "wait=1\n  # x: 1\\\nsignature=require\n",
            "wait=\"1\"\n# x \\\nsignature=require\n",
        ] {
            let expected =
                "/etc/patchadm/policy, line 2: a comment ends in a backslash, so the next line is part of it";
            assert_eq!(read(text).unwrap_err(), expected, "{text:?}");
        }
        assert!(read("# x=1 \\ y\nexclude=100-01 \\\n101-01\n").is_ok());
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_setting() {
        for (text, expected) in [
            (
                "wait=1\nedit=stop\n",
                "line 2: edit: no such setting; the settings are restricted, separator, undo_format, undo_dir, undo_keep, \
                 undo_max, undo_warn, edited, wait, \
                 trial, scripts, script_timeout, exclude, signature, keys, depot, ca, proxy, cache, cache_limit, first, max_delete, \
                 promote_exclude, promote_before, promote_after, shlibs, shlib_keep, shlib_skip, shlib_scan, native_upgrade, adopt, \
                 trusted_roots, as_owner_roots, untrusted_roots",
            ),
            (
                "exclude=1-1 \\\nedited=2-1\nedited=no\n",
                "line 3: edited: <no> is not one of stop, replace, keep",
            ),
            ("restricted=^(T\n", "line 1: restricted: not a regular expression: unclosed group"),
            ("\n\nundo_dir=undo\n", "line 3: undo_dir: <undo> is not an absolute path"),
            ("undo_format=bz2\n", "line 1: undo_format: <bz2> is not one of gz, Z, none, zst, xz, files"),
            ("wait=soon\n", "line 1: wait: <soon> is not a number of seconds"),
            ("scripts=some\n", "line 1: scripts: <some> is not one of run, known, none"),
            ("signature=yes\n", "line 1: signature: <yes> is not one of require, warn, off"),
            ("keys=here\n", "line 1: keys: <here> is not an absolute path"),
            (
                "separator=/\n",
                "line 1: separator: the separator may contain only letters, `_`, `.`, `+` and `-`",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("/etc/patchadm/policy, {expected}"), "{text:?}");
        }
        let error = read("wait=1\nedited=\"stop\n").unwrap_err();
        assert!(error.starts_with("/etc/patchadm/policy: line 2: parsing error"), "{error}");
    }

    #[test]
    fn the_policy_of_a_root_is_read_inside_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/patchadm")).unwrap();
        std::fs::write(dir.path().join("etc/patchadm/policy"), "separator=_\nbogus=1\n").unwrap();
        let error = of_root(&Root::open(dir.path()).unwrap()).unwrap_err().to_string();
        let path = dir.path().join("etc/patchadm/policy");
        let expected = format!("{}, line 2: bogus: no such setting; the settings are ", path.display());
        assert!(error.starts_with(&expected), "{error}");
    }
}
