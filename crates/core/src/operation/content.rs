//! Sources as the content of a run.

use std::io::Read;

use patchadm_changeset::stored_file::StoredFile;
use patchadm_changeset::transaction::{ContentSource, FileSink, StreamError, WantedFile};
use patchadm_inputs::source::{Image, Source};
use patchadm_svr4::package::PackagePath;

/// One source: the packages of the plan are those of its image.
pub(super) struct OneSource<'a> {
    pub(super) source: &'a Source,
    pub(super) image: &'a Image,
}

impl ContentSource for OneSource<'_> {
    fn stream(&mut self, wanted: &WantedFile<'_>, sink: &mut FileSink<'_>) -> Result<(), StreamError> {
        let mut is_wanted = |package: usize, path: &PackagePath| wanted(package, path);
        self.source.stream(self.image, &mut is_wanted, &mut |package, path, _, data: &mut dyn Read| {
            sink(package, path, data).map_err(StreamError::Sink)
        })
    }

    fn stored(&self, _: usize, path: &PackagePath) -> Option<&StoredFile> {
        self.source.stored_file(path)
    }
}

/// Several sources: the packages of the plan are those of all images, one after another.
pub(super) struct ManySources<'a>(pub(super) Vec<OneSource<'a>>);

impl ContentSource for ManySources<'_> {
    fn stream(&mut self, wanted: &WantedFile<'_>, sink: &mut FileSink<'_>) -> Result<(), StreamError> {
        let mut before = 0;
        for one in &mut self.0 {
            let packages = one.image.packages.iter().enumerate();
            let of_this = |package: usize, path: &PackagePath| wanted(before + package, path);
            let mut files = packages.flat_map(|(at, package)| package.files().map(move |file| (at, file)));
            // A source that must be read from its beginning is only read if it contains something.
            if files.any(|(at, file)| of_this(at, &file.path)) {
                one.stream(&of_this, &mut |package, path, data: &mut dyn Read| {
                    sink(before + package, path, data)
                })?;
            }
            before += one.image.packages.len();
        }
        Ok(())
    }
}

/// Undo archives: the package of the plan is the place of its archive, which has one package.
pub(super) struct ArchiveSources<'a>(pub(super) Vec<OneSource<'a>>);

impl ContentSource for ArchiveSources<'_> {
    fn stream(&mut self, wanted: &WantedFile<'_>, sink: &mut FileSink<'_>) -> Result<(), StreamError> {
        for (index, one) in self.0.iter_mut().enumerate() {
            let of_this = |_: usize, path: &PackagePath| wanted(index, path);
            // A source that must be read from its beginning is only read if it contains something.
            let mut files = one.image.packages.iter().flat_map(patchadm_inputs::source::PackageImage::files);
            if !files.any(|file| of_this(0, &file.path)) {
                continue;
            }
            one.stream(&of_this, &mut |_, path, data: &mut dyn Read| sink(index, path, data))?;
        }
        Ok(())
    }

    fn stored(&self, index: usize, path: &PackagePath) -> Option<&StoredFile> {
        self.0.get(index)?.stored(0, path)
    }
}

/// A plan that only removes objects.
pub(super) struct NoContent;

impl ContentSource for NoContent {
    fn stream(&mut self, _: &WantedFile<'_>, _: &mut FileSink<'_>) -> Result<(), StreamError> {
        Ok(())
    }
}
