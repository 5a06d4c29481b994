//! Patches and packages in any form: the content determines it, never the name. Nothing is unpacked: every pass reads
//! the file that was opened first, and only a pipe is copied. Files are compared with the pkgmap. [`open`] opens one
//! source, [`open_signed`] one whose signature counts, a [`Bundle`] several patches.
//!
//! ```text
//! path ─ open ─┬─► Image   parameters, pkgmaps, scripts: checked, in memory
//!              └──── stream ─► content of the objects, in the order of the archive
//! ```

mod bundle;
mod error;
mod forms;
mod held;
mod image;
mod member;
mod objects;
mod pipe;
mod room;
mod scan;
mod seal;
mod signed;
pub mod sun_scripts;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::input_file::InputFile;
use crate::program_run::ending_signal;
pub use bundle::{
    Bundle, BundlePatches, BundleTexts, all_patches_in, directory_names, is_called_as_patch, patches_in,
};
use error::NO_PACKAGE;
pub use error::{SourceError, SourceProblem};
use forms::SourceDirectory;
pub use held::{HeldDigests, HeldMembers, HeldSum};
pub use image::{Form, Hooks, Image, ImageMacros, ImageMacrosError, ImageSignature, PackageImage};
pub use member::MemberStamp;
use member::{MemberKind, MemberVisitor, PackagePart, SourceMember};
pub(crate) use objects::StoredContent;
pub use objects::{ObjectHeader, Sink};
use patchadm_changeset::stored_file::StoredFile;
use patchadm_rootfs::{Interrupt, InterruptibleRead, never};
use patchadm_svr4::package::{PackagePath, is_room_for};
pub use room::SharedRoom;
pub use scan::SourceLimits;
use scan::{InformationLeft, Scan};
use seal::{ReadBlock, Seal};
pub use signed::{open_signed, open_signed_until};

/// Memory of plan, inventory and run per pkgmap entry; an apply was measured at 4,900 bytes.
const ROOM_TO_PLAN: u64 = 6 << 10;

enum WalkEnd {
    AtObjects,
    Failed(SourceError),
}

impl From<SourceError> for WalkEnd {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

/// Can be read any number of times.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    form: Form,
    input: Input,
    seal: Seal,
    stored: Option<StoredContent>,
    room: Option<SharedRoom>,
}

#[derive(Debug)]
enum Input {
    Directory(SourceDirectory),
    File(File),
}

