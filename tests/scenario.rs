//! The stage of a test: the one of `patchadm-testing`, with the program that cargo built for these tests.

pub(crate) use patchadm_testing::in_memory::directory;
pub(crate) use patchadm_testing::scenario::{ADMIN, NOW, Run, code_of, is_root, shared};

patchadm_testing::stage!(env!("CARGO_BIN_EXE_patchadm"));
