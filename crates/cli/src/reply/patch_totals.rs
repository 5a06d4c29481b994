use super::exit::Exit;
use super::patch_entry::{FileCounts, PatchEntry, SpaceEntry};
use super::result_word::ResultWord;
use super::words::{counted, counted_patches, human};
use patchadm_changeset::plan::BALLAST;

/// In the order of the total.
const ENDS: [&str; 7] = ["applied", "removed", "planned", "skipped", "refused", "failed", "not tried"];

/// Returns how many patches ended in which way: `300 patches: 298 applied, 2 refused`. `exit` is the end of the
/// command: a patch with nothing to do was skipped, unless it is the reason for that end.
pub fn ends_of(entries: &[PatchEntry], exit: Exit) -> String {
    let is_skipped = |entry: &PatchEntry| entry.failure.is_some() && entry.is_idle() && entry.exit != exit;
    let end = |entry| if is_skipped(entry) { "skipped" } else { end(entry) };
    let ends: Vec<&str> = entries.iter().map(end).collect();
    let count = |word: &str| ends.iter().filter(|end| **end == word).count();
    let counts = ENDS.iter().map(|word| (count(word), word)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
    format!("{}: {}", counted_patches(entries.len()), counts.join(", "))
}

/// Objects, space and undo data of all planned patches together.
pub fn plan_totals(entries: &[PatchEntry]) -> Vec<String> {
    let planned = || entries.iter().filter(|entry| entry.is_planned());
    let mut files = FileCounts::default();
    planned().for_each(|entry| files += entry.files);
    let mut space: Vec<SpaceEntry> = Vec::new();
    for need in planned().flat_map(|entry| &entry.space) {
        match space.iter_mut().find(|known| known.file_system == need.file_system) {
            // Space for a rollback is reserved once.
            Some(known) => known.needed += need.needed.saturating_sub(BALLAST),
            None => space.push(need.clone()),
        }
    }
    let archives = planned().flat_map(|entry| &entry.undo).filter(|undo| undo.is_kept()).count();
    let saved: u64 = planned().map(|entry| entry.saved_bytes).sum();
    let undo = match archives {
        0 => "Undo data: none.".to_owned(),
        count => format!("Undo data: {} of {} before compression.", counted(count, "archive"), human(saved)),
    };
    let space = space.into_iter().map(|need| {
        let (needed, free) = (human(need.needed), human(need.free));
        format!("Space on {}: {needed} needed at most, {free} free.", need.file_system)
    });
    std::iter::once(format!("Objects: {files}.")).chain(space).chain([undo]).collect()
}

/// Returns a time in seconds, with tenths.
pub fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.saturating_add(50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

fn end(entry: &PatchEntry) -> &'static str {
    match entry.result() {
        ResultWord::Done | ResultWord::Planned => entry.verdict,
        ResultWord::NothingToDo => "skipped",
        ResultWord::Refused => "refused",
        _ if entry.is_untried() => "not tried",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_to_tenths_of_a_second() {
        let shown = [0, 49, 50, 4_149, 75_000].map(seconds);
        assert_eq!(shown, ["0.0 s", "0.0 s", "0.1 s", "4.1 s", "75.0 s"]);
    }
}
