//! `stage enter`: runs a command on the live root with staged directories mounted over it, or on the stage alone.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::own_files::{Stage, must_be_own, physical_path};
use super::{StageError, Undertaking};
use crate::namespaces::{
    Access, EnclosedCommand, EnclosedMount, Enclosure, EnclosureEnd, EnclosureError, EnclosureNote,
    EnclosureTerminal, EnclosureTree, HeldLock, Isolation, JudgedDirectory, MissingPlace, MountSource,
    enclose,
};
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::stage::{
    BASE_OF_NEW, Base, BaseState, DIRECTORIES, DIRECTORY, INSIDE, LONGEST_RECORD, MOUNTS, MountWord,
    StageName, parse_mounts, staged_path,
};
use patchadm_rootfs::{Lock, LockError, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};

const WORKING: [&str; 3] = ["tmp", "usr/obj", "usr/tmp"];

#[derive(Debug)]
pub struct EnterRequest<'a> {
    pub root: &'a Root,
    /// Directory or name.
    pub stage: &'a OsStr,
    pub view: StageView,
    pub mounts: Vec<MountWord>,
    pub mounts_file: Option<&'a Path>,
    /// Uid 0 inside.
    pub as_root: bool,
    /// Empty for a shell.
    pub command: Vec<OsString>,
    pub shell: Option<&'a OsStr>,
    pub environment: Vec<(OsString, OsString)>,
    /// With links resolved.
    pub directory: Option<PathBuf>,
    pub umask: u32,
    /// Input and output are the terminal.
    pub is_interactive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageView {
    /// The live root, read-only, with staged paths in place.
    Root,
    Stage,
}

#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    #[error(transparent)]
    Stage(#[from] StageError),
    /// It is being removed.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Enclosure(#[from] EnclosureError),
}

impl From<RootError> for EnterError {
    fn from(error: RootError) -> Self {
        Self::Stage(error.into())
    }
}

/// `tell` receives remarks before the command starts.
///
/// For processes that do nothing else afterwards: see [`enclose`].
pub fn enter_stage(
    request: EnterRequest<'_>,
    tell: impl FnMut(&EnclosureNote),
) -> Result<EnclosureEnd, EnterError> {
    let stage = Stage::open(request.root, request.stage)?;
    if let Err(error) = must_be_own(request.root, &stage, Undertaking::Enter) {
        // If the stage has disappeared, report that.
        Stage::open(request.root, request.stage)?;
        return Err(error.into());
    }
    // Held to the end, like the lock of the first process inside.
    let _inside = Lock::share_file(&stage.own, INSIDE)?;
    let terminal = EnclosureTerminal::Shared { is_interactive: request.is_interactive };
    let enclosure = enclosure_of(&stage, request)?;
    Ok(enclose(enclosure, std::io::stdin().as_fd(), terminal, tell)?)
}

fn enclosure_of(stage: &Stage, request: EnterRequest<'_>) -> Result<Enclosure, EnterError> {
    let place = PathBuf::from(OsStr::from_bytes(physical_path(&stage.root)?.as_bytes()));
    let call = ShellCall::of(&stage.identity.name, request.command, request.shell, request.environment);
    let (tree, access, mut mounts) = match request.view {
        StageView::Root => (
            request.root.physical_path()?,
            Access::ReadOnly,
            mounts_on_root(stage, &place, request.root, call.start_files)?,
        ),
        StageView::Stage => {
            make_tmp(stage)?;
            (place.clone(), Access::ReadWrite, mounts_on_stage(call.start_files))
        }
    };
    let words = given_mounts(stage, request.mounts_file)?.into_iter().chain(request.mounts);
    mounts.extend(words.map(mount_of_word));
    let directory = request.directory.and_then(|path| inside(&tree, &path));
    let own = place.join(OsStr::from_bytes(DIRECTORY));
    let top = stage.root.dir(&ObjectPath::root())?.itself()?;
    let live = request.root.dir(&ObjectPath::root())?.itself()?;
    let judged = vec![
        JudgedDirectory::of(request.root.physical_path()?, &live),
        JudgedDirectory::of(&place, &top),
        JudgedDirectory::of(&own, &stage.own.itself()?),
    ];
    let lock = HeldLock { directory: own.into(), name: OsStr::from_bytes(INSIDE).to_owned() };
    Ok(Enclosure {
        tree: EnclosureTree::Host(tree.into()),
        judged,
        access,
        mounts,
        locks: vec![lock],
        as_root: request.as_root,
        ids: None,
        isolation: Isolation::default(),
        command: EnclosedCommand {
            own_work: None,
            choices: call.choices,
            environment: call.environment,
            directories: directory.into_iter().collect(),
            umask: request.umask,
            user: None,
            limits: Vec::new(),
            niceness: 0,
        },
    })
}

