//! Data that is written only to be faster the next time: the list of paths beside an undo archive, the stamp of
//! `contents`. Whatever happens to it, no answer changes, and no command waits.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::hostile::bench::Bench;
use crate::reliability::hostile::case::{ADD, Case, TRY, case, handled, refused, says};

const LIST: &str = "/var/sadm/pkg/ACMEweb/save/800-01/undo.paths";
const STAMP: &str = "/var/sadm/patchadm/contents.stamp";

/// The damage by which another user owns a record: root does nothing in such a root.
const STRANGERS: &str = "somebody's that nobody may read";

const THEIRS: &str = "to uid 12345, who can write to it";

/// Damages the file at a path.
type Damage = fn(&Bench, &Path);

/// The damages of these files, by name, and whether only root can do them.
const DAMAGES: [(&str, Damage, bool); 16] = [
    ("gone", |_, at| fs::remove_file(at).unwrap(), false),
    ("empty", |_, at| fs::write(at, "").unwrap(), false),
    ("garbage", |_, at| fs::write(at, "garbage\n").unwrap(), false),
    ("zeros", |_, at| fs::write(at, [0; 4096]).unwrap(), false),
    ("halved", |_, at| write(at, |bytes| bytes.truncate(bytes.len() / 2)), false),
    ("doubled", |_, at| write(at, |bytes| bytes.extend_from_within(..)), false),
    ("with a bit turned in its first line", |_, at| write(at, |bytes| bytes[3] ^= 1), false),
    (
        "with a bit turned in its last line",
        |_, at| write(at, |bytes| *bytes.iter_mut().nth_back(5).unwrap() ^= 1),
        false,
    ),
    ("without its last byte", |_, at| write(at, |bytes| bytes.truncate(bytes.len() - 1)), false),
    ("65 MiB", |_, at| grow(at, 65 << 20), false),
    ("a directory", |_, at| put(at, |at| fs::create_dir(at).unwrap()), false),
    ("a pipe", |_, at| put(at, |at| make(Command::new("mkfifo").arg(at))), false),
    ("a link to the canary", |b, at| put(at, |at| symlink(b.canary() + "/passwd", at).unwrap()), false),
    ("a link to zeros without end", |_, at| put(at, |at| symlink("/dev/zero", at).unwrap()), false),
    (
        "zeros without end",
        |_, at| put(at, |at| make(Command::new("mknod").arg(at).args(["c", "1", "5"]))),
        true,
    ),
    (STRANGERS, |_, at| hide(at), true),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, about) in [(LIST, "the list of paths"), (STAMP, "the stamp of contents")] {
        for (what, damage, privileged) in DAMAGES {
            let spoiled = move |b: &Bench| -> PathBuf {
                let earlier = Package::new("ACMEweb").file("lib/x", 0o644, "y\n");
                b.apply(&Patch::of("800-01", earlier.file("bin/httpd", 0o755, "between\n")));
                let source = b.patch(Bench::web());
                damage(b, &b.stage.at(file));
                source
            };
            let both = ["bin/httpd f 755 two\\n", "lib/x f 644 y\\n"];
            let in_turn: [(&str, &'static str, _); 3] = [
                ("apply", ADD, handled(&both)),
                ("try", TRY, says("")),
                ("back out", "patchrm -R @ROOT@ 800-01", handled(&[])),
            ];
            for (word, line, then) in in_turn {
                let is_strangers = what == STRANGERS && (file == LIST || word != "try");
                let then = match then {
                    _ if is_strangers => refused(3, THEIRS),
                    then => then,
                };
                let case = case(16, format!("{about} is {what}: {word}"), line, spoiled, then);
                cases.push(if privileged { case.privileged() } else { case });
            }
        }
    }
    cases.extend(after_another());
    cases
}

/// A patch that another one depends on is not backed out, whatever happened to the list of the other one: its archive
/// says what it changed.
fn after_another() -> Vec<Case> {
    let case = |(what, damage, privileged): (&str, Damage, bool)| {
        let spoiled = move |b: &Bench| -> PathBuf {
            b.apply(&Patch::of("700-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "before\n")));
            let settings = Package::new("ACMEweb").of_class("none", 'e', "bin/httpd", 0o755, "between\n");
            b.apply(&Patch::of("800-01", settings));
            damage(b, &b.stage.at(LIST));
            PathBuf::new()
        };
        let name = format!("the list of a later patch is {what}");
        let changed_later = refused(6, "patch 800-01");
        let then = if what == STRANGERS { refused(3, THEIRS) } else { changed_later };
        let case = case(16, name, "patchrm -R @ROOT@ 700-01", spoiled, then);
        if privileged { case.privileged() } else { case }
    };
    DAMAGES.map(case).into()
}

fn write(at: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(at).unwrap();
    change(&mut bytes);
    fs::write(at, bytes).unwrap();
}

/// Grows a file to this size; the rest is a hole.
fn grow(at: &Path, size: u64) {
    fs::OpenOptions::new().write(true).open(at).unwrap().set_len(size).unwrap();
}

fn put(at: &Path, make: impl Fn(&Path)) {
    fs::remove_file(at).unwrap();
    make(at);
}

fn make(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

fn hide(at: &Path) {
    chown(at, Some(12345), Some(12345)).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o0)).unwrap();
}
