//! Random forms of undo data, drawn by a seed: each patch of a story is applied with one of them, and between the
//! steps undo data is rewritten in another one. The story is the same with all forms.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamReader, DatastreamWriter};
use patchadm_svr4::package::checksum;

use crate::random::Random;
use crate::scenario::Scenario;

/// The forms in which a patch can be applied.
pub(crate) const FORMS: [&str; 4] = ["files", "gz", "Z", "none"];

/// The forms in which undo data can be written again.
const REPACKED: [&str; 3] = ["gz", "Z", "none"];

/// A stream of forms with random numbers of its own, so that other draws of a story do not depend on it.
pub(crate) struct UndoForms(Random);

impl UndoForms {
    /// The forms of the story with this seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(Random(seed ^ 0x756e_646f_666f_726d))
    }

    /// The form of the next patch: in half of the cases, files.
    pub(crate) fn draw(&mut self) -> &'static str {
        if self.0.once_in(2) { FORMS[0] } else { self.0.one::<&str>(&FORMS) }
    }

    /// The option of a command that applies the next patch.
    pub(crate) fn option(&mut self) -> String {
        format!("--undo-format {}", self.draw())
    }

    /// The command that rewrites the undo data of some of these patches; usually none.
    pub(crate) fn repack(&mut self, with_undo: &[String]) -> Option<String> {
        if with_undo.is_empty() || !self.0.once_in(6) {
            return None;
        }
        let mut ids: Vec<&String> = with_undo.iter().filter(|_| self.0.once_in(2)).collect();
        if ids.is_empty() {
            ids.push(self.0.one(with_undo));
        }
        let ids: Vec<&str> = ids.into_iter().map(String::as_str).collect();
        Some(self.repack_of(&ids))
    }

    /// The command that rewrites the undo data of these patches.
    pub(crate) fn repack_of(&mut self, ids: &[&str]) -> String {
        format!("undo-data repack --undo-format {} -R @ROOT@ {}", self.0.one(&REPACKED), ids.join(" "))
    }
}

/// The form of the undo data of a patch in its save directory; `None` if there is none.
pub(crate) fn form_in(save: &Path) -> Option<&'static str> {
    let names = |stem: &str| {
        [("files", format!("{stem}.files")), ("gz", format!("{stem}.gz")), ("Z", format!("{stem}.Z"))]
            .into_iter()
            .chain([("none", stem.to_owned())])
    };
    let mut names = names("undo").chain(names("obsolete"));
    names.find(|(_, name)| save.join(name).is_file()).map(|(form, _)| form)
}

/// The patches among `ids` whose save directories have undo data.
pub(crate) fn with_undo(stage: &Scenario, package: &str, ids: &[String]) -> Vec<String> {
    let save = stage.at(&format!("/var/sadm/pkg/{package}/save"));
    ids.iter().filter(|id| form_in(&save.join(id)).is_some()).cloned().collect()
}

/// The undo directories of a root, below its own files and in stages of other file systems.
pub(crate) fn undo_directories(stage: &Scenario) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![stage.root()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if !entry.file_type().unwrap().is_dir() {
                continue;
            }
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours =
                |path: &Path| path.ends_with("var/sadm/patchadm/undo") || path.ends_with(".patchadm/undo");
            if name.starts_with(".patchadm-undo-") || path.parent().is_some_and(is_ours) {
                found.push(path.display().to_string());
            } else {
                open.push(path);
            }
        }
    }
    found
}

/// The name of the manifest in an archive.
const MANIFEST: &str = "install/patchadm.manifest";

/// A gzipped archive of one package, taken apart: the package, its time, and the members.
struct Taken {
    packages: Vec<DatastreamPackage>,
    time: i64,
    members: Vec<(CpioHeader, Vec<u8>)>,
}

impl Taken {
    fn of(archive: &[u8]) -> Self {
        let mut bytes = Vec::new();
        MultiGzDecoder::new(archive).read_to_end(&mut bytes).unwrap();
        let mut reader = DatastreamReader::new(&bytes[..]).unwrap();
        let packages = reader.packages().to_vec();
        let time = reader.times().first().map_or(0, |times| times.pkginfo);
        let mut members = Vec::new();
        while reader.next_part().unwrap().is_some() {
            while let Some(member) = reader.next_member().unwrap() {
                let mut data = Vec::new();
                reader.read_to_end(&mut data).unwrap();
                members.push((member.header, data));
            }
        }
        Self { packages, time, members }
    }
}

fn is_named(header: &CpioHeader, name: &str) -> bool {
    header.name.strip_prefix(b"./").unwrap_or(&header.name) == name.as_bytes()
}

/// The manifest of undo data as files.
pub(crate) fn manifest(archive: &[u8]) -> Vec<u8> {
    let mut members = Taken::of(archive).members.into_iter();
    members.find(|(header, _)| is_named(header, MANIFEST)).unwrap().1
}

/// The same undo data with another manifest and matching sums.
pub(crate) fn with_manifest(archive: &[u8], manifest: &[u8]) -> Vec<u8> {
    let Taken { mut packages, time, members } = Taken::of(archive);
    let again = |pkgmap: &[u8]| summed_again(&String::from_utf8_lossy(pkgmap), manifest).into_bytes();
    packages.iter_mut().for_each(|package| package.pkgmap = again(&package.pkgmap));
    let writer = DatastreamWriter::new(Vec::new(), &packages, time).unwrap();
    let mut part = writer.begin_part(CpioFormat::Newc).unwrap();
    for (mut header, mut data) in members {
        if is_named(&header, MANIFEST) {
            data = manifest.to_vec();
        } else if is_named(&header, "pkgmap") {
            data = again(&data);
        }
        header.size = data.len() as u64;
        part.write_member(&header, &data[..]).unwrap();
    }
    let stream = part.finish().unwrap().finish().unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&stream).unwrap();
    packed.finish().unwrap()
}

/// A pkgmap with size and sum of this manifest.
pub(crate) fn summed_again(pkgmap: &str, manifest: &[u8]) -> String {
    let name = MANIFEST.rsplit('/').next().unwrap();
    let line = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if words.get(2).is_some_and(|word| word == name) {
            words[3] = manifest.len().to_string();
            words[4] = checksum::sum(manifest).to_string();
        }
        words.join(" ") + "\n"
    };
    pkgmap.lines().map(line).collect()
}
