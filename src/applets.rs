//! The commands of `patchadm`, the operator's program, and of the classic tools.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::programs::{BULK, MAKE, REPORT};
use crate::trial_waiter::WAITER;
use crate::{as_owner, classic, trial_waiter, verbs};
use patchadm_cli::call::VerbGroup::{Change, Inspect, Learn, Maintain, Make};
use patchadm_cli::call::{Applet, AppletKind, PROGRAM, Program};
use patchadm_cli::program::complete::{self, COMPLETE};
use patchadm_cli::program::{self, beside, classic, classic_beside, hidden, processes, verb};
use patchadm_core::namespaces::{ENCLOSING_PROCESS, FIRST_PROCESS};
use patchadm_core::script::{SESSION, SUPERVISOR};
use patchadm_inputs::native::rpm::RPM_PROCESS;

pub(crate) fn is_classic(name: &str) -> bool {
    APPLETS.iter().any(|applet| applet.name == name && applet.kind == AppletKind::Classic)
}

/// In the order of `patchadm --help`.
const APPLETS: &[Applet] = &[
    verb(Change, "add", "Apply patches", verbs::add::run),
    verb(Change, "update", "Apply the patches of a depot that the root is missing", verbs::update::run),
    verb(Change, "remove", "Remove (back out) patches", verbs::remove::run),
    verb(Change, "undo", "Reverse the last run, or the one named", verbs::undo::run),
    verb(Change, "confirm", "Keep the changes that are on trial", verbs::confirm::run),
    verb(Change, "adopt", "Register existing files or dpkg/rpm packages for patching", verbs::adopt::run),
    verb(Change, "stage", "Prepare changes in a copy of a root, then promote them", verbs::stage::run),
    verb(Inspect, "status", "Summarize the root and suggest the next step", verbs::status::run),
    verb(Inspect, "list", "List applied patches", verbs::list::run),
    verb(Inspect, "show", "Show a patch, a path, or a fix such as CVE-2026-1234", verbs::show::run),
    verb(Inspect, "plan", "Show what `add` would do, without doing it", verbs::plan::run),
    verb(Inspect, "missing", "List the patches that the root is missing", verbs::missing::run),
    verb(Inspect, "history", "List the runs that changed the root, or show one of them", verbs::history::run),
    verb(
        Inspect,
        "check",
        "Check the root: records, files, undo data, and the system around it",
        verbs::check::run,
    ),
    verb(Maintain, "undo-data", "Manage saved undo data and the disk space used", verbs::undo_data::run),
    verb(Maintain, "libs", "List or prune old shared libraries still in use", verbs::libs::run),
    verb(Maintain, "recover", "Finish or roll back an interrupted run", verbs::recover::run),
    #[cfg(feature = "sign")]
    verb(Maintain, "key", "Manage the signing keys that a root trusts: list, trust, revoke", verbs::key::run),
    verb(Maintain, "setup", "Integrate with the system: links, completions, hooks", verbs::setup::run),
    verb(
        Learn,
        "help",
        "Explain a verb, a classic command, an exit code, or a lint finding",
        verbs::help::run,
    ),
    verb(Learn, "demo", "Patch a small example root and restore it", verbs::demo::run),
    beside(Make, "build", "Make a patch from two releases", &MAKE),
    beside(Make, "delta", "Make patches for a stable branch", &MAKE),
    beside(Make, "lint", "Check patches for mistakes", &MAKE),
    beside(Make, "keygen", "Make a key pair", &MAKE),
    beside(Make, "sign", "Sign patches", &MAKE),
    beside(Make, "publish", "Add patches to a depot", &MAKE),
    beside(Make, "depot", "Index a directory of patches, or check a depot", &MAKE),
    beside(Make, "order", "Put packages or patches in order, requirements first", &MAKE),
    beside(Make, "bulk", "Build all packages in a tree from source", &BULK),
    beside(Make, "report", "Report on the patches of many hosts", &REPORT),
    classic("patchadd", "apply patches", classic::patchadd::run),
    classic("patchrm", "back patches out", classic::patchrm::run),
    classic("pkgadd", "install packages", classic::pkgadd::run),
    classic("pkgask", "answer a package's questions in advance", classic::pkgask::run),
    classic("pkgrm", "remove packages", classic::pkgrm::run),
    classic("pkginfo", "list installed or spooled packages", classic::pkginfo::run),
    classic("pkgparam", "print parameters of a package", classic::pkgparam::run),
    classic("pkgtrans", "copy packages between directories and datastreams", classic::pkgtrans::run),
    classic("pkgchk", "check installed objects against their records", classic::pkgchk::run),
    classic("installf", "register objects as part of a package", classic::installf::run),
    classic("removef", "remove objects of a package from the database", classic::removef::run),
    classic_beside("pkgproto", "print prototype entries for existing objects", &MAKE),
    classic_beside("pkgmk", "make a package from a prototype", &MAKE),
    classic("showrev", "print the revision of the system and its patches", classic::showrev::run),
    classic("valpath", "check a path", classic::valpath::run),
    classic("puttext", "print a message, wrapped to fit a screen", classic::puttext::run),
    hidden("compress", AppletKind::ForScripts, classic::compress::run),
    hidden(COMPLETE, AppletKind::Internal, complete::run),
    hidden(SUPERVISOR, AppletKind::Internal, processes::run_supervisor),
    hidden(SESSION, AppletKind::Internal, processes::run_session),
    hidden(WAITER, AppletKind::Internal, trial_waiter::run),
    hidden(RPM_PROCESS, AppletKind::Internal, processes::run_rpm),
    hidden(FIRST_PROCESS, AppletKind::Internal, processes::run_first_process),
    hidden(ENCLOSING_PROCESS, AppletKind::Internal, processes::run_enclosure),
    hidden(as_owner::BECOMING, AppletKind::Internal, as_owner::become_owner),
];