impl Source {
    fn open(path: &Path, interrupt: Interrupt<'_>) -> Result<Self, SourceError> {
        let fail = |problem| SourceError { path: path.to_owned(), problem };
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound if is_address(path) => {
                fail(SourceProblem::Unsupported("reading from the network".to_owned()))
            }
            io::ErrorKind::NotFound => fail(SourceProblem::NotFound),
            _ => fail(SourceProblem::Io { file: None, error }),
        };
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            let input = Input::Directory(SourceDirectory::open(path).map_err(fail)?);
            return Ok(Self {
                path: path.to_owned(),
                form: Form::Directory,
                input,
                seal: Seal::default(),
                stored: None,
                room: None,
            });
        }
        let file = match InputFile::open_anything(path).map_err(unreadable)?.into_regular() {
            Ok(file) => file,
            Err(input) => pipe::spooled(input).map_err(fail)?,
        };
        Self::from_sealed_file(file, path, Seal::default(), interrupt)
    }

    fn at(origin: Origin<'_>, interrupt: Interrupt<'_>) -> Result<Self, SourceError> {
        match origin {
            Origin::Path(path) => Self::open(path, interrupt),
            Origin::File(file, path) => Self::from_sealed_file(file, path, Seal::default(), interrupt),
        }
    }

    /// `path` is for messages.
    fn from_sealed_file(
        file: File,
        path: &Path,
        seal: Seal,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, SourceError> {
        let form = form_of(&file, &seal, interrupt).map_err(|problem| match seal.broken() {
            Some(reason) => SourceError::changed(path, reason),
            None => SourceError { path: path.to_owned(), problem },
        })?;
        Ok(Self { path: path.to_owned(), form, input: Input::File(file), seal, stored: None, room: None })
    }

    pub(crate) fn with_stored(self, stored: Option<StoredContent>) -> Self {
        Self { stored, ..self }
    }

    fn sharing(self, room: &SharedRoom) -> Self {
        Self { room: Some(room.clone()), ..self }
    }

    /// Returns the place of an object that the source does not hold itself.
    pub fn stored_file(&self, path: &PackagePath) -> Option<&StoredFile> {
        self.stored.as_ref()?.file(path)
    }

    /// Returns the path that the user named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn form(&self) -> Form {
        self.form
    }

    fn scan(&self, interrupt: Interrupt<'_>) -> Result<Image, SourceError> {
        self.scan_only(&|_| true, interrupt)
    }

    fn scan_only(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        interrupt: Interrupt<'_>,
    ) -> Result<Image, SourceError> {
        let image = self.describe(SourceLimits::default(), wanted, interrupt);
        let image = image.map_err(|error| self.or_of_patches(error))?;
        let checked = image.packages.iter().try_for_each(scan::check_information);
        checked.map_err(|problem| self.error(problem))?;
        Ok(image)
    }

    /// Names the patches of a directory without packages.
    fn or_of_patches(&self, error: SourceError) -> SourceError {
        let SourceProblem::BadForm(reason) = &error.problem else { return error };
        if self.form != Form::Directory {
            return error;
        }
        let is_empty = reason == NO_PACKAGE;
        let names: Vec<String> =
            patches_in(&self.path).iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        match names.is_empty() {
            false => self.error(SourceProblem::HoldsPatches(names)),
            true if is_empty => self.error(SourceProblem::NoPackage),
            true => error,
        }
    }

    fn describe(
        &self,
        limits: SourceLimits,
        wanted: &dyn Fn(&str) -> bool,
        interrupt: Interrupt<'_>,
    ) -> Result<Image, SourceError> {
        let mut scan = Scan::within(limits).sharing(self.room.clone());
        let order = self.walk_into(&mut scan, wanted, interrupt)?;
        scan.finish(&self.name(), self.form, &order, wanted).map_err(|problem| self.error(problem))
    }

    fn walk_into(
        &self,
        scan: &mut Scan,
        wanted: &dyn Fn(&str) -> bool,
        interrupt: Interrupt<'_>,
    ) -> Result<HashMap<Vec<u8>, usize>, SourceError> {
        let mut order = HashMap::new();
        self.walk_within::<SourceError>(&|_| true, interrupt, &mut |member, data| {
            if matches!(self.form, Form::Datastream(_))
                && let Some((directory, _)) = image::cut(member.path.as_bytes(), 1)
            {
                if !wanted(&scan::last_component(directory)) {
                    return Ok(());
                }
                let next = order.len();
                order.entry(directory.to_vec()).or_insert(next);
            }
            scan.take(member, data).map_err(|problem| self.error(problem))
        })?;
        Ok(order)
    }

    fn described(file: File, path: &Path) -> Result<(Self, Image), SourceError> {
        let (seal, fail) = (Seal::default(), |problem| SourceError { path: path.to_owned(), problem });
        let of_archive = |error| fail(SourceProblem::of_archive(error));
        let mut scan = Scan::new();
        let mut outstanding = InformationLeft::default();
        let (form, reader) = {
            let opened = patchadm_container::open_container(Rewound::new(&file, &seal));
            let mut opened = opened.map_err(of_archive)?;
            (Form::of(&mut opened).map_err(fail)?, opened.reader)
        };
        if !matches!(form, Form::Datastream(_)) {
            return Err(fail(SourceProblem::BadForm("it is not a package datastream".to_owned())));
        }
        let mut visit = |member: &SourceMember, data: &mut dyn Read| {
            let inside = image::cut(member.path.as_bytes(), 1);
            let is_object = |(_, rest): (_, &[u8])| matches!(PackagePart::of(rest), PackagePart::Object(..));
            if member.kind != MemberKind::Directory && inside.is_some_and(is_object) {
                return Err(WalkEnd::AtObjects);
            }
            scan.take(member, data).map_err(|problem| WalkEnd::Failed(fail(problem)))?;
            if outstanding.is_last(&member.path, &mut scan) { Err(WalkEnd::AtObjects) } else { Ok(()) }
        };
        match forms::walk_stream(reader, &mut visit, &fail) {
            Ok(()) | Err(WalkEnd::AtObjects) => {}
            Err(WalkEnd::Failed(error)) => return Err(error),
        }
        let source =
            Self { path: path.to_owned(), form, input: Input::File(file), seal, stored: None, room: None };
        let image = scan.finish(&source.name(), form, &HashMap::new(), &|_| true);
        let image = image.map_err(|problem| source.error(problem))?;
        let checked = image.packages.iter().try_for_each(scan::check_information);
        checked.map_err(|problem| source.error(problem))?;
        Ok((source, image))
    }

    /// Refuses packages with too many entries to plan in memory, because the system would kill the program halfway.
    pub fn check_room_to_plan(&self, image: &Image) -> Result<(), SourceError> {
        let count: usize = image.packages.iter().map(|package| package.pkgmap.entries.len()).sum();
        let bytes: usize = image.packages.iter().map(|package| package.pkgmap_bytes.len()).sum();
        // The unchanged pkgmap becomes a record of the package.
        if is_room_for((count as u64).saturating_mul(ROOM_TO_PLAN).saturating_add(2 * bytes as u64)) {
            return Ok(());
        }
        let reason = format!("not enough memory for {count} entries in a pkgmap of {bytes} bytes");
        let error = io::Error::new(io::ErrorKind::OutOfMemory, reason);
        Err(self.error(SourceProblem::Io { file: None, error }))
    }

    fn walk<E: From<SourceError>>(
        &self,
        interrupt: Interrupt<'_>,
        visit: &mut MemberVisitor<'_, E>,
    ) -> Result<(), E> {
        self.walk_within(&|_| true, interrupt, visit)
    }

    /// Gives every member; of a directory only `wanted` packages. A source that must be read from its beginning gives
    /// everything. A signal ends it, even in the middle of a member.
    fn walk_within<E: From<SourceError>>(
        &self,
        wanted: &dyn Fn(&[u8]) -> bool,
        interrupt: Interrupt<'_>,
        visit: &mut MemberVisitor<'_, E>,
    ) -> Result<(), E> {
        let interrupted = || Some(self.error(SourceProblem::Interrupted(interrupt()?)));
        let mut visit_checked = |member: &SourceMember, data: &mut dyn Read| {
            if let Some(interrupted) = interrupted() {
                return Err(interrupted.into());
            }
            let mut data = InterruptibleRead::new(data, interrupt);
            match self.seal.expected(member) {
                None => visit(member, &mut data),
                Some(Ok(sum)) => {
                    let mut content = self.seal.digested(member, sum, &mut data);
                    // A visitor that stops early fails because of the exchange, if there was one.
                    visit(member, &mut content).inspect_err(|_| content.read_rest())
                }
                Some(Err(reason)) => Err(SourceError::changed(&self.path, &reason).into()),
            }
        };
        let walked = self.walk_sealed(wanted, interrupt, &mut visit_checked);
        if walked.is_err()
            && let Some(interrupted) = interrupted()
        {
            return Err(interrupted.into());
        }
        match (walked, self.seal.broken()) {
            // The original reason, regardless of later errors.
            (Err(_), Some(reason)) => Err(SourceError::changed(&self.path, reason).into()),
            (walked, _) => walked,
        }
    }

    fn walk_sealed<E: From<SourceError>>(
        &self,
        wanted: &dyn Fn(&[u8]) -> bool,
        interrupt: Interrupt<'_>,
        visit: &mut MemberVisitor<'_, E>,
    ) -> Result<(), E> {
        let fail = |problem| self.error(problem);
        let file = match &self.input {
            Input::Directory(directory) => return directory.walk(wanted, visit, &fail),
            Input::File(file) => InterruptibleRead::new(Rewound::new(file, &self.seal), interrupt),
        };
        if self.form == Form::Zip {
            return forms::walk_zip(file, visit, &fail);
        }
        let opened = patchadm_container::open_container(file)
            .map_err(|error| fail(SourceProblem::of_archive(error)))?;
        // A few bytes of the file may decompress to gigabytes.
        let reader = InterruptibleRead::new(opened.reader, interrupt);
        match self.form {
            Form::Datastream(_) => forms::walk_stream(Box::new(reader), visit, &fail),
            _ => forms::walk_tar(Box::new(BufReader::with_capacity(1 << 16, reader)), visit, &fail),
        }
    }

    fn error(&self, problem: SourceProblem) -> SourceError {
        SourceError { path: self.path.clone(), problem }
    }

    /// The last component of the operand, or of its target for `.` and `..`.
    fn name(&self) -> String {
        let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let resolved = || self.path.canonicalize().ok().as_deref().and_then(named);
        named(&self.path).or_else(resolved).unwrap_or_default()
    }
}

