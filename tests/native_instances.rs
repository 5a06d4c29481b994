//! Packages that dpkg or rpm has several times: each is an instance of its own, with patches of its own.
//!
//! dpkg and rpm are the real ones, in roots of the tests' own, with packages that dpkg-deb(1) and rpmbuild(8) make.

/// dpkg, and libraries for two architectures.
mod dpkg;
/// rpm, with several kernels, and libraries for two architectures.
mod rpm;
