//! Our undo archives beside those of the classic tools for the same patch: header, archives, members, pkgmap,
//! pkginfo, `deletes`. [`DIFFERENT`] lists every difference with a reason, and every listed one must occur.
//!
//! Neither numbers that depend on the machine (sizes of parts, inodes, times of members) nor the texts of the scripts
//! are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use patchadm_svr4::format::{compress, cpio};
use patchadm_svr4::package::checksum;

use crate::differences::{Explained, assert_explained};
use crate::goldens_of_undo::{Kept, apply, archive, before, kept};
use crate::scenario::shared;

/// The pieces of a stream, by name.
type Pieces = BTreeMap<String, String>;

/// Takes a stream to pieces byte by byte, without our reader of datastreams.
fn pieces(stream: &[u8]) -> Pieces {
    let mut pieces = Pieces::new();
    let end = b"# end of header\n";
    let text = stream.windows(end.len()).position(|window| window == end).unwrap() + end.len();
    let header = std::str::from_utf8(&stream[..text]).unwrap();
    let without_size = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [name, parts, _] if !line.starts_with('#') => format!("{name} {parts}"),
        _ => line.to_owned(),
    };
    pieces.insert("header".to_owned(), header.lines().map(without_size).collect::<Vec<_>>().join("|"));
    let start = text.next_multiple_of(512);
    assert!(stream[text..start].iter().all(|byte| *byte == 0), "the header is filled up with zeros");
    assert_eq!(stream.len() % 512, 0, "the stream is whole blocks");
    let mut archive = cpio::CpioReader::new(&stream[start..]);
    pieces.insert("magic".to_owned(), String::from_utf8_lossy(&stream[start..start + 6]).into_owned());
    let mut first = Vec::new();
    while let Some(member) = archive.next_member().unwrap() {
        first.push(member.shown());
        archive.skip().unwrap();
    }
    pieces.insert("archive 0".to_owned(), first.join(" "));
    archive.next_archive().unwrap();
    while let Some(member) = archive.next_member().unwrap() {
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        take_member(&mut pieces, &member, &bytes);
    }
    pieces
}

fn take_member(pieces: &mut Pieces, member: &cpio::CpioHeader, bytes: &[u8]) {
    let name = member.shown();
    let text = String::from_utf8_lossy(bytes);
    if member.is_directory() {
        pieces.insert("directories".to_owned(), "are members".to_owned());
        return;
    }
    let mut member = format!("size {} sum {}", bytes.len(), checksum::sum(bytes));
    match &*name {
        "pkginfo" => {
            let values = text.lines().filter_map(|line| line.split_once('='));
            pieces.extend(values.map(|(name, value)| (format!("pkginfo {name}"), value.to_owned())));
            "there".clone_into(&mut member);
        }
        "pkgmap" => {
            let (first, rest) = text.split_once('\n').unwrap();
            assert!(first.starts_with(": 1 "), "{first}");
            pieces.extend(rest.lines().map(entry));
            "there".clone_into(&mut member);
        }
        "install/deletes" => {
            pieces.extend(text.lines().map(|path| (format!("deletes {path}"), String::new())));
            "there".clone_into(&mut member);
        }
        _ if name.starts_with("install/") => "there".clone_into(&mut member),
        _ => {}
    }
    pieces.insert(format!("member {name}"), member);
}

/// An entry of a pkgmap, by its path; only the name of an information file.
fn entry(line: &str) -> (String, String) {
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], "1", "the part: {line}");
    if words[1] == "i" {
        return (format!("pkgmap i {}", words[2]), String::new());
    }
    let path = words[3].split('=').next().unwrap();
    (format!("pkgmap {path}"), words[1..].join(" "))
}

/// The stream of our own archive for the patch of `kept`, and of theirs, for one package.
fn both(kept: &Kept, goldens: &Path, package: &str, save: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let stage = before(kept)?;
    apply(&stage, &kept.patch, kept);
    let place = if save.join("remote").exists() {
        format!("/undo-archive/{}/{package}/undo.gz", kept.patch)
    } else {
        format!("/var/sadm/pkg/{package}/save/{}/undo.gz", kept.patch)
    };
    let mut ours = Vec::new();
    let file = fs::File::open(stage.scenario.at(&place)).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut ours).unwrap();
    let mut theirs = Vec::new();
    let path = archive(&goldens.join(&kept.scenario), save).unwrap();
    compress::CompressDecoder::new(fs::File::open(path).unwrap()).unwrap().read_to_end(&mut theirs).unwrap();
    Some((theirs, ours))
}

