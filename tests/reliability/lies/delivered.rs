//! Lists of what a patch delivered that lie: well-formed, or damaged on purpose. A backout meets them on a root in
//! which somebody has edited files without changing their size and modification time.
//!
//! Such a list is the statement of whoever owns the root. Whatever it says, an edited file is read and its content is
//! kept; only a list with the inode, the birth time and the status change time of the edited file itself hides an edit.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use patchadm_changeset::format::undo_sidecars::{DeliveredIdentity, DeliveredObjects};
use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::ObjectPath;

use crate::delivered::{LIST, patched};
use crate::scenario::Scenario;

/// A lie about one edited file: makes the entry of the list from the original one, and from a true one for the file as
/// it is now.
type Lie = fn(said: DeliveredIdentity, now: DeliveredIdentity) -> DeliveredIdentity;

/// The lies that are told of one file each, all in one list.
const LIES: [(&str, Lie); 12] = [
    ("it says that the edited file is untouched", |said, _| said),
    ("it was changed when it is said to be, and is another object", |said, now| DeliveredIdentity {
        inode: Inode { number: now.inode.number + 1, ..now.inode },
        b3: said.b3,
        ..now
    }),
    ("it has the number of the object, and was born before it", |said, now| DeliveredIdentity {
        inode: Inode { born: Some(Timestamp::whole(1)), ..now.inode },
        b3: said.b3,
        ..now
    }),
    ("it is on a file system without times of birth", |said, now| DeliveredIdentity {
        inode: Inode { born: None, ..now.inode },
        b3: said.b3,
        ..now
    }),
    ("it will be changed in the future", |said, now| DeliveredIdentity {
        inode: now.inode,
        changed: Timestamp { seconds: i64::MAX, nanoseconds: 999_999_999 },
        ..said
    }),
    ("it was changed before there was time", |said, now| DeliveredIdentity {
        inode: now.inode,
        changed: Timestamp { seconds: i64::MIN, nanoseconds: 0 },
        ..said
    }),
    ("it was changed in a second with too many parts", |said, now| DeliveredIdentity {
        inode: now.inode,
        changed: Timestamp { nanoseconds: u32::MAX, ..now.changed },
        ..said
    }),
    ("it was changed one part of a second before", |said, now| DeliveredIdentity {
        inode: now.inode,
        changed: Timestamp { nanoseconds: now.changed.nanoseconds ^ 1, ..now.changed },
        ..said
    }),
    ("it has the largest number", |said, _| DeliveredIdentity {
        inode: Inode { number: u64::MAX, ..said.inode },
        ..said
    }),
    ("the edit was delivered", |_, now| now),
    ("nothing was delivered", |_, now| DeliveredIdentity { b3: Digest::of(b""), ..now }),
    ("it was changed when the file of another name was", |said, now| DeliveredIdentity {
        inode: now.inode,
        ..said
    }),
];

fn path(number: usize) -> String {
    format!("/opt/ACMEweb/f{number:02}")
}

fn edited_text(number: usize) -> String {
    format!("FILE {number:02} 2\n")
}

/// Edits a file of the patch without changing its size and modification time.
fn edit(stage: &Scenario, number: usize) {
    let at = stage.at(&path(number));
    let before = fs::metadata(&at).unwrap();
    fs::write(&at, edited_text(number)).unwrap();
    File::options().write(true).open(&at).unwrap().set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(&at).unwrap().len(), before.len());
}

/// The entry that a list would have for an object if the patch had put it there as it is now.
fn now(at: &Path) -> DeliveredIdentity {
    let seen = fs::symlink_metadata(at).unwrap();
    let since = std::time::UNIX_EPOCH;
    let born = seen.created().ok().map(|born| born.duration_since(since).unwrap());
    let time =
        |seconds: i64, nanoseconds: i64| Timestamp { seconds, nanoseconds: nanoseconds.try_into().unwrap() };
    let born = born.map(|born| time(born.as_secs().try_into().unwrap(), born.subsec_nanos().into()));
    DeliveredIdentity {
        inode: Inode { number: seen.ino(), born },
        changed: time(seen.ctime(), seen.ctime_nsec()),
        b3: Digest::of(&fs::read(at).unwrap_or_default()),
    }
}

/// The list of an untouched patched root, with all files; the list of the run itself depends on how long the run took.
fn list(stage: &Scenario) -> DeliveredObjects {
    let line = |number: usize| {
        let text = path(number);
        (ObjectPath::new(text.as_bytes()).unwrap(), now(&stage.at(&text)))
    };
    DeliveredObjects((0..40).map(line).collect())
}

/// A list with these lines and a matching checksum.
fn forged(lines: &[u8]) -> Vec<u8> {
    [format!("{:08x}\n", crc32c::crc32c(lines)).as_bytes(), lines].concat()
}

/// Backs the patch out and checks that all files are as before it and that each edit is kept beside its file.
fn backed_out(stage: &Scenario, edited: &[usize], what: &str) {
    let run = stage.run("remove -R @ROOT@ 100-01");
    assert_eq!(run.code, 0, "{what}: {}{}", run.stdout, run.stderr);
    for number in 0..40 {
        assert_eq!(stage.text(&path(number)), format!("file {number:02} 1\n"), "{what}");
        let kept = fs::read_to_string(stage.at(&format!("{}.edited-100-01", path(number)))).ok();
        let expected = edited.contains(&number).then(|| edited_text(number));
        assert_eq!(kept, expected, "{what}: {number}");
    }
}

