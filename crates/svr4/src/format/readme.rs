//! The `README.<id>` of a patch: labelled fields, for display, and requests for a reboot, for patches without a
//! `patchinfo` file. No rule depends on anything else in it.

/// The kinds of reboot that a README asks for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadmeReboot {
    /// A reconfiguration boot immediately after the installation.
    ReconfigureImmediately,
    /// A reboot immediately after the installation.
    RebootImmediately,
    /// A reconfiguration boot some time after the installation.
    ReconfigureAfter,
    /// A reboot some time after the installation.
    RebootAfter,
}

const REQUESTS: [(ReadmeReboot, &[&[u8]]); 4] = [
    (ReadmeReboot::ReconfigureImmediately, &[b"Reconfig", b"immediate", b"after", b"install"]),
    (ReadmeReboot::RebootImmediately, &[b"Reboot", b"immediate", b"after", b"install"]),
    (ReadmeReboot::ReconfigureAfter, &[b"Reconfig", b"after", b"install"]),
    (ReadmeReboot::RebootAfter, &[b"Reboot", b"after", b"install"]),
];

/// Labels of public READMEs. A field ends at the next label.
const LABELS: [&str; 25] = [
    "Patch-ID#",
    "Keywords",
    "Synopsis",
    "Date",
    "Install Requirements",
    "Solaris Release",
    "SunOS Release",
    "SunOS release",
    "Unbundled Product",
    "Unbundled Release",
    "Xref",
    "Topic",
    "Relevant Architectures",
    "BugId's fixed with this patch",
    "Bugs fixed with this patch",
    "Changes incorporated in this version",
    "Patches accumulated and obsoleted by this patch",
    "Patches which conflict with this patch",
    "Patches which may conflict with this patch",
    "Patches required with this patch",
    "Obsoleted by",
    "Files included with this patch",
    "Problem Description",
    "Patch Installation Instructions",
    "Special Install Instructions",
];

/// Returns the most urgent request for a reboot on any line.
pub fn reboot_request(text: &[u8]) -> Option<ReadmeReboot> {
    let asks = |words: &[&[u8]]| text.split(|&byte| byte == b'\n').any(|line| has_in_order(line, words));
    REQUESTS.iter().find(|(_, words)| asks(words)).map(|(request, _)| *request)
}

/// Returns the first field with this label (without colon), trimmed; it ends at the next label.
pub fn field(text: &[u8], label: &str) -> Option<String> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let first = lines.find_map(|line| after_label(line, label))?;
    let is_label = |line: &[u8]| LABELS.iter().any(|label| after_label(line, label).is_some());
    let rest = lines.take_while(|line| !is_label(line));
    let value: Vec<&[u8]> = std::iter::once(first).chain(rest).collect();
    Some(String::from_utf8_lossy(&value.join(&b'\n')).trim().to_owned())
}

/// Returns the text after `label:` at the start of a line; `Patch-ID#` has no colon.
fn after_label<'a>(line: &'a [u8], label: &str) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(label.as_bytes())?;
    if label.ends_with('#') { Some(rest) } else { rest.strip_prefix(b":") }
}

fn has_in_order(line: &[u8], words: &[&[u8]]) -> bool {
    words
        .iter()
        .try_fold(line, |rest, word| {
            let at = rest.windows(word.len()).position(|window| window == *word)?;
            rest.get(at + word.len()..)
        })
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"Patch-ID# 900-01\nKeywords: security\nSynopsis: web server\nDate: Nov/20/26\n\n\
        Install Requirements: Reboot after installing this patch\n\
        Patches required with this patch:\n 850-01\n 860-02\n\nObsoleted by:\n\nProblem Description:\n\nSynopsis of it: x\n";

    #[test]
    fn a_field_runs_to_the_next_label() {
        assert_eq!(field(TEXT, "Patch-ID#").as_deref(), Some("900-01"));
        assert_eq!(field(TEXT, "Synopsis").as_deref(), Some("web server"));
        assert_eq!(field(TEXT, "Patches required with this patch").as_deref(), Some("850-01\n 860-02"));
        assert_eq!(field(TEXT, "Obsoleted by").as_deref(), Some(""));
        assert_eq!(field(TEXT, "Problem Description").as_deref(), Some("Synopsis of it: x"));
        assert_eq!(field(TEXT, "Topic"), None);
    }

    #[test]
    fn the_most_urgent_request_counts() {
        assert_eq!(reboot_request(TEXT), Some(ReadmeReboot::RebootAfter));
        for (line, request) in [
            ("Reconfigure immediately after installing", Some(ReadmeReboot::ReconfigureImmediately)),
            ("Reboot immediately after patch is installed", Some(ReadmeReboot::RebootImmediately)),
            ("Reconfiguration reboot after install", Some(ReadmeReboot::ReconfigureAfter)),
            ("after installing: Reboot", None),
            ("Reboot\nafter installing", None),
            ("", None),
        ] {
            assert_eq!(reboot_request(line.as_bytes()), request, "{line}");
        }
        let both = b"Reboot after installing\nReconfigure immediately after installing\n";
        assert_eq!(reboot_request(both), Some(ReadmeReboot::ReconfigureImmediately));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, label in ".{0,5}") {
            let _ = (reboot_request(&bytes), field(&bytes, &label));
        }
    }
}
