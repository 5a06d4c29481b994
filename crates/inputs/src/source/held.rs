//! The members of a source, for callers that report every fault. Nothing is compared with a pkgmap, and a missing or
//! additional file is no error.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use super::error::SourceProblem;
use super::image::Image;
use super::member::{MemberGroup, MemberKind, PackagePart, SourceMember};
use super::{Source, SourceError};
use crate::sha256::Sha256;
use crate::sign::{LARGEST_MANIFEST, Sha256Sum};
use patchadm_rootfs::never;
use patchadm_svr4::package::PackagePath;
use patchadm_svr4::package::checksum::Checksum;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldSum {
    pub size: u64,
    /// The sum of pkgmap(4).
    pub cksum: u16,
}

#[derive(Debug, Default)]
pub struct HeldMembers {
    /// In places of objects: index of the package, path, sum.
    pub objects: BTreeMap<(usize, PackagePath), HeldSum>,
    /// In a package directory outside all places of a package: index of the package, and path.
    pub strays: Vec<(usize, String)>,
    pub beside: Vec<String>,
}

/// By path, as a manifest lists them.
#[derive(Debug, Default)]
pub struct HeldDigests {
    pub digests: BTreeMap<Vec<u8>, Sha256Sum>,
    /// Symbolic links and devices.
    pub others: Vec<Vec<u8>>,
    pub manifest: Option<Vec<u8>>,
}

struct MemberSurvey<'i> {
    image: &'i Image,
    held: HeldMembers,
    files: HashMap<PackagePath, HeldSum>,
    groups: HashMap<MemberGroup, HeldSum>,
    /// Another member has their data.
    grouped: Vec<(usize, PackagePath, MemberGroup)>,
    linked: Vec<(usize, PackagePath, PackagePath)>,
}

impl Source {
    pub fn members(&self, image: &Image) -> Result<HeldMembers, SourceError> {
        let mut survey = MemberSurvey {
            image,
            held: HeldMembers::default(),
            files: HashMap::new(),
            groups: HashMap::new(),
            grouped: Vec::new(),
            linked: Vec::new(),
        };
        self.walk::<SourceError>(&never, &mut |member, data| {
            survey.take(member, data).map_err(|problem| self.error(problem))
        })?;
        Ok(survey.finish())
    }

    pub fn digests(&self, image: &Image) -> Result<HeldDigests, SourceError> {
        let mut held = HeldDigests::default();
        self.walk::<SourceError>(&never, &mut |member, data| {
            let Some(path) = below_top(image, member.path.as_bytes()) else { return Ok(()) };
            let fail = |error| self.error(SourceProblem::of_member(&member.path, error));
            match member.kind {
                MemberKind::Directory => {}
                MemberKind::File if path == b"MANIFEST" => {
                    let mut text = Vec::new();
                    data.take(LARGEST_MANIFEST + 1).read_to_end(&mut text).map_err(fail)?;
                    held.manifest = Some(text);
                }
                MemberKind::File => {
                    let mut digest = Sha256::new();
                    io::copy(data, &mut digest).map_err(fail)?;
                    held.digests.insert(path.to_vec(), digest.finalize());
                }
                _ => held.others.push(path.to_vec()),
            }
            Ok(())
        })?;
        Ok(held)
    }
}

fn below_top<'p>(image: &Image, path: &'p [u8]) -> Option<&'p [u8]> {
    match &image.top {
        Some(top) => path.strip_prefix(top.as_bytes())?.strip_prefix(b"/"),
        None => Some(path),
    }
}

impl MemberSurvey<'_> {
    fn take(&mut self, member: &SourceMember, data: &mut dyn Read) -> Result<(), SourceProblem> {
        if member.kind == MemberKind::Directory {
            return Ok(());
        }
        let Some((package, part)) = self.image.locate(&member.path) else {
            let name = below_top(self.image, member.path.as_bytes()).filter(|name| !name.contains(&b'/'));
            self.held.beside.extend(name.map(|name| String::from_utf8_lossy(name).into_owned()));
            return Ok(());
        };
        let PackagePart::Object(_, path) = part else {
            if part == PackagePart::Elsewhere {
                self.held.strays.push((package, member.path.to_string()));
            }
            return Ok(());
        };
        let Ok(path) = PackagePath::new(path) else { return Ok(()) };
        match &member.kind {
            MemberKind::File => {
                let sum = sum_of(member, data)?;
                match member.group {
                    Some(group) if member.size == 0 => self.grouped.push((package, path, group)),
                    group => {
                        self.groups.extend(group.map(|group| (group, sum)));
                        self.held.objects.insert((package, path), sum);
                    }
                }
                self.files.insert(member.path.clone(), sum);
            }
            MemberKind::HardLink(target) => self.linked.push((package, path, target.clone())),
            _ => self.held.strays.push((package, member.path.to_string())),
        }
        Ok(())
    }

    fn finish(mut self) -> HeldMembers {
        for (package, path, group) in self.grouped {
            let sum = self.groups.get(&group).copied().unwrap_or_default();
            self.held.objects.insert((package, path), sum);
        }
        for (package, path, target) in self.linked {
            if let Some(sum) = self.files.get(&target) {
                self.held.objects.insert((package, path), *sum);
            }
        }
        self.held
    }
}

fn sum_of(member: &SourceMember, data: &mut dyn Read) -> Result<HeldSum, SourceProblem> {
    let (mut sum, mut size, mut buffer) = (Checksum::new(), 0, vec![0; 1 << 16]);
    loop {
        match data.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                sum.update(buffer.get(..count).unwrap_or_default());
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SourceProblem::of_member(&member.path, error)),
        }
    }
    if size == member.size {
        return Ok(HeldSum { size, cksum: sum.finish() });
    }
    Err(SourceProblem::BadForm(format!(
        "member <{}> has {size} bytes, expected {}",
        member.path, member.size
    )))
}
