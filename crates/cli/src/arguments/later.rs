//! Options of other verbs or classic commands that this command does not have: their meaning, and an alternative.

const OF_CHANGES: [&str; 2] = ["--as-owner", "--trust-root"];

/// Options of most verbs, with their effect there.
const OF_SOME_VERBS: [(&str, &str); 7] = [
    ("-R", "-R is for verbs that work on a root"),
    ("--root", "--root is for verbs that work on a root"),
    ("--policy", "--policy is for verbs that use the policy of a root"),
    ("-v", "-v is for verbs that have more to tell with it"),
    ("--verbose", "--verbose is for verbs that have more to tell with it"),
    ("-q", "-q is for verbs that have a report"),
    ("--quiet", "--quiet is for verbs that have a report"),
];

const QUERIES: [&str; 12] = [
    "missing",
    "build",
    "delta",
    "order",
    "list",
    "show",
    "check",
    "lint",
    "help",
    "setup completions",
    "setup links",
    "demo",
];

/// Known options without effect: command, option, meaning and reason, alternative.
const LATER: &[(&str, &str, &str, &str)] = &[
    ("patchadd", "-C", INSTALL_IMAGE, "Name the root of the image with -R: patchadd -R IMAGE PATCH"),
    ("patchadd", "-S", SERVICE, "Name its root with -R: patchadd -R /export/SERVICE PATCH"),
    (
        "patchadd",
        "-P",
        "-P says where the password of the keystore is; public keys have none, so that it means nothing here",
        "Leave it out",
    ),
    (
        "patchadd",
        "-O",
        "-O chooses how much is checked before the first of several patches is applied; it means nothing here: each patch is checked against what the ones before it leave",
        "Leave it out; patchadd -a says what would happen",
    ),
    ("patchrm", "-C", INSTALL_IMAGE, "Name the root of the image with -R: patchrm -R IMAGE ID"),
    ("patchrm", "-S", SERVICE, "Name its root with -R: patchrm -R /export/SERVICE ID"),
    (
        "undo",
        "--down-to",
        "--down-to is an option of remove; undo takes the number or name of one run",
        "patchadm remove --down-to POINT",
    ),
    ("demo", "--json", "a story has no JSON form", "Leave it out"),
    (
        "stage enter",
        "--json",
        "--json is not for this action: the output is that of the command",
        "Leave it out",
    ),
    (
        "help",
        "--json",
        "--json is a form of reports, and help is text for people",
        "Leave it out; `patchadm help --schema VERB` prints the schema of a document",
    ),
    (
        "showrev",
        "-w",
        "-w prints the revision of the window system; it means nothing here: no window system says so of itself",
        "Leave it out; pkginfo -l PKG prints the version of a package",
    ),
    (
        "showrev",
        "-s",
        "-s asks another host; that is not built, nothing is asked over a network",
        "Run it there: ssh HOST showrev -p",
    ),
];

const INSTALL_IMAGE: &str = "-C names the image of a network installation; that is not built yet";
const SERVICE: &str =
    "-S names the operating system that a server keeps for its clients; that is not built yet";

const ONE_ROOT: &str = "--roots is for verbs that change many roots, and a stage is a copy of one\n\
     hint: make a patch of it with `patchadm build`, which `patchadm add --roots FILE PATCH` applies to all of them";

fn is_about_stages(command: &str) -> bool {
    command.split(' ').next() == Some("stage")
}

/// Returns the lines about an option that `command` knows but does not have.
pub(super) fn later_option(command: &str, is_verb: bool, option: &str) -> Option<String> {
    let known = LATER.iter().find(|(of, name, ..)| *of == command && *name == option);
    if let Some((_, _, what, instead)) = known {
        return Some(format!("{what}\nhint: {instead}"));
    }
    if option == "--roots" && is_about_stages(command) {
        return Some(ONE_ROOT.to_owned());
    }
    if let Some((_, what)) = OF_SOME_VERBS.iter().find(|(name, _)| *name == option) {
        return is_verb.then(|| format!("{what}, and {command} is none of them\nhint: leave it out"));
    }
    (QUERIES.contains(&command) && OF_CHANGES.contains(&option)).then(|| {
        format!(
            "{option} is for verbs that can change a root, and {command} changes nothing\nhint: leave it out"
        )
    })
}