/// A name without a file that looks like a network address.
fn is_address(path: &Path) -> bool {
    ["http:", "https:", "ftp:"].iter().any(|scheme| path.starts_with(scheme))
}

/// A decompressor may read any number of bytes before the first byte of its output.
fn form_of(file: &File, seal: &Seal, interrupt: Interrupt<'_>) -> Result<Form, SourceProblem> {
    let bytes = InterruptibleRead::new(Rewound::new(file, seal), interrupt);
    let opened = patchadm_container::open_container(bytes).map_err(SourceProblem::of_archive);
    let form = opened.and_then(|mut opened| Form::of(&mut opened));
    form.map_err(|problem| interrupt().map_or(problem, SourceProblem::Interrupted))
}

/// A file with a position of its own, which starts at 0.
struct Rewound<'a> {
    file: &'a File,
    seal: &'a Seal,
    last: ReadBlock,
    position: u64,
}

impl<'a> Rewound<'a> {
    fn new(file: &'a File, seal: &'a Seal) -> Self {
        Self { file, seal, last: ReadBlock::default(), position: 0 }
    }
}

impl Read for Rewound<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.seal.read_at(self.file, &mut self.last, buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Rewound<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::Current(offset) => (self.position, offset),
            SeekFrom::End(offset) => (self.file.metadata()?.len(), offset),
        };
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "seek before the beginning");
        self.position = base.checked_add_signed(offset).ok_or_else(invalid)?;
        Ok(self.position)
    }
}

