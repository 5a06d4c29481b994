//! Files of a package that concern the loader: programs, libraries, links, settings.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use patchadm_inputs::source::{Image, PackageImage, Source, SourceError, SourceProblem};
use patchadm_libraries::LibraryFile;
use patchadm_libraries::elf::{self, MissingParts, PartsKeeper, StreamedParts};
use patchadm_svr4::package::{Ftype, ObjectPath, PackagePath};

use crate::object_places::{Delivery, PATH_BYTES, placed};
use crate::package_limits::{LARGEST_SETTINGS, is_settings, open_package};

const BUFFER: usize = 64 << 10;

#[derive(Clone, Debug, Default)]
pub(crate) struct ArchivedObjects {
    pub(crate) delivery: Delivery,
    pub(crate) files: Vec<(ObjectPath, Arc<LibraryFile>)>,
    pub(super) names: Vec<(ObjectPath, ObjectPath)>,
    pub(super) settings: Vec<(ObjectPath, Vec<u8>)>,
}

impl ArchivedObjects {
    /// A file that is no valid program or library needs nothing.
    pub(crate) fn read(file: &Path) -> Result<Self, SourceError> {
        let (source, image) = open_package(file)?;
        let mut delivered = Self { delivery: Delivery::of_all(&image), ..Self::default() };
        for package in &image.packages {
            delivered.take_names(package);
        }
        let mut again: Vec<(usize, PackagePath, MissingParts)> = Vec::new();
        delivered.stream(
            &source,
            &image,
            &mut |_, _| true,
            &mut |delivered, (number, path), place, data| {
                if is_settings(&place) {
                    return delivered.add_settings(place, data);
                }
                let Some(mut parts) = streamed(PartsKeeper::default(), data)? else { return Ok(()) };
                match (elf::read(&mut parts), parts.missing()) {
                    (_, Some(missing)) => again.push((number, path.clone(), missing)),
                    (read, None) => delivered.add(place, read.ok().flatten()),
                }
                Ok(())
            },
        )?;
        if again.is_empty() {
            return Ok(delivered);
        }
        let missing = |number: usize, path: &PackagePath| {
            again.iter().find(|(known, name, _)| *known == number && name == path).map(|(_, _, parts)| parts)
        };
        let mut is_wanted = |number: usize, path: &PackagePath| missing(number, path).is_some();
        delivered.stream(
            &source,
            &image,
            &mut is_wanted,
            &mut |delivered, (number, path), place, data| {
                let Some(missing) = missing(number, path) else { return Ok(()) };
                if let Some(mut parts) = streamed(PartsKeeper::again(missing), data)? {
                    delivered.add(place, elf::read(&mut parts).ok().flatten());
                }
                Ok(())
            },
        )?;
        Ok(delivered)
    }

    fn add_settings(&mut self, place: ObjectPath, data: &mut dyn Read) -> io::Result<()> {
        let held: u64 = self.settings.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let mut bytes = Vec::new();
        data.take(LARGEST_SETTINGS + 1).read_to_end(&mut bytes)?;
        if held + bytes.len() as u64 > LARGEST_SETTINGS {
            return Err(io::Error::other(format!(
                "the settings of loaders have more than {LARGEST_SETTINGS} bytes: remove comments"
            )));
        }
        self.settings.push((place, bytes));
        Ok(())
    }

    /// Returns the bytes that it takes in memory, nearly.
    pub(crate) fn held(&self) -> usize {
        let files = self.files.iter().map(|(path, file)| path.as_bytes().len() + bytes_of(&file.facts));
        let names = self.names.iter().map(|(path, _)| path.as_bytes().len());
        let settings = self.settings.iter().map(|(path, bytes)| path.as_bytes().len() + bytes.len());
        files
            .chain(names)
            .chain(settings)
            .fold(self.delivery.held, |held, bytes| held.saturating_add(bytes + 2 * PATH_BYTES))
    }

    pub(super) fn add_all(&mut self, other: Self) {
        self.delivery.add_all(other.delivery);
        self.files.extend(other.files);
        self.names.extend(other.names);
        self.settings.extend(other.settings);
    }

    fn add(&mut self, place: ObjectPath, facts: Option<elf::ElfFacts>) {
        let file = facts.map(|facts| Arc::new(LibraryFile { facts: Arc::new(facts) }));
        self.files.extend(file.map(|file| (place, file)));
    }

    fn take_names(&mut self, package: &PackageImage) {
        for entry in package.pkgmap.entries.iter().filter(|entry| entry.object.ftype == Ftype::Link) {
            if let (Some(target), Some(place)) = (&entry.object.target, placed(package, &entry.path)) {
                self.names.extend(place.link_source(target).ok().map(|file| (place, file)));
            }
        }
    }

    fn stream(
        &mut self,
        source: &Source,
        image: &Image,
        is_wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        visit: &mut VisitFile<'_>,
    ) -> Result<(), SourceError> {
        source.stream(image, is_wanted, &mut |number, path, _, data: &mut dyn Read| {
            let Some(package) = image.packages.get(number) else { return Ok(()) };
            // A loader cannot find a file at an unknown place.
            let Some(place) = placed(package, path) else { return Ok(()) };
            visit(self, (number, path), place, data).map_err(|error| SourceError {
                path: source.path().to_owned(),
                problem: SourceProblem::Io { file: Some(path.to_string()), error },
            })
        })
    }
}

fn bytes_of(facts: &elf::ElfFacts) -> usize {
    let single = [&facts.soname, &facts.rpath, &facts.runpath, &facts.interpreter].into_iter().flatten();
    let needs = facts.needs.iter().flat_map(|need| [&need.library, &need.version]);
    let later = facts.dlopen.iter().flat_map(|note| &note.soname);
    let words = single.chain(&facts.needed).chain(&facts.defines).chain(needs).chain(later);
    size_of::<elf::ElfFacts>() + words.map(|word| word.len() + size_of::<String>()).sum::<usize>()
}

type VisitFile<'a> =
    dyn FnMut(&mut ArchivedObjects, (usize, &PackagePath), ObjectPath, &mut dyn Read) -> io::Result<()> + 'a;

/// Reads a file without storing it. Returns the kept parts if it starts like an ELF file.
fn streamed(mut keeper: PartsKeeper, data: &mut dyn Read) -> io::Result<Option<StreamedParts>> {
    let mut buffer = Vec::new();
    (&mut *data).take(elf::MAGIC.len() as u64).read_to_end(&mut buffer)?;
    if buffer != elf::MAGIC {
        return Ok(None);
    }
    loop {
        keeper.add(&buffer);
        buffer.resize(BUFFER, 0);
        let count = match data.read(&mut buffer) {
            Ok(0) => return Ok(Some(keeper.finish())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        buffer.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_package_are_held_up_to_a_limit_and_never_cut() {
        let half = vec![b'#'; usize::try_from(LARGEST_SETTINGS / 2).unwrap()];
        let place = |name: &str| ObjectPath::new(format!("/etc/ld.so.conf.d/{name}").as_bytes()).unwrap();
        let mut delivered = ArchivedObjects::default();
        delivered.add_settings(place("one"), &mut &half[..]).unwrap();
        delivered.add_settings(place("two"), &mut &half[..]).unwrap();
        let refused = delivered.add_settings(place("three"), &mut &b"#"[..]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the settings of loaders have more than 65536 bytes: remove comments"
        );
        let refused = ArchivedObjects::default().add_settings(place("endless"), &mut io::repeat(b'#'));
        assert!(refused.is_err());
        assert_eq!(delivered.settings.len(), 2);
    }
}