/// The differences: scenario and patch (`*` is any), what, and why.
const DIFFERENT: &[Explained] = &[
    ("*", "*", "pkgmap i patchadm.*", OURS),
    ("*", "*", "member install/patchadm.*", OURS),
    ("*", "*", "pkgmap bin/stuf-hard", HARD_LINK),
    ("13-edited-ev", "103500-01", "member reloc/bin/stuf-hard", HARD_LINK),
    ("13-edited-ev", "103500-01", "pkgmap lib/libstuf.so", SYMLINK),
    ("13-edited-ev", "103500-01", "member reloc/lib/libstuf.so", SYMLINK),
    ("13-edited-ev", "103500-01", "pkgmap etc/stuf.log", "a volatile file stays one (observed defect 5)"),
    ("13-edited-ev", "103500-01", "pkgmap share/script.dat", SCRIPTED),
    ("13-edited-ev", "103500-01", "member reloc/share/script.dat", SCRIPTED),
    ("13-edited-ev", "103500-01", "pkgmap i deletes", "our patchadd keeps edited files"),
    ("13-edited-ev", "103500-01", "member install/deletes", "our patchadd keeps edited files"),
    ("13-edited-ev", "103500-01", "deletes etc/stuf.log.edited-103500-01", "our patchadd keeps edited files"),
    ("08-deletes-newfiles", "103400-01", "deletes newdir", "directories go as well (observed defect 4)"),
    ("*", "*", "pkginfo CLASSES", SCRIPTED),
    ("*", "*", "pkginfo STUF_ASKED", "a script of the base package asked for it"),
    ("*", "*", "pkginfo LANG", "the environment of the test has none"),
    ("*", "*", "pkginfo TZ", "the environment of the test has one"),
    ("*", "103201-02", "pkginfo PSTAMP", "103400-01, which only ours require, had set it"),
    ("*", "*", "pkginfo PATCH_INFO_*", "they would come back as they were, out of date by then"),
    ("*", "*", "pkginfo PATCH_BUILD_DIR", STEERS),
    ("*", "*", "pkginfo PATCH_PROGRESSIVE", STEERS),
    ("*", "*", "pkginfo PATCH_UNCONDITIONAL", STEERS),
    ("*", "*", "pkginfo PATCH_UNDO_ARCHIVE", STEERS),
    ("*", "*", "pkginfo INTERRUPTION", STEERS),
    ("*", "*", "pkginfo OLDLIST", STEERS),
];

const OURS: &str = "what a pkgmap cannot say; other programs pass over it, and our postinstall removes it";
const HARD_LINK: &str =
    "other names of a replaced file are links to it again after the backout (observed defect 3)";
const SYMLINK: &str = "a symbolic link is no copy of the file that it leads to (observed defect 2)";
const SCRIPTED: &str = "the base package of the test is without scripted classes";
const STEERS: &str = "it says how a run goes, and is never stored";

#[test]
fn our_archives_are_made_like_those_of_the_classic_tools() {
    let Some(goldens) = shared("our_archives_are_made_like_those_of_the_classic_tools", "goldens") else {
        return;
    };
    let (mut found, mut compared) = (Vec::new(), 0);
    // in 12 and 16 the classic tools did what ours refuse; in 14 they took the objects of one package for another
    let is_out = |kept: &Kept, package: &str| {
        matches!((&kept.scenario[..2], package), ("12" | "16", _) | ("14", "SUNWstux"))
    };
    for kept in kept(&goldens) {
        for (package, save) in kept.packages.iter().filter(|(package, _)| !is_out(&kept, package)) {
            let Some((theirs, ours)) = both(&kept, &goldens, package, save) else { return };
            let (theirs, ours) = (pieces(&theirs), pieces(&ours));
            compared += 1;
            for what in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                let (classic, own) = (theirs.get(what), ours.get(what));
                if classic != own {
                    let both = format!("classic {classic:?}\n  ours    {own:?}");
                    found.push((kept.scenario.clone(), kept.patch.clone(), what.clone(), both));
                }
            }
        }
    }
    assert!(compared > 15, "{compared} archives");
    assert_explained(&found, DIFFERENT);
}
