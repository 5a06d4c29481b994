//! Recognises Sun's six stock scripts of patch packages (Application Packaging Developer's Guide, "Patching Packages"),
//! and ours (`patch_scripts`): the program does their work itself. The SHA-256 of the normalised text decides; the
//! producer's values, comments and trailing white space do not matter, but any command does.

use std::sync::LazyLock;

use regex::bytes::{NoExpand, Regex};

use crate::sha256::Sha256;
use crate::sign::sha256_text;

const LARGEST: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StockScript {
    /// `checkinstall`: validates the patch and computes the patch lists.
    Checkinstall,
    /// `preinstall`: begins the backout package.
    Preinstall,
    /// `i.<class>`: copies the new files; that of a patch saves replaced ones.
    ClassAction,
    /// `postinstall`: performs `deletes` and completes the backout package.
    Postinstall,
    /// `patch_checkinstall`: the checkinstall of the backout package.
    PatchCheckinstall,
    /// `patch_postinstall`: the postinstall of the backout package.
    PatchPostinstall,
}

/// All texts of stock scripts ever, with the release of this program that they came with; `Sun` for the published ones.
/// A line stays for ever: patches and backout packages with that text exist.
const DIGESTS: [(StockScript, &str, &str); 17] = [
    (StockScript::Checkinstall, "Sun", "08a459902c749e71641ee04462585e02cee2d9d74e20dde8dce5c1469d914d43"),
    (StockScript::Preinstall, "Sun", "86db870e6c8563b5b57dc9a1d5934597084b170fc6f1bb99242469e9bfa11654"),
    (StockScript::ClassAction, "Sun", "b70bf5ab69915c3a3958d211a204fc1ec2b294482b410590b3599295355f4280"),
    (StockScript::Postinstall, "Sun", "3cc733ebc1dae7a5da4b6bbc101e38162298dc008b40d158aa075f49b651714b"),
    (
        StockScript::PatchCheckinstall,
        "Sun",
        "acbc469d6618fcc868efb02da6cdcf3da078409f39e87e1c64b50035739c0161",
    ),
    (
        StockScript::PatchPostinstall,
        "Sun",
        "408bf3ae8ea1b89b368b80a4ab471f51815b07d95f2a9c8dae725ef182a792f9",
    ),
    (
        StockScript::PatchCheckinstall,
        "0.1.0",
        "33c5c7953d52ce6ffa9b12f1927c0a26c1cb947df0b583a5f03613005bc610a9",
    ),
    (
        StockScript::PatchCheckinstall,
        "0.1.0",
        "136cdf07ce34ec429fb0778a184064ddac64dfa64a23fbcbb52b5c92155fae98",
    ),
    (
        StockScript::PatchPostinstall,
        "0.1.0",
        "c675929acab074836b6b2971c1b9958ba21c0172f09dba92a94c94f23e0400ab",
    ),
    (StockScript::ClassAction, "0.1.0", "987c1be8a73504e5167b0d456d32f3f2311b34452a990e05c9482d1e1cdd4ccf"),
    (StockScript::Checkinstall, "0.1.0", "f86822931dd3c7aef0b950ae8eb29c76abbcc2e451b45075de2e6a54637d9cfa"),
    (StockScript::Preinstall, "0.1.0", "fd75a4d6896f0b52db913500a6ac8c52cf3cb3f0f35413618b6d6b1da499b8ab"),
    (StockScript::ClassAction, "0.1.0", "ffc617a92e8382e88047f71352d851c222dfb7a8904024e39df912a51bb5bcb2"),
    (StockScript::Postinstall, "0.1.0", "02ca9e7720d5df298f0b1e0c53cadc7d5b6544f98720a981ab2d930c0a029a7d"),
    (StockScript::Checkinstall, "1.0.0", "4fc60a33f6191b84d3d21e9747ddd979890383f750cfbf2e12bce08757f7e0e7"),
    (StockScript::Preinstall, "1.0.0", "2564498c50a9447757a73fd9df60358898c63b7e07fbed2d6d6dd2a709f4950a"),
    (
        StockScript::PatchCheckinstall,
        "1.0.0",
        "524e05ab64c98c0c48e25aaa694f8669c7585f8115615bbb9521ed51d90e4299",
    ),
];

/// `name` is the file in `install/`. `None` for other scripts, and for stock scripts in the wrong place.
pub fn role(name: &str, script: &[u8]) -> Option<StockScript> {
    let expected = match name {
        "checkinstall" => StockScript::Checkinstall,
        "preinstall" => StockScript::Preinstall,
        "postinstall" => StockScript::Postinstall,
        "patch_checkinstall" => StockScript::PatchCheckinstall,
        "patch_postinstall" => StockScript::PatchPostinstall,
        _ if name.strip_prefix("i.").is_some_and(|class| !class.is_empty()) => StockScript::ClassAction,
        _ => return None,
    };
    if script.len() > LARGEST {
        return None;
    }
    let digest = sha256_text(&Sha256::digest(normalised(script)));
    DIGESTS.iter().any(|(role, _, known)| *role == expected && *known == digest).then_some(expected)
}

