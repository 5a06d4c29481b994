//! Sources as the content of a run.

use std::io::Read;

use crate::package::PackagePath;
use crate::source::{Image, Source, SourceError};
use crate::transaction::{Content, Sink, StreamError, Wanted};

impl From<SourceError> for StreamError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

/// One source: the packages of the plan are those of its image.
pub(super) struct OneSource<'a> {
    pub(super) source: &'a Source,
    pub(super) image: &'a Image,
}

impl Content for OneSource<'_> {
    fn stream(&mut self, wanted: &Wanted<'_>, sink: &mut Sink<'_>) -> Result<(), StreamError> {
        let mut is_wanted = |package: usize, path: &PackagePath| wanted(package, path);
        self.source.stream(self.image, &mut is_wanted, &mut |package, path, _, data: &mut dyn Read| {
            sink(package, path, data).map_err(StreamError::Sink)
        })
    }
}

/// Undo archives: the package of the plan is the place of its archive, which has one package.
pub(super) struct Archives<'a>(pub(super) Vec<OneSource<'a>>);

impl Content for Archives<'_> {
    fn stream(&mut self, wanted: &Wanted<'_>, sink: &mut Sink<'_>) -> Result<(), StreamError> {
        for (index, one) in self.0.iter_mut().enumerate() {
            let of_this = |_: usize, path: &PackagePath| wanted(index, path);
            one.stream(&of_this, &mut |_, path, data: &mut dyn Read| sink(index, path, data))?;
        }
        Ok(())
    }
}

/// A plan that takes objects away only.
pub(super) struct NoContent;

impl Content for NoContent {
    fn stream(&mut self, _: &Wanted<'_>, _: &mut Sink<'_>) -> Result<(), StreamError> {
        Ok(())
    }
}
