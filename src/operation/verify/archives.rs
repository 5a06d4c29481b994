//! The undo archives of a root, read to their ends by several threads.

use super::{Of, VerifyError};
use crate::database::archive::{self, ArchiveError};
use crate::database::{View, marker};
use crate::format::manifest::Manifest;
use crate::operation::back_out::KnownArchives;
use crate::operation::session::Ground;
use crate::package::{PkgInst, side_by_side};

/// The undo archive of a patch for a package.
#[derive(Debug)]
pub struct Archive {
    /// The package.
    pub package: PkgInst,
    /// What became of it.
    pub state: State,
}

/// What an archive is worth.
#[derive(Debug)]
pub enum State {
    /// There is no undo data: none was kept, or it was given up.
    None,
    /// It is what was written.
    Sound {
        /// Where it is.
        path: String,
        /// Bytes of the file.
        bytes: u64,
        /// The run that wrote it; none for an archive of another program, of which only sizes and sums are known.
        run: Option<String>,
    },
    /// It is not what was written, not where the records say, or cannot be read.
    Unusable(ArchiveError),
}

/// Verifies archives by so many threads, in their order; of the sound ones also what their manifests say.
pub(super) fn verify_all(
    ground: &Ground,
    archives: &[Of],
    workers: usize,
) -> Result<(Vec<(Of, Archive)>, KnownArchives), VerifyError> {
    let marker = marker(&ground.root)?;
    let done = side_by_side(workers, archives.len(), || {
        |at| archives.get(at).map(|of| (of, verified(ground, marker.as_deref(), of)))
    });
    let (mut verified, mut known) = (Vec::new(), KnownArchives::new());
    for (of, (archive, manifest)) in done.into_iter().flatten() {
        if matches!(archive.state, State::Sound { .. }) {
            known.insert((of.package.clone(), of.saved_as.clone()), manifest);
        }
        verified.push((of.clone(), archive));
    }
    Ok((verified, known))
}

fn verified(ground: &Ground, marker: Option<&str>, of: &Of) -> (Archive, Option<Manifest>) {
    let (state, manifest) = match of.is_kept.then(|| read(ground, marker, of)) {
        None => (State::None, None),
        Some(Ok(read)) => read,
        Some(Err(error)) => (State::Unusable(error), None),
    };
    (Archive { package: of.package.clone(), state }, manifest)
}

fn read(ground: &Ground, marker: Option<&str>, of: &Of) -> Result<(State, Option<Manifest>), ArchiveError> {
    let view = View::live(&ground.root);
    let archive = archive::find(&view, &ground.host, &of.package, &of.saved_as, None)?;
    let verified = archive.verify(marker)?;
    let (path, bytes, run) = (archive.path().to_owned(), archive.size(), verified.run);
    Ok((State::Sound { path, bytes, run }, verified.manifest))
}

/// The manifest of an archive that is not verified; none where it cannot be read.
pub(super) fn manifest(ground: &Ground, package: &PkgInst, saved_as: &str) -> Option<Manifest> {
    let view = View::live(&ground.root);
    let archive = archive::find(&view, &ground.host, package, saved_as, None).ok()?;
    archive.manifest().ok()?
}
