//! The small ELF files of the tests of patchadm-libraries, for tests of their use here.

#[path = "../../libraries/src/elf/tests/library.rs"]
mod library;
#[path = "../../libraries/src/elf/tests/sample.rs"]
mod sample;

pub(crate) use library::library;
