//! The small ELF files of the tests of patchadm-libraries, for tests of roots that hold them.

#[path = "../../libraries/src/elf/tests/debug_data.rs"]
mod debug_data;
#[path = "../../libraries/src/elf/tests/large.rs"]
mod large;
#[path = "../../libraries/src/elf/tests/library.rs"]
mod library;
#[path = "../../libraries/src/elf/tests/sample.rs"]
mod sample;

pub(crate) use debug_data::debug_data;
pub(crate) use large::LargeLibrary;
pub(crate) use library::library;
pub(crate) use sample::Sample;
