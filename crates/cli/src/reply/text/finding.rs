//! An object that differs from its record: the lines of pkgchk(1M), and the words of verbs.

use crate::reply::words::human;
use crate::surroundings::Zone;
use patchadm_core::operation::object_check::{Difference, ObjectFinding, UnfixedReason};
use patchadm_svr4::package::{Mode, printable_name};

/// `ERROR: PATH` and an indented line for each finding; empty without findings. `path` has the prefix of the root.
pub fn error(findings: &[ObjectFinding], path: &str, zone: Zone) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let details = findings.iter().map(|finding| format!("    {}\n", detail(finding, zone)));
    format!("ERROR: {path}\n{}", details.collect::<String>())
}

/// Returns the line of one finding, without indentation.
pub fn detail(finding: &ObjectFinding, zone: Zone) -> String {
    let differ =
        |what: &str, expected: &str, actual: &str| format!("{what} <{expected}> expected <{actual}> actual");
    match finding {
        ObjectFinding::Missing => "pathname does not exist".to_owned(),
        ObjectFinding::Type(types) => differ("file type", &letter(types.expected), &letter(types.actual)),
        ObjectFinding::Device(Difference { expected, actual }) => {
            let shown = |(major, minor): (u32, u32)| format!("<{major}, {minor}>");
            format!("major/minor device {} expected {} actual", shown(*expected), shown(*actual))
        }
        ObjectFinding::Mode(modes) => {
            let octal = |mode: Mode| format!("{:04o}", mode.bits());
            differ("permissions", &octal(modes.expected), &octal(modes.actual))
        }
        ObjectFinding::Group(names) => differ("group name", &names.expected, &names.actual),
        ObjectFinding::Owner(names) => differ("owner name", &names.expected, &names.actual),
        ObjectFinding::UnknownGroup(name) => format!("group name <{name}> not found in group table(s)"),
        ObjectFinding::UnknownOwner(name) => format!("owner name <{name}> not found in passwd table(s)"),
        ObjectFinding::NotLinked(source) => {
            format!("pathname not properly linked to <{}>", printable_name(source))
        }
        ObjectFinding::NotSymlinked(target) => {
            format!("pathname not symbolically linked to <{}>", printable_name(target))
        }
        ObjectFinding::Mtime(moments) => {
            let shown = |seconds: i64| zone.at(seconds).format("%m/%d/%y %I:%M:%S %p").to_string();
            differ("modtime", &shown(moments.expected), &shown(moments.actual))
        }
        ObjectFinding::Size(Difference { expected, actual }) => {
            format!("file size <{expected}> expected <{actual}> actual")
        }
        ObjectFinding::Cksum(Difference { expected, actual }) => {
            format!("file cksum <{expected}> expected <{actual}> actual")
        }
        ObjectFinding::NotDelivered(patch) => {
            format!("file is not the one that patch {patch} delivered (BLAKE3)")
        }
        ObjectFinding::Unreadable(reason) => reason.clone(),
        ObjectFinding::Hidden => "hidden file in exclusive directory".to_owned(),
        ObjectFinding::Unfixed(unfixed) => unable(unfixed),
    }
}

