//! The commands of `patchadm`, the operator's program, and of the classic tools.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::programs::{BULK, MAKE, REPORT};
use crate::trial_waiter::WAITER;
use crate::{as_owner, classic, trial_waiter, verbs};
use patchadm_cli::call::VerbGroup::{Ask, Change, Learn, Make, Mend, Stage};
use patchadm_cli::call::{Applet, AppletKind, PROGRAM, Program};
use patchadm_cli::program::complete::{self, COMPLETE};
use patchadm_cli::program::{
    self, beside, classic, classic_beside, enclosed, help, hidden, supervisor, verb,
};
use patchadm_core::namespaces::{ENCLOSING_PROCESS, FIRST_PROCESS};
use patchadm_core::script::{SESSION, SUPERVISOR};

/// Tells whether a command is a classic one.
pub(crate) fn is_classic(name: &str) -> bool {
    APPLETS.iter().any(|applet| applet.name == name && applet.kind == AppletKind::Classic)
}

/// Every command, in the order of the list that `patchadm --help` prints.
const APPLETS: &[Applet] = &[
    verb(Change, "add", "apply patches", verbs::add::run),
    verb(Change, "remove", "back patches out", verbs::remove::run),
    verb(Change, "undo", "take back what a run did", verbs::undo::run),
    verb(Change, "update", "apply the patches that a machine lacks", verbs::update::run),
    verb(Change, "confirm", "keep what is on trial", verbs::confirm::run),
    verb(Change, "commit", "give undo data up", verbs::commit::run),
    verb(Change, "adopt", "register software that is on disk as a package", verbs::adopt::run),
    verb(Ask, "status", "summarize the root and suggest the next step", verbs::status::run),
    verb(Ask, "list", "list the patches of a root", verbs::list::run),
    verb(Ask, "show", "show everything about one patch", verbs::show::run),
    verb(Ask, "plan", "show what add or remove would do", verbs::plan::run),
    verb(Ask, "analyze", "show which patches a machine lacks", verbs::analyze::run),
    beside(Ask, "report", "show which hosts of many have and lack which patches", &REPORT),
    verb(
        Ask,
        "verify",
        "check files against records, and undo archives against their digests",
        verbs::verify::run,
    ),
    verb(Ask, "why", "show why a patch is applied, or would not be", verbs::why::run),
    verb(Ask, "diff", "show what taking a patch out would change", verbs::diff::run),
    verb(Ask, "files", "list the objects of an applied patch", verbs::files::run),
    verb(Ask, "owner", "show whose paths are, and which patches changed them", verbs::owner::run),
    beside(Ask, "order", "put packages or patches in order, each after what it needs", &MAKE),
    verb(Ask, "history", "list the runs that changed a root", verbs::history::run),
    verb(Ask, "space", "show what takes space on disk, and which undo data may go", verbs::space::run),
    verb(
        Ask,
        "shlibs",
        "show the libraries that are kept, and remove those that nobody needs",
        verbs::shlibs::run,
    ),
    beside(Make, "build", "make a patch of two releases", &MAKE),
    beside(Make, "delta", "make the patches of a stable branch", &MAKE),
    beside(Make, "lint", "find what is wrong with patches", &MAKE),
    #[cfg(feature = "sign")]
    verb(Make, "key", "say which keys a root trusts", verbs::key::run),
    beside(Make, "keygen", "make a pair of keys", &MAKE),
    beside(Make, "sign", "sign patches", &MAKE),
    beside(Make, "publish", "put patches into a depot", &MAKE),
    beside(Make, "depot", "index a directory of patches, or check a depot", &MAKE),
    verb(Stage, "stage", "build in a copy of parts of a root", verbs::stage::run),
    verb(
        Stage,
        "promote",
        "make live what a stage has, as a patch that can be backed out",
        verbs::promote::run,
    ),
    beside(Stage, "bulk", "build all packages of a tree from their sources", &BULK),
    verb(Mend, "recover", "finish or roll back an interrupted run", verbs::recover::run),
    verb(Mend, "doctor", "say what works here and what does not", verbs::doctor::run),
    verb(Mend, "hooks", "let apt, dpkg and dnf tell of their changes", verbs::hooks::run),
    verb(Mend, "repack", "write undo archives again in another form", verbs::repack::run),
    verb(Mend, "undo-export", "move undo archives to a file outside the root", verbs::undo_export::run),
    verb(Mend, "undo-import", "bring undo archives back from such a file", verbs::undo_import::run),
    verb(Learn, "help", "explain a verb or command", help::run),
    verb(Learn, "explain", "explain an exit code or a finding", verbs::explain::run),
    verb(Learn, "demo", "build a small root and show all of this on it", verbs::demo::run),
    verb(Learn, "completions", "print the completion script of a shell", verbs::completions::run),
    verb(Learn, "links", "make links named after the classic commands", verbs::links::run),
    classic("patchadd", "apply patches", classic::patchadd::run),
    classic("patchrm", "back patches out", classic::patchrm::run),
    classic("pkgadd", "install packages", classic::pkgadd::run),
    classic("pkgask", "answer the questions of a package in advance", classic::pkgask::run),
    classic("pkgrm", "remove packages", classic::pkgrm::run),
    classic("pkginfo", "list installed or spooled packages", classic::pkginfo::run),
    classic("pkgparam", "print parameters of a package", classic::pkgparam::run),
    classic("pkgtrans", "move packages between directories and datastreams", classic::pkgtrans::run),
    classic("pkgchk", "check installed objects against their records", classic::pkgchk::run),
    classic("installf", "register objects as those of a package", classic::installf::run),
    classic("removef", "give objects of a package up", classic::removef::run),
    classic_beside("pkgproto", "print prototype entries for objects of this machine", &MAKE),
    classic_beside("pkgmk", "make a package from a prototype", &MAKE),
    classic("showrev", "print the revision of the system and its patches", classic::showrev::run),
    classic("valpath", "say whether a path is what it should be", classic::valpath::run),
    classic("puttext", "print a message in lines that fit on a screen", classic::puttext::run),
    hidden("compress", AppletKind::ForScripts, classic::compress::run),
    hidden(COMPLETE, AppletKind::Internal, complete::run),
    hidden(SUPERVISOR, AppletKind::Internal, supervisor::run),
    hidden(SESSION, AppletKind::Internal, supervisor::run_session),
    hidden(WAITER, AppletKind::Internal, trial_waiter::run),
    hidden(FIRST_PROCESS, AppletKind::Internal, enclosed::run),
    hidden(ENCLOSING_PROCESS, AppletKind::Internal, enclosed::run_enclosure),
    hidden(as_owner::BECOMING, AppletKind::Internal, as_owner::become_owner),
];

