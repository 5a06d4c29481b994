//! The response file as request and checkinstall scripts see it: a file of their own that they add lines to.
//!
//! It lies in a directory of its own in the private one of the run, which only the group of the scripts can enter. It
//! belongs to the user who runs them, who can change its contents and nothing else. If no other script has that group
//! ([`ScriptUser::unprivileged`]), no other process of that user can open the file, neither by its path nor through the
//! script's open files. What the scripts wrote is read back as pkginfo(4) text, never run by a shell.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::trust::ScriptUser;
use patchadm_rootfs::{Dir, RootError, random};
use patchadm_svr4::format::params::ParamsError;
use patchadm_svr4::format::response::Response;
use patchadm_svr4::package::Mode;

/// The largest response file that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The name of the file in its directory.
const NAME: &[u8] = b"response";

/// The reasons why a response file cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// A call on the file failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The script removed the file.
    #[error("the script removed its response file {}", .0.display())]
    Gone(PathBuf),
    /// The script left something other than a parameter file.
    #[error("response file of {script}: {source}")]
    Syntax {
        /// The name of the script.
        script: String,
        /// The syntax error.
        source: ParamsError,
    },
}

/// The response file of one package.
#[derive(Debug)]
pub struct ResponseFile {
    dir: Dir,
    path: PathBuf,
}

impl ResponseFile {
    /// Makes the file in `directory` (that of the script host) with the answers so far, `text`. `user` becomes its
    /// owner.
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

    /// Returns the path of the file, the only argument of the scripts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the text that the scripts left.
    pub fn text(&self) -> Result<Vec<u8>, ResponseError> {
        self.dir.read(NAME, LIMIT)?.ok_or_else(|| ResponseError::Gone(self.path.clone()))
    }

    /// Parses the answers after `script` has run, earlier ones included.
    pub fn read(&self, script: &str) -> Result<Response, ResponseError> {
        Response::parse(&self.text()?)
            .map_err(|source| ResponseError::Syntax { script: script.to_owned(), source })
    }
}

/// Returns a complaint for each answer that is ignored because its parameter is read-only.
pub fn complaints(response: &Response) -> impl Iterator<Item = String> {
    response.read_only.iter().map(|name| format!("read-only parameter <{name}> cannot be assigned a value"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

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