/// Returns the finding as verbs print it: the recorded value, then the current one.
pub fn sentence(finding: &ObjectFinding, zone: Zone) -> String {
    let differ = |what: &str, expected: &str, actual: &str| format!("{what} {expected} → {actual}");
    match finding {
        ObjectFinding::Missing => "does not exist".to_owned(),
        ObjectFinding::Type(types) => differ("type", &letter(types.expected), &letter(types.actual)),
        ObjectFinding::Device(Difference { expected, actual }) => {
            let shown = |(major, minor): (u32, u32)| format!("{major}, {minor}");
            differ("device", &shown(*expected), &shown(*actual))
        }
        ObjectFinding::Mode(modes) => {
            let octal = |mode: Mode| format!("{:04o}", mode.bits());
            differ("mode", &octal(modes.expected), &octal(modes.actual))
        }
        ObjectFinding::Group(names) => differ("group", &names.expected, &names.actual),
        ObjectFinding::Owner(names) => differ("owner", &names.expected, &names.actual),
        ObjectFinding::UnknownGroup(name) => format!("the root has no group {name}"),
        ObjectFinding::UnknownOwner(name) => format!("the root has no user {name}"),
        ObjectFinding::NotLinked(source) => format!("not linked to {}", printable_name(source)),
        ObjectFinding::NotSymlinked(target) => format!("not a symbolic link to {}", printable_name(target)),
        ObjectFinding::Mtime(Difference { expected, actual }) => {
            // A difference of seconds would not show.
            let form = if expected.div_euclid(60) == actual.div_euclid(60) {
                "%Y-%m-%d %H:%M:%S"
            } else {
                "%Y-%m-%d %H:%M"
            };
            let shown = |seconds: i64| zone.at(seconds).format(form).to_string();
            differ("modification time", &shown(*expected), &shown(*actual))
        }
        ObjectFinding::Size(Difference { expected, actual }) => {
            let (one, other) = (human(*expected), human(*actual));
            if one == other {
                let more = if actual > expected { "more" } else { "less" };
                format!("size {one}, {} {more}", human(actual.abs_diff(*expected)))
            } else {
                differ("size", &one, &other)
            }
        }
        ObjectFinding::Cksum(Difference { expected, actual }) => {
            differ("checksum", &expected.to_string(), &actual.to_string())
        }
        ObjectFinding::NotDelivered(patch) => format!("not the file that patch {patch} delivered"),
        ObjectFinding::Hidden => "no package owns it, in an exclusive directory".to_owned(),
        ObjectFinding::Unreadable(_) | ObjectFinding::Unfixed(_) => detail(finding, zone),
    }
}

/// Returns the line of a repair that failed.
fn unable(unfixed: &UnfixedReason) -> String {
    match unfixed {
        UnfixedReason::Attributes => "unable to fix attributes".to_owned(),
        UnfixedReason::OtherBytes => {
            "attributes are left unchanged: the content differs from the record".to_owned()
        }
        UnfixedReason::Exchangeable(reason) => format!("attributes are left unchanged: {reason}"),
        UnfixedReason::Mtime => "unable to fix modification time".to_owned(),
        UnfixedReason::Directory => "unable to create directory".to_owned(),
        UnfixedReason::Node => "unable to create package object".to_owned(),
        UnfixedReason::Link(target) => format!("unable to create link to <{}>", printable_name(target)),
        UnfixedReason::Hidden => "unable to remove hidden file".to_owned(),
        UnfixedReason::Native(owner) => {
            format!("left unchanged: it belongs to {}", owner.with_manager())
        }
    }
}

