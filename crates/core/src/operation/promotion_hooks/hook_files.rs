//! The files of the hooks, located inside the root, and the checks that they may be run.

use std::path::PathBuf;

use super::hook_end::HookEnd;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::hooks::HookDirectory;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::refusal::{Command, HookReason, Reason};
use patchadm_rootfs::{FileType, ForeignObject, Root, RootError};
use patchadm_svr4::package::ObjectPath;

/// The permission bits for execution; an executable file has at least one of them.
const EXECUTABLE: u32 = 0o111;

/// The direction of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operation) enum HookDirection {
    /// A stage goes live.
    Promote,
    /// A promotion is backed out.
    BackOut,
}

impl HookDirection {
    /// Returns the word that hooks receive.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::BackOut => "backout",
        }
    }

    /// Returns the refusal of the command for a reason that lies in a hook.
    pub(in crate::operation) fn refuse(self, reason: HookReason, subject: &impl ToString) -> Failure {
        Reason::Hook(reason).of(self.command(), subject).into()
    }

    /// Returns the command that is refused.
    pub(super) fn command(self) -> Command {
        match self {
            Self::Promote => Command::Promote,
            Self::BackOut => Command::Patchrm,
        }
    }
}

/// A hook that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct HookFile {
    /// The key of the policy.
    pub(super) key: &'static str,
    /// Its path in the root, as the policy has it.
    pub(super) path: ObjectPath,
    /// The file on the host, with no symbolic link on its path.
    pub(super) file: PathBuf,
}

/// The hooks of a root, each fit to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::operation) struct HookFiles {
    pub(super) before: Option<HookFile>,
    pub(super) after: Option<HookFile>,
}

impl HookFiles {
    /// Finds the hooks that the policy names. Refuses them if the policy lets no scripts run, or if another user could have
    /// written a hook. `scripts` is the policy after the options of the command.
    pub(in crate::operation) fn of(
        ground: &RootAndPolicy,
        scripts: ScriptPolicy,
        direction: HookDirection,
    ) -> Result<Self, HookReason> {
        let policy = &ground.policy;
        let named = [("promote_before", &policy.promote_before), ("promote_after", &policy.promote_after)];
        let mut found = named.into_iter().map(|(key, path)| {
            let Some(path) = path.as_ref().filter(|_| scripts != ScriptPolicy::Unwanted) else {
                return Ok(None);
            };
            must_be_allowed((key, path), scripts, direction)?;
            hook_file(&ground.root, key, path).map(Some)
        });
        let mut next = || found.next().transpose().map(Option::flatten);
        Ok(Self { before: next()?, after: next()? })
    }

    /// Returns whether there are no hooks.
    pub(in crate::operation) fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }

    /// Returns the hooks as they are before any has run.
    pub(in crate::operation) fn ends(&self) -> Vec<HookEnd> {
        self.named().map(|(name, path)| HookEnd { name, path: path.to_string(), exit: None }).collect()
    }

    /// Returns the hooks in the order in which they run: the key of the policy, and the path.
    pub(in crate::operation) fn named(&self) -> impl Iterator<Item = (&'static str, &ObjectPath)> {
        self.before.iter().chain(&self.after).map(|hook| (hook.key, &hook.path))
    }
}

fn must_be_allowed(
    (hook, path): (&'static str, &ObjectPath),
    scripts: ScriptPolicy,
    direction: HookDirection,
) -> Result<(), HookReason> {
    let scripts = match scripts {
        ScriptPolicy::Run | ScriptPolicy::Unwanted => return Ok(()),
        ScriptPolicy::Known => "known",
        ScriptPolicy::None => "none",
    };
    let is_backout = direction == HookDirection::BackOut;
    Err(HookReason::Forbidden { hook, path: path.to_string(), scripts, is_backout })
}

/// Checks a hook, and everything on the way to it.
fn hook_file(root: &Root, key: &'static str, path: &ObjectPath) -> Result<HookFile, HookReason> {
    let unfit = |why: String, remedy: String| HookReason::Unfit { hook: key, why, remedy };
    let failed = |error: RootError| unfit(error.to_string(), format!("name another file with {key}"));
    let shown = root.show(path);
    let physical = root.resolver().locate(path).map_err(failed)?;
    let above = physical.parent().unwrap_or_else(ObjectPath::root);
    let dir = root.dir_if_there(&above).map_err(failed)?;
    let seen = dir.map(|dir| dir.look(physical.name())).transpose().map_err(failed)?.flatten();
    let Some(seen) = seen else {
        return Err(unfit(
            format!("{shown} is not there"),
            format!("make it, or take {key} out of the policy"),
        ));
    };
    if seen.file_type != FileType::Regular {
        let why = format!("{shown} is no regular file");
        return Err(unfit(why, format!("name a file with {key}, not a link to one")));
    }
    if let Some(foreign) = root.others_on_the_way(path).map_err(failed)? {
        let ForeignObject { path, is_writable, .. } = &foreign;
        let remedy = if *is_writable { format!("chmod go-w {path}") } else { format!("chown root {path}") };
        return Err(unfit(foreign.to_string(), remedy));
    }
    if seen.mode.bits() & EXECUTABLE == 0 {
        return Err(unfit(format!("{shown} may not be executed"), format!("chmod 0755 {shown}")));
    }
    let file = PathBuf::from(root.show(&physical));
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = HookDirectory::at(file.parent().map(PathBuf::from).unwrap_or_default());
    let runs = directory.must_be_executable([name]);
    runs.map_err(|failure| {
        unfit(failure.detail().unwrap_or_default().to_owned(), format!("put {shown} right"))
    })?;
    Ok(HookFile { key, path: path.clone(), file })
}