/// The producer's separator and pattern of restricted patches. Quotes, `$`, backquotes and backslashes are not allowed:
/// a shell would do more than compare.
static SEPARATOR: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"match\(\$0, "[^"'`$\\\n]+"\)"#).ok());
static RESTRICTED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"egrep -s "[^"'`$\\\n]+""#).ok());
static LENGTH: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"("Patchvers_pfx"\)(?:\\\n)?)\+[0-9]{1,3}\)"#).ok());

/// Without whole-line comments, blank lines and trailing white space, and with the placeholders of the published text.
fn normalised(script: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(script.len());
    let mut continued = false;
    for line in script.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end) {
        // After a backslash `#` begins no comment, and a blank line ends a command.
        if continued || !(line.is_empty() || line.trim_ascii_start().starts_with(b"#")) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        continued = line.ends_with(b"\\");
    }
    let replace = |regex: &LazyLock<Option<Regex>>, text: &[u8], by: &str| match LazyLock::force(regex) {
        Some(regex) => regex.replace_all(text, NoExpand(by.as_bytes())).into_owned(),
        None => text.to_vec(),
    };
    let text = replace(&SEPARATOR, &text, "match($0, \"Patchvers_pfx\")");
    let text = replace(&RESTRICTED, &text, "egrep -s \"Patchstrict_str\"");
    match LazyLock::force(&LENGTH) {
        Some(regex) => regex.replace_all(&text, &b"${1}+Patchvers_pfx_lnth)"[..]).into_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    const NAMES: [(&str, StockScript); 6] = [
        ("checkinstall", StockScript::Checkinstall),
        ("preinstall", StockScript::Preinstall),
        ("i.script", StockScript::ClassAction),
        ("postinstall", StockScript::Postinstall),
        ("patch_checkinstall", StockScript::PatchCheckinstall),
        ("patch_postinstall", StockScript::PatchPostinstall),
    ];

    fn goldens(test: &str) -> Option<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/goldens");
        if path.is_dir() {
            return Some(path);
        }
        crate::skipped(&format!("{test}: ../shared is not here"));
        None
    }

    #[test]
    fn the_published_scripts_are_recognised_with_placeholders_and_with_values() {
        let Some(goldens) = goldens("the_published_scripts_are_recognised_with_placeholders_and_with_values")
        else {
            return;
        };
        for (name, expected) in NAMES {
            for variant in ["verbatim", "subst"] {
                let script = fs::read(goldens.join("scripts").join(variant).join(name)).unwrap();
                assert_eq!(role(name, &script), Some(expected), "{variant}/{name}");
                assert_eq!(role("request", &script), None);
                let other = if name == "preinstall" { "postinstall" } else { "preinstall" };
                assert_eq!(role(other, &script), None, "a stock script in another's place");
            }
        }
    }

    #[test]
    fn any_change_of_a_command_makes_it_a_script_of_the_packages_own() {
        let Some(goldens) = goldens("any_change_of_a_command_makes_it_a_script_of_the_packages_own") else {
            return;
        };
        for (name, expected) in NAMES {
            let script = fs::read(goldens.join("scripts/verbatim").join(name)).unwrap();
            let text = String::from_utf8(script.clone()).unwrap();
            assert_eq!(
                role(name, format!("# ours\n\n{text}\n   # more\n").as_bytes()),
                Some(expected),
                "{name}"
            );
            assert_eq!(role(name, format!("{text}\ntrue\n").as_bytes()), None, "{name}");
            for (at, line) in text.lines().enumerate().filter(|(_, line)| !is_ignored(line)).step_by(7) {
                let changed: Vec<_> =
                    text.lines().enumerate().map(|(n, l)| if n == at { "true" } else { l }).collect();
                assert_eq!(role(name, changed.join("\n").as_bytes()), None, "{name}, without: {line}");
            }
        }
    }

    fn is_ignored(line: &str) -> bool {
        line.trim().is_empty() || line.trim_start().starts_with('#')
    }

    #[test]
    fn what_a_producer_fills_in_must_be_a_word() {
        let filled = |separator: &str, pattern: &str| {
            normalised(
                format!("print match($0, \"{separator}\")\\\n+2)\negrep -s \"{pattern}\"\n").as_bytes(),
            )
        };
        let plain = filled("Patchvers_pfx", "Patchstrict_str");
        assert_eq!(filled("--", "^R|^T"), plain);
        assert_ne!(filled("-", "$(touch /tmp/x)"), plain);
        assert_ne!(filled("-", "`id`"), plain);
        assert_ne!(filled("'`id`'", "R"), plain);
    }

    #[test]
    fn a_comment_behind_a_continued_line_is_kept() {
        assert_eq!(normalised(b"a \\\n# b\n# c\n\nd  \n"), b"a \\\n# b\nd\n");
    }

    #[test]
    fn of_the_packages_of_the_goldens_only_the_doctored_ones_have_scripts_of_their_own() {
        let Some(goldens) =
            goldens("of_the_packages_of_the_goldens_only_the_doctored_ones_have_scripts_of_their_own")
        else {
            return;
        };
        let own = |set: &str, name: &str| {
            let path = goldens.join("pkgs").join(set).join("SUNWstuf/install").join(name);
            role(name, &fs::read(path).unwrap()).is_none()
        };
        for name in
            ["checkinstall", "preinstall", "i.none", "postinstall", "patch_checkinstall", "patch_postinstall"]
        {
            assert!(!own("103201-01", name), "{name}");
            let dumps_its_environment = !name.starts_with("patch_");
            assert_eq!(own("103201-01-env", name), dumps_its_environment, "{name}");
        }
        assert!(own("fail-preinstall-1", "preinstall") && !own("fail-preinstall-1", "postinstall"));
        assert!(own("base", "checkinstall") && own("base", "i.script"));
    }
}
