//! Options of other verbs or classic commands that this command does not have: their meaning, and an alternative.

/// Options of most verbs, with their effect there.
const OF_SOME_VERBS: [(&str, &str); 7] = [
    ("-R", "-R is for verbs that work on a root"),
    ("--root", "--root is for verbs that work on a root"),
    ("--policy", "--policy is for verbs that use the policy of a root"),
    ("-v", "-v is for verbs with more to print"),
    ("--verbose", "--verbose is for verbs with more to print"),
    ("-q", "-q is for verbs that print a report"),
    ("--quiet", "--quiet is for verbs that print a report"),
];

/// Options of a few verbs, with these verbs.
const OF_FEW_VERBS: [(&str, &str); 21] = [
    ("--as-owner", CHANGES),
    ("--trust-root", CHANGES),
    ("--wait", CHANGES),
    ("--note", CHANGES),
    ("-n", CHANGES),
    ("--dry-run", CHANGES),
    ("-y", ASKING),
    ("--yes", ASKING),
    ("--diff", "add, plan, remove, show, undo and update"),
    ("--all-or-nothing", "add, plan, remove and update"),
    ("--adopt", "add, plan and update"),
    ("--edited", "add, plan and update"),
    ("--check", "list, missing, report and update"),
    ("-M", WITH_DEPOT),
    ("--depot", WITH_DEPOT),
    ("--offline", "add, check, missing, plan, show, status, undo and update"),
    ("--roots", "add, check, list, missing, plan, recover, remove, show and update"),
    ("--jobs", "add, check, list, missing, plan, recover, remove, show and update"),
    ("--reboot-code", "update"),
    ("--trial", "add, update and stage promote"),
    ("--probe", "add, update and stage promote"),
];

/// Options of patchadm 0.1: the commands that had them, the option, its successor.
const OF_0_1: [(&[&str], &str, &str); 13] = [
    (SETS, "--shlibs", "`--libs WORD`"),
    (SETS, "--keep-shlibs", "`--libs keep`"),
    (SETS, "--engine", "`--scripts WORD`"),
    (SETS, "--no-scripts", "`--scripts refuse`"),
    (ADDS, "--override", "`--replace-edited PATH`"),
    (ADDS, "--preserve", "`--keep-edited PATH`"),
    (ADDS, "--withdrawn", "`--allow-withdrawn`"),
    (&["add", "remove", "undo"], "--exchange-or-stop", "`--exchange DIR`"),
    (&["add", "update", "stage promote"], "--probe-timeout", "`timeout SECONDS COMMAND` as the probe"),
    (&["list"], "--lacking", "`--missing ID`"),
    (&["list", "plan", "missing", "history"], "--html", "`--json`, and then `patchadm report page`"),
    (&["undo-data repack"], "--format", "`--undo-format FORM`"),
    (&["undo-data repack"], "--cold", "`--older-than AGE`"),
];

const ADDS: &[&str] = &["add", "plan", "update"];
const SETS: &[&str] = &["add", "plan", "remove", "undo", "update"];
const CHANGES: &str = "add, remove and other verbs that change a root";
const ASKING: &str = "add, remove, undo, update, stage promote and undo-data drop";
const WITH_DEPOT: &str = "add, missing, plan, show, undo and update";

/// Known options without effect: command, option, meaning and reason, alternative.
const LATER: &[(&str, &str, &str, &str)] = &[
    ("patchadd", "-C", INSTALL_IMAGE, "specify the root of the image: `patchadd -R IMAGE PATCH`"),
    ("patchadd", "-S", SERVICE, "specify its root: `patchadd -R /export/SERVICE PATCH`"),
    ("patchadd", "-P", "-P names the password of a keystore; public keys have no password", "leave it out"),
    (
        "patchadd",
        "-O",
        "-O skips checks of several patches before the first one is applied; patchadd always makes these checks",
        "leave it out; `patchadd -a PATCH` shows what would be done",
    ),
    ("patchrm", "-C", INSTALL_IMAGE, "specify the root of the image: `patchrm -R IMAGE ID`"),
    ("patchrm", "-S", SERVICE, "specify its root: `patchrm -R /export/SERVICE ID`"),
    (
        "undo",
        "--down-to",
        "--down-to is an option of remove; undo takes the number or name of one run",
        "patchadm remove --down-to POINT",
    ),
    ("add", "--save-plan", SAVED_BY_PLAN, SAVE_A_PLAN),
    ("update", "--save-plan", SAVED_BY_PLAN, SAVE_A_PLAN),
    ("update", "--plan", "--plan is an option of add: a saved plan names its patches", SAVE_A_PLAN),
    (
        "add",
        "--reboot-code",
        "--reboot-code is an option of update, and add does not have it",
        "for `add`, read `reboot` in `--json`",
    ),
    ("missing", "--exclude", "--exclude is an option of add, update and plan", "use `--ignore ID`"),
    ("add", "--ignore", IGNORED_BY_MISSING, USE_EXCLUDE),
    ("update", "--ignore", IGNORED_BY_MISSING, USE_EXCLUDE),
    ("plan", "--ignore", IGNORED_BY_MISSING, USE_EXCLUDE),
    ("demo", "--json", "the demo has no JSON form", "leave it out"),
    (
        "stage enter",
        "--json",
        "--json is not for this action, which prints the output of the command",
        "leave it out",
    ),
    (
        "help",
        "--json",
        "--json is for reports, and help is plain text",
        "leave it out; `patchadm help --schema VERB` prints the schema of a document",
    ),
    (
        "showrev",
        "-w",
        "-w prints the revision of the window system, which is not recorded here",
        "leave it out; `pkginfo -l PKG` prints the version of a package",
    ),
    (
        "showrev",
        "-s",
        "-s queries another host, which is not supported",
        "run it there: `ssh HOST showrev -p`",
    ),
];

