//! Checks packages that are not installed yet: pkgchk(1M) `-d`. Reading the device already compares parameters, pkgmap
//! and information files. Modification times are ignored: an archive need not keep them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use super::compare::{CheckedAspects, ObjectFinding, differ};
use super::scope::CheckScope;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::queries::select::PackageSelection;
use patchadm_inputs::source::{Form, PackageImage, SourceError};
use patchadm_rootfs::never;
use patchadm_svr4::package::checksum::sum_of;
use patchadm_svr4::package::{ContentInfo, Object, ObjectPath, PackagePath, variables};

const BUFFER: usize = 1 << 18;

#[derive(Debug)]
pub struct DevicePackage {
    pub package: String,
    /// Comes in a datastream, not as a directory.
    pub is_stream: bool,
    /// In scope, with information files, in the order of the pkgmap.
    pub objects: Vec<DeviceObject>,
}

#[derive(Debug)]
pub struct DeviceObject {
    /// As in the pkgmap.
    pub path: PackagePath,
    pub object: Object,
    pub findings: Vec<ObjectFinding>,
}

#[derive(Debug)]
pub struct DeviceReport {
    pub packages: Vec<DevicePackage>,
    /// Words that match no package.
    pub missing: Vec<String>,
}

/// With `aspects`, also compares objects with the pkgmap.
pub fn check_device(
    device: &Path,
    scope: &CheckScope,
    aspects: Option<CheckedAspects>,
) -> Result<DeviceReport, Failure> {
    let words: Vec<String> = scope.packages.iter().map(ToString::to_string).collect();
    let device = match OpenDevice::open(device, &words, &never)? {
        Ok(device) => device,
        Err(missing) => return Ok(DeviceReport { packages: Vec::new(), missing }),
    };
    device.source.check_room_to_plan(&device.image)?;
    let selection = PackageSelection { categories: scope.categories.clone(), ..PackageSelection::default() };
    let mut found: HashMap<(usize, PackagePath), Vec<ObjectFinding>> = HashMap::new();
    if aspects.is_some_and(|aspects| aspects.contents) {
        compare(&device, &mut found)?;
    }
    let is_stream = matches!(device.source.form(), Form::Datastream(_));
    let mut packages = Vec::new();
    for &index in &device.selected {
        let image = device.package(index)?;
        if !selection.fits_params(&image.params, b"") {
            continue;
        }
        let mut objects = Vec::new();
        for entry in image.pkgmap.entries.iter().filter(|entry| is_in_scope(scope, image, &entry.path)) {
            let of_object = (!entry.is_information()).then(|| found.remove(&(index, entry.path.clone())));
            let findings = of_object.flatten().unwrap_or_default();
            objects.push(DeviceObject { path: entry.path.clone(), object: entry.object.clone(), findings });
        }
        packages.push(DevicePackage { package: image.spooled_name(), is_stream, objects });
    }
    Ok(DeviceReport { packages, missing: Vec::new() })
}

/// Accepts the path of the pkgmap, or the default place.
fn is_in_scope(scope: &CheckScope, image: &PackageImage, path: &PackagePath) -> bool {
    let base = ObjectPath::new(image.params.get("BASEDIR").unwrap_or_default());
    let base = base.unwrap_or_else(|_| ObjectPath::root());
    let installed = path.resolve(&base, |name| variables::value(&image.params, name));
    scope.has_path(path.as_bytes()) || installed.is_ok_and(|path| scope.has_path(path.as_bytes()))
}

fn compare(
    device: &OpenDevice,
    found: &mut HashMap<(usize, PackagePath), Vec<ObjectFinding>>,
) -> Result<(), SourceError> {
    let mut expected: HashMap<(usize, &PackagePath), ContentInfo> = HashMap::new();
    for &index in &device.selected {
        let image = device.image.packages.get(index);
        for entry in image.into_iter().flat_map(PackageImage::files) {
            expected.insert((index, &entry.path), entry.object.content);
        }
    }
    let mut buffer = vec![0; BUFFER];
    let mut wanted = |package: usize, path: &PackagePath| expected.contains_key(&(package, path));
    device.source.stream(
        &device.image,
        &mut wanted,
        &mut |package, path: &PackagePath, _, data: &mut dyn Read| {
            let mut findings = Vec::new();
            match sum_of(data, &mut buffer, None) {
                Err(error) => findings.push(ObjectFinding::Unreadable(format!("cannot be read: {error}"))),
                Ok((size, sum)) => {
                    let content = expected.get(&(package, path)).copied().unwrap_or_default();
                    findings.extend(
                        content.size.and_then(|expected| differ(expected, size)).map(ObjectFinding::Size),
                    );
                    let cksum = content.cksum.and_then(|expected| differ(expected, sum));
                    findings.extend(cksum.map(ObjectFinding::Cksum));
                }
            }
            found.insert((package, path.clone()), findings);
            Ok::<_, SourceError>(())
        },
    )
}