fn inside(tree: &Path, directory: &Path) -> Option<OsString> {
    directory.strip_prefix(tree).ok().map(|rest| Path::new("/").join(rest).into())
}

fn mounts_on_root(
    stage: &Stage,
    place: &Path,
    root: &Root,
    start_files: Vec<(OsString, Vec<u8>)>,
) -> Result<Vec<EnclosedMount>, EnterError> {
    let base = stage.base(BASE_OF_NEW)?;
    make_mount_points(stage, root, &base)?;
    let scope = base.header.paths;
    let of_stage = |path: &ObjectPath, missing| EnclosedMount {
        place: OsStr::from_bytes(path.as_bytes()).to_owned(),
        source: MountSource::Host {
            below: place.into(),
            path: OsStr::from_bytes(path.as_bytes()).to_owned(),
            access: Access::ReadWrite,
            is_own: true,
        },
        missing,
    };
    make_tmp(stage)?;
    let mut mounts = Vec::new();
    for directory in working_directories(stage)? {
        let there = stage.root.resolver().directory_behind(&directory)?;
        if there.is_some() && !scope.contains(&directory) {
            mounts.push(of_stage(&directory, MissingPlace::LeftOut));
        }
    }
    // On top: a staged path may be below /tmp.
    mounts.extend(scope.paths().iter().map(|path| of_stage(path, MissingPlace::Refused)));
    mounts.extend(own_mounts(start_files, MissingPlace::LeftOut));
    if scope.is_all() {
        mounts.push(hidden_files());
    }
    Ok(mounts)
}

fn mounts_on_stage(start_files: Vec<(OsString, Vec<u8>)>) -> Vec<EnclosedMount> {
    let mut mounts: Vec<EnclosedMount> = own_mounts(start_files, MissingPlace::Made).into();
    mounts.push(hidden_files());
    mounts
}

fn hidden_files() -> EnclosedMount {
    let place = Path::new("/").join(OsStr::from_bytes(DIRECTORY)).into();
    EnclosedMount { place, source: MountSource::Nothing, missing: MissingPlace::Refused }
}

fn own_mounts(start_files: Vec<(OsString, Vec<u8>)>, missing: MissingPlace) -> [EnclosedMount; 2] {
    [
        EnclosedMount { place: "/proc".into(), source: MountSource::Processes, missing },
        EnclosedMount {
            place: "/dev".into(),
            source: MountSource::Devices { files: start_files, shared_memory: None, has_terminal: true },
            missing,
        },
    ]
}

fn mount_of_word(word: MountWord) -> EnclosedMount {
    let access = if word.is_writable { Access::ReadWrite } else { Access::ReadOnly };
    let source = MountSource::Host { below: "/".into(), path: word.source, access, is_own: false };
    EnclosedMount { place: word.place, source, missing: MissingPlace::Made }
}