const SAVED_BY_PLAN: &str = "--save-plan is an option of plan, and `add --plan FILE` applies the plan";
const SAVE_A_PLAN: &str = "patchadm plan -M DEPOT --save-plan FILE";
const IGNORED_BY_MISSING: &str = "--ignore is an option of missing";
const USE_EXCLUDE: &str = "use `--exclude ID`";
const INSTALL_IMAGE: &str = "-C names the image of a network installation, which is not supported";
const SERVICE: &str =
    "-S names the operating system that a server keeps for its clients, which is not supported";

const ONE_ROOT: &str = "--roots is for verbs that change many roots, and a stage is a copy of one\n\
     hint: make a patch with `patchadm build`, then apply it with `patchadm add --roots FILE PATCH`";

fn is_about_stages(command: &str) -> bool {
    command.split(' ').next() == Some("stage")
}

/// Returns the lines about an option that `command` knows but does not have.
pub(super) fn later_option(command: &str, is_verb: bool, queries: &[&str], option: &str) -> Option<String> {
    let known = LATER.iter().find(|(of, name, ..)| *of == command && *name == option);
    if let Some((_, _, what, instead)) = known {
        return Some(format!("{what}\nhint: {instead}"));
    }
    if let Some((_, _, new)) = OF_0_1.iter().find(|(of, name, _)| of.contains(&command) && *name == option) {
        return Some(format!("{option} was an option of patchadm 0.1\nhint: use {new}"));
    }
    if option == "--roots" && is_about_stages(command) {
        return Some(ONE_ROOT.to_owned());
    }
    if let Some((_, what)) = OF_SOME_VERBS.iter().find(|(name, _)| *name == option) {
        return is_verb.then(|| format!("{what}, and {command} is not one of them\nhint: leave it out"));
    }
    let (_, verbs) = OF_FEW_VERBS.iter().find(|(name, _)| is_verb && *name == option)?;
    let hint = match *verbs {
        CHANGES | ASKING if queries.contains(&command) => "\nhint: queries do not need it",
        // Without it, the command would change the root.
        CHANGES if ["-n", "--dry-run"].contains(&option) => match command {
            "recover" | "confirm" => "\nhint: `patchadm status` shows the interrupted run and the trial",
            _ => "",
        },
        CHANGES | ASKING => "\nhint: leave it out",
        _ => "",
    };
    Some(format!("{option} is an option of {verbs}, and {command} does not have it{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_few_verbs_names_them_where_another_verb_is_given_it() {
        let told = |command, option| later_option(command, true, &["status"], option);
        assert_eq!(
            told("add", "--reboot-code").as_deref(),
            Some(
                "--reboot-code is an option of update, and add does not have it\n\
                 hint: for `add`, read `reboot` in `--json`"
            )
        );
        let of_changes = |command: &str, hint: &str| {
            Some(format!(
                "--as-owner is an option of add, remove and other verbs that change a root, and {command} does not \
                 have it\nhint: {hint}"
            ))
        };
        assert_eq!(told("status", "--as-owner"), of_changes("status", "queries do not need it"));
        assert_eq!(told("keygen", "--as-owner"), of_changes("keygen", "leave it out"));
        for option in ["-n", "--dry-run"] {
            let said = told("recover", option).unwrap();
            assert!(
                said.ends_with("\nhint: `patchadm status` shows the interrupted run and the trial"),
                "{said}"
            );
            assert!(
                told("key", option).is_some_and(|said| !said.contains("leave it out")),
                "it would change the root"
            );
        }
        for command in ["key", "status", "report"] {
            assert!(
                told(command, "--roots")
                    .is_some_and(|text| text.contains(" recover, remove, show and update"))
            );
        }
        assert_eq!(later_option("pkginfo", false, &[], "--roots"), None);
    }

    #[test]
    fn an_option_of_0_1_is_answered_with_its_successor() {
        let told = |command, option| later_option(command, true, &[], option);
        assert_eq!(
            told("add", "--override").as_deref(),
            Some("--override was an option of patchadm 0.1\nhint: use `--replace-edited PATH`")
        );
        assert_eq!(told("status", "--override"), None);
    }

    #[test]
    fn the_option_that_leaves_patches_out_is_named_where_the_one_of_another_verb_is_given() {
        let told = |command, option| later_option(command, true, &[], option).unwrap_or_default();
        assert!(told("missing", "--exclude").ends_with("\nhint: use `--ignore ID`"));
        for command in ["add", "update", "plan"] {
            assert!(told(command, "--ignore").ends_with("\nhint: use `--exclude ID`"));
        }
    }
}
