//! A patch's own scripts (prepatch and so on), run as the caller in the patch's directory, a private copy of what was
//! checked, or the database. Kept scripts lie in `var/sadm/patch` for years: one runs, from a private copy, if it has the
//! recorded content, or, left by a classic tool, if only the superuser could have changed it.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::operation::failure::Failure;
use crate::operation::scripts::ScriptFailure;
use crate::operation::scripts::package_directory::stays_as_checked;
use crate::operation::scripts::safety::check_owners;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::format::ledger::{LedgerLine, LedgerUndo};
use patchadm_inputs::input_file::InputFile;
use patchadm_inputs::source::{Form, Hooks, Image, Source};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::{Digest, Dir, NewTree};
use patchadm_svr4::package::{Mode, PkgInst, rule};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

#[derive(Clone, Debug)]
pub(crate) struct HookDirectory {
    pub(super) directory: PathBuf,
}

impl HookDirectory {
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Copies scripts and README below `private` unless the source is a directory that [`stays_as_checked`].
    pub(super) fn of(source: &Source, image: &Image, private: &Path) -> io::Result<Self> {
        if source.form() == Form::Directory {
            let directory = std::path::absolute(source.path())?;
            if stays_as_checked(image, &directory) {
                return Ok(Self { directory });
            }
        }
        let directory = private.join("patch");
        let mut copy = NewTree::below(Dir::of_host(private)?.make_dir(b"patch", Mode::of(0o755))?);
        for (name, text) in named(&image.hooks).into_iter().filter_map(|(name, text)| Some((name, text?))) {
            copy.write(name.as_bytes(), text, Mode::of(0o755))?;
        }
        if let Some((name, text)) = &image.readme {
            let name = Path::new(name).file_name().unwrap_or(OsStr::new("README"));
            copy.write(name.as_bytes(), text, Mode::of(0o644))?;
        }
        Ok(Self { directory })
    }

    /// Copies one script below `private`.
    pub(super) fn with(name: &str, text: &[u8], private: &Path) -> io::Result<Self> {
        let directory = private.join("kept");
        let mut copy = NewTree::at(&directory)?;
        copy.write(name.as_bytes(), text, Mode::of(0o755))?;
        Ok(Self { directory })
    }

    pub(in crate::operation) fn must_be_executable<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), ScriptFailure> {
        names.into_iter().try_for_each(|name| {
            let text = self.executable(name)?;
            Interpreter::of(name, &text).map(drop)
        })
    }

    fn executable(&self, name: &str) -> Result<Vec<u8>, ScriptFailure> {
        let file = self.directory.join(name);
        let refuse = |reason: String| ScriptFailure::not_executable(name, reason);
        let failed = |error: io::Error| refuse(format!("{}: {error}", file.display()));
        let mode = fs::metadata(&file).map_err(failed)?.permissions().mode();
        if mode & 0o111 == 0 {
            return Err(refuse(format!("{} is not executable", file.display())));
        }
        let mut text = Vec::new();
        let read = InputFile::open(&file).and_then(|mut script| script.read_to_end(&mut text));
        read.map(|_| text).map_err(failed)
    }

    /// Returns the script, or a starter of its interpreter, made in `private`.
    pub(in crate::operation) fn file(&self, name: &str, private: &Path) -> Result<PathBuf, ScriptFailure> {
        let file = self.directory.join(name);
        let refuse = |reason: String| ScriptFailure::not_executable(name, reason);
        let text = self.executable(name)?;
        let Some(Interpreter { program: interpreter, argument }) = Interpreter::of(name, &text)? else {
            return Ok(file);
        };
        let mut call = b"exec".to_vec();
        let words = [interpreter, argument, file.as_os_str().as_bytes()];
        for word in words.into_iter().filter(|word| !word.is_empty()) {
            call.push(b' ');
            call.extend(quoted(word));
        }
        call.push(b'\n');
        let starter = format!("{name}.start");
        let written = Dir::of_host(private)
            .and_then(|dir| NewTree::below(dir).write(starter.as_bytes(), &call, Mode::of(0o644)));
        written.map_err(|error| refuse(error.to_string()))?;
        Ok(private.join(starter))
    }
}

/// Refuses scripts that cannot be run, in the patch's directory or its archive.
pub(in crate::operation::patches) fn must_be_executable(
    source: &Source,
    image: &Image,
    names: &[&str],
) -> Result<(), ScriptFailure> {
    if source.form() == Form::Directory {
        let directory = std::path::absolute(source.path()).unwrap_or_else(|_| source.path().to_owned());
        return HookDirectory::at(directory).must_be_executable(names.iter().copied());
    }
    // Copies of the others get all permissions.
    let delivered = named(&image.hooks).into_iter().filter(|(name, _)| names.contains(name));
    delivered
        .filter_map(|(name, text)| Some((name, text?)))
        .try_for_each(|(name, text)| Interpreter::of(name, text).map(drop))
}

/// From the first line, with its argument.
struct Interpreter<'t> {
    program: &'t [u8],
    argument: &'t [u8],
}

impl<'t> Interpreter<'t> {
    /// `None` without `#!`. Fails if it does not exist.
    fn of(name: &str, text: &'t [u8]) -> Result<Option<Self>, ScriptFailure> {
        let Some(line) = text.strip_prefix(b"#!").and_then(|rest| rest.split(|&byte| byte == b'\n').next())
        else {
            return Ok(None);
        };
        let line = line.trim_ascii();
        let (program, argument) = match line.iter().position(u8::is_ascii_whitespace) {
            Some(end) => line.split_at(end),
            None => (line, &b""[..]),
        };
        let found = fs::metadata(OsStr::from_bytes(program));
        if !found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0) {
            let shown = String::from_utf8_lossy(program);
            let reason = format!("its interpreter {shown} does not exist");
            return Err(ScriptFailure::not_executable(name, reason));
        }
        Ok(Some(Self { program, argument: argument.trim_ascii() }))
    }
}

