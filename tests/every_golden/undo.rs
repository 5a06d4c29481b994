//! Streams with undo data: their content, regardless of their compression and of the machine that made them.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use patchadm_svr4::format::datastream::DatastreamReader;
use sha2::{Digest, Sha256};

use super::seen::Seen;
use super::words::stable;

/// Files that hold undo data.
pub(super) const NAMES: [&str; 6] = ["undo", "undo.Z", "undo.gz", "obsolete", "obsolete.Z", "obsolete.gz"];

/// The stream of the undo data in a directory of a patch, decompressed in the snapshot or here.
pub(super) fn decompressed(directory: &Path) -> Option<Vec<u8>> {
    for name in ["undo.decompressed", "obsolete.decompressed"] {
        if let Ok(bytes) = fs::read(directory.join(name)) {
            return Some(bytes);
        }
    }
    let file = NAMES.iter().map(|name| directory.join(name)).find(|file| file.is_file())?;
    Some(unpacked(&file))
}

/// The bytes of a file that may be compressed.
pub(super) fn unpacked(file: &Path) -> Vec<u8> {
    if file.extension().is_none() {
        return fs::read(file).unwrap();
    }
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Adds the content of the stream in a directory, if there is one.
pub(super) fn stream(seen: &mut Seen, name: &str, directory: &Path, places: &dyn Fn(&str) -> String) {
    let Some(bytes) = decompressed(directory) else { return };
    let mut reader = DatastreamReader::new(&*bytes).unwrap();
    let packages: Vec<String> = reader.packages().iter().map(|one| one.inst.to_string()).collect();
    seen.insert(format!("undo {name} packages"), packages.join(" "));
    while let Some(part) = reader.next_part().unwrap() {
        assert_eq!(part.part, 1, "{name}");
        while let Some(member) = reader.next_member().unwrap() {
            let path = member.path.to_string();
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            let text = || places(&String::from_utf8_lossy(&data));
            match path.as_str() {
                "pkginfo" => lines(seen, &format!("undo {name} pkginfo"), &text(), 0),
                // The first line has the sizes of the machine; the sum of pkginfo depends on its stamp.
                "pkgmap" => lines(seen, &format!("undo {name} pkgmap"), &text(), 1),
                _ if member.header.is_file() => {
                    let digest = Sha256::digest(&data);
                    seen.insert(format!("undo {name} member {path}"), format!("{digest:x}"));
                }
                _ => {}
            }
        }
    }
}

/// The lines of a file behind the first `skipped`, each by what it is about.
fn lines(seen: &mut Seen, what: &str, text: &str, skipped: usize) {
    for line in text.lines().skip(skipped) {
        let words: Vec<&str> = line.split(' ').collect();
        let about = match words.as_slice() {
            [_, "i", "pkginfo", ..] => continue,
            [_, "i", name, ..] => (*name).to_owned(),
            [_, _, _, path, ..] if what.ends_with("pkgmap") => path.split('=').next().unwrap().to_owned(),
            _ => line.split('=').next().unwrap().to_owned(),
        };
        seen.insert(format!("{what} {about}"), stable(line));
    }
}