fn letter(letter: u8) -> String {
    char::from(letter).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differs<T>(expected: T, actual: T) -> Difference<T> {
        Difference { expected, actual }
    }

    fn shown(findings: &[ObjectFinding]) -> String {
        error(findings, "/r/x", Zone::Utc)
    }

    #[test]
    fn an_object_without_findings_is_not_mentioned() {
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn a_changed_file_is_reported_as_by_the_classic_tool() {
        let findings = vec![
            ObjectFinding::Mtime(differs(981_173_106, 1_795_158_252)),
            ObjectFinding::Size(differs(600, 602)),
            ObjectFinding::Cksum(differs(57985, 58115)),
        ];
        assert_eq!(
            shown(&findings),
            "ERROR: /r/x
    modtime <02/03/01 04:05:06 AM> expected <11/20/26 07:04:12 AM> actual
    file size <600> expected <602> actual
    file cksum <57985> expected <58115> actual
"
        );
    }

    #[test]
    fn verbs_say_what_is_recorded_and_what_is_there() {
        let mode = |bits| Mode::new(bits).unwrap();
        for (finding, text) in [
            (ObjectFinding::Missing, "does not exist"),
            (ObjectFinding::Mode(differs(mode(0o755), mode(0o700))), "mode 0755 → 0700"),
            (ObjectFinding::Size(differs(2048, 4505)), "size 2.0 KiB → 4.4 KiB"),
            (ObjectFinding::Size(differs(2048, 2051)), "size 2.0 KiB, 3 bytes more"),
            (
                ObjectFinding::Mtime(differs(981_173_106, 1_795_158_252)),
                "modification time 2001-02-03 04:05 → 2026-11-20 07:04",
            ),
            (
                ObjectFinding::Mtime(differs(981_173_106, 981_173_107)),
                "modification time 2001-02-03 04:05:06 → 2001-02-03 04:05:07",
            ),
            (ObjectFinding::Cksum(differs(57985, 58115)), "checksum 57985 → 58115"),
            (ObjectFinding::NotSymlinked(b"a".to_vec()), "not a symbolic link to a"),
            (ObjectFinding::NotSymlinked(b"a\nb".to_vec()), r"not a symbolic link to a\nb"),
        ] {
            assert_eq!(sentence(&finding, Zone::Utc), text);
        }
    }

    #[test]
    fn every_detail_has_its_classic_words() {
        let mode = |bits| Mode::new(bits).unwrap();
        let name = |name: &str| name.to_owned();
        for (finding, text) in [
            (ObjectFinding::Missing, "pathname does not exist"),
            (ObjectFinding::Type(differs(b'd', b's')), "file type <d> expected <s> actual"),
            (
                ObjectFinding::Mode(differs(mode(0o555), mode(0o700))),
                "permissions <0555> expected <0700> actual",
            ),
            (
                ObjectFinding::Group(differs(name("sys"), name("root"))),
                "group name <sys> expected <root> actual",
            ),
            (ObjectFinding::Owner(differs(name("adm"), name("77"))), "owner name <adm> expected <77> actual"),
            (
                ObjectFinding::Device(differs((13, 2), (1, 3))),
                "major/minor device <13, 2> expected <1, 3> actual",
            ),
            (ObjectFinding::UnknownGroup(name("g")), "group name <g> not found in group table(s)"),
            (ObjectFinding::UnknownOwner(name("u")), "owner name <u> not found in passwd table(s)"),
            (ObjectFinding::NotLinked(b"./stuf".to_vec()), "pathname not properly linked to <./stuf>"),
            (ObjectFinding::NotSymlinked(b"a".to_vec()), "pathname not symbolically linked to <a>"),
            (
                ObjectFinding::NotDelivered(name("100-01")),
                "file is not the one that patch 100-01 delivered (BLAKE3)",
            ),
            (ObjectFinding::Hidden, "hidden file in exclusive directory"),
            (ObjectFinding::Unfixed(UnfixedReason::Attributes), "unable to fix attributes"),
            (
                ObjectFinding::Unfixed(UnfixedReason::OtherBytes),
                "attributes are left unchanged: the content differs from the record",
            ),
            (
                ObjectFinding::Unfixed(UnfixedReason::Exchangeable(name("it could be another object"))),
                "attributes are left unchanged: it could be another object",
            ),
            (ObjectFinding::Unfixed(UnfixedReason::Mtime), "unable to fix modification time"),
            (ObjectFinding::Unfixed(UnfixedReason::Directory), "unable to create directory"),
            (ObjectFinding::Unfixed(UnfixedReason::Node), "unable to create package object"),
            (ObjectFinding::Unfixed(UnfixedReason::Link(b"./a".to_vec())), "unable to create link to <./a>"),
            (ObjectFinding::Unfixed(UnfixedReason::Hidden), "unable to remove hidden file"),
        ] {
            assert_eq!(detail(&finding, Zone::Utc), text);
        }
    }
}
