//! The shell inside a stage, whose prompt names the stage.
//!
//! bash and sh set their prompt in start files that the user may have. So each reads a start file of this program, which
//! first reads the user's and then puts the name before the resulting prompt.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use patchadm_inputs::stage::StageName;

/// The variable that tells every program inside which stage it is in.
const STAGE: &str = "PATCHADM_STAGE";

/// The variable that names the start file of sh.
const ENV: &str = "ENV";

/// The start files, in the directory of devices: it is the one directory that is always new and private.
const OF_BASH: &str = "patchadm-bashrc";
const OF_SH: &str = "patchadm-shrc";

/// The shell if none is named, or if the named one does not exist inside.
const SHELL: &str = "/bin/sh";

/// A command with its environment, and the start files that it reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShellCall {
    /// The possible programs, each with its arguments.
    pub(super) choices: Vec<Vec<OsString>>,
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Their names below `/dev`, and their texts.
    pub(super) start_files: Vec<(OsString, Vec<u8>)>,
}

impl ShellCall {
    /// Returns the call of `command`, or of a shell if it is empty. Only a shell that is called without arguments has a
    /// prompt to change.
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

/// Sets a variable. Returns its old value.
fn set(environment: &mut Vec<(OsString, OsString)>, name: &str, value: OsString) -> Option<OsString> {
    let old = environment.iter().position(|(known, _)| known == name).map(|at| environment.remove(at).1);
    environment.push((name.into(), value));
    old
}

fn is_called(program: &OsStr, names: &[&str]) -> bool {
    let name = Path::new(program).file_name().unwrap_or_default();
    names.iter().any(|known| name == *known)
}

/// Returns whether a program is a shell for which this program has a start file.
fn is_shell(program: &OsStr) -> bool {
    is_called(program, &["sh", "bash", "dash", "ash", "ksh", "mksh"])
}

/// Returns the call of a shell: bash gets its start file as an option, other shells find it in the environment.
fn with_start_file(shell: OsString) -> Vec<OsString> {
    if is_called(&shell, &["bash"]) {
        return vec![shell, "--rcfile".into(), format!("/dev/{OF_BASH}").into()];
    }
    vec![shell]
}

/// Returns the commands that put the name before the prompt, once.
fn prompt(stage: &StageName) -> String {
    format!("case $PS1 in \"[{stage}] \"*) ;; *) PS1=\"[{stage}] $PS1\" ;; esac")
}

/// Returns the start file of bash. It checks the prompt before each command line, because the user's own commands may set it
/// each time.
fn bash_start(stage: &StageName) -> Vec<u8> {
    let prompt = prompt(stage);
    format!(
        "# The start file of bash in a stage: that of the user, then the prompt.\n\
         if [ -r ~/.bashrc ]; then . ~/.bashrc; fi\n\
         if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then\n    \
             PROMPT_COMMAND+=('{prompt}')\n\
         else\n    \
             PROMPT_COMMAND=\"${{PROMPT_COMMAND:+$PROMPT_COMMAND\n}}\"'{prompt}'\n\
         fi\n"
    )
    .into_bytes()
}

/// Returns the start file of sh. The name of the user's file may contain variables, but no commands, as POSIX defines it.
fn sh_start(stage: &StageName, theirs: Option<&OsStr>) -> Vec<u8> {
    let mut text = b"# The start file of sh in a stage: that of the user, then the prompt.\n".to_vec();
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
