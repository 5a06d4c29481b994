//! Random trees, and random changes of them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::random::Random;

/// Changes a tree at one path.
pub(super) fn change(top: &Path, name: &str, random: &mut Random) {
    let path = top.join(name);
    let seen = fs::symlink_metadata(&path).ok();
    let remove = |path: &Path| match fs::symlink_metadata(path) {
        Ok(seen) if seen.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    };
    let above = path.parent().unwrap().to_owned();
    if !fs::symlink_metadata(&above).is_ok_and(|seen| seen.is_dir()) {
        return;
    }
    let file = |text: &str| {
        remove(&path);
        fs::write(&path, text).unwrap();
    };
    match random.below(14) {
        0..=3 => file(["one\n", "two\n", "three\n"][random.below(3)]),
        4 | 5 => remove(&path),
        6 => {
            remove(&path);
            symlink(*random.one(&["a", "b"]), &path).unwrap();
        }
        7 if seen.as_ref().is_some_and(|seen| !seen.is_symlink()) => {
            let mode = *random.one(&[0o700, 0o750, 0o755]);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        8 if seen.as_ref().is_some_and(fs::Metadata::is_file) => {
            let moment = SystemTime::UNIX_EPOCH + Duration::new(random.below(1_000_000) as u64, 7);
            fs::File::open(&path).unwrap().set_modified(moment).unwrap();
        }
        9 => {
            remove(&path);
            fs::create_dir(&path).unwrap();
            let mode = *random.one(&[0o750, 0o755]);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        10 | 12 => {
            let other = top.join(format!("file{}", random.below(FILES)));
            if other != path && fs::symlink_metadata(&other).is_ok_and(|seen| seen.is_file()) {
                remove(&path);
                fs::hard_link(&other, &path).unwrap();
            }
        }
        11 => {
            remove(&path);
            assert!(Command::new("mkfifo").args(["-m", "640"]).arg(&path).status().unwrap().success());
        }
        _ => {}
    }
}

/// The number of possible names.
pub(super) const FILES: usize = 24;

/// The number of files that have two names from the beginning.
const PAIRS: usize = 3;

/// Makes a file with two names and one of two texts, or removes both names, or leaves them.
pub(super) fn change_pair(top: &Path, name: &str, random: &mut Random) {
    let names = ["a", "b"].map(|word| top.join(format!("{name}.{word}")));
    let what = random.below(5);
    if what < 3 {
        names.iter().for_each(|name| drop(fs::remove_file(name)));
    }
    if what < 2 {
        fs::write(&names[0], ["pair\n", "another pair\n"][what]).unwrap();
        fs::hard_link(&names[0], &names[1]).unwrap();
    }
}

/// Changes the files with two names on one side.
pub(super) fn change_pairs(top: &Path, random: &mut Random) {
    for number in 0..PAIRS {
        change_pair(top, &format!("pair{number}"), random);
    }
    change_pair(top, "newpair", random);
}

/// A random name; directories are more frequent than among all names.
pub(super) fn draw_name(random: &mut Random) -> String {
    if random.once_in(3) {
        return format!("dir{}", random.below(4));
    }
    random.one(&names()).clone()
}

fn names() -> Vec<String> {
    let files = (0..FILES).map(|number| format!("file{number}"));
    let below = (0..4).flat_map(|number| {
        let directory = format!("dir{number}");
        let inside = (0..4).map(move |inner| format!("dir{number}/in{inner}"));
        std::iter::once(directory).chain(inside)
    });
    files.chain(below).collect()
}

pub(super) fn first_tree(top: &Path, random: &mut Random) {
    fs::create_dir_all(top).unwrap();
    for name in names() {
        let path = top.join(&name);
        if name.starts_with("dir") && !name.contains('/') {
            if random.below(3) > 0 {
                fs::create_dir(&path).unwrap();
            }
        } else if random.below(4) > 0 && path.parent().is_some_and(Path::is_dir) {
            fs::write(&path, random.one(&["one\n", "two\n"])).unwrap();
        }
    }
    for number in 0..PAIRS {
        let names = ["a", "b"].map(|word| top.join(format!("pair{number}.{word}")));
        fs::write(&names[0], "a pair\n").unwrap();
        fs::hard_link(&names[0], &names[1]).unwrap();
    }
    for _ in 0..3 {
        change(top, &format!("file{}", random.below(FILES)), random);
    }
}
