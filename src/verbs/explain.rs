//! `patchadm explain`: an exit code in a sentence, and what to do.

use serde::Serialize;

use super::options::VerbOptions;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::{CommandReport, Exit, Reply, Stop};
use crate::surroundings::Output;

const USAGE: &str = "patchadm explain code";

/// Explain an exit code
#[derive(clap::Parser)]
struct ExplainArgs {
    #[command(flatten)]
    _common: VerbOptions,
    /// The code
    #[arg(value_name = "CODE")]
    code: Option<u8>,
}

/// A code: who ends with it, what it means, what to do.
#[derive(Clone, Copy, Serialize)]
struct CodeMeaning {
    code: u8,
    command: &'static str,
    text: &'static str,
    advice: &'static str,
}

/// The meanings of codes, command by command.
macro_rules! meanings {
    ($($command:literal { $($code:literal $text:literal $advice:literal)* })*) => {
        &[$($(CodeMeaning { code: $code, command: $command, text: $text, advice: $advice },)*)*]
    };
}

/// The codes that can occur, as patchadd(8), patchrm(8), pkgadd(8), pkgrm(8), pkgchk(8), pkgtrans(1), installf(8) and
/// removef(8) list them: the code, what it means, what to do.
const MEANINGS: &[CodeMeaning] = meanings! {
    "every command" {
        0 "It is done, or there was nothing to do." "Nothing."
        1 "The command line, or the policy of the root, makes no sense."
            "Look at the usage line, at the manual page, or at the line of the policy that is named."
    }
    "patchadd" {
        2 "The patch is applied already." "Nothing; `patchadm show ID` tells when it was applied."
        3 "You are neither root nor the owner of the root directory." "Run it as one of them."
        4 "The old objects could not be saved, so nothing was replaced."
            "Make room for undo data, or choose another place with -B."
        5 "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        6 "Another patch that is applied makes this one obsolete." "Nothing: its fixes are there."
        7 "There is no package database under the root." "Name the right root with -R."
        8 "None of the packages of the patch is installed in the version that it is for."
            "Nothing: the patch is not for this root."
        10 "Something about the packages or files does not fit: a file was edited, a sum is wrong, a script may not run, an object cannot be replaced."
            "Read the message; for edited files choose with --edited, --override or --preserve."
        12 "A signal ended a script of the patch; what had begun was undone."
            "Look into the log for what the script said."
        13 "The patch has a symbolic link where a file belongs." "Get the patch again from its maker."
        15 "The prepatch script of the patch failed, before anything was changed."
            "Look into the log for what the script said."
        16 "The postpatch script of the patch failed; everything was undone."
            "Look into the log for what the script said."
        17 "Undo data was kept for some packages of the patch and not for others."
            "Use -d, or leave it out, as the first time."
        18 "A file system has too little space." "Make room; the message says how much is needed where."
        23 "A restricted patch is applied to a package of this patch." "Back the restricted patch out first."
        24 "An applied patch and this one exclude each other." "Decide for one; back the other out."
        25 "A patch that this one needs is not applied." "Apply that one first, or both in one command."
        27 "A relative path leads nowhere." "Look at the spelling and at the working directory."
        28 "A pkginfo or pkgmap is damaged or missing."
            "Get the patch again; if the message names the root, restore that file."
        29 "What the patch calls itself is no patch id." "Get the patch again from its maker."
        33 "What was named is not a patch, or is damaged." "Get the patch again."
        35 "A later revision of the patch is applied." "Nothing: its fixes are there."
        37 "The directory for undo data cannot be used."
            "Name an absolute path of a directory that can be written to."
        38 "A script of the patch cannot be executed: it lacks the permission, or its interpreter is not there."
            "Get the patch again, or install the interpreter."
        39 "The archive cannot be decompressed." "Get the patch again."
    }
    "patchrm" {
        2 "The patch is not applied." "`patchadm list` shows those that are."
        3 "You are neither root nor the owner of the root directory." "Run it as one of them."
        4 "There is no undo data for the patch, or it is damaged."
            "Restore it from a backup; without it the patch stays."
        5 "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        6 "A later patch stands on this one: it supersedes it, or changed the same files."
            "Back the later patch out first; the message names it."
        7 "A file was changed by somebody else while the patch was backed out; everything was undone."
            "Try again."
        8 "That is no patch id." "An id is a base, a hyphen and a revision: 105181-05."
        9 "The prebackout script of the patch failed, before anything was changed."
            "Look into the log for what the script said."
        10 "The postbackout script of the patch failed or cannot be executed; everything was undone."
            "Look into the log for what the script said."
        11 "The checkinstall script of the undo archive does not want the patch to be backed out."
            "Read what it says; the log has it as well."
        12 "The undo data is not where the records say." "Name the directory that holds it with -B."
        14 "Another tool was interrupted while it applied the patch, and there is no undo data."
            "Put the package back from a backup, or finish the patch without a way back: patchadd -u -d."
        15 "Another patch needs this one." "Back that one out first, or both in one command."
        19 "Another command is changing the root." "Try again later, or use `patchadm remove --wait SECONDS`."
        20 "A file system has too little space." "Make room; the message says how much is needed where."
    }
    "pkgadd and pkgrm" {
        2 "The package is installed or gone, and one of its scripts warned, or what it asked installf or removef for failed."
            "Read what was printed, or var/sadm/patchadm/log; pkgchk says what is missing."
        10 "The package is installed or gone, and wants the machine to be started again."
            "Start it again later."
        12 "A script warned, and the machine is to be started again."
            "Do what 2 says, and start it again later."
        20 "The package is installed or gone, and wants the machine to be started again."
            "Start it again now."
        22 "A script warned, and the machine is to be started again."
            "Do what 2 says, and start it again now."
        1 "A package could not be installed or removed, or is not there; nothing of it was changed."
            "Read the message: it names the package and the reason."
        3 "You, a script of the package, or a signal ended the command." "Run it again."
        4 "The admin file or a script of the package forbids it, or an installed instance is in the way."
            "Read the message; use another admin file with -a, or back patches out first."
        5 "A question is open, and nobody can be asked."
            "Use an admin file that answers it (-a), -n to confirm a removal, or run it on a terminal."
        99 "The device, the admin file or the response file cannot be used."
            "Look at the path that the message names."
    }
    "pkgchk and patchadm verify" {
        1 "Objects are not as they are recorded; they are named."
            "Find out who changed them; pkgchk -f puts attributes and links right, content comes from the package."
    }
    "patchadm verify" {
        2 "A name is neither that of an applied patch nor of an installed package."
            "`patchadm list` and pkginfo show what there is."
        4 "The undo data of a patch is damaged, or gone; it is named."
            "Restore the file from a backup; without it the patch stays."
        12 "Undo data that is kept elsewhere is not where the records say."
            "Mount what it is on; if it was moved, patchrm -B names the new place."
    }
    "pkgchk" {
        99 "The package database makes no sense, or the device cannot be read as packages."
            "Look at the path and the line that the message names."
    }
    "pkgtrans" {
        2 "A package of that name is in the directory already; nothing was copied."
            "Replace it with -o, or keep both with -n."
        3 "You, or a signal, ended the command." "Run it again."
        99 "The packages cannot be read." "Look at the path that the message names."
    }
    "installf and removef" {
        1 "Nothing was registered or given up; with -f: an object is not what it was declared to be."
            "Read the message: it names the package or the object."
    }
    "removef" {
        2 "A relative path was passed over; the others are given up." "Name it from / on."
    }
    "installf and removef" {
        99 "The package database could not be changed."
            "Read the message: it names the file and what the system said."
    }
    "every command" {
        64 "Another command is changing the root." "Try again later, or use --wait SECONDS."
        65 "A run was interrupted and could not be recovered, a plan would be made in the middle of one, or the outcome is in doubt."
            "Put right what the message names, then run `patchadm recover`."
        70 "A defect of patchadm itself; nothing was changed, or everything was undone."
            "Report it with the message."
    }
};

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ExplainArgs = parse(call, USAGE)?;
    let Some(code) = args.code else {
        return Err(Stop::Usage { message: "no exit code is named".to_owned(), usage: USAGE }.into());
    };
    let meanings = meanings(code);
    if meanings.is_empty() {
        let message = format!("no command ends with code {code}");
        return Err(Stop::Refused { exit: Exit::FAILED, message }.into());
    }
    Ok(Reply::new(Exit::OK, ExplainReport { explained: code, meanings }))
}

#[derive(Serialize)]
struct ExplainReport {
    explained: u8,
    meanings: Vec<CodeMeaning>,
}

impl CommandReport for ExplainReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for CodeMeaning { code, command, text, advice } in &self.meanings {
            output.line(format!("{code} from {command}: {text}\n  What to do: {advice}"))?;
        }
        Ok(())
    }
}

fn meanings(code: u8) -> Vec<CodeMeaning> {
    let found: Vec<CodeMeaning> = MEANINGS.iter().filter(|one| one.code == code).copied().collect();
    if found.is_empty() && (129..=192).contains(&code) {
        let text = "A signal ended the command; what had begun was undone.";
        return vec![CodeMeaning { code, command: "every command", text, advice: "Run it again." }];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_means_different_things_to_different_commands() {
        let commands: Vec<_> = meanings(2).iter().map(|one| one.command).collect();
        assert_eq!(
            commands,
            ["patchadd", "patchrm", "pkgadd and pkgrm", "patchadm verify", "pkgtrans", "removef"]
        );
        assert_eq!(meanings(5).len(), 3);
        assert_eq!(meanings(143).len(), 1);
        assert!(meanings(98).is_empty());
    }
}
