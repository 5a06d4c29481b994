//! Small ELF files shared with the tests of patchadm-libraries.

#[path = "../../libraries/src/elf/tests/library.rs"]
mod library;
#[path = "../../libraries/src/elf/tests/sample.rs"]
mod sample;

pub(crate) use library::library;
