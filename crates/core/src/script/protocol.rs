//! Exit codes and output of scripts (pkgadd(1M), patchadd(1M)), and the response file of request and checkinstall
//! scripts. Only the scripts' group can enter its directory, so no other process of that user can open it. The answers
//! are parsed as pkginfo(4) text, never run by a shell.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::script::ScriptEnd;
use crate::script::trust::ScriptUser;
use patchadm_rootfs::{Dir, RootError, random};
use patchadm_svr4::format::params::ParamsError;
use patchadm_svr4::format::response::Response;
use patchadm_svr4::package::Mode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitMeaning {
    /// Code 0.
    Ok,
    /// Code 1, any undefined code, a signal, or a timeout: the operation fails.
    Fatal,
    /// Code 2: the operation continues.
    Warning,
    /// Code 3: the user, or a program on the user's behalf, wants to stop.
    Interrupted,
    /// Code 4, and from checkinstall also 3 and 7 (unreadable script): an administrator must decide first.
    Administration,
    /// Code 5: a user must answer first.
    Interaction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RebootRequest {
    #[default]
    None,
    /// After all packages: the code plus ten.
    AfterAll,
    /// Right after this package: the code plus twenty.
    Immediate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptOutcome {
    pub meaning: ExitMeaning,
    pub reboot: RebootRequest,
}

impl ScriptOutcome {
    pub fn of(ended: ScriptEnd, is_checkinstall: bool) -> Self {
        let (code, reboot) = match ended {
            ScriptEnd::Exited(code @ 10..=15) => (code - 10, RebootRequest::AfterAll),
            ScriptEnd::Exited(code @ 20..=25) => (code - 20, RebootRequest::Immediate),
            ScriptEnd::Exited(code) => (code, RebootRequest::None),
            ScriptEnd::Interrupted => (3, RebootRequest::None),
            ScriptEnd::Signalled(_) | ScriptEnd::TimedOut => (1, RebootRequest::None),
        };
        let suspends = is_checkinstall && matches!(ended, ScriptEnd::Exited(_));
        let meaning = match code {
            0 => ExitMeaning::Ok,
            2 => ExitMeaning::Warning,
            3 if suspends => ExitMeaning::Administration,
            3 => ExitMeaning::Interrupted,
            4 => ExitMeaning::Administration,
            5 => ExitMeaning::Interaction,
            7 if suspends && reboot == RebootRequest::None => ExitMeaning::Administration,
            _ => ExitMeaning::Fatal,
        };
        Self { meaning, reboot }
    }

    /// True if the operation continues and is kept.
    pub fn commits(self) -> bool {
        matches!(self.meaning, ExitMeaning::Ok | ExitMeaning::Warning)
    }
}

/// A message from a patch's scripts to patchadd(1M): a line with a token, a number and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchMessage {
    /// The exit code of patchadd.
    pub number: u8,
    /// Printed by patchadd.
    pub text: String,
}

const TOKEN: &str = "PaTcH_MsG ";

impl PatchMessage {
    /// Finds the last message in the output. Its text continues up to a blank line or a line of pkgadd, because
    /// puttext(1) folds it at about 70 columns.
    pub fn last_in(output: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(output);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().enumerate().rev().find_map(|(at, line)| {
            let (_, said) = line.split_once(TOKEN)?;
            let (number, first) = said.trim_start().split_once(' ').unwrap_or((said.trim(), ""));
            let rest = lines.iter().skip(at + 1).take_while(|line| continues(line));
            let words = std::iter::once(first).chain(rest.copied()).flat_map(str::split_whitespace);
            Some(Self { number: number.parse().ok()?, text: words.collect::<Vec<_>>().join(" ") })
        })
    }
}

fn continues(line: &str) -> bool {
    !line.trim().is_empty()
        && !line.starts_with("pkgadd:")
        && !line.starts_with("## ")
        && !line.contains(TOKEN)
}

/// In bytes.
const LIMIT: u64 = 16 << 20;

const NAME: &[u8] = b"response";

#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("the script removed its response file {}", .0.display())]
    Gone(PathBuf),
    #[error("response file of {script}: {source}")]
    Syntax { script: String, source: ParamsError },
}

#[derive(Debug)]
pub struct ResponseFile {
    dir: Dir,
    path: PathBuf,
}

impl ResponseFile {
    /// Makes the file below `directory` with the answers so far. `user` becomes its owner.
    pub fn create(directory: &Path, text: &[u8], user: Option<ScriptUser>) -> Result<Self, ResponseError> {
        let place = format!("response-{:016x}", random()?);
        let dir = Dir::of_host(directory)?.make_dir(place.as_bytes(), Mode::of(0o700))?;
        let mut file = dir.create(NAME)?;
        file.put(text)?;
        if let Some(user) = user {
            file.set_owner(user.uid, user.gid)?;
            dir.set_own_owner(None, Some(user.gid))?;
            dir.set_own_mode(Mode::of(0o710))?;
        }
        file.set_mode(Mode::of(0o640))?;
        let path = directory.join(place).join(std::ffi::OsStr::from_bytes(NAME));
        Ok(Self { dir, path })
    }

