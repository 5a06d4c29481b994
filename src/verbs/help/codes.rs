//! Codes of the classic commands: meanings, next steps, causes.
//!
//! The test of the documents looks up every exit that it sees: a missing cause fails it.

use std::borrow::Cow;

use super::code_meaning::CodeMeaning;
use patchadm_cli::reply::ExitCause::{
    AlreadyApplied, Check, DamagedInput, DamagedRecord, Declined, Dependency, Download, Edited, Exists,
    InDoubt, Internal, Locked, NoDatabase, NoRights, NotApplicable, NotFound, Ok, OnTrial, ReadOnly,
    Restricted, Script, Settings, Signal, Signature, Space, Superseded, UndoData, Unfinished, Unknown,
    UntrustedRoot, Usage,
};

macro_rules! meanings {
    ($($group:literal, $commands:expr => {
        $($code:literal [$($cause:ident)*] $text:literal $advice:literal)*
    })*) => {
        &[$($(CodeMeaning {
            code: $code,
            group: $group,
            commands: &$commands,
            text: $text,
            advice: $advice,
            causes: Cow::Borrowed(&[$($cause,)*]),
        },)*)*]
    };
}

/// As in the manual pages of the commands.
pub(super) const MEANINGS: &[CodeMeaning] = meanings! {
    "every classic command", [] => {
        0 [Ok] "It is done, or there was nothing to do." "Nothing."
        1 [Usage Settings NotFound Exists NoRights ReadOnly Space Internal]
            "The command line, or the policy of the root, makes no sense, or something that they name cannot be opened or written."
            "Look at the usage line, at the manual page, or at the line of the policy that is named."
    }
    "patchadd", ["patchadd"] => {
        2 [AlreadyApplied] "The patch is already applied." "Nothing; `patchadm show ID` tells when it was applied."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner works as the owner of the root, and --trust-root trusts it."
        4 [UndoData Space ReadOnly NoRights Edited Internal] "The old objects could not be saved, so nothing was replaced."
            "Make room for undo data, or choose another place with -B."
        5 [Internal Script Space NoRights ReadOnly Edited UndoData DamagedRecord NotFound]
            "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        6 [Superseded] "Another patch, applied or named together with it, makes this one obsolete." "Nothing: its fixes are there."
        7 [NoDatabase ReadOnly NoRights Space Internal NotFound]
            "There is no package database under the root, or its records cannot be written."
            "Name the right root with -R."
        8 [NotApplicable]
            "None of the packages of the patch is installed in the version that it is for."
            "Nothing: the patch is not for this root."
        10 [Edited DamagedInput Restricted NoRights NotFound Dependency NotApplicable Script Unfinished UndoData]
            "Something about the packages or files does not fit: a file was edited, a sum is wrong, a script may not run, an object cannot be replaced; under `stop`, programs would lose a shared library; it could not be backed out afterwards."
            "Read the message; for edited files choose with --edited, --replace-edited or --keep-edited, for libraries with --libs keep or --libs report."
        12 [Script] "A signal ended a script of the patch; what had begun was undone."
            "Look into the log for what the script said."
        13 [DamagedInput] "The patch has a symbolic link where a file belongs." "Get the patch again from its maker."
        15 [Script] "The prepatch script of the patch failed, before anything was changed."
            "Look into the log for what the script said."
        16 [Script] "The postpatch script of the patch failed; everything was undone."
            "Look into the log for what the script said."
        17 [UndoData] "Undo data was kept for some packages of the patch and not for others."
            "Use -d, or leave it out, as the first time."
        18 [Space] "A file system has too little space." "Make room; the message says how much is needed where."
        23 [Restricted] "A restricted patch is applied to a package of this patch." "Back the restricted patch out first."
        24 [Dependency] "An applied patch, or one that was taken before it in the same command, and this one exclude each other."
            "Decide for one: back the other out, or name this one without it."
        25 [Dependency] "A patch that this one needs is not applied, and not in the depot either, or cannot be applied itself."
            "Apply that one first, or both in one command; or put it into the depot."
        26 [UndoData DamagedRecord NoRights NotFound] "Undo data of another patch, which this one has to take over, cannot be used."
            "Put it back where the message says, or name its directory with -B (--undo-dir)."
        27 [NotFound] "A relative path leads nowhere, or an operand is neither a patch of the depot nor a list of patches."
            "Look at the spelling and at the working directory."
        28 [DamagedInput DamagedRecord] "A pkginfo or pkgmap is damaged or missing, or records of the root disagree."
            "Get the patch again; if the message names the root, restore that file."
        29 [DamagedInput] "What the patch calls itself is not a patch id." "Get the patch again from its maker."
        33 [DamagedInput NotFound NotApplicable NoRights Internal] "What was named is not a patch, is damaged, or is not in the depot."
            "Get the patch again."
        34 [NotFound] "The depot is not a directory that is there, or has no patch in it." "Name the directory of the patches, or an address."
        35 [Superseded] "A later revision of the patch is applied, or named together with it." "Nothing: its fixes are there."
        37 [NotApplicable] "The directory for undo data cannot be used."
            "Name an absolute path of a directory that can be written to."
        38 [Script] "A script of the patch cannot be executed: it lacks the permission, or its interpreter does not exist."
            "Get the patch again, or install the interpreter."
        39 [DamagedInput] "The archive cannot be decompressed." "Get the patch again."
        40 [Download] "A patch or the index of the depot could not be fetched, does not exist, or has another size than the index says."
            "Try again: what was fetched is kept, and a mirror may be being made."
        41 [Signature] "The signature of the patch is missing, wrong or not trusted, or the keys of the root cannot be believed."
            "Get a signed patch, or trust its key with `patchadm key trust`; -n and --signature off apply it as it is."
    }
    "patchrm", ["patchrm"] => {
        2 [Unknown] "The patch is not applied." "`patchadm list` shows those that are."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner works as the owner of the root, and --trust-root trusts it."
        4 [UndoData DamagedInput DamagedRecord] "There is no undo data for the patch, or it is damaged."
            "Restore it from a backup; without it the patch stays."
        5 [Internal Script Space NoRights ReadOnly Restricted DamagedRecord DamagedInput Edited NotApplicable NotFound Dependency Locked]
            "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        6 [Superseded Dependency] "A later patch stands on this one: it supersedes it, or changed the same files."
            "Back the later patch out first; the message names it."
        7 [Edited DamagedInput Script Space ReadOnly NoRights UndoData Internal]
            "A file was changed by somebody else while the patch was backed out, or could not be kept; everything was undone."
            "Try again."
        8 [Usage] "That is not a patch id." "An id is a base, a hyphen and a revision: 105181-05."
        9 [Script] "The prebackout script of the patch, or the hook before a promotion is backed out, failed, before anything was changed."
            "Look into the log for what the script said."
        10 [Script] "The postbackout script of the patch failed or cannot be executed, or the hook behind a promotion that is backed out; everything was undone; or a hook is not executable."
            "Look into the log for what the script said; --scripts refuse backs a promotion out without its hooks."
        11 [Script Dependency] "The checkinstall script of the undo archive does not want the patch to be backed out; or, under `stop`, programs would lose a shared library that the backout takes away."
            "Read what it says; the log has it as well. Libraries stay with --libs keep, and are removed with --libs report."
        12 [UndoData NotApplicable] "The undo data is not where the records say." "Name the directory that holds it with -B (--undo-dir)."
        14 [Unfinished] "Another tool was interrupted while it applied the patch, and there is no undo data."
            "Put the package back from a backup, or finish the patch without a way back: patchadd -u -d."
        15 [Dependency] "Another patch needs this one." "Back that one out first, or both in one command."
        20 [Space] "A file system has too little space." "Make room; the message says how much is needed where."
    }
    "patchrm", ["patchrm"] => {
        2 [NoDatabase] "There is no package database under the root." "Name the right root with -R."
        7 [ReadOnly] "The records of the root cannot be written." "Mount the file system for writing."
        19 [Locked ReadOnly NoRights Space Internal] "Another command is changing the root, or its lock cannot be had."
            "Try again later, or use `patchadm remove --wait DURATION`."
    }
    "patchadd and patchrm", ["patchadd", "patchrm"] => {
        4 [UndoData] "A trial is over, and what was on trial cannot be backed out."
            "Fix what the message names and run it again, or keep it with `patchadm confirm`."
        10 [OnTrial] "A run is on trial, and no other command can change the root until then."
            "Keep it with `patchadm confirm`, or revert it with `patchadm undo RUN`."
    }
    "patchadd", ["patchadd"] => {
        75 [Check] "The command of --probe failed, and everything is backed out: the tree is as before."
            "Read its last lines, which the message shows."
    }
    "pkgadd and pkgrm", ["pkgadd", "pkgrm", "pkgask"] => {
        2 [Script] "The package is installed or gone, and one of its scripts warned, or what it asked installf or removef for failed."
            "Read what was printed, or var/sadm/patchadm/log; pkgchk says what is missing."
        10 [Ok] "The package is installed or gone, and wants the machine to be started again."
            "Start it again later."
        12 [Script] "A script warned, and the machine is to be started again."
            "Do what 2 says, and start it again later."
        20 [Ok] "The package is installed or gone, and wants the machine to be started again."
            "Start it again now."
        22 [Script] "A script warned, and the machine is to be started again."
            "Do what 2 says, and start it again now."
        1 [NotFound DamagedInput DamagedRecord Script NoRights UntrustedRoot NoDatabase ReadOnly Space Dependency Edited Restricted NotApplicable UndoData Unfinished Superseded OnTrial Internal]
            "A package could not be installed or removed, or does not exist; nothing of it was changed."
            "Read the message: it names the package and the reason."
        3 [Signal Declined Script] "You, a script of the package, or a signal ended the command." "Run it again."
        4 [Restricted Dependency Script] "The admin file or a script of the package forbids it, an installed instance is in the way, or somebody would lose a shared library."
            "Read the message; use another admin file with -a, or back patches out first; libraries stay with --libs keep, and are removed with --libs report."
        5 [Restricted Dependency Script] "A question is open, and nobody can be asked."
            "Use an admin file that answers it (-a), -n to confirm a removal, or run it on a terminal."
        99 [DamagedInput NotFound NotApplicable Settings DamagedRecord] "The device, the admin file or the response file cannot be used, or records of the root are damaged."
            "Look at the path that the message names."
    }
    "pkgadd -s", ["pkgadd"] => {
        2 [AlreadyApplied] "A package of that name is in the directory already; nothing was copied."
            "Remove it there with pkgrm -s, or choose another directory."
    }
    "pkgchk", ["pkgchk"] => {
        1 [Edited Unfinished] "Objects are not as they are recorded; they are named."
            "Find out who changed them; pkgchk -f puts attributes and links right, content comes from the package."
    }
    "pkgchk", ["pkgchk"] => {
        1 [NotFound DamagedInput NoRights UntrustedRoot ReadOnly OnTrial UndoData Internal] "Something that was named does not exist or cannot be checked, or the root may not be repaired."
            "Read the message: it names the file or package."
        99 [NoDatabase DamagedRecord DamagedInput NotFound NoRights Internal] "There is no package database, it makes no sense, or the device cannot be read as packages."
            "Look at the path and the line that the message names."
    }
    "pkginfo and pkgparam", ["pkginfo", "pkgparam"] => {
        1 [NotFound NoDatabase DamagedRecord DamagedInput] "A package does not exist, or its records or those of the root are damaged or missing."
            "Look at the spelling, and name the right root with -R."
    }
    "showrev", ["showrev"] => {
        1 [NoDatabase DamagedRecord] "The patches of the root are not known." "Name the right root with -R, or do what the message says."
    }
    "pkgtrans", ["pkgtrans"] => {
        1 [DamagedInput NotFound Edited Internal] "Nothing was copied: the packages or the destination cannot be used." "Read the message: it names the package or the file."
        2 [AlreadyApplied] "A package of that name is in the directory already; nothing was copied."
            "Replace it with -o, or keep both with -n."
        3 [Signal Declined] "You, or a signal, ended the command." "Run it again."
        99 [DamagedInput NotFound] "The packages cannot be read." "Look at the path that the message names."
    }
    "pkgmk", ["pkgmk"] => {
        1 [DamagedInput NotFound AlreadyApplied Edited Restricted] "The package was not made." "Read the message: it names the line of the prototype or the file."
        3 [Signal] "A signal ended the command." "Run it again."
        99 [NotFound] "The prototype names no pkginfo." "Add the line `i pkginfo` to it."
    }
    "pkgproto", ["pkgproto"] => {
        1 [NotFound] "An object could not be described; the others are." "Look at the path that the message names."
        99 [Space ReadOnly NoRights Internal] "The lines could not be written." "Check where standard output is written."
    }
    "installf and removef", ["installf", "removef"] => {
        1 [NotFound Edited DamagedInput Restricted NoRights UntrustedRoot ReadOnly NoDatabase Dependency NotApplicable OnTrial UndoData Internal]
            "Nothing was registered or removed; with -f: an object is not what it was declared to be."
            "Read the message: it names the package or the object."
    }
    "removef", ["removef"] => {
        2 [Usage] "A relative path was skipped; the other objects were removed." "Name it from / on."
    }
    "installf and removef", ["installf", "removef"] => {
        99 [DamagedRecord Internal Space ReadOnly NoRights Edited NotFound] "The package database could not be changed."
            "Read the message: it names the file and what the system said."
    }
    "valpath", ["valpath"] => {
        1 [NotApplicable] "The path is not all of what the options ask for." "Nothing: that is the answer."
    }
    "every classic command about a root", ["patchadd", "patchrm", "pkgadd", "pkgask", "pkgrm", "pkginfo", "pkgparam", "pkgchk", "installf", "removef", "showrev"] => {
        64 [Locked] "Another command is changing the root." "Try again later, or use --wait DURATION where the command has it."
        65 [Unfinished InDoubt DamagedRecord]
            "A run was interrupted and could not be recovered, a plan would be made in the middle of one, or the outcome is in doubt."
            "Fix what the message names, then run `patchadm recover`."
    }
    "every classic command", [] => {
        70 [Internal] "A defect of patchadm itself; nothing was changed, or everything was undone."
            "Report it with the message."
    }
};