#[test]
fn whatever_the_list_says_of_an_edited_file_the_edit_is_kept() {
    let stage = patched();
    let DeliveredObjects(mut listed) = list(&stage);
    let edited: Vec<usize> = (1..=LIES.len()).collect();
    for (number, (_, lie)) in (1..).zip(LIES) {
        edit(&stage, number);
        let now = now(&stage.at(&path(number)));
        let at = ObjectPath::new(path(number).as_bytes()).unwrap();
        let said = listed[&at];
        listed.insert(at, lie(said, now));
    }
    fs::write(stage.at(LIST), DeliveredObjects(listed).write()).unwrap();
    let told: Vec<&str> = LIES.iter().map(|(what, _)| *what).collect();
    backed_out(&stage, &edited, &told.join("; "));
}

#[test]
fn only_who_tells_inode_and_times_of_the_edited_file_itself_hides_an_edit() {
    let stage = patched();
    let DeliveredObjects(mut listed) = list(&stage);
    for number in [7, 8] {
        edit(&stage, number);
        if number == 8 {
            // An editor that does not reset the time gives itself away: the list does not have the time, but the
            // manifest does.
            let file = File::options().write(true).open(stage.at(&path(number))).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
        }
        let said = listed.get_mut(&ObjectPath::new(path(number).as_bytes()).unwrap()).unwrap();
        *said = DeliveredIdentity { b3: said.b3, ..now(&stage.at(&path(number))) };
    }
    fs::write(stage.at(LIST), DeliveredObjects(listed).write()).unwrap();
    backed_out(&stage, &[8], "the whole status of an edited file is told");
}

#[test]
fn a_list_of_other_objects_a_doubled_an_endless_and_a_broken_one_hide_no_edit() {
    type Forge = fn(&Scenario, &DeliveredObjects);
    let forges: [(&str, Forge); 9] = [
        ("paths that the patch never delivered", |stage, list| {
            let paths =
                ["/", "/etc/passwd", "/opt/ACMEweb", "/var/sadm/install/contents", "/opt/ACMEweb/none"];
            let mut list = list.clone();
            for path in paths {
                let at = stage.at(path);
                let object = now(if at.exists() { &at } else { Path::new("/etc/passwd") });
                list.0.insert(ObjectPath::new(path.as_bytes()).unwrap(), object);
            }
            fs::write(stage.at(LIST), list.write()).unwrap();
        }),
        ("paths that are none", |stage, list| {
            let line = |path: &str| {
                let digest = Digest::of(b"");
                format!("1 - 1.000000000 {digest} {path}\n").into_bytes()
            };
            let lines = ["", "..", "/../../../etc/passwd", "etc/passwd", "%00", "/a%00b"].map(line).concat();
            fs::write(stage.at(LIST), forged(&[&list.write()[9..], &lines].concat())).unwrap();
        }),
        ("each line twice, at last with another time", |stage, list| {
            let mut others = list.clone();
            others.0.values_mut().for_each(|object| object.changed.seconds += 1);
            let lines = [&list.write()[9..], &others.write()[9..], &list.write()[9..]].concat();
            fs::write(stage.at(LIST), forged(&lines)).unwrap();
        }),
        ("a hundred thousand lines", |stage, list| {
            let mut list = list.clone();
            let any = now(&stage.at("/etc/passwd"));
            let path = |number: usize| ObjectPath::new(format!("/opt/none/{number}").as_bytes()).unwrap();
            list.0.extend((0..100_000).map(|number| (path(number), any)));
            fs::write(stage.at(LIST), list.write()).unwrap();
        }),
        ("more bytes than are read", |stage, _| {
            let file = File::options().write(true).open(stage.at(LIST)).unwrap();
            file.set_len(300 << 20).unwrap();
        }),
        ("numbers that are none", |stage, _| {
            let digest = Digest::of(b"");
            let words =
                ["-1 - 1.0", "1 - 1", "1 - 1.-1", "1 - 1.4294967296", "99999999999999999999 - 1.0", "x y z"];
            for words in words {
                let lines = format!("{words} {digest} {}\n", path(7));
                assert_eq!(DeliveredObjects::parse(&forged(lines.as_bytes())), None, "{words}");
                fs::write(stage.at(LIST), forged(lines.as_bytes())).unwrap();
            }
        }),
        ("another checksum", |stage, list| {
            let mut bytes = list.write();
            bytes[..8].copy_from_slice(b"00000000");
            fs::write(stage.at(LIST), bytes).unwrap();
        }),
        ("half of it", |stage, list| {
            let bytes = list.write();
            fs::write(stage.at(LIST), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a pipe that nobody writes to", |stage, _| {
            fs::remove_file(stage.at(LIST)).unwrap();
            let made = std::process::Command::new("mkfifo").arg(stage.at(LIST)).status().unwrap();
            assert!(made.success());
        }),
    ];
    for (what, forge) in forges {
        let stage = patched();
        let list = list(&stage);
        edit(&stage, 7);
        // On a tmpfs the run itself leaves no list.
        fs::write(stage.at(LIST), list.write()).unwrap();
        forge(&stage, &list);
        backed_out(&stage, &[7], what);
        assert!(!stage.at(LIST).exists(), "{what}");
    }
}
