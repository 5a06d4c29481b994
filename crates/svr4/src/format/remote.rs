//! The `remote` file of a save directory: a pointer in four lines to an undo archive stored elsewhere (`patchadd -B`).

use super::lines::{LineTooLong, numbered_lines};

const LARGEST_FILE: usize = 64 << 10;

const HEADLINE: &[u8] = b"# Backout data stored remotely\n";

/// The kind of storage that holds the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteMedium {
    /// `filesystem`: a directory.
    Filesystem,
    /// `removable`: a medium that must be inserted.
    Removable,
}

/// The use of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteState {
    /// `active`: the patch can be backed out with it.
    Active,
    /// `obsolete`: another patch has obsoleted this one.
    Obsolete,
}

/// The location of an undo archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteArchive {
    /// TYPE: the kind of storage.
    pub medium: RemoteMedium,
    find_at: Vec<u8>,
    /// STATE: the use of the archive.
    pub state: RemoteState,
}

/// The reason a pointer file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A file larger than 64 KiB.
    #[error("the file `remote` is larger than {LARGEST_FILE} bytes")]
    TooLarge,
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// A TYPE, `FIND_AT` or STATE that is missing or has an unknown value.
    #[error("the file `remote` has no usable {0}")]
    Field(&'static str),
}

impl RemoteArchive {
    /// Creates a pointer to the path `find_at`, which must not be empty or contain a newline or NUL.
    pub fn new(medium: RemoteMedium, find_at: &[u8], state: RemoteState) -> Result<Self, RemoteError> {
        let usable =
            !find_at.is_empty() && find_at.len() <= 4095 && !find_at.iter().any(|b| b"\n\0".contains(b));
        if usable {
            Ok(Self { medium, find_at: find_at.to_vec(), state })
        } else {
            Err(RemoteError::Field("FIND_AT"))
        }
    }

    /// Parses a pointer file; the first of several lines with one name counts.
    pub fn parse(text: &[u8]) -> Result<Self, RemoteError> {
        if text.len() > LARGEST_FILE {
            return Err(RemoteError::TooLarge);
        }
        let (mut medium, mut find_at, mut state) = (None, None, None);
        for line in numbered_lines(text) {
            let (_, line) = line?;
            if let Some(value) = line.strip_prefix(b"TYPE=") {
                medium.get_or_insert(value);
            } else if let Some(value) = line.strip_prefix(b"FIND_AT=") {
                find_at.get_or_insert(value);
            } else if let Some(value) = line.strip_prefix(b"STATE=") {
                state.get_or_insert(value);
            }
        }
        let medium = match medium {
            Some(b"filesystem") => RemoteMedium::Filesystem,
            Some(b"removable") => RemoteMedium::Removable,
            _ => return Err(RemoteError::Field("TYPE")),
        };
        let state = match state {
            Some(b"active") => RemoteState::Active,
            Some(b"obsolete") => RemoteState::Obsolete,
            _ => return Err(RemoteError::Field("STATE")),
        };
        Self::new(medium, find_at.unwrap_or_default(), state)
    }

    /// `FIND_AT`: the path of the archive on the host.
    pub fn find_at(&self) -> &[u8] {
        &self.find_at
    }

    /// Formats the file.
    pub fn write(&self) -> Vec<u8> {
        let medium = match self.medium {
            RemoteMedium::Filesystem => "TYPE=filesystem\n",
            RemoteMedium::Removable => "TYPE=removable\n",
        };
        let state = match self.state {
            RemoteState::Active => "STATE=active\n",
            RemoteState::Obsolete => "STATE=obsolete\n",
        };
        [HEADLINE, medium.as_bytes(), b"FIND_AT=", &self.find_at, b"\n", state.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_file_of_the_patch_scripts_comes_back() {
        let text = b"# Backout data stored remotely\nTYPE=filesystem\n\
            FIND_AT=/undo/103201-01/SUNWstuf/undo.Z\nSTATE=obsolete\n";
        let mut remote = RemoteArchive::parse(text).unwrap();
        assert_eq!(remote.find_at(), b"/undo/103201-01/SUNWstuf/undo.Z");
        assert_eq!((remote.medium, remote.state), (RemoteMedium::Filesystem, RemoteState::Obsolete));
        assert_eq!(remote.write(), text);
        remote.state = RemoteState::Active;
        assert!(remote.write().ends_with(b"\nSTATE=active\n"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, name) in [
            (&b"FIND_AT=/x\nSTATE=active\n"[..], "TYPE"),
            (b"TYPE=filesystem\nSTATE=active\n", "FIND_AT"),
            (b"TYPE=filesystem\nFIND_AT=\nSTATE=active\n", "FIND_AT"),
            (b"TYPE=filesystem\nFIND_AT=/x\nSTATE=gone\n", "STATE"),
        ] {
            assert_eq!(RemoteArchive::parse(text), Err(RemoteError::Field(name)));
        }
        assert_eq!(RemoteArchive::parse(&vec![b'\n'; LARGEST_FILE + 1]), Err(RemoteError::TooLarge));
    }

    #[test]
    fn a_path_cannot_add_lines_of_its_own() {
        assert!(
            RemoteArchive::new(RemoteMedium::Removable, b"/x\nSTATE=active", RemoteState::Obsolete).is_err()
        );
    }

    proptest! {
        #[test]
        fn any_path_comes_back(path in proptest::collection::vec(any::<u8>(), 1..40), removable: bool) {
            let medium = if removable { RemoteMedium::Removable } else { RemoteMedium::Filesystem };
            if let Ok(remote) = RemoteArchive::new(medium, &path, RemoteState::Active) {
                prop_assert_eq!(RemoteArchive::parse(&remote.write()), Ok(remote));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = RemoteArchive::parse(&bytes);
        }
    }
}
