//! Codes of the classic commands: meanings, next steps, causes.
//!
//! The test of the documents looks up every exit that it sees: a missing cause fails it.

use std::borrow::Cow;

use serde::Serialize;

use patchadm_cli::reply::ExitCause::{
    self, AlreadyApplied, Check, DamagedInput, DamagedRecord, Declined, Dependency, Download, Edited, Exists,
    InDoubt, Internal, Locked, NoDatabase, NoRights, NotApplicable, NotFound, Ok, OnTrial, ReadOnly,
    Restricted, Script, Settings, Signal, Signature, Space, Superseded, UndoData, Unfinished, Unknown,
    UntrustedRoot, Usage,
};

/// The meaning of a code, the commands that end with it, and the next step.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CodeMeaning {
    pub(super) code: u8,
    #[serde(rename = "command")]
    pub(super) group: &'static str,
    /// Empty for all verbs, or all classic commands.
    pub(super) commands: &'static [&'static str],
    pub(super) text: &'static str,
    /// The condition of the root, as a sentence; only of verbs.
    #[serde(skip)]
    pub(super) root: &'static str,
    pub(super) advice: &'static str,
    pub(super) causes: Cow<'static, [ExitCause]>,
}

impl CodeMeaning {
    /// Returns the meaning and, of verbs, the condition of the root.
    pub(super) fn sentences(&self) -> String {
        let Self { text, root, .. } = self;
        if root.is_empty() { (*text).to_owned() } else { format!("{text} {root}") }
    }

