//! The small ELF files of the tests of patchadm-libraries, for tests of what is made of them.

#[path = "../../libraries/src/elf/tests/library.rs"]
mod library;
#[path = "../../libraries/src/elf/tests/sample.rs"]
mod sample;

pub(crate) use library::library;
