//! The command to type next after a refusal. It stands in backquotes and works as it is, except for words in capitals
//! (PATCH, DIR), which the user replaces. If no command would help, there is no advice.

use patchadm_inputs::native::{NativeChange, UnfinishedChange};

use super::{Command, ObjectProblem, Reason, Refusal, WayOut, Wording};
use patchadm_rootfs::human_needed;

impl Refusal {
    /// Returns the next step; empty if there is no command for it.
    pub fn hint(&self, wording: &Wording) -> String {
        if self.command == Command::Patchadd && matches!(*self.reason, Reason::Obsoleted { .. }) {
            return String::new();
        }
        self.way_on(wording)
    }

    fn way_on(&self, wording: &Wording) -> String {
        let first = |id: &dyn std::fmt::Display| wording.removal_first("it", &id.to_string());
        match &*self.reason {
            Reason::Required(needed) => match needed.ids() {
                [id] => format!("apply patch {id} first, or apply both in one command"),
                _ => format!("apply one of {needed} first, or apply both in one command"),
            },
            Reason::InSet(reason) => wording.completed(&reason.hint()).into_owned(),
            Reason::Promotion(reason) => reason.hint(wording),
            Reason::Hook(reason) => reason.hint(),
            Reason::NotUndone(reason) => reason.hint(wording),
            Reason::Object { problem: ObjectProblem::NotPermitted(_), .. }
                if self.command == Command::Promote =>
            {
                "leave it out with `--exclude`, or run it as root".to_owned()
            }
            Reason::Object { problem, path, .. } => of_object(problem, path, wording),
            Reason::Restricted { restricted, .. } => first(restricted),
            Reason::Incompatible { applied, .. } => {
                format!("if {applied} is not needed, {}", first(applied))
            }
            Reason::AlreadyApplied(_) => {
                format!("reinstall its files with {}", wording.command("patchadd", "-u PATCH"))
            }
            Reason::Superseded(_)
            | Reason::Obsoleted { .. }
            | Reason::Needed { .. }
            | Reason::ChangedLater { .. }
            | Reason::NotHandedOn { .. }
            | Reason::UsedLater { .. }
            | Reason::SharedLater { .. } => self.of_patch_in_the_way(wording),
            Reason::NotApplied => format!("run {}", wording.verb("list")),
            Reason::PatchesApplied { patches, .. } => wording.removal_first("them", patches),
            Reason::Adopted { package, .. } => format!(
                "unregister it with {}; its files stay",
                wording.verb(&format!("adopt --forget --pkg {package}"))
            ),
            Reason::NotInstalled(packages) if self.command == Command::Patchadd && !packages.is_empty() => {
                let list = format!(
                    "list the patches for the packages of this root with {}",
                    wording.verb("missing -M DEPOT")
                );
                if !packages.iter().any(|one| one.ends_with("(not installed)")) {
                    return list;
                }
                let adopt = wording.verb("adopt --pkg PKG --pkg-version VERSION --dir DIR");
                format!("{list}; register a directory that was never adopted with {adopt}")
            }
            Reason::Unregistered { .. } => {
                format!(
                    "register the package in the same run with {}; {} shows the effect",
                    wording.verb("add --adopt PATCH"),
                    wording.verb("plan --adopt PATCH")
                )
            }
            Reason::NativeChanged { change, .. } => of_native_change(change, wording),
            Reason::Interrupted { .. } => format!(
                "restore the package from a backup, or finish the patch without undo data: {}",
                wording.command("patchadd", "-u -d PATCH")
            ),
            Reason::OtherInterrupted { patch, .. } => format!(
                "restore the package from a backup, or first finish patch {patch} without undo data: {}",
                wording.command("patchadd", "-u -d PATCH")
            ),
            _ => self.choice(wording),
        }
    }

    fn of_patch_in_the_way(&self, wording: &Wording) -> String {
        let is_applied_again = matches!(*self.reason, Reason::NotHandedOn { .. });
        if let WayOut::First { together: Some(words), .. } = &self.way_out
            && let Some(removal) = wording.removal_together(words)
        {
            let again = if is_applied_again { ", and apply the later ones again afterwards" } else { "" };
            return format!("{removal}{again}");
        }
        match (&self.way_out, self.reason.stands_in_the_way()) {
            (WayOut::First { id, .. }, Some(by)) if *id != by => wording.removal_first(id, id),
            (WayOut::Blocked { patch, why }, _) => {
                format!("patch {patch} cannot be {} either: {why}", wording.removed())
            }
            (_, Some(by)) if is_applied_again => {
                format!("{}, and apply it again afterwards", wording.removal_first("it", &by))
            }
            (_, Some(by)) => wording.removal_first("it", &by),
            (_, None) => String::new(),
        }
    }