/// The program.
static PATCHADM: Program = Program {
    name: PROGRAM,
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: "patchadm [OPTION...] [VERB [ARGUMENT...]]\npatchadm COMMAND [ARGUMENT...]\npatchadm help [VERB|COMMAND]",
    ending: "\n`patchadm` alone says how the root is.\n`patchadm help VERB` explains a verb, patchadm(8) all.\n",
    applets: APPLETS,
    only: None,
    overall: Some("status"),
    queries: &[
        "analyze",
        "diff",
        "doctor",
        "files",
        "history",
        "list",
        "order",
        "owner",
        "report",
        "show",
        "space",
        "status",
        "verify",
        "why",
        "lint",
        "explain",
        "help",
        "completions",
        "stage list",
        "bulk diff",
        "bulk history",
        "bulk log",
        "bulk status",
        "bulk why",
        "pkginfo",
        "pkgparam",
        "pkgproto",
        "showrev",
        "valpath",
        "puttext",
    ],
    meant: &[
        ("apply", "add"),
        ("backout", "remove"),
        ("check", "verify"),
        ("fsck", "verify"),
        ("info", "show"),
        ("install", "add"),
        ("libs", "shlibs"),
        ("log", "history"),
        ("ls", "list"),
        ("missing", "analyze"),
        ("outdated", "analyze"),
        ("revert", "undo"),
        ("rm", "remove"),
        ("rollback", "undo"),
        ("setup", "links"),
        ("undo-data", "space"),
        ("uninstall", "remove"),
        ("upgrade", "update"),
    ],
    never_suggested: &[
        "add",
        "adopt",
        "commit",
        "confirm",
        "installf",
        "patchadd",
        "patchrm",
        "pkgadd",
        "pkgrm",
        "promote",
        "publish",
        "recover",
        "remove",
        "removef",
        "repack",
        "undo",
        "undo-import",
        "update",
    ],
};

/// Runs the command that the words of the command line ask for.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    program::main(&PATCHADM, words)
}
