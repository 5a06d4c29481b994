//! Paths as escaped text, for serde.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::Serializer;

use crate::format::manifest::{decode, encoded};
use patchadm_svr4::package::ObjectPath;

/// A path read from its text in place.
struct PathText(ObjectPath);

impl<'de> Deserialize<'de> for PathText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(PathVisitor)
    }
}

struct PathVisitor;

impl Visitor<'_> for PathVisitor {
    type Value = PathText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PathText, E> {
        ObjectPath::new(&decode(text)).map(PathText).map_err(E::custom)
    }
}

pub(super) fn serialize<S: Serializer>(path: &ObjectPath, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&encoded(path.as_bytes()))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectPath, D::Error> {
    PathText::deserialize(from).map(|PathText(path)| path)
}

pub(super) mod option {
    use super::{Deserialize as _, Deserializer, ObjectPath, PathText, Serializer, encoded};

    // The signature is serde's.
    #[allow(clippy::ref_option)]
    pub(in crate::format::journal) fn serialize<S: Serializer>(
        path: &Option<ObjectPath>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => to.serialize_some(&*encoded(path.as_bytes())),
            None => to.serialize_none(),
        }
    }

    pub(in crate::format::journal) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ObjectPath>, D::Error> {
        let read = Option::<PathText>::deserialize(from)?;
        Ok(read.map(|PathText(path)| path))
    }
}