    fn choice(&self, wording: &Wording) -> String {
        let policy = || wording.path("etc/patchadm/policy");
        match &*self.reason {
            Reason::Edited { can_keep, .. } => {
                let keep = if *can_keep { " or `--edited keep`" } else { "" };
                let keep_path = if *can_keep { " or `--keep-edited PATH`" } else { "" };
                format!(
                    "use `--edited replace`{keep}; for one file, use `--replace-edited PATH`{keep_path}"
                )
            }
            Reason::OtherBaseDirectory { installed, .. } => {
                format!("rebuild the patch from the content of {installed} in both releases, with `--basedir {installed}`")
            }
            Reason::KeepWithoutUndo(_) => format!("leave out `{}`, or use `--edited replace`", wording.no_undo()),
            Reason::NoWayBack(_) => format!("if it need not be removed later, use `{}`", wording.no_undo()),
            Reason::BeyondScripts { by_choice: true, .. } => {
                "apply it without running its scripts: use `--scripts native`".to_owned()
            }
            Reason::BeyondScripts { by_choice: false, .. } => {
                "its scripts cannot do this; ask the vendor for a rebuilt patch".to_owned()
            }
            Reason::RecordsByScripts(_) => "allow it with `--scripts run` or `--scripts auto`".to_owned(),
            Reason::ScriptForbidden { by_option: true, .. } => "leave out `--scripts refuse`".to_owned(),
            Reason::ScriptForbidden { .. } => format!("to allow it, set `scripts=run` in {}", policy()),
            Reason::Excluded => format!("to apply it, remove it from `exclude` in {}", policy()),
            Reason::NoSpace { file_system, needed, free, inodes, undo } => {
                let missing = needed.saturating_sub(*free);
                let what = if *inodes { format!("{missing} more objects") } else { format!("{} more", human_needed(missing)) };
                let elsewhere = if *undo >= missing && missing > 0 {
                    format!(", or keep undo data on another file system with `{}`", wording.undo_dir())
                } else {
                    String::new()
                };
                format!("free {what} on {file_system}{elsewhere}")
            }
            Reason::LibrariesLost(_) if self.command == Command::Pkgrm => {
                "update the programs first, or accept the loss with `--libs report`".to_owned()
            }
            Reason::LibrariesLost(_) => {
                "update the programs first, keep the libraries with `--libs keep`, or accept the loss with `--libs report`"
                    .to_owned()
            }
            Reason::ReadOnly(file_system) => format!("mount {file_system} read-write"),
            Reason::UndoMismatch { kept: true, .. } => format!("leave out `{}`, as before", wording.no_undo()),
            Reason::UndoMismatch { .. } => format!("use `{}`, as before", wording.no_undo()),
            Reason::Interaction { answer, .. } => self.answered(answer, true),
            Reason::InUse { is_question, .. } => self.answered("conflict=nocheck", *is_question),
            Reason::Administration { answer: Some(answer), .. } => self.answered(answer, false),
            Reason::AlreadyInstalled(Some(patches)) | Reason::NotNative(Some(patches)) => {
                let forget = wording.verb(&format!("adopt --forget --pkg {}", self.subject));
                let removal = match patches.as_str() {
                    "" => String::new(),
                    patches => format!("{}, then ", wording.removal(patches)),
                };
                format!("to register its current files, first run {removal}{forget}")
            }
            Reason::BasedirAnswered { installed, .. } => format!("answer BASEDIR={installed}, or leave it empty"),
            Reason::StaleSave(package) => {
                format!(
                    "move {} away",
                    wording.path(&format!("var/sadm/pkg/{package}/save/{}", self.subject))
                )
            }
            _ => String::new(),
        }
    }

    /// `answer` is the line that would allow it. A file with only this line leaves `instance` and `basedir` open.
    fn answered(&self, answer: &str, is_question: bool) -> String {
        let unsaid = match answer {
            _ if self.command == Command::Pkgrm => "",
            "instance=overwrite" => " and basedir=default",
            "basedir=default" | "basedir=/" => " and instance=unique",
            _ => ", instance=unique and basedir=default",
        };
        let other = match answer {
            "idepend=nocheck" => "install that first, or ",
            "rdepend=nocheck" => "remove that first, or ",
            "space=nocheck" => "free space, or ",
            _ if is_question => "",
            _ => "to allow it, ",
        };
        let terminal = if is_question { ", or run it on a terminal without `-n`" } else { "" };
        format!("{other}use an admin file (`-a FILE`) with {answer}{unsaid}{terminal}")
    }
}

fn of_object(problem: &ObjectProblem, path: &str, wording: &Wording) -> String {
    let quoted = Wording::quoted(path);
    match problem {
        ObjectProblem::NativeOwner { owner, .. } => format!(
            "use a patch for {owner}; to see the owner and the patches of the file, run {}",
            wording.verb(&format!("show {quoted}"))
        ),
        ObjectProblem::NativeName { .. } => {
            format!(
                "make them separate files first: `cp -p {quoted} {quoted}.new && mv {quoted}.new {quoted}`"
            )
        }
        ObjectProblem::NotEmpty(inner) => format!("move {} away", Wording::quoted(&inner.to_string())),
        ObjectProblem::Obstacle { at, obstacle } => {
            let at = Wording::quoted(&at.to_string());
            match *obstacle {
                "is immutable" => format!("run `chattr -i {at}`"),
                "is append-only" => format!("run `chattr -a {at}`"),
                "is a mount point" => format!("unmount {at} first"),
                _ => String::new(),
            }
        }
        ObjectProblem::Diverted { .. } => {
            format!("reinstall its package, then run {}", wording.verb("add --refresh PATCH"))
        }
        _ => String::new(),
    }
}

/// Returns the command that finishes an interrupted change of a package, if there is one for it.
pub fn finishing_command(change: &NativeChange, wording: &Wording) -> Option<String> {
    let is_unpacked = matches!(change, NativeChange::Busy { unfinished: UnfinishedChange::Configure, .. });
    is_unpacked.then(|| wording.dpkg("--configure -a"))
}

/// For a package that its native manager changed; empty if there is none.
pub fn of_native_change(change: &NativeChange, wording: &Wording) -> String {
    let refresh = wording.verb("adopt --refresh");
    if let Some(finish) = finishing_command(change, wording) {
        return format!("run {finish}, then {refresh}");
    }
    match change {
        NativeChange::Busy { origin, .. } => {
            format!("reinstall {} with {}, then run {refresh}", origin.name, origin.manager)
        }
        NativeChange::Unknown { .. } => String::new(),
        _ => format!("run {refresh}"),
    }
}
