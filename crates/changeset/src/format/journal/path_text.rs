//! Paths as escaped text, for serde.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use crate::format::manifest::{decode, encode};
use patchadm_svr4::package::ObjectPath;

pub(super) fn serialize<S: Serializer>(path: &ObjectPath, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&encode(path.as_bytes()))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectPath, D::Error> {
    let text = String::deserialize(from)?;
    ObjectPath::new(&decode(&text)).map_err(D::Error::custom)
}

pub(super) mod option {
    use super::{Deserializer, ObjectPath, Serializer, decode, encode};
    use serde::{Deserialize as _, de::Error as _};

    // The signature is serde's.
    #[allow(clippy::ref_option)]
    pub(in crate::format::journal) fn serialize<S: Serializer>(
        path: &Option<ObjectPath>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => to.serialize_some(&encode(path.as_bytes())),
            None => to.serialize_none(),
        }
    }

    pub(in crate::format::journal) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ObjectPath>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| ObjectPath::new(&decode(&text)).map_err(D::Error::custom))
            .transpose()
    }
}