#[derive(Debug)]
pub enum Origin<'a> {
    /// Named by the user; symbolic links are followed.
    Path(&'a Path),
    /// With its path for messages.
    File(File, &'a Path),
}

/// The extent of the checks at opening.
#[derive(Clone, Copy)]
pub enum Extent<'a> {
    /// Everything but the content of objects. Refuses malformed parameters and pkgmaps, information files that differ
    /// from the pkgmap, links and devices in place of files, duplicate members, and members that lead outside.
    Everything,
    /// Only packages in directories that the function accepts; faults of others are ignored. A source that is itself a
    /// package is accepted under any name.
    Packages(&'a dyn Fn(&str) -> bool),
    /// Without the information files, which descriptions by `pkgtrans -i` lack.
    Unchecked,
}

/// Reads everything except the content of objects. A signal that this process catches ends it.
pub fn open(origin: Origin<'_>, extent: Extent<'_>) -> Result<(Source, Image), SourceError> {
    open_until(origin, extent, &ending_signal)
}

/// Like [`open`], with a signal check of the caller.
pub fn open_until(
    origin: Origin<'_>,
    extent: Extent<'_>,
    interrupt: Interrupt<'_>,
) -> Result<(Source, Image), SourceError> {
    let source = Source::at(origin, interrupt)?;
    let image = match extent {
        Extent::Everything => source.scan(interrupt)?,
        Extent::Packages(wanted) => source.scan_only(wanted, interrupt)?,
        Extent::Unchecked => source.describe(SourceLimits::default(), &|_| true, interrupt)?,
    };
    Ok((source, image))
}

/// Like [`open_until`] with [`Extent::Everything`], with memory that other sources share.
pub fn open_sharing(
    origin: Origin<'_>,
    room: &SharedRoom,
    interrupt: Interrupt<'_>,
) -> Result<(Source, Image), SourceError> {
    let source = Source::at(origin, interrupt)?.sharing(room);
    let image = source.scan(interrupt)?;
    Ok((source, image))
}

/// Opens a source as [`Extent::Unchecked`] does, with limits of its own.
pub fn open_within(path: &Path, limits: SourceLimits) -> Result<(Source, Image), SourceError> {
    let source = Source::open(path, &never)?;
    let image = source.describe(limits, &|_| true, &never)?;
    Ok((source, image))
}

/// Opens a datastream that is known to be whole, such as an undo archive with the right digest, and reads only up to
/// the last information file of its pkgmap. `path` is used in messages.
pub fn open_descriptions(file: File, path: &Path) -> Result<(Source, Image), SourceError> {
    Source::described(file, path)
}

#[cfg(test)]
mod tests;
