//! Debian packages: deb(5) of version 2, read without dpkg.
//!
//! ```text
//!   ar = debian-binary, control.tar{,.gz,.xz,.zst}, data.tar{,.gz,.xz,.zst}
//! ```
//! conffiles are files that administrators edit. Maintainer scripts are named, never translated. md5sums are not looked at:
//! the compression around the files has checksums of its own.

mod ar;
mod control;

use super::archive_file::{ArchiveFile, FilePart, read_limited};
use super::error::ReleaseProblem;
use super::package_identity::PackageIdentity;
use super::tar_archive::TarPart;
use super::{ReleaseForm, ReleasePackage};
use control::{ControlFields, conffiles};
use patchadm_releases::{ReleaseObject, ReleaseObjectKind, Upkeep};

/// The bytes that an ar archive begins with.
pub(super) const MAGIC: &[u8] = ar::MAGIC;

/// The longest file of a package's description that is read, in bytes.
const LONGEST_CONTROL: u64 = 16 << 20;

/// The scripts that dpkg or debconf runs when the package comes or goes.
const SCRIPTS: [&str; 6] = ["config", "postinst", "postrm", "preinst", "prerm", "triggers"];

/// The files of control.tar that say something here.
#[derive(Default)]
struct Description {
    control: Option<Vec<u8>>,
    conffiles: Vec<u8>,
    scripts: Vec<String>,
}

/// Reads a package.
pub(super) fn read(file: &ArchiveFile, origin: String) -> Result<ReleasePackage, ReleaseProblem> {
    let members = ar::members(file)?;
    let (control, data) = parts(&members)?;
    let description = describe(&TarPart(control))?;
    let fields = description.fields()?;
    let (mut objects, contents) = TarPart(data).list()?;
    for path in conffiles(&description.conffiles) {
        if let Ok(at) = objects.binary_search_by(|object| object.path.as_bytes().cmp(path)) {
            mark_editable(objects.get_mut(at));
        }
    }
    Ok(ReleasePackage {
        origin,
        form: ReleaseForm::Deb,
        source: Some(fields.source.unwrap_or_else(|| fields.package.clone())),
        name: Some(fields.package),
        arch: Some(fields.architecture),
        version: Some(fields.version),
        summary: fields.summary,
        scripts: description.scripts,
        svr4: None,
        objects,
        contents: Box::new(contents),
    })
}

/// Reads only what a package says of itself.
pub(super) fn identify(file: &ArchiveFile) -> Result<PackageIdentity, ReleaseProblem> {
    let (control, _) = parts(&ar::members(file)?)?;
    let ControlFields { package, version, architecture, source, .. } =
        describe(&TarPart(control))?.fields()?;
    let source = source.unwrap_or_else(|| package.clone());
    Ok(PackageIdentity { name: package, arch: architecture, version, source })
}

impl Description {
    fn fields(&self) -> Result<ControlFields, ReleaseProblem> {
        let text = self.control.as_deref();
        ControlFields::parse(text.ok_or_else(|| ReleaseProblem::bad("the package has no control file"))?)
    }
}

fn mark_editable(object: Option<&mut ReleaseObject>) {
    if let Some(ReleaseObjectKind::File { upkeep, .. }) = object.map(|object| &mut object.kind) {
        *upkeep = Upkeep::Editable;
    }
}

/// Returns the two archives inside.
fn parts(members: &[ar::ArMember]) -> Result<(FilePart, FilePart), ReleaseProblem> {
    let mut seen = members.iter().filter(|member| !member.name.starts_with('_'));
    let version = seen.next().filter(|member| member.name == "debian-binary");
    let version = version.ok_or_else(|| ReleaseProblem::bad("it is an ar archive and no Debian package"))?;
    let text = read_limited(&mut version.part.reader(), 64, "debian-binary")?;
    if !text.starts_with(b"2.") {
        return Err(ReleaseProblem::Unsupported("a Debian package of a version other than 2".to_owned()));
    }
    let mut part = |name: &str| match seen.next() {
        Some(member) if member.name == name || member.name.starts_with(&format!("{name}.")) => {
            Ok(member.part.clone())
        }
        _ => Err(ReleaseProblem::BadForm(format!("the package has no {name} where it belongs"))),
    };
    let parts = (part("control.tar")?, part("data.tar")?);
    match seen.next() {
        Some(more) => {
            Err(ReleaseProblem::BadForm(format!("the package has a member <{}> behind data.tar", more.name)))
        }
        None => Ok(parts),
    }
}

fn describe(control: &TarPart) -> Result<Description, ReleaseProblem> {
    let mut found = Description::default();
    control.each_file(&mut |path, data| {
        let name = String::from_utf8_lossy(path.relative()).into_owned();
        match name.as_str() {
            "control" => found.control = Some(read_limited(data, LONGEST_CONTROL, "control")?),
            "conffiles" => found.conffiles = read_limited(data, LONGEST_CONTROL, "conffiles")?,
            script if SCRIPTS.contains(&script) => found.scripts.push(name),
            _ => {}
        }
        Ok(())
    })?;
    found.scripts.sort();
    Ok(found)
}
