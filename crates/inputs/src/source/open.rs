//! The only entry to sources: everything that is read as a patch, a package or an undo archive is opened here.

use std::fs::File;
use std::path::Path;

use super::{Image, Source, SourceError};
use patchadm_rootfs::{Interrupt, never};

/// An object to be opened as a source.
#[derive(Debug)]
pub enum Origin<'a> {
    /// A file or directory that the user named; symbolic links are followed.
    Path(&'a Path),
    /// A file that is open already, and the path that messages call it by.
    File(File, &'a Path),
}

/// The extent to which a source is read and checked when it is opened.
#[derive(Clone, Copy)]
pub enum Extent<'a> {
    /// Everything but the content of the objects. Refused are parameters or a pkgmap that cannot be read, an information
    /// file that is not what the pkgmap says, a file of the pkgmap that is a symbolic link or a device, members that come
    /// twice or lead outside.
    Everything,
    /// The same for the packages in directories that the function accepts; faults of others do not matter. A source
    /// that is itself the directory of a package is accepted under any name.
    Packages(&'a dyn Fn(&str) -> bool),
    /// Everything, without a look at the information files: of packages as `pkgtrans -i` leaves them only these
    /// descriptions are there.
    Unchecked,
}

/// Opens a source and reads what it holds, apart from the content of its objects.
pub fn open(origin: Origin<'_>, extent: Extent<'_>) -> Result<(Source, Image), SourceError> {
    open_until(origin, extent, &never)
}

/// Does the same until a signal comes.
pub fn open_until(
    origin: Origin<'_>,
    extent: Extent<'_>,
    interrupt: Interrupt<'_>,
) -> Result<(Source, Image), SourceError> {
    let source = match origin {
        Origin::Path(path) => Source::open(path)?,
        Origin::File(file, path) => Source::from_file(file, path)?,
    };
    let image = match extent {
        Extent::Everything => source.scan(interrupt)?,
        Extent::Packages(wanted) => source.scan_only(wanted, interrupt)?,
        Extent::Unchecked => source.describe(&|_| true, interrupt)?,
    };
    Ok((source, image))
}

/// Opens a datastream that is known to be whole, as an undo archive is by its digest, and reads what stands before its
/// objects: no further than to the last information file that its pkgmap names. `path` is what messages call it.
pub fn open_descriptions(file: File, path: &Path) -> Result<(Source, Image), SourceError> {
    Source::described(file, path)
}