fn named(hooks: &Hooks) -> [(&'static str, Option<&Vec<u8>>); 4] {
    [
        ("prepatch", hooks.prepatch.as_ref()),
        ("postpatch", hooks.postpatch.as_ref()),
        ("prebackout", hooks.prebackout.as_ref()),
        ("postbackout", hooks.postbackout.as_ref()),
    ]
}

fn quoted(word: &[u8]) -> Vec<u8> {
    let mut text = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => text.extend_from_slice(b"'\\''"),
            byte => text.push(byte),
        }
    }
    text.push(b'\'');
    text
}

const LARGEST: u64 = 16 << 20;

/// The ledger's entry about a kept script.
enum Recorded {
    /// A classic tool applied the patch.
    Nothing,
    /// The patch has an entry without this script.
    NoSuchScript,
    Digest(Digest),
}

/// Each package of the patch has the script in its line.
fn recorded(ground: &RootAndPolicy, patch: &PatchId, name: &str) -> Result<Recorded, Failure> {
    let view = RecordView::live(&ground.root);
    let mut found = Recorded::Nothing;
    for package in ground.root.list(&places::ledgers())?.unwrap_or_default() {
        let Some(package) = std::str::from_utf8(&package).ok().and_then(|name| PkgInst::new(name).ok())
        else {
            continue;
        };
        let ledger = ledger::counting(&view, &package).map_err(ArchiveError::from)?;
        if let Some(digest) = ledger.script_digest(patch.as_str(), name) {
            return Ok(Recorded::Digest(digest));
        }
        // Lines about archives of other tools, or adoptions, do not cover scripts.
        let is_of_classic = |undo: &LedgerUndo| matches!(undo, LedgerUndo::Kept { is_classic: true, .. });
        let is_own = |line: &LedgerLine| !line.is_adopted && !is_of_classic(&line.undo);
        if ledger.line(patch.as_str()).is_some_and(is_own) || ledger.earlier(patch.as_str()).is_some() {
            found = Recorded::NoSuchScript;
        }
    }
    Ok(found)
}

/// A script that may run, with the bytes that were checked.
pub(crate) struct KeptScript {
    pub(super) text: Vec<u8>,
    pub(crate) remark: Option<String>,
}

/// Refuses a script that may not run.
pub(crate) fn kept_script(
    ground: &RootAndPolicy,
    patch: &PatchId,
    name: &str,
) -> Result<KeptScript, Failure> {
    let refuse = |reason: Reason| Failure::from(reason.of(Command::Patchrm, patch));
    let place = places::patches().join(patch.as_str().as_bytes());
    let place = place.map_err(|error| refuse(Reason::BadId(error.to_string())))?;
    let shown = format!("{}/{name}", ground.root.show(&place));
    let path = place.join(name.as_bytes()).map_err(|error| refuse(Reason::BadId(error.to_string())))?;
    let read = || ground.root.read(&path, LARGEST);
    let recorded = match recorded(ground, patch, name)? {
        Recorded::Nothing => {
            check_owners(&ground.root, &place, name).map_err(refuse)?;
            let gone = || refuse(Reason::ScriptsUnsafe(format!("scripts cannot be run: {shown} is gone")));
            let text = read()?.ok_or_else(gone)?;
            let remark = format!("{shown} was left by a classic tool: its original content is unknown");
            return Ok(KeptScript { text, remark: Some(remark) });
        }
        Recorded::NoSuchScript => None,
        Recorded::Digest(digest) => Some(digest),
    };
    let text = read()?.unwrap_or_default();
    let is_on_record = recorded == Some(Digest::of(&text));
    if rule::holds("ledger.scripts.digest", is_on_record) {
        return Ok(KeptScript { text, remark: None });
    }
    let why = format!("scripts cannot be run: {shown} is not the one delivered with the patch");
    Err(refuse(Reason::ScriptsUnsafe(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starter(text: &str, mode: u32) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prepatch");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let shown = |text: String| text.replace(dir.path().to_str().unwrap(), "@DIR@");
        match HookDirectory::at(dir.path().to_owned()).file("prepatch", dir.path()) {
            Ok(found) if found == file => Ok("the script".to_owned()),
            Ok(found) => Ok(shown(fs::read_to_string(found).unwrap())),
            Err(failure) => Err(shown(failure.to_string())),
        }
    }

    #[test]
    fn a_script_is_run_by_the_interpreter_that_it_names() {
        assert_eq!(starter("exit 0\n", 0o755), Ok("the script".to_owned()));
        assert_eq!(starter("#!/bin/sh\n", 0o755), Ok("exec '/bin/sh' '@DIR@/prepatch'\n".to_owned()));
        assert_eq!(
            starter("#! /bin/sh -e -u \n", 0o500),
            Ok("exec '/bin/sh' '-e -u' '@DIR@/prepatch'\n".to_owned())
        );
    }

    #[test]
    fn a_script_that_cannot_be_executed_is_refused() {
        let refused = starter("#!/bin/sh\n", 0o644).unwrap_err();
        assert!(refused.contains("@DIR@/prepatch is not executable"), "{refused}");
        let refused = starter("#!/no/such/shell\n", 0o755).unwrap_err();
        assert!(refused.contains("/no/such/shell does not exist"), "{refused}");
    }
}
