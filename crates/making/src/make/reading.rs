//! Reads a prototype with its includes into one list of entries with their settings. Wrong lines are collected and
//! reported together; only limits stop the reading.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::OFlags;

use super::messages::{PrototypeTrouble, PrototypeTroubleKind};
use patchadm_inputs::input_file::InputFile;
use patchadm_svr4::format::pkgmap::MOST_ENTRIES;
use patchadm_svr4::format::prototype::{self, PrototypeAttributes, PrototypeCommand, PrototypeItem};
use patchadm_svr4::package::Params;

const DEEPEST: usize = 20;

/// Two files that include each other twice at each level would be read a million times.
const MOST_FILES: usize = 10_000;

const LARGEST: u64 = 1 << 30;
const MOST_TROUBLES: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct PlacedEntry {
    pub(super) entry: prototype::PrototypeEntry,
    pub(super) file: Rc<Path>,
    pub(super) line: u64,
    pub(super) scope: Rc<PrototypeScope>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PrototypeScope {
    pub(super) directory: PathBuf,
    pub(super) variables: Params,
    pub(super) search: Vec<PathBuf>,
    pub(super) search_whole: Vec<PathBuf>,
    pub(super) defaults: PrototypeAttributes,
}

#[derive(Debug, Default)]
pub(super) struct ReadPrototype {
    pub(super) entries: Vec<PlacedEntry>,
    pub(super) troubles: Vec<PrototypeTrouble>,
}

impl PlacedEntry {
    pub(super) fn trouble(&self, kind: PrototypeTroubleKind) -> PrototypeTrouble {
        PrototypeTrouble { file: self.file.to_path_buf(), line: self.line, kind }
    }
}

pub(super) fn read(path: &Path, variables: &PrototypeVariables) -> ReadPrototype {
    let mut reading = PrototypeReading { variables, files: 0, read: ReadPrototype::default() };
    reading.file(path, Params::new(), &mut Vec::new());
    reading.read
}

struct PrototypeReading<'a> {
    variables: &'a PrototypeVariables,
    files: usize,
    read: ReadPrototype,
}

impl PrototypeReading<'_> {
    fn file(&mut self, path: &Path, variables: Params, from: &mut Vec<(Rc<Path>, u64)>) {
        self.files += 1;
        if from.len() > DEEPEST || self.files > MOST_FILES {
            self.note(from.last(), path, PrototypeTroubleKind::Include);
            return;
        }
        let (text, directory) = match read_text(path, from.is_empty()) {
            Ok(read) => read,
            Err(error) => {
                let kind = PrototypeTroubleKind::File { path: path.to_owned(), reason: error.to_string() };
                self.note(from.last(), path, kind);
                return;
            }
        };
        let mut scope = Rc::new(PrototypeScope { directory, variables, ..PrototypeScope::default() });
        let file: Rc<Path> = Rc::from(path);
        for line in prototype::lines(&text) {
            if self.read.troubles.len() >= MOST_TROUBLES {
                break;
            }
            if self.read.entries.len() >= MOST_ENTRIES {
                self.note(from.last(), path, PrototypeTroubleKind::TooMany);
                break;
            }
            match line {
                Ok(prototype::PrototypeLine { number, item: PrototypeItem::Entry(entry) }) => {
                    let (file, scope) = (file.clone(), scope.clone());
                    self.read.entries.push(PlacedEntry { entry, file, line: number, scope });
                }
                Ok(prototype::PrototypeLine { number, item: PrototypeItem::Command(command) }) => {
                    from.push((file.clone(), number));
                    self.command(command, Rc::make_mut(&mut scope), from);
                    from.pop();
                }
                Err(error) => {
                    let kind =
                        PrototypeTroubleKind::Garbled { pathname: error.pathname, problem: error.problem };
                    self.read.troubles.push(PrototypeTrouble {
                        file: path.to_owned(),
                        line: error.line,
                        kind,
                    });
                }
            }
        }
    }

    fn command(
        &mut self,
        command: PrototypeCommand,
        scope: &mut PrototypeScope,
        from: &mut Vec<(Rc<Path>, u64)>,
    ) {
        let path = |scope: &PrototypeScope, path: &[u8]| {
            let path = self.variables.local_path(&scope.variables, path);
            scope.directory.join(OsStr::from_bytes(&path))
        };
        let paths =
            |scope: &PrototypeScope, paths: &[Vec<u8>]| paths.iter().map(|at| path(scope, at)).collect();
        match command {
            PrototypeCommand::Include(at) => {
                let at = path(scope, &at);
                // Settings of an included file end with it.
                self.file(&at, scope.variables.clone(), from);
            }
            PrototypeCommand::Search(at) => scope.search = paths(scope, &at),
            PrototypeCommand::SearchWhole(at) => scope.search_whole = paths(scope, &at),
            PrototypeCommand::Default(defaults) => scope.defaults = defaults,
            PrototypeCommand::Set { name, value } => scope.variables.set(&name, value),
        }
    }

    fn note(&mut self, from: Option<&(Rc<Path>, u64)>, path: &Path, kind: PrototypeTroubleKind) {
        let (file, line) =
            from.map_or_else(|| (path.to_owned(), 0), |(file, line)| (file.to_path_buf(), *line));
        self.read.troubles.push(PrototypeTrouble { file, line, kind });
    }
}