    pub(super) fn is_about(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}

macro_rules! meanings {
    ($($group:literal, $commands:expr => {
        $($code:literal [$($cause:ident)*] $text:literal $advice:literal)*
    })*) => {
        &[$($(CodeMeaning {
            code: $code,
            group: $group,
            commands: &$commands,
            text: $text,
            root: "",
            advice: $advice,
            causes: Cow::Borrowed(&[$($cause,)*]),
        },)*)*]
    };
}

/// As in the manual pages of the commands.
pub(super) const MEANINGS: &[CodeMeaning] = meanings! {
    "classic commands", [] => {
        0 [Ok] "Done, or there was nothing to do." "Nothing."
        1 [Usage Settings NotFound Exists NoRights ReadOnly Space Internal]
            "The command line or the policy is invalid, or a file that it names cannot be opened or written."
            "Check the usage line, the manual page, or the named line of the policy."
    }
    "patchadd", ["patchadd"] => {
        2 [AlreadyApplied] "The patch is already applied." "Nothing; `patchadm show ID` shows when it was applied."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others can write to its records."
            "Run the command as root or as the owner; as root, use `--as-owner` or `--trust-root`."
        4 [UndoData Space ReadOnly NoRights Edited Internal] "The old objects could not be saved, so nothing was replaced."
            "Free space for undo data, or choose another directory with `-B`."
        5 [Internal Script Space NoRights ReadOnly Edited UndoData DamagedRecord NotFound]
            "The run failed and was rolled back."
            "Read the message: it names the file and the system error."
        6 [Superseded] "Another patch, which is applied or specified in the same command, makes this one obsolete." "Nothing: its fixes are already applied."
        7 [NoDatabase ReadOnly NoRights Space Internal NotFound]
            "There is no package database below the root, or its records cannot be written."
            "Specify the right root with `-R`."
        8 [NotApplicable]
            "No package of the patch is installed in the required version and architecture."
            "Nothing: the patch is not for this root."
        10 [Edited DamagedInput Restricted NoRights NotFound Dependency NotApplicable Script Unfinished UndoData]
            "A package or file does not match: a file is modified locally, a checksum is wrong, a script is forbidden, an object cannot be replaced, programs would lose a shared library, or the patch could not be backed out later."
            "Read the message; for modified files, use `--edited`, `--replace-edited` or `--keep-edited`; for libraries, `--libs keep` or `--libs report`."
        12 [Script] "A signal ended a script of the patch, and the run was rolled back."
            "Read the output of the script in the log."
        13 [DamagedInput] "The patch contains a symbolic link instead of a file." "Ask the vendor for a correct patch."
        15 [Script] "The prepatch script of the patch failed; nothing was changed."
            "Read the output of the script in the log."
        16 [Script] "The postpatch script of the patch failed, and the run was rolled back."
            "Read the output of the script in the log."
        17 [UndoData] "Undo data exists for some packages of the patch, but not for others."
            "Use or omit `-d` as you did the first time."
        18 [Space] "A file system has too little space." "Free space; the message says how much is needed, and where."
        23 [Restricted] "A restricted patch is applied to a package of this patch." "Back out the restricted patch first."
        24 [Dependency] "The patch is incompatible with an applied patch, or with an earlier one in the same command."
            "Back out the other patch, or apply only one of them."
        25 [Dependency] "A required patch is not applied and not in the depot, or cannot be applied."
            "Apply the required patch first, apply both in one command, or add it to the depot."
        26 [UndoData DamagedRecord NoRights NotFound] "The undo data of another patch is needed, but cannot be used."
            "Restore it at the named path, or specify its directory with `-B` (`--undo-dir`)."
        27 [NotFound] "A path does not exist, or an operand is neither a patch of the depot nor a list of patches."
            "Check the spelling and the working directory."
        28 [DamagedInput DamagedRecord] "A pkginfo or pkgmap is damaged or missing, or records of the root are inconsistent."
            "Download the patch again; if the message names a file of the root, restore that file."
        29 [DamagedInput] "The id of the patch is invalid." "Ask the vendor for a correct patch."
        33 [DamagedInput NotFound NotApplicable NoRights Internal] "The operand is not a patch, is damaged, or is not in the depot."
            "Download the patch again."
        34 [NotFound] "The depot does not exist or has no patches." "Specify the directory or URL of a depot."
        35 [Superseded] "A later revision of the patch is applied, or specified in the same command." "Nothing: its fixes are already applied."
        37 [NotApplicable] "The directory for undo data cannot be used."
            "Specify the absolute path of a writable directory."
        38 [Script] "A script of the patch cannot be executed: it is not executable, or its interpreter does not exist."
            "Download the patch again, or install the interpreter."
        39 [DamagedInput] "The archive cannot be decompressed." "Download the patch again."
        40 [Download] "A patch or the index of the depot could not be downloaded, does not exist, or has the wrong size."
            "Try again later: downloads are kept, and the depot may be updating."
        41 [Signature] "The signature of the patch is missing, bad or not trusted, or the keys of the root cannot be trusted."
            "Download a signed patch, or trust its key with `patchadm key trust`; to apply it anyway, use `-n` or `--signature off`."
    }
    "patchrm", ["patchrm"] => {
        2 [Unknown] "The patch is not applied." "List the applied patches with `patchadm list`."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others can write to its records."
            "Run the command as root or as the owner; as root, use `--as-owner` or `--trust-root`."
        4 [UndoData DamagedInput DamagedRecord] "The undo data of the patch is missing or damaged."
            "Restore it from a backup; without it the patch cannot be backed out."
        5 [Internal Script Space NoRights ReadOnly Restricted DamagedRecord DamagedInput Edited NotApplicable NotFound Dependency Locked]
            "The run failed and was rolled back."
            "Read the message: it names the file and the system error."
        6 [Superseded Dependency] "A later patch supersedes this one or changed the same files."
            "Back out the later patch first; the message names it."
        7 [Edited DamagedInput Script Space ReadOnly NoRights UndoData Internal]
            "A file changed during the run, or could not be saved, and the run was rolled back."
            "Try again."
        8 [Usage] "The operand is not a patch id." "Use an id such as 105181-05: a base, a hyphen, and a revision."
        9 [Script] "The prebackout script of the patch, or the hook that runs before a promotion is backed out, failed; nothing was changed."
            "Read the output of the script in the log."
        10 [Script] "The postbackout script of the patch, or the hook that runs after a promotion is backed out, failed or is not executable, and the run was rolled back."
            "Read the output of the script in the log; to back out a promotion without its hooks, use `--scripts refuse`."
        11 [Script Dependency] "The checkinstall script of the undo archive refused the backout, or programs would lose a shared library."
            "Read its output, which is also in the log; keep libraries with `--libs keep`, or remove them with `--libs report`."
        12 [UndoData NotApplicable] "The undo data is not at its recorded path." "Specify its directory with `-B` (`--undo-dir`)."
        14 [Unfinished] "Another tool was interrupted while it applied the patch, and there is no undo data."
            "Restore the package from a backup, or finish the patch without undo data: `patchadd -u -d PATCH`."
        15 [Dependency] "Another patch requires this one." "Back out that patch first, or back out both in one command."
        20 [Space] "A file system has too little space." "Free space; the message says how much is needed, and where."
    }
    "patchrm", ["patchrm"] => {
        2 [NoDatabase] "There is no package database below the root." "Specify the right root with `-R`."
        7 [ReadOnly] "The records of the root cannot be written." "Mount the file system read-write."
        19 [Locked ReadOnly NoRights Space Internal] "Another command is changing the root, or the root cannot be locked."
            "Try again later, or use `patchadm remove --wait DURATION`."
    }
    "patchadd and patchrm", ["patchadd", "patchrm"] => {
        4 [UndoData] "A trial is over, and its changes cannot be reverted."
            "Fix the problem in the message and run the command again, or keep the changes with `patchadm confirm --despite-failure`."
        10 [OnTrial] "A run is on trial, and no other command can change the root until it ends."
            "Keep it with `patchadm confirm`, or revert it with `patchadm undo RUN`."
    }
    "patchadd", ["patchadd"] => {
        75 [Check] "The `--probe` command failed, and all changes were reverted."
            "Read the last lines of its output, which the message shows."
    }
    "pkgadd and pkgrm", ["pkgadd", "pkgrm", "pkgask"] => {
        2 [Script] "The package was installed or removed, but a script warned, or a call to installf or removef failed."
            "Read the output or var/sadm/patchadm/log; `pkgchk` shows what is missing."
        10 [Ok] "The package was installed or removed, and requires a reboot."
            "Reboot later."
        12 [Script] "A script warned, and a reboot is required."
            "Follow the advice for code 2, and reboot later."
        20 [Ok] "The package was installed or removed, and requires a reboot."
            "Reboot now."
        22 [Script] "A script warned, and a reboot is required."
            "Follow the advice for code 2, and reboot now."
        1 [NotFound DamagedInput DamagedRecord Script NoRights UntrustedRoot NoDatabase ReadOnly Space Dependency Edited Restricted NotApplicable UndoData Unfinished Superseded OnTrial Internal]
            "A package could not be installed or removed, or does not exist; it was not changed."
            "Read the message: it names the package and the reason."
        3 [Signal Declined Script] "The user, a script of the package, or a signal ended the command." "Run the command again."
        4 [Restricted Dependency Script] "The admin file or a script of the package forbids the change, an installed instance conflicts, or programs would lose a shared library."
            "Read the message; use another admin file with `-a`, or back out patches first; keep libraries with `--libs keep`, or remove them with `--libs report`."
        5 [Restricted Dependency Script] "A question must be answered, and there is no terminal."
            "Answer it in an admin file (`-a`), confirm a removal with `-n`, or run the command on a terminal."
        99 [DamagedInput NotFound NotApplicable Settings DamagedRecord] "The device, the admin file or the response file cannot be used, or records of the root are damaged."
            "Check the path in the message."
    }
    "pkgadd -s", ["pkgadd"] => {
        2 [AlreadyApplied] "The directory already has a package with that name; nothing was copied."
            "Remove it with `pkgrm -s`, or choose another directory."
    }
    "pkgchk", ["pkgchk"] => {
        1 [Edited Unfinished] "Objects differ from their records; the output names them."
            "Find out who changed them; repair attributes and links with `pkgchk -f`, and contents by reinstalling the package."
    }
    "pkgchk", ["pkgchk"] => {
        1 [NotFound DamagedInput NoRights UntrustedRoot ReadOnly OnTrial UndoData Internal] "An operand does not exist or cannot be checked, or you may not repair the root."
            "Read the message: it names the file or package."
        99 [NoDatabase DamagedRecord DamagedInput NotFound NoRights Internal] "The package database is missing or invalid, or the device contains no readable packages."
            "Check the path and the line in the message."
    }
    "pkginfo and pkgparam", ["pkginfo", "pkgparam"] => {
        1 [NotFound NoDatabase DamagedRecord DamagedInput] "A package does not exist, or the records of the package or the root are damaged or missing."
            "Check the spelling, and specify the right root with `-R`."
    }
    "showrev", ["showrev"] => {
        1 [NoDatabase DamagedRecord] "The patches of the root cannot be read." "Specify the right root with `-R`, or follow the message."
    }
    "pkgtrans", ["pkgtrans"] => {
        1 [DamagedInput NotFound Edited Internal] "Nothing was copied: the packages or the destination cannot be used." "Read the message: it names the package or the file."
        2 [AlreadyApplied] "The directory already has a package with that name; nothing was copied."
            "Replace it with `-o`, or keep both with `-n`."
        3 [Signal Declined] "The user or a signal ended the command." "Run the command again."
        99 [DamagedInput NotFound] "The packages cannot be read." "Check the path in the message."
    }
    "pkgmk", ["pkgmk"] => {
        1 [DamagedInput NotFound AlreadyApplied Edited Restricted] "The package was not made." "Read the message: it names the line of the prototype or the file."
        3 [Signal] "A signal ended the command." "Run the command again."
        99 [NotFound] "The prototype does not list pkginfo." "Add the line `i pkginfo` to the prototype."
    }
    "pkgproto", ["pkgproto"] => {
        1 [NotFound] "An object could not be read; the output contains all others." "Check the path in the message."
        99 [Space ReadOnly NoRights Internal] "The output could not be written." "Check where standard output is written."
    }
    "installf and removef", ["installf", "removef"] => {
        1 [NotFound Edited DamagedInput Restricted NoRights UntrustedRoot ReadOnly NoDatabase Dependency NotApplicable OnTrial UndoData Internal]
            "Nothing was registered or removed, or with `-f`, an object differs from its declaration."
            "Read the message: it names the package or the object."
    }
    "removef", ["removef"] => {
        2 [Usage] "A relative path was skipped; the other objects were removed." "Use an absolute path."
    }
    "installf and removef", ["installf", "removef"] => {
        99 [DamagedRecord Internal Space ReadOnly NoRights Edited NotFound] "The package database could not be changed."
            "Read the message: it names the file and the system error."
    }
    "valpath", ["valpath"] => {
        1 [NotApplicable] "The path does not meet every condition." "Nothing."
    }
    "classic commands that work on a root", ["patchadd", "patchrm", "pkgadd", "pkgask", "pkgrm", "pkginfo", "pkgparam", "pkgchk", "installf", "removef", "showrev"] => {
        64 [Locked] "Another command is changing the root." "Try again later; verbs can wait with `--wait DURATION`."
        65 [Unfinished InDoubt DamagedRecord]
            "A run was interrupted and could not be recovered, is still in progress, or its outcome is unknown."
            "Fix the problem in the message, then run `patchadm recover`."
    }
    "classic commands", [] => {
        70 [Internal] "Internal error; nothing was changed, or all changes were rolled back."
            "Report it, with the message."
    }
};
