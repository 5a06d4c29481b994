//! Texts of the goldens: recorded command lines, and output that changes from run to run.

use std::sync::LazyLock;

use regex::Regex;

/// The words of a command line that was recorded by `printf %q`.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = line.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' => words.push(String::new()),
            '\\' => words.last_mut().unwrap().extend(characters.next()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

/// Unstable texts and their replacements.
static UNSTABLE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"Installed: .*? From: \S+", "Installed: @DATE@ From: @HOST@"),
        (r"[A-Z][a-z]{2} \d\d [\d:]{8} 20[2-9]\d|[A-Z][a-z]{2} \d\d 20[2-9]\d \d\d:\d\d", "@DATE@"),
        // Month first: a time that is not that of a delivered object.
        (r"<\d\d/\d\d/[2-9]\d [\d:]+ [AP]M>", "<@DATE@>"),
        // Host name and time, if pkgmk(1) ran after the packages had been made.
        (r"\b[a-z][a-z0-9-]*20\d{6}07(0[2-9]|[1-5]\d)\d\d\b|\b[a-z][a-z0-9-]*20\d{12}\b", "@STAMP@"),
        (r"\b[12]\d{9}\b", "@EPOCH@"),
        // Private directories of a run, and their content.
        (
            r"/var/tmp//?(install|dstream)[A-Za-z0-9]{6}(/(resp|checkinstall|list)[A-Za-z0-9]{6})?",
            "@PRIVATE@",
        ),
        (r"[^\s<>=]*/patchadm-[0-9a-f]{16}(/[^\s<>]*)?", "@PRIVATE@"),
    ]
    .into_iter()
    .map(|(pattern, text)| (Regex::new(pattern).unwrap(), text))
    .collect()
});

/// Replaces the parts of a text that differ in every run.
pub(super) fn stable(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, stand_in) in UNSTABLE.iter() {
        text = pattern.replace_all(&text, *stand_in).into_owned();
    }
    text
}