/// Reads a prototype, and returns the base of its relative paths: its directory, or for a pipe the working directory.
/// Only the user may name a pipe.
fn read_text(path: &Path, may_be_pipe: bool) -> io::Result<(Vec<u8>, PathBuf)> {
    let is_file = !may_be_pipe || std::fs::metadata(path)?.is_file();
    let mut text = Vec::new();
    if is_file {
        open(path)?.0.take(LARGEST + 1).read_to_end(&mut text)?;
    } else {
        InputFile::open_anything(path)?.take(LARGEST + 1).read_to_end(&mut text)?;
    }
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    let directory = path.parent().filter(|_| is_file).unwrap_or(Path::new("")).to_owned();
    Ok((text, directory))
}

// A path component that begins with `$` is a variable (prototype(4)). With a small first letter it is a *build
// variable*, which must have a value now; with a capital an *install variable*, which stays in the package. Paths of
// this machine replace both. The command line overrides `!NAME=value`, and that the pkginfo.

#[derive(Clone, Debug, Default)]
pub(super) struct PrototypeVariables {
    command: Params,
    pub(super) pkginfo: Params,
}

impl PrototypeVariables {
    pub(super) fn of(command: &Params) -> Self {
        Self { command: command.clone(), ..Self::default() }
    }

    pub(super) fn command(&self) -> &Params {
        &self.command
    }

    pub(super) fn value<'a>(&'a self, local: &'a Params, name: &str) -> Option<&'a [u8]> {
        self.command.get(name).or_else(|| local.get(name)).or_else(|| self.pkginfo.get(name))
    }

    /// Replaces build variables only. The error is a path with an undefined one.
    pub(super) fn package_path(&self, local: &Params, path: &[u8]) -> Result<Vec<u8>, String> {
        let replaced = |component: &[u8]| match name_of(component) {
            Some(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                let value = self.value(local, name).map(<[u8]>::to_vec);
                value.ok_or_else(|| String::from_utf8_lossy(path).escape_debug().to_string())
            }
            _ => Ok(component.to_vec()),
        };
        let parts: Result<Vec<_>, _> = path.split(|&byte| byte == b'/').map(replaced).collect();
        Ok(parts?.join(&b'/'))
    }

    pub(super) fn local_path(&self, local: &Params, path: &[u8]) -> Vec<u8> {
        let replaced = |component: &[u8]| {
            let value = name_of(component).and_then(|name| self.value(local, name));
            value.unwrap_or(component).to_vec()
        };
        path.split(|&byte| byte == b'/').map(replaced).collect::<Vec<_>>().join(&b'/')
    }
}

fn name_of(component: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(component.strip_prefix(b"$")?).ok()?;
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(name)
}

/// Does not wait for a writer of a pipe.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let seen = file.metadata()?;
    if seen.is_file() { Ok((file, seen)) } else { Err(io::Error::other("not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(files: &[(&str, &str)]) -> (tempfile::TempDir, ReadPrototype) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let read = read(&dir.path().join("prototype"), &PrototypeVariables::default());
        (dir, read)
    }

    #[test]
    fn what_a_file_sets_holds_from_there_on_and_ends_with_it() {
        let (dir, read) = read_all(&[
            ("prototype", "d none a\n!X=1\n!search s\n!include in/other\nd none b\n"),
            ("in/other", "d none c\n!X=2\n!rsearch r\nd none d\n"),
        ]);
        assert!(read.troubles.is_empty(), "{:?}", read.troubles);
        let shown = |placed: &PlacedEntry| {
            let scope = &placed.scope;
            let x = scope.variables.text("X").into_owned();
            (placed.entry.path.to_string(), x, scope.search.len(), scope.search_whole.len(), placed.line)
        };
        let expected = [
            ("a".to_owned(), String::new(), 0, 0, 1),
            ("c".to_owned(), "1".to_owned(), 0, 0, 1),
            ("d".to_owned(), "2".to_owned(), 0, 1, 4),
            ("b".to_owned(), "1".to_owned(), 1, 0, 5),
        ];
        assert_eq!(read.entries.iter().map(shown).collect::<Vec<_>>(), expected);
        let inner = read.entries.iter().find(|placed| placed.entry.path.as_bytes() == b"d").unwrap();
        assert_eq!(inner.scope.search_whole, [dir.path().join("in/r")]);
    }

    #[test]
    fn files_that_include_each_other_for_ever_end_soon() {
        let (_dir, read) = read_all(&[("prototype", "!include prototype\n!include prototype\nd none a\n")]);
        assert_eq!(read.troubles.len(), MOST_TROUBLES);
        assert!(read.entries.len() < 1000, "{}", read.entries.len());
        assert!(matches!(read.troubles[0].kind, PrototypeTroubleKind::Include));
    }

    #[test]
    fn build_variables_are_replaced_and_install_variables_stay() {
        let command: Params = [("dir", "usr/bin")].into_iter().collect();
        let local: Params = [("dir", "never"), ("sub", "x"), ("BINDIR", "b")].into_iter().collect();
        let variables = PrototypeVariables::of(&command);
        let path = |path: &str| {
            variables.package_path(&local, path.as_bytes()).map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(path("$dir/$sub/z").unwrap(), "usr/bin/x/z");
        assert_eq!(path("$BINDIR/z").unwrap(), "$BINDIR/z");
        assert_eq!(path("dollar$x/$5").unwrap(), "dollar$x/$5");
        assert_eq!(path("a/$nope"), Err("a/$nope".to_owned()));
    }

    #[test]
    fn in_paths_of_this_machine_everything_known_is_replaced() {
        let variables = PrototypeVariables {
            pkginfo: [("NAME", "web")].into_iter().collect(),
            ..PrototypeVariables::default()
        };
        assert_eq!(variables.local_path(&Params::new(), b"src/$NAME/$nope"), b"src/web/$nope");
    }
}
