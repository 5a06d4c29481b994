//! The codes of all commands: the commands that end with them, their meanings, the next steps, and their causes.
//!
//! The test of the documents looks up every exit that it sees: a cause that is missing here fails it.

use super::code_meaning::CodeMeaning;
use patchadm_cli::reply::ExitCause::{
    AlreadyApplied, Attention, Check, Conflict, DamagedInput, DamagedRecord, Dependency, Download, Edited,
    InDoubt, Internal, Locked, Missing, NativeChanged, NoDatabase, NoRights, NotApplicable, NotFound, Ok,
    OnTrial, ReadOnly, Reboot, Restricted, Script, Signal, Signature, Space, Superseded, TrialOver, UndoData,
    Unfinished, UntrustedRoot, Usage,
};

/// The meanings of codes, command by command.
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
            causes: &[$($cause,)*],
        },)*)*]
    };
}

/// The codes that can occur, as the manual pages of the commands list them.
pub(super) const MEANINGS: &[CodeMeaning] = meanings! {
    "every command", [] => {
        0 [Ok] "It is done, or there was nothing to do." "Nothing."
        1 [Usage NotFound NoRights ReadOnly Space Internal]
            "The command line, or the policy of the root, makes no sense, or something that they name cannot be opened or written."
            "Look at the usage line, at the manual page, or at the line of the policy that is named."
    }
    "patchadd", ["patchadd", "add", "plan", "update"] => {
        2 [AlreadyApplied] "The patch is applied already." "Nothing; `patchadm show ID` tells when it was applied."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner and --trust-root say whose a root is."
        4 [UndoData Space ReadOnly NoRights Edited Internal] "The old objects could not be saved, so nothing was replaced."
            "Make room for undo data, or choose another place with -B."
        5 [Internal Script Space NoRights ReadOnly Edited UndoData DamagedRecord NotFound]
            "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        6 [Superseded] "Another patch that is applied, or goes in with it, makes this one obsolete." "Nothing: its fixes are there."
        7 [NoDatabase ReadOnly NoRights Space Internal NotFound]
            "There is no package database under the root, or its records cannot be written."
            "Name the right root with -R."
        8 [NotApplicable]
            "None of the packages of the patch is installed in the version that it is for."
            "Nothing: the patch is not for this root."
        10 [Edited DamagedInput Restricted NoRights NotFound Dependency NotApplicable Script Unfinished Usage UndoData]
            "Something about the packages or files does not fit: a file was edited, a sum is wrong, a script may not run, an object cannot be replaced; under `stop`, programs would lose a shared library; it could not be backed out afterwards; or a plan file does not hold any more."
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
        25 [Dependency] "A patch that this one needs is not applied, and not in the depot either, or does not go in itself."
            "Apply that one first, or both in one command; or put it into the depot."
        26 [UndoData DamagedRecord NoRights NotFound] "Undo data of another patch, which this one has to take over, cannot be used."
            "Put it back where the message says, or name its directory with -B (--undo-dir)."
        27 [NotFound] "A relative path leads nowhere, or an operand is neither a patch of the depot nor a list of patches."
            "Look at the spelling and at the working directory."
        28 [DamagedInput DamagedRecord] "A pkginfo or pkgmap is damaged or missing, or records of the root disagree."
            "Get the patch again; if the message names the root, restore that file."
        29 [DamagedInput] "What the patch calls itself is no patch id." "Get the patch again from its maker."
        33 [DamagedInput NotFound Usage NoRights Internal] "What was named is not a patch, is damaged, or is not in the depot."
            "Get the patch again."
        34 [NotFound] "The depot is no directory that is there, or has no patch in it." "Name the directory of the patches, or an address."
        35 [Superseded] "A later revision of the patch is applied, or goes in with the others." "Nothing: its fixes are there."
        37 [Usage] "The directory for undo data cannot be used."
            "Name an absolute path of a directory that can be written to."
        38 [Script] "A script of the patch cannot be executed: it lacks the permission, or its interpreter is not there."
            "Get the patch again, or install the interpreter."
        39 [DamagedInput] "The archive cannot be decompressed." "Get the patch again."
        40 [Download] "A patch or the index of the depot could not be fetched, is not there, or has another size than the index says."
            "Try again: what was fetched is kept, and a mirror may be being made."
        41 [Signature] "The signature of the patch is missing, wrong or not trusted, or the keys of the root cannot be believed."
            "Get a signed patch, or trust its key with `patchadm key trust`; -n and --signature off apply it as it is."
    }
    "patchrm", ["patchrm", "remove", "undo", "show"] => {
        2 [NotFound] "The patch is not applied." "`patchadm list` shows those that are."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner and --trust-root say whose a root is."
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
        8 [Usage] "That is no patch id." "An id is a base, a hyphen and a revision: 105181-05."
        9 [Script] "The prebackout script of the patch, or the hook before a promotion is backed out, failed, before anything was changed."
            "Look into the log for what the script said."
        10 [Script] "The postbackout script of the patch failed or cannot be executed, or the hook behind a promotion that is backed out; everything was undone. Or a hook may or can not be run."
            "Look into the log for what the script said; --scripts refuse removes a promotion without its hooks."
        11 [Script Dependency] "The checkinstall script of the undo archive does not want the patch to be backed out; or, under `stop`, programs would lose a shared library that the backout takes away."
            "Read what it says; the log has it as well. Libraries stay with --libs keep, or go with --libs report."
        12 [UndoData Usage] "The undo data is not where the records say." "Name the directory that holds it with -B (--undo-dir)."
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
    "commands that change a root", ["patchadd", "patchrm", "add", "remove", "undo", "update", "undo-data", "adopt", "stage", "key", "libs", "recover", "plan"] => {
        4 [UndoData] "A trial is over, and what was on trial cannot be backed out."
            "Put right what the message names and run it again, or keep it with `patchadm confirm`."
        10 [OnTrial] "A run is on trial, and nothing else may change the root before its end."
            "Keep it with `patchadm confirm`, or take it back with `patchadm undo RUN`."
    }
    "patchadd and patchadm add, update and promote", ["patchadd", "add", "update", "stage"] => {
        75 [Check] "The command of --probe failed, and everything is backed out: the tree is as before."
            "Read its last lines, which are told."
    }
    "patchadm confirm", ["confirm"] => {
        1 [NotFound] "No run is on trial, or not the one that is named." "`patchadm history` tells of trials."
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner and --trust-root say whose a root is."
        5 [Internal NoRights DamagedRecord Space ReadOnly NotFound] "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        7 [NoDatabase ReadOnly NoRights Space Internal NotFound] "There is no package database under the root, or its records cannot be written."
            "Name the right root with -R."
        11 [TrialOver] "The trial was over before it was confirmed, and what was on trial is backed out."
            "Apply it again, with more time."
        20 [Space] "A file system has too little space." "Make room; the message says how much is needed where."
        28 [DamagedRecord] "A record of the root is damaged, or records disagree." "Do what the message says about that file."
    }
    "patchadm history", ["history"] => {
        2 [NotFound] "The history of the root does not have this run." "`patchadm history` lists its runs."
    }
    "patchadm show", ["show"] => {
        27 [NotFound] "The depot is no directory that is there." "Look at the spelling and at the working directory."
        33 [NotFound DamagedInput] "The depot does not have the patch, or its index cannot be read."
            "Look at the spelling, or name another depot with -M."
        34 [NotFound] "The depot is no directory that is there, or has no patch in it." "Name the directory of the patches, or an address."
        40 [Download] "The index of the depot could not be fetched, or is not there." "Try again later."
        41 [Signature] "The index of the depot is not signed as is demanded, or is older than one seen before."
            "Find out who signed it; `patchadm key trust` trusts a key."
    }
    "patchadm undo", ["undo"] => {
        2 [NotFound] "The history of the root does not have this run." "Name a run of the history, or none for the last one."
        10 [Restricted] "The run cannot be undone: it was none of patches, or its patches are no longer as it left them."
            "Back out or apply what is wanted by `patchadm remove` and `patchadm add`."
    }
    "patchadm remove, undo, recover and questions", ["remove", "undo", "list", "show", "check", "recover", "history", "order", "libs", "undo-data"] => {
        7 [NoDatabase ReadOnly NoRights NotFound] "There is no package database under the root, or its records cannot be written."
            "Name the right root with -R."
    }
    "patchadm remove", ["remove", "undo"] => {
        10 [Restricted Script] "With --all-or-nothing: a patch cannot be backed out in one transaction with the others."
            "Leave out --all-or-nothing."
    }
    "patchadm remove", ["remove", "undo"] => {
        28 [DamagedRecord] "A record of the root is damaged, or records disagree." "Do what the message says about that file."
    }
    "patchadm recover and questions", ["list", "show", "check", "recover", "history", "order", "libs", "undo-data"] => {
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner and --trust-root say whose a root is."
        5 [Internal NoRights DamagedRecord Space ReadOnly NotFound] "A record or file of the root cannot be read, or not be put back."
            "Read the message: it names the file and what the system said."
        28 [DamagedRecord] "A record of the root is damaged, or records disagree." "Do what the message says about that file."
    }
    "patchadm missing and report", ["missing", "report"] => {
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them."
        5 [Internal NoRights DamagedRecord Space ReadOnly NotFound] "A record of the root cannot be read."
            "Read the message: it names the file and what the system said."
        7 [NoDatabase NoRights NotFound] "There is no package database under the root." "Name the right root with -R."
        10 [NotApplicable] "What was named is not a depot that can be read in place." "Read the message."
        28 [DamagedRecord DamagedInput]
            "A record of the root is damaged, or what --from names is no output of pkginfo or showrev."
            "Do what the message says about that file."
        40 [Download] "Something of the depot could not be fetched, or is not as its index says." "Try again later."
        41 [Signature] "The index of the depot is not signed as is demanded, or is older than one seen before."
            "Find out who signed it; `patchadm key trust` trusts a key."
        66 [Missing] "A listed patch is missing, or a host lacks one, and --check was given." "Apply what is listed as missing or lacking."
    }
    "patchadm list", ["list"] => {
        66 [Missing] "The root lacks the patch that --missing names." "Apply it."
    }
    "patchadm missing", ["missing"] => {
        33 [NotFound DamagedInput NoRights Internal]
            "A patch that was named is not known, or what the machine is compared with is not there or damaged."
            "Look at the spelling; get a cross-reference again as it is."
    }
    "patchadm report", ["report"] => {
        2 [NotFound]
            "No inventory is of a host that --compare names, or there is nothing that a document for scanners could say."
            "`patchadm report` lists the hosts; `patchadm build --fixes` makes patches that say what they fix."
        33 [DamagedInput NotFound NoRights Internal]
            "An inventory, the report before, or what hosts are compared with could not be read; the report is about all others."
            "Collect it again: an inventory is what `patchadm list --json` prints."
    }
    "patchadm list, check, analyze and report", ["list", "check", "missing", "report"] => {
        68 [NativeChanged] "The fix of a patch is lost to an upgrade by dpkg or rpm, or a registration is stale; all but check say so with --check only."
            "`patchadm adopt --refresh` takes up what dpkg or rpm did; --accept ID accepts a loss."
    }
    "patchadm update", ["update"] => {
        66 [Missing] "A patch of the depot is missing on the root, and --check was given; nothing was changed." "Say it without --check to apply what is missing."
        67 [Reboot] "A patch that was applied asks for a reboot, and --reboot-code was given." "Restart the system."
    }
    "patchadm recover", ["recover"] => {
        4 [UndoData DamagedRecord] "Undo data does not fit the records, so it was not bound." "Read what differs; name the ID if it is the right archive."
    }
    "patchadm check", ["check"] => {
        1 [Attention] "Something has to be done: a record, a run, a key, a depot or the machine is not as it should be."
            "Do what stands beside each finding that says attention."
    }
    "patchadm stage promote, stage status", ["stage"] => {
        2 [AlreadyApplied] "The id is recorded already." "Leave --id out: the next one is taken."
        7 [NotFound Unfinished] "The directory is no stage, and no stage has the name; or the stage was never completed."
            "`patchadm stage list` shows the stages; a tree that is none is promoted with --two-way."
        10 [Conflict NotApplicable Edited Restricted Dependency Script UndoData] "Stage and live tree both changed a path, a guard forbids it, patches or packages of the stage do not follow on those of the root, the stage is one of another root, the root changed meanwhile, a saved plan does not hold any more, or a hook may or can not be run."
            "The message names the paths, and the option that decides."
        15 [Script] "The hook before the promotion failed, before anything was changed." "Look into the log for what it said."
        16 [Script] "The hook behind the promotion failed; everything was undone." "Look into the log for what it said."
        27 [NotFound] "A promoted path is missing on one side, or is no directory." "Name paths that are there with --path."
        29 [Usage] "The id is no patch id, or of another base than the name of the stage." "Leave --id out, or name one like web-07."
        33 [DamagedInput Edited] "A file of the stage, or undo data of a patch in it, is damaged, or something changed while it was read."
            "Try again when nobody writes there; a new stage has a base of its own."
        35 [Superseded] "The id is not later than one that was there." "Leave --id out: the next one is taken."
    }
    "patchadm stage", ["stage"] => {
        3 [NoRights UntrustedRoot] "You are root, and others may write the records of the root."
            "Run it as its owner; --as-owner and --trust-root say whose a root is."
        5 [Internal NoRights DamagedRecord Space ReadOnly NotFound] "The run that lists the stage failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        7 [NoDatabase NotFound Unfinished ReadOnly NoRights Space Internal] "There is no stage, or none that is complete; or no package database to copy, or its records cannot be written."
            "Name the stage, or the right root with -R; `patchadm stage drop` removes what was never completed."
        10 [NoRights NotApplicable Restricted]
            "You cannot read, copy or mark something; it is a stage of another root; or something is mounted below a stage that is to be removed."
            "Leave it out with --exclude, do it as root, name the root of the stage with -R, or unmount it."
        18 [Space] "A file system has too little space." "Make room, or make the stage elsewhere."
        27 [NotFound] "A staged path is not a directory of the root, or a symbolic link leads to it." "Name a directory that is there, by its physical path."
        28 [DamagedRecord] "A record of the root is damaged." "Do what the message says about that file."
        33 [DamagedInput Edited] "A stage or the list of stages is damaged, or something changed while it was read."
            "Try again when nobody writes there; `stage list` and `patchadm check --contents` tell more."
        36 [NoRights] "The system does not let you make namespaces, without which no stage is entered." "Change the setting that is named, or enter it as root."
        125 [Internal] "What is to be seen in the stage could not be put together." "Read the message: it names the path and what the system said."
        126 [NoRights] "The command is there in the stage and cannot be run." "Look at its mode and at the file system that it is on."
        127 [NotFound] "The command is not there in the stage." "Mount the directory that has it with --mount, or choose the other --view."
    }
    "patchadm bulk", ["bulk"] => {
        1 [NotApplicable] "No set is released, or the run that was named has none."
            "`patchadm bulk release WORK RUN` names the set that users have."
        3 [NoRights UntrustedRoot] "The working directory belongs to somebody else, or somebody else may write there."
            "Use one of your own that only you can write to."
        10 [DamagedInput]
            "A package failed, the tree has a fault or cannot be listed, a set or a patch was refused or lacks packages, or the command that gets the report failed."
            "Read the report; `patchadm bulk log` prints what a build said, `patchadm bulk why` what it waits for."
        18 [Space] "A file system has too little space for results." "Make room; `patchadm bulk prune` drops what nothing needs. The next run goes on where this one was."
        27 [NotFound] "The working directory, the tree, its driver or the base is missing." "Look at the path that is named, and at bulk.conf."
        33 [DamagedInput DamagedRecord] "A journal, a set or a result is damaged." "`patchadm bulk run --new` begins a new run; what the pool has is used."
        36 [NoRights] "The system does not let you make namespaces, without which there is no sandbox." "Change the setting that is named, or run it as root."
        40 [Internal] "No slot can work, or a machine was in trouble three times with one package." "Read what is said of each slot; the next run tries again."
        41 [Signature] "The key cannot be used, or a signature is not good; nothing was published." "Look at key and password_file in bulk.conf."
        64 [Locked] "Another command writes below the working directory, or uses the pool." "Try again later."
        125 [Internal] "The sandbox could not be put together." "Read the message: it names the path and what the system said."
        126 [NoRights] "The command is there in the sandbox and cannot be run." "Look at its mode."
        127 [NotFound] "The command is not there in the sandbox." "Look at host, base and mount in bulk.conf."
    }
    "patchadm adopt", ["adopt"] => {
        3 [NoRights UntrustedRoot]
            "You are neither root nor the owner of the root directory, or you are root and others may write its records."
            "Run it as one of them; --as-owner and --trust-root say whose a root is."
        5 [Internal NoRights DamagedRecord Space ReadOnly NotFound] "The run failed, and what had begun was undone."
            "Read the message: it names the file and what the system said."
        7 [NoDatabase ReadOnly NoRights Space NotFound Internal] "There is no package database under the root, or its records cannot be written."
            "Name the right root with -R."
        8 [NotFound] "The package that is to be forgotten is not there." "pkginfo shows those that are."
        10 [Dependency Restricted Edited NoRights DamagedInput]
            "Other packages own objects of the software, the package is there already, or what is to be forgotten was not adopted or is patched."
            "Read the message: it names every object and its owners, or the patches to back out first."
        18 [Space] "A file system has too little space." "Make room; the message says how much is needed where."
        28 [DamagedInput DamagedRecord] "The package cannot be described, or a record of the root is damaged." "Do what the message says about that file."
        68 [NativeChanged] "A refresh left a package with which dpkg has not finished, or of which nothing certain is known."
            "Finish with dpkg what the message names, and refresh again."
    }
    "patchadm show", ["show"] => {
        2 [NotFound] "No applied patch, delivered patch, path of the root, or fix has this name." "`patchadm list` shows the applied patches."
    }
    "patchadm show", ["show"] => {
        1 [DamagedInput] "The file that was named is no patch, or is damaged." "Get the patch again."
    }
    "patchadm lint", ["lint"] => {
        5 [Internal] "The system refused to read a patch for want of files or memory." "Read the message, and run it again."
        10 [DamagedInput] "An error was found in a patch, or with --strict a warning." "`patchadm help lint:CODE` says what a finding means."
        28 [DamagedInput] "A pkginfo or pkgmap cannot be read." "Make the package again."
        33 [DamagedInput NotFound NoRights Internal] "What was named is no patch, or cannot be read." "Name a directory, datastream, tar or zip archive."
        39 [DamagedInput] "The compression of a patch is damaged." "Get or make it again."
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
            "A package could not be installed or removed, or is not there; nothing of it was changed."
            "Read the message: it names the package and the reason."
        3 [Signal Script] "You, a script of the package, or a signal ended the command." "Run it again."
        4 [Restricted Dependency Script] "The admin file or a script of the package forbids it, an installed instance is in the way, or somebody would lose a shared library."
            "Read the message; use another admin file with -a, or back patches out first; libraries stay with --libs keep, or go with --libs report."
        5 [Restricted Dependency Script] "A question is open, and nobody can be asked."
            "Use an admin file that answers it (-a), -n to confirm a removal, or run it on a terminal."
        99 [DamagedInput NotFound Usage DamagedRecord] "The device, the admin file or the response file cannot be used, or records of the root are damaged."
            "Look at the path that the message names."
    }
    "pkgadd -s", ["pkgadd"] => {
        2 [AlreadyApplied] "A package of that name is in the directory already; nothing was copied."
            "Remove it there with pkgrm -s, or choose another directory."
    }
    "pkgchk and patchadm check", ["pkgchk", "check"] => {
        1 [Edited Unfinished] "Objects are not as they are recorded; they are named."
            "Find out who changed them; pkgchk -f puts attributes and links right, content comes from the package."
    }
    "patchadm check", ["check"] => {
        1 [DamagedRecord] "Records of the root are damaged or disagree; they are named." "Do what is said beside each."
        2 [NotFound] "A name is neither that of an applied patch nor of an installed package."
            "`patchadm list` and pkginfo show what there is."
        4 [UndoData] "The undo data of a patch is damaged, or gone; it is named."
            "Restore the file from a backup; without it the patch stays."
        12 [UndoData] "Undo data that is kept elsewhere is not where the records say."
            "Mount what it is on; if it was moved, patchrm -B names the new place."
    }
    "pkgchk", ["pkgchk"] => {
        1 [NotFound DamagedInput NoRights UntrustedRoot ReadOnly OnTrial UndoData Internal] "Something that was named is not there or cannot be checked, or the root may not be repaired."
            "Read the message: it names the file or package."
        99 [NoDatabase DamagedRecord DamagedInput NotFound NoRights Internal] "There is no package database, it makes no sense, or the device cannot be read as packages."
            "Look at the path and the line that the message names."
    }
    "pkginfo and pkgparam", ["pkginfo", "pkgparam"] => {
        1 [NotFound NoDatabase DamagedRecord DamagedInput] "A package is not there, or its records or those of the root are damaged or missing."
            "Look at the spelling, and name the right root with -R."
    }
    "showrev", ["showrev"] => {
        1 [NoDatabase DamagedRecord] "The patches of the root are not known." "Name the right root with -R, or do what the message says."
    }
    "pkgtrans", ["pkgtrans"] => {
        1 [DamagedInput NotFound Edited Internal] "Nothing was copied: the packages or the destination cannot be used." "Read the message: it names the package or the file."
        2 [AlreadyApplied] "A package of that name is in the directory already; nothing was copied."
            "Replace it with -o, or keep both with -n."
        3 [Signal] "You, or a signal, ended the command." "Run it again."
        99 [DamagedInput NotFound] "The packages cannot be read." "Look at the path that the message names."
    }
    "pkgmk", ["pkgmk"] => {
        1 [DamagedInput NotFound AlreadyApplied Edited Restricted] "The package was not made." "Read the message: it names the line of the prototype or the file."
        3 [Signal] "A signal ended the command." "Run it again."
        99 [NotFound] "The prototype names no pkginfo." "Add the line `i pkginfo` to it."
    }
    "pkgproto", ["pkgproto"] => {
        1 [NotFound] "An object could not be described; the others are." "Look at the path that the message names."
        99 [Space ReadOnly NoRights Internal] "The lines could not be written." "Look at where standard output goes."
    }
    "installf and removef", ["installf", "removef"] => {
        1 [NotFound Edited DamagedInput Restricted NoRights UntrustedRoot ReadOnly NoDatabase Dependency NotApplicable OnTrial UndoData Internal]
            "Nothing was registered or given up; with -f: an object is not what it was declared to be."
            "Read the message: it names the package or the object."
    }
    "removef", ["removef"] => {
        2 [Usage] "A relative path was passed over; the others are given up." "Name it from / on."
    }
    "installf and removef", ["installf", "removef"] => {
        99 [DamagedRecord Internal Space ReadOnly NoRights Edited NotFound] "The package database could not be changed."
            "Read the message: it names the file and what the system said."
    }
    "valpath", ["valpath"] => {
        1 [NotApplicable] "The path is not all of what the options ask for." "Nothing: that is the answer."
    }
    "patchadm build", ["build"] => {
        1 [AlreadyApplied] "Something has the name of the patch; nothing was made." "Choose another name, or use --force for a patch."
        10 [NotApplicable Restricted Dependency DamagedInput Edited]
            "The releases make no patch: they do not differ, an object cannot be in a package, another patch has its path, or something is lost that other objects need."
            "Read the message: it names the object or the patch."
        28 [DamagedInput] "A pkginfo or pkgmap of a patch or package that was named is damaged or missing." "Get it again."
        33 [DamagedInput NotFound NoRights Internal] "A release or patch that was named cannot be read." "Look at the file that the message names."
        39 [DamagedInput] "An archive that was named cannot be decompressed." "Get it again."
    }
    "patchadm delta", ["delta"] => {
        1 [Usage NotFound AlreadyApplied NoRights ReadOnly Space DamagedRecord Internal]
            "A directory, a source or a list is not there or makes no sense, two sources would have one base, or the working directory cannot be written."
            "Read the message: it names the source or the file."
        10 [NotApplicable Restricted Dependency DamagedInput Edited]
            "The first source that failed makes no patch, or a record or a patch of the working directory is not what was written there."
            "Read the message: it names the source, or the file. The other sources have their patches."
        28 [DamagedInput] "A pkginfo or pkgmap of a package is damaged or missing." "Get it again; the other sources have their patches."
        33 [DamagedInput NotFound NoRights Internal] "A package, or a patch that was named, cannot be read." "Look at the file that the message names."
        39 [DamagedInput] "A package cannot be decompressed." "Get it again; the other sources have their patches."
        64 [Locked] "Another run has the working directory." "Try again when that one has ended."
    }
    "patchadm help", ["help"] => {
        1 [NotFound] "No command ends with this code, or not the one that is named." "`patchadm --help` lists the commands, their manual pages the codes."
    }
    "patchadm setup links and demo", ["setup", "demo"] => {
        1 [Edited AlreadyApplied] "Something else is in the place of what was to be made; nothing was made." "Choose another directory, or use --force where links are in the way."
    }
    "patchadm setup hooks", ["setup"] => {
        1 [Edited] "A file in the place of a hook is not as any version of it was, and was left; the other hooks were dealt with."
            "Remove that file by hand, or put it aside, and say it again."
    }
    "patchadm key and sign", ["key", "sign"] => {
        1 [Usage NotFound DamagedInput NoDatabase NoRights ReadOnly Internal Signal]
            "The words make no sense, a file is missing or no key, or a key of that name is there." "Read the message."
        41 [Signature] "A key, a password or a manifest cannot be believed: the message says which and why."
            "Put right what the message names; nothing was changed or signed."
    }
    "patchadm publish", ["publish"] => {
        1 [Usage NotFound DamagedInput NoRights ReadOnly Space Internal Signal]
            "The words make no sense, or a file, the depot or the directory of the patches cannot be opened or written."
            "Read the message."
        5 [NoRights Space Internal] "The system refused a call while a patch was read." "Read the message."
        10 [DamagedInput Edited NotApplicable]
            "A patch is in the depot with other bytes or there twice, a sum in it is wrong, it changed while it was read, or the index that was signed is not the next one."
            "Do what the message says; the index of the depot is as it was."
        13 [DamagedInput] "A patch has a symbolic link where a file belongs." "Make the patch again."
        28 [DamagedInput] "A pkginfo or pkgmap of a patch is damaged or missing." "Make the patch again."
        33 [DamagedInput NotFound NoRights Internal Usage]
            "A file is not a patch of one file, or the index or an object of the depot is damaged."
            "Take the file away; a depot is put right from a mirror or a backup."
        39 [DamagedInput] "A patch cannot be decompressed." "Make the patch again."
        41 [Signature] "A patch or the index in place is not signed, or not by the key that was named."
            "Sign what the message names, or find out who signed it."
        64 [Locked] "Somebody else publishes in the depot, or builds in the directory of the patches." "Try again later."
    }
    "patchadm depot", ["depot"] => {
        1 [Usage NotFound NoRights ReadOnly Space DamagedInput Internal Signal]
            "The words, the flags of the depot or the settings of the network make no sense, or a directory, a key or the cache cannot be opened or written."
            "Read the message."
        5 [UntrustedRoot NoRights Internal DamagedRecord] "The policy or a record of the root cannot be read." "Read the message."
        10 [NotApplicable]
            "The directory is one of `patchadm publish`, or one patch is there twice with different content."
            "Do what the message says; the index is as it was."
        28 [DamagedRecord] "What the root remembers of depots cannot be read." "Put the file back from a backup, or take out the line that is named."
        33 [DamagedInput] "The index, or what looks like a patch, cannot be read." "Look at what the message names."
        40 [Download] "Something could not be fetched, is not there, or has another size than the index says." "Try again: what was fetched is kept, and a mirror may be being made."
        41 [Signature] "A digest or a signature is wrong, or the index is older than one that the root has seen." "Do not use it; find out who has changed it."
        64 [Locked] "Another command indexes the directory, or fetches the same object." "Try again later."
    }
    "patchadm order", ["order"] => {
        1 [DamagedInput NotApplicable Signature Download Locked] "What -M names cannot be read." "Read the message: it names the file."
    }
    "patchadm undo-data repack", ["undo-data"] => {
        1 [UndoData] "The patch has no undo archive." "`patchadm list` shows which patches have undo data."
        2 [NotFound NotApplicable] "The patch is not applied." "`patchadm list` shows the patches that are."
        4 [UndoData DamagedInput] "An undo archive is damaged; nothing was changed." "`patchadm check --contents` names what is damaged."
        7 [Space ReadOnly NoDatabase] "There is not enough space for the archive in its new form." "Make room; `patchadm undo-data list` shows what takes it."
    }
    "patchadm undo-data export", ["undo-data"] => {
        1 [UndoData Usage NotFound NoRights ReadOnly DamagedInput] "The patch has no undo archive, or the file cannot be written: nothing was changed." "Name a file that is not there yet; `patchadm list` shows which patches have undo data."
        2 [NotFound NotApplicable] "The patch is not applied." "`patchadm list` shows the patches that are."
        4 [UndoData DamagedInput] "An undo archive is damaged, or was made by another tool or by scripts; nothing was changed." "`patchadm check --contents` names what is damaged."
        7 [Space ReadOnly NoDatabase] "There is not enough space for the file." "Name a file on another file system, or make room."
    }
    "patchadm undo-data import", ["undo-data"] => {
        1 [UndoData Usage NotFound NoRights DamagedInput] "The file cannot be read, or does not have the patch." "Name the file that undo-export wrote."
        4 [UndoData DamagedInput] "The file is damaged, of another root, or not what the root exported; nothing was changed." "Name the file of the last export; `patchadm history` shows the run."
        7 [Space ReadOnly NoDatabase] "There is not enough space for the archives." "Make room; `patchadm undo-data list` shows what takes it."
    }
    "patchadm libs", ["libs"] => {
        1 [DamagedInput Script] "What is kept cannot be looked at or removed." "Read the message: it names the file."
        20 [Space] "A file system has too little space." "Make room; the message says how much is needed where."
    }
    "every command about a root", ["add", "remove", "undo", "plan", "update", "list", "show", "check", "missing", "report", "recover", "history", "order", "libs", "undo-data", "adopt", "stage", "patchadd", "patchrm", "pkgadd", "pkgask", "pkgrm", "pkginfo", "pkgparam", "pkgchk", "installf", "removef", "showrev"] => {
        64 [Locked] "Another command is changing the root." "Try again later, or use --wait DURATION where the command has it."
        65 [Unfinished InDoubt DamagedRecord]
            "A run was interrupted and could not be recovered, a plan would be made in the middle of one, or the outcome is in doubt."
            "Put right what the message names, then run `patchadm recover`."
    }
    "every command", [] => {
        70 [Internal] "A defect of patchadm itself; nothing was changed, or everything was undone."
            "Report it with the message."
    }
};
