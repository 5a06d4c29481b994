//! Values of options and operands: ids and packages of the root, patches of a directory, words.

use std::any::TypeId;
use std::path::{Path, PathBuf};

use clap::Arg;

use super::line::{TypedLine, WantedWord};
use crate::call::Applet;
use crate::surroundings::Surroundings;
use patchadm_core::operation::queries::applied_patches::{applied_ids, package_names};
use patchadm_inputs::source::{directory_names, patches_in};
use patchadm_planning::analyze::Group;
use patchadm_planning::plan::kept_libraries::is_named_as_kept;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CompletionCandidate {
    pub(super) value: String,
    pub(super) about: String,
}

impl CompletionCandidate {
    pub(super) fn new(value: &str, about: &str) -> Self {
        Self { value: value.to_owned(), about: about.to_owned() }
    }

    /// Returns true if it can be handed over: names come from strangers.
    pub(super) fn is_one_line(&self) -> bool {
        !self.value.chars().any(char::is_control)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathCompletion {
    None,
    Files,
    Directories,
}

impl PathCompletion {
    pub(super) fn directive(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Files => Some(":files"),
            Self::Directories => Some(":directories"),
        }
    }
}

pub(super) fn values_of(
    wanted: &WantedWord,
    line: &TypedLine,
    surroundings: &Surroundings,
    applets: &[Applet],
) -> (Vec<CompletionCandidate>, PathCompletion) {
    match wanted {
        WantedWord::None => (Vec::new(), PathCompletion::None),
        WantedWord::Option(options) => {
            let candidates = options.iter().map(|(value, about)| CompletionCandidate::new(value, about));
            (candidates.collect(), PathCompletion::None)
        }
        WantedWord::Value(arg) => of_argument(arg, line, surroundings, applets),
    }
}

fn of_argument(
    arg: &Arg,
    line: &TypedLine,
    surroundings: &Surroundings,
    applets: &[Applet],
) -> (Vec<CompletionCandidate>, PathCompletion) {
    let words = arg.get_possible_values();
    if !words.is_empty() && arg.get_action().takes_values() {
        return (
            words.iter().map(|word| CompletionCandidate::new(word.get_name(), "")).collect(),
            PathCompletion::None,
        );
    }
    let ids = || applied(line, surroundings);
    let packages = || packages(line, surroundings);
    match arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str) {
        Some("ID" | "PATCH_ID") => (ids(), PathCompletion::None),
        Some("GROUP|ID") => {
            let groups = Group::names().map(|name| CompletionCandidate::new(name, "group"));
            (groups.chain(ids()).collect(), PathCompletion::None)
        }
        Some("WHAT") => (ids().into_iter().chain(patches(line)).collect(), PathCompletion::Files),
        Some("ID|PKG") => (ids().into_iter().chain(packages()).collect(), PathCompletion::None),
        Some("PATCH") => (patches(line), PathCompletion::Directories),
        Some("NAME|PATH") => (packages().into_iter().chain(ids()).collect(), PathCompletion::Files),
        Some("PKGINST") => (packages(), PathCompletion::None),
        Some("KEPT_PKG") => {
            let kept = packages().into_iter().filter(|one| is_named_as_kept(one.value.as_bytes()));
            (kept.collect(), PathCompletion::None)
        }
        Some("VERB|COMMAND" | "COMMAND") => {
            let listed = applets.iter().filter(|applet| applet.is_listed());
            (
                listed.map(|applet| CompletionCandidate::new(applet.name, applet.about)).collect(),
                PathCompletion::None,
            )
        }
        Some(words) if words.contains('|') && !words.contains(char::is_uppercase) => {
            (words.split('|').map(|word| CompletionCandidate::new(word, "")).collect(), PathCompletion::None)
        }
        Some("ROOT" | "DIR" | "SPOOL") => (Vec::new(), PathCompletion::Directories),
        _ if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() => {
            (Vec::new(), PathCompletion::Files)
        }
        _ => (Vec::new(), PathCompletion::None),
    }
}

/// Returns `None` if the root cannot be opened.
fn root(line: &TypedLine, surroundings: &Surroundings) -> Option<Root> {
    let path = surroundings.root(line.root().as_deref()).ok()?;
    Root::open_as_named(&std::path::absolute(&path).ok()?).ok()
}

fn applied(line: &TypedLine, surroundings: &Surroundings) -> Vec<CompletionCandidate> {
    let ids = root(line, surroundings).map(|root| applied_ids(&root)).unwrap_or_default();
    ids.iter().map(|(id, packages)| CompletionCandidate::new(id, packages)).collect()
}

/// Returns the packages of the root; for a command that takes them from a directory, those in it.
fn packages(line: &TypedLine, surroundings: &Surroundings) -> Vec<CompletionCandidate> {
    let names = match line.value_of("device").map(PathBuf::from) {
        Some(device) => {
            let inside = directory_names(&device).into_iter();
            let packages = inside
                .filter(|(name, is_directory)| *is_directory && device.join(name).join("pkginfo").is_file());
            let names = packages.map(|(name, _)| name.to_string_lossy().into_owned());
            names.filter(|name| PkgInst::new(name).is_ok()).collect()
        }
        None => root(line, surroundings).map(|root| package_names(&root)).unwrap_or_default(),
    };
    names.iter().map(|name| CompletionCandidate::new(name, "")).collect()
}

/// Returns the patches of the directory that the current word is in, with that directory before them.
fn patches(line: &TypedLine) -> Vec<CompletionCandidate> {
    let (directory, prefix) = match line.current_directory() {
        Some(directory) => (PathBuf::from(directory), directory),
        None => (PathBuf::from("."), ""),
    };
    let patches = patches_in(&directory);
    patches
        .iter()
        .map(|(name, _)| CompletionCandidate::new(&format!("{prefix}{}", Path::new(name).display()), "patch"))
        .collect()
}
