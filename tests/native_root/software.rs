//! Packages for dpkg or rpm, before they are built.

use std::fmt::Write as _;

/// A package to be built: with this version for dpkg, or with version 1.0 and this release for rpm.
#[derive(Clone)]
pub(crate) struct Software {
    pub(super) name: String,
    pub(super) version: String,
    /// `None` if it is for every architecture.
    pub(super) arch: Option<String>,
    /// Fields of its control file, or tags of its spec file.
    pub(super) fields: String,
    pub(super) objects: Vec<(String, Object)>,
    /// Each with its name for dpkg, or the line of the spec file before it.
    pub(super) scripts: Vec<(String, String)>,
    pub(super) has_sums: bool,
}

#[derive(Clone)]
pub(super) enum Object {
    File(u32, String),
    Link(String),
    Directory(u32),
}

impl Software {
    /// A package without objects, for every architecture.
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: None,
            fields: String::new(),
            objects: Vec::new(),
            scripts: Vec::new(),
            has_sums: true,
        }
    }

    pub(crate) fn arch(self, arch: &str) -> Self {
        Self { arch: Some(arch.to_owned()), ..self }
    }

    /// Leaves out `md5sums`, as in some packages of dpkg.
    pub(crate) fn without_sums(self) -> Self {
        Self { has_sums: false, ..self }
    }

    /// Adds a field to its control file, or a tag to its spec file.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        writeln!(self.fields, "{name}: {value}").unwrap();
        self
    }

    /// Adds a file with mode 0644; below `/etc`, it is a configuration file.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.with_mode(path, 0o644, text)
    }

    pub(crate) fn with_mode(self, path: &str, mode: u32, text: &str) -> Self {
        self.object(path, Object::File(mode, text.to_owned()))
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.object(path, Object::Link(target.to_owned()))
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.object(path, Object::Directory(0o755))
    }

    fn object(mut self, path: &str, object: Object) -> Self {
        self.objects.push((path.to_owned(), object));
        self
    }

    /// Adds a script: `preinst`, for example, or a line of a spec file, and its text.
    pub(crate) fn script(mut self, name: &str, text: &str) -> Self {
        self.scripts.push((name.to_owned(), text.to_owned()));
        self
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}
