//! The change of a patch to an object, in one word, from the two states of its manifest.

use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, StateDifferences};

/// The change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectAction {
    /// It did not exist before.
    Added,
    /// It has other content, or is of another type.
    Replaced,
    /// It was deleted.
    Deleted,
    /// It has the same content and other attributes.
    Attributes,
    /// It is unchanged.
    Unchanged,
}

impl ObjectAction {
    /// Returns the word for the change in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Attributes => "attributes",
            Self::Unchanged => "unchanged",
        }
    }

    /// Returns the change of a patch, by its record of the object. An edited file that stayed is unchanged.
    pub fn of_record(record: &ObjectRecord) -> Self {
        if record.kept { Self::Unchanged } else { Self::between(record.was.as_ref(), record.became.as_ref()) }
    }

    /// Returns the change from one state to another.
    pub fn between(before: Option<&RecordedState>, after: Option<&RecordedState>) -> Self {
        match (before, after) {
            (None, None) => Self::Unchanged,
            (None, Some(_)) => Self::Added,
            (Some(_), None) => Self::Deleted,
            (Some(before), Some(after)) => {
                let differ = StateDifferences::between(before, after);
                // Other names of a file and the time of a link do not count.
                let mtime = differ.mtime && after.target.is_none();
                if differ.is_of_content() {
                    Self::Replaced
                } else if (StateDifferences { mtime, names: false, ..differ }) == StateDifferences::default()
                {
                    Self::Unchanged
                } else {
                    Self::Attributes
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::{FileType, Timestamp};

    fn file(content: &str, mode: u32) -> RecordedState {
        RecordedState {
            kind: FileType::Regular,
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            size: Some(content.len() as u64),
            b3: Some(Box::new(content.to_owned().into())),
            target: None,
            device: None,
            xattrs: std::collections::BTreeMap::new(),
            group: None,
        }
    }

    #[test]
    fn the_word_follows_from_the_two_states() {
        let (one, other) = (file("one", 0o644), file("two", 0o644));
        let mode = file("one", 0o755);
        let linked = RecordedState { group: Some(3), ..one.clone() };
        for (before, after, expected) in [
            (None, Some(&one), "added"),
            (Some(&one), None, "deleted"),
            (Some(&one), Some(&other), "replaced"),
            (Some(&one), Some(&mode), "attributes"),
            (Some(&one), Some(&linked), "unchanged"),
            (None, None, "unchanged"),
        ] {
            assert_eq!(ObjectAction::between(before, after).word(), expected);
        }
    }
}