    /// The only argument of the scripts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> Result<Vec<u8>, ResponseError> {
        self.dir.read(NAME, LIMIT)?.ok_or_else(|| ResponseError::Gone(self.path.clone()))
    }

    /// Parses all answers, earlier ones included.
    pub fn read(&self, script: &str) -> Result<Response, ResponseError> {
        Response::parse(&self.text()?)
            .map_err(|source| ResponseError::Syntax { script: script.to_owned(), source })
    }
}

/// Returns a complaint about each answer to a read-only parameter, which is ignored.
pub fn complaints(response: &Response) -> impl Iterator<Item = String> {
    response.read_only.iter().map(|name| format!("read-only parameter <{name}> cannot be assigned a value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_code_has_its_meaning() {
        use ExitMeaning::{Administration, Fatal, Interaction, Interrupted, Ok, Warning};
        use RebootRequest::{AfterAll, Immediate, None};
        for (code, meaning, reboot, commits) in [
            (0, Ok, None, true),
            (1, Fatal, None, false),
            (2, Warning, None, true),
            (3, Interrupted, None, false),
            (4, Administration, None, false),
            (5, Interaction, None, false),
            (6, Fatal, None, false),
            (7, Fatal, None, false),
            (10, Ok, AfterAll, true),
            (11, Fatal, AfterAll, false),
            (12, Warning, AfterAll, true),
            (13, Interrupted, AfterAll, false),
            (16, Fatal, None, false),
            (20, Ok, Immediate, true),
            (22, Warning, Immediate, true),
            (25, Interaction, Immediate, false),
            (27, Fatal, None, false),
            (99, Fatal, None, false),
        ] {
            let outcome = ScriptOutcome::of(ScriptEnd::Exited(code), false);
            assert_eq!(
                (outcome, outcome.commits()),
                (ScriptOutcome { meaning, reboot }, commits),
                "code {code}"
            );
        }
    }

    #[test]
    fn checkinstall_suspends_where_others_are_interrupted() {
        let meaning = |ended| ScriptOutcome::of(ended, true).meaning;
        assert_eq!([3, 7].map(|code| meaning(ScriptEnd::Exited(code))), [ExitMeaning::Administration; 2]);
        assert_eq!(meaning(ScriptEnd::Exited(1)), ExitMeaning::Fatal);
        assert_eq!(meaning(ScriptEnd::Interrupted), ExitMeaning::Interrupted);
    }

    #[test]
    fn signals_and_the_end_of_time_are_failures() {
        for ended in [ScriptEnd::Signalled(9), ScriptEnd::TimedOut] {
            assert_eq!(
                ScriptOutcome::of(ended, false),
                ScriptOutcome { meaning: ExitMeaning::Fatal, reboot: RebootRequest::None }
            );
        }
    }

    #[test]
    fn the_last_message_counts_and_folded_lines_are_joined() {
        let output = b"## Executing checkinstall script.\n\
            PaTcH_MsG 2 an earlier one\n\
            checkinstall: PaTcH_MsG 6 ERROR: A later version of this patch is\n\
            applied.\n\
            \n\
            pkgadd: ERROR: checkinstall script did not complete successfully\n";
        let message = PatchMessage::last_in(output).unwrap();
        assert_eq!(
            (message.number, message.text.as_str()),
            (6, "ERROR: A later version of this patch is applied.")
        );
    }

    #[test]
    fn a_message_ends_where_pkgadd_speaks_and_noise_is_none() {
        let output = b"PaTcH_MsG 8 Version 2.0 is not installed.\npkgadd: ERROR: no\n";
        assert_eq!(PatchMessage::last_in(output).unwrap().text, "Version 2.0 is not installed.");
        for noise in [&b""[..], b"PaTcH_MsG many words", b"PaTcH_MsG 999 x", b"PaTcH_MsG\n"] {
            assert_eq!(PatchMessage::last_in(noise), None);
        }
    }

    #[test]
    fn answers_of_the_engine_and_of_a_script_are_read_back_together() {
        let dir = tempfile::tempdir().unwrap();
        let file = ResponseFile::create(dir.path(), b"PATCH_PROGRESSIVE=false\n", None).unwrap();
        let mut script = std::fs::OpenOptions::new().append(true).open(file.path()).unwrap();
        script.write_all(b"PATCHLIST=\"1-01 2-02\"\nPATH=/evil\nBASEDIR=/opt/x\n").unwrap();
        let response = file.read("checkinstall").unwrap();
        let names: Vec<&str> = response.params.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATCH_PROGRESSIVE", "PATCHLIST", "BASEDIR"]);
        let complaints: Vec<String> = complaints(&response).collect();
        assert_eq!(complaints, ["read-only parameter <PATH> cannot be assigned a value"]);
    }

    #[test]
    fn a_script_that_spoils_its_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = ResponseFile::create(dir.path(), b"", None).unwrap();
        std::fs::write(file.path(), "A=\"never closed\n").unwrap();
        let error = file.read("request").unwrap_err().to_string();
        assert!(error.starts_with("response file of request: line 1"), "{error}");
        std::fs::remove_file(file.path()).unwrap();
        assert!(file.read("request").unwrap_err().to_string().starts_with("the script removed"));
    }
}