static PATCHADM: Program = Program {
    name: PROGRAM,
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: "patchadm [-R ROOT] VERB [OPTION...] [ARGUMENT...]",
    ending: "`patchadm help VERB` explains a verb; `patchadm` alone shows the status of /.",
    applets: APPLETS,
    only: None,
    overall: Some("status"),
    queries: &[
        "check",
        "history",
        "key list",
        "libs list",
        "list",
        "missing",
        "order",
        "report",
        "show",
        "status",
        "lint",
        "help",
        "setup completions",
        "stage list",
        "undo-data list",
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
        ("analyze", "missing"),
        ("apply", "add"),
        ("backout", "remove"),
        ("clean", "undo-data drop"),
        ("commit", "undo-data"),
        ("completions", "setup"),
        ("diff", "show"),
        ("doctor", "check"),
        ("explain", "help"),
        ("files", "show"),
        ("fsck", "check"),
        ("hooks", "setup"),
        ("info", "show"),
        ("install", "add"),
        ("key generate", "keygen"),
        ("links", "setup"),
        ("log", "history"),
        ("ls", "list"),
        ("man", "help"),
        ("outdated", "missing"),
        ("owner", "show"),
        ("plan --remove", "remove --dry-run"),
        ("promote", "stage promote"),
        ("repack", "undo-data"),
        ("revert", "undo"),
        ("rm", "remove"),
        ("rollback", "undo"),
        ("shlibs", "libs"),
        ("space", "undo-data"),
        ("undo-export", "undo-data"),
        ("undo-import", "undo-data"),
        ("uninstall", "remove"),
        ("upgrade", "update"),
        ("verify", "check"),
        ("version", "--version"),
        ("why", "show"),
    ],
    never_suggested: &[
        "add",
        "adopt",
        "confirm",
        "installf",
        "patchadd",
        "patchrm",
        "pkgadd",
        "pkgrm",
        "publish",
        "recover",
        "remove",
        "removef",
        "stage",
        "undo",
        "undo-data",
        "update",
    ],
    schemas: patchadm_cli::schemas!(
        "../docs/schema":
            "add" "adopt" "check" "confirm" "demo" "help" "history" "installf" "key" "libs"
            "libs-list" "libs-prune" "list" "missing" "patchadd" "patches" "patchrm" "pkgadd"
            "pkgask" "pkgchk" "pkginfo" "pkgparam" "pkgrm" "pkgtrans" "plan" "puttext" "recover" "remove"
            "removef" "setup" "setup-completions" "setup-hooks" "setup-links" "show" "showrev" "stage"
            "stage-drop" "stage-list" "stage-new" "stage-promote" "stage-refresh" "stage-status" "status"
            "undo" "undo-data" "undo-data-drop" "undo-data-export" "undo-data-import" "undo-data-list"
            "undo-data-repack" "update" "valpath"
    ),
};

/// Runs the command that the command line selects.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    program::main(&PATCHADM, words)
}