/// Makes mount points for other file systems of the live root. Promotions treat them as mount points.
fn make_mount_points(stage: &Stage, root: &Root, base: &Base) -> Result<(), EnterError> {
    for object in base.objects.iter().filter(|object| object.state == BaseState::Mount) {
        let at = stage.root.resolver().locate(&object.path)?;
        let parent = at.parent().map_or(Ok(None), |parent| stage.root.dir_if_there(&parent))?;
        if let Some(parent) = parent
            && parent.look(at.name())?.is_none()
            && root.resolver().directory_behind(&object.path)?.is_some()
        {
            parent.make_dir(at.name(), Mode::of(0o755))?;
        }
    }
    Ok(())
}

fn working_directories(stage: &Stage) -> Result<Vec<ObjectPath>, EnterError> {
    let named = stage.own.read_regular(DIRECTORIES, LONGEST_RECORD)?.unwrap_or_default();
    let usual = WORKING.map(str::as_bytes);
    let lines = usual.into_iter().chain(named.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()));
    lines.map(|line| staged_path(line).map_err(|error| StageError::from(error).into())).collect()
}

/// `/tmp` of the live root is never used.
fn make_tmp(stage: &Stage) -> Result<(), EnterError> {
    let top = stage.root.dir(&ObjectPath::root())?;
    if top.look(b"tmp")?.is_none() {
        top.make_dir(b"tmp", Mode::of(0o1777))?;
    }
    Ok(())
}

fn given_mounts(stage: &Stage, file: Option<&Path>) -> Result<Vec<MountWord>, StageError> {
    if let Some(path) = file {
        let failed = |reason: String| StageError::File { path: path.to_owned(), reason };
        let text = read_small(path, LONGEST_RECORD).map_err(|error| failed(error.to_string()))?;
        return parse_mounts(&text).map_err(|error| failed(error.to_string()));
    }
    let text = stage.own.read_regular(MOUNTS, LONGEST_RECORD)?.unwrap_or_default();
    let path = || stage.root.show(&stage.own.at(MOUNTS));
    parse_mounts(&text).map_err(|error| StageError::Damaged { path: path(), error })
}

const STAGE: &str = "PATCHADM_STAGE";

const ENV: &str = "ENV";

/// Start files are in `/dev`, the one directory that is always new and private.
const OF_BASH: &str = "patchadm-bashrc";
const OF_SH: &str = "patchadm-shrc";

/// Default, also if the named shell does not exist inside.
const SHELL: &str = "/bin/sh";

#[derive(Debug, PartialEq, Eq)]
struct ShellCall {
    pub(super) choices: Vec<Vec<OsString>>,
    pub(super) environment: Vec<(OsString, OsString)>,
    start_files: Vec<(OsString, Vec<u8>)>,
}

impl ShellCall {
    /// Only a shell without arguments gets a changed prompt.
    pub(super) fn of(
        stage: &StageName,
        command: Vec<OsString>,
        shell: Option<&OsStr>,
        mut environment: Vec<(OsString, OsString)>,
    ) -> Self {
        set(&mut environment, STAGE, stage.as_str().into());
        let choices: Vec<OsString> = match command.as_slice() {
            [] => shell.into_iter().chain([OsStr::new(SHELL)]).map(OsStr::to_owned).collect(),
            [one] if is_shell(one) => command,
            _ => return Self { choices: vec![command], environment, start_files: Vec::new() },
        };
        let theirs = set(&mut environment, ENV, format!("/dev/{OF_SH}").into());
        let start_files =
            vec![(OF_BASH.into(), bash_start(stage)), (OF_SH.into(), sh_start(stage, theirs.as_deref()))];
        Self { choices: choices.into_iter().map(with_start_file).collect(), environment, start_files }
    }
}

/// Returns the old value.
fn set(environment: &mut Vec<(OsString, OsString)>, name: &str, value: OsString) -> Option<OsString> {
    let old = environment.iter().position(|(known, _)| known == name).map(|at| environment.remove(at).1);
    environment.push((name.into(), value));
    old
}

fn is_called(program: &OsStr, names: &[&str]) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default();
    names.iter().any(|known| name == *known)
}

