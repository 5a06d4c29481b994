//! patchadm
fn main() {}
