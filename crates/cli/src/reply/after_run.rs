//! Effects of the policy after a run, in sentences.

use super::words::human;
use patchadm_core::operation::patches::after_run::AfterRun;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;

#[derive(Debug, Default)]
pub struct AfterRunEntries {
    /// Patches that can no longer be backed out.
    pub irremovable: Vec<String>,
    /// Sentences about these patches, about limits that were not kept, and about free space.
    pub notes: Vec<String>,
}

impl AfterRunEntries {
    /// Classic commands say nothing of free space: scripts know their output.
    pub fn of(root: &Root, after: &AfterRun, is_classic: bool) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let gone = after.irremovable.iter().filter(|patch| !patch.packages.is_empty());
        let mut notes: Vec<String> = gone
            .clone()
            .map(|patch| {
                let freed = human(patch.freed);
                format!(
                    "patch {} can no longer be removed, because the policy limits undo data; {freed} freed",
                    patch.id
                )
            })
            .collect();
        notes.extend(after.failure.as_ref().map(|failure| {
            format!("undo data beyond the limits of the policy could not be deleted: {failure}")
        }));
        notes.extend(after.low_space.as_ref().filter(|_| !is_classic).map(|low| {
            let percent = u128::from(low.free) * 100 / u128::from(low.size.max(1));
            format!(
                "the file system of {} has {percent} % free ({}): {} shows disk usage, {} deletes undo data",
                low.path,
                human(low.free),
                wording.verb("undo-data list"),
                wording.verb("undo-data drop --superseded")
            )
        }));
        Self { irremovable: gone.map(|patch| patch.id.to_string()).collect(), notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_core::operation::patches::after_run::LowSpace;

    #[test]
    fn little_space_is_one_line_that_names_what_helps() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let low_space = Some(LowSpace { path: "/mnt/var/sadm".to_owned(), free: 5 << 20, size: 100 << 20 });
        let said = AfterRunEntries::of(&root, &AfterRun { low_space, ..AfterRun::default() }, false);
        let [note] = &said.notes[..] else { panic!("{said:?}") };
        assert!(note.contains("/mnt/var/sadm has 5 % free (5.0 MiB)"), "{note}");
        assert!(note.contains("undo-data list`") && note.contains("undo-data drop --superseded`"), "{note}");
        let none = AfterRunEntries::of(&root, &AfterRun::default(), false);
        assert!(none.notes.is_empty() && none.irremovable.is_empty());
    }
}