fn is_shell(program: &OsStr) -> bool {
    is_called(program, &["sh", "bash", "dash", "ash", "ksh", "mksh"])
}

/// bash takes an option, other shells a variable.
fn with_start_file(shell: OsString) -> Vec<OsString> {
    if is_called(&shell, &["bash"]) {
        return vec![shell, "--rcfile".into(), format!("/dev/{OF_BASH}").into()];
    }
    vec![shell]
}

/// Prefixes the prompt once.
fn prompt(stage: &StageName) -> String {
    format!("case $PS1 in \"[{stage}] \"*) ;; *) PS1=\"[{stage}] $PS1\" ;; esac")
}

/// Checks the prompt before each command line, because the user's own commands may reset it.
fn bash_start(stage: &StageName) -> Vec<u8> {
    let prompt = prompt(stage);
    format!(
        "# The start file of bash in a stage: the user's own, then the prompt.\n\
         if [ -r ~/.bashrc ]; then . ~/.bashrc; fi\n\
         if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then\n    \
             PROMPT_COMMAND+=('{prompt}')\n\
         else\n    \
             PROMPT_COMMAND=\"${{PROMPT_COMMAND:+$PROMPT_COMMAND\n}}\"'{prompt}'\n\
         fi\n"
    )
    .into_bytes()
}

/// POSIX expands variables, but runs no commands, in the name of the user's file.
fn sh_start(stage: &StageName, theirs: Option<&OsStr>) -> Vec<u8> {
    let mut text = b"# The start file of sh in a stage: the user's own, then the prompt.\n".to_vec();
    if let Some(theirs) = theirs.filter(|theirs| !theirs.is_empty() && !theirs.as_bytes().contains(&b'\n')) {
        let mut name = Vec::new();
        for &byte in theirs.as_bytes() {
            if b"\"\\`(".contains(&byte) {
                name.push(b'\\');
            }
            name.push(byte);
        }
        let name = OsString::from_vec(name);
        let name = name.as_bytes();
        text.extend([b"if [ -r \"".as_slice(), name, b"\" ]; then . \"", name, b"\"; fi\n"].concat());
    }
    text.extend(prompt(stage).into_bytes());
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(command: &[&str], shell: Option<&str>, environment: &[(&str, &str)]) -> ShellCall {
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let command = command.iter().map(OsString::from).collect();
        ShellCall::of(&StageName::parse("web").unwrap(), command, shell.map(OsStr::new), environment)
    }

    #[test]
    fn a_shell_reads_our_start_file_and_a_command_does_not() {
        let shell = call(&[], Some("/bin/bash"), &[("ENV", "$HOME/.shrc"), ("A", "b")]);
        assert_eq!(shell.choices[0], ["/bin/bash", "--rcfile", "/dev/patchadm-bashrc"]);
        assert_eq!(shell.choices[1], ["/bin/sh"]);
        let names: Vec<_> = shell.environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["A", "PATCHADM_STAGE", "ENV"]);
        assert_eq!(shell.start_files.len(), 2);
        let make = call(&["make", "all"], Some("/bin/bash"), &[("ENV", "mine")]);
        assert_eq!(make.choices, [["make", "all"]]);
        assert_eq!(make.environment[0], ("ENV".into(), "mine".into()));
        assert!(make.start_files.is_empty());
        assert_eq!(call(&["dash"], None, &[]).choices, [["dash"]]);
        assert_eq!(call(&["dash"], None, &[]).start_files.len(), 2);
    }

    #[test]
    fn the_start_file_of_the_user_is_named_with_its_variables_and_without_its_commands() {
        let stage = StageName::parse("web").unwrap();
        let text = String::from_utf8(sh_start(&stage, Some(OsStr::new("$HOME/`x` $(y)")))).unwrap();
        assert!(text.contains(". \"$HOME/\\`x\\` $\\(y)\""), "{text}");
        assert!(!String::from_utf8(sh_start(&stage, None)).unwrap().contains("if "));
    }
}
