//! The faults of a cross-reference of patches, and the limits for reading one.

use crate::format::lines::LONGEST_LINE;

/// The largest file that is read, in bytes: 64 MiB.
pub const LARGEST_FILE: usize = 64 << 20;

/// The largest number of lines about patches.
pub(super) const MOST_LINES: usize = 500_000;

/// The number of fields of a line.
pub(super) const FIELDS: usize = 11;

/// The reason a cross-reference file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchdiagError {
    /// More than [`LARGEST_FILE`] bytes.
    #[error("the file is larger than {LARGEST_FILE} bytes")]
    TooLarge,
    /// More lines than any cross-reference has.
    #[error("more than {MOST_LINES} lines are about patches")]
    TooMany,
    /// Neither a header nor a line about a patch.
    #[error("it has neither the header of a cross-reference file nor a line about a patch")]
    NotOne,
    /// A line longer than [`LONGEST_LINE`].
    #[error("line {line} is longer than {LONGEST_LINE} bytes")]
    LineTooLong {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A line with fewer than eleven fields.
    #[error("line {line} has {fields} fields, not {FIELDS}")]
    Fields {
        /// The line number, counted from 1.
        line: u64,
        /// The number of fields found.
        fields: usize,
    },
    /// A field with an invalid value.
    #[error("line {line}: the field {field} is not valid: <{value}>")]
    Field {
        /// The line number, counted from 1.
        line: u64,
        /// The name of the field.
        field: &'static str,
        /// Its value, cut to a readable length.
        value: String,
    },
}
