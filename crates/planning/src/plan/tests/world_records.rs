//! The records of a root in memory: the effects of a plan on the directories of packages.

use super::package;
use super::world::World;
use crate::plan::{Plan, RecordChange, TreeContent, TreeFile};
use patchadm_changeset::RecordFile;
use patchadm_inputs::inventory::Save;
use patchadm_rootfs::{LiveKind, Timestamp};
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

impl World {
    /// Carries a change of a record out.
    pub(super) fn record(&mut self, record: &RecordChange, plan: &Plan) {
        match record {
            RecordChange::Write { path, bytes, mtime, .. } => self.write_record(path, bytes, *mtime),
            RecordChange::AddTree { path, files } => self.add_tree(path, files, plan),
            RecordChange::Ledger(_) | RecordChange::Copy { .. } => {}
            RecordChange::Undo { archive, .. } => assert!(plan.undo.len() > *archive),
            RecordChange::RemoveFile(path) => self.remove_record(path),
            RecordChange::RemoveTree(path) => match split(path) {
                Some((name, rest)) if rest.is_empty() => drop(self.inventory.packages.remove(&name)),
                Some((name, rest)) => {
                    let package = self.inventory.packages.get_mut(&name).unwrap();
                    let saved = rest.strip_prefix("save/").and_then(|id| package.saves.remove(id));
                    if saved.is_none() {
                        assert!(package.directories.remove(rest.as_bytes()), "{rest}");
                        let below = [rest.as_bytes(), b"/"].concat();
                        package.records.retain(|name, _| !name.starts_with(&below));
                        package.directories.retain(|name| !name.starts_with(&below));
                    }
                }
                None => assert!(self.inventory.live.remove(path).is_some()),
            },
            RecordChange::Move { from, to } => {
                let (name, from) = split(from).unwrap();
                let (_, to) = split(to).unwrap();
                let words: Vec<&str> = from.split('/').collect();
                let package = self.inventory.packages.get_mut(&name).unwrap();
                let save = package.saves.get_mut(words[1]).unwrap();
                assert_eq!(save.archive.as_deref(), Some(words[2]));
                save.archive = Some(to.split('/').nth(2).unwrap().to_owned());
            }
        }
    }

    /// Adds a directory of records: a save directory, the directory of a package, or another one.
    fn add_tree(&mut self, path: &ObjectPath, files: &[TreeFile], plan: &Plan) {
        if let Some((name, saved)) = split(path).filter(|(_, rest)| rest.starts_with("save/")) {
            let mut save = Save::default();
            for file in files {
                match &file.content {
                    TreeContent::Undo(place) => {
                        assert!(plan.undo.len() > *place);
                        save.archive = Some(String::from_utf8(file.name.clone()).unwrap());
                    }
                    TreeContent::Bytes(bytes) if file.name == b"obsoleted_by" => {
                        save.obsoleted_by = Some(bytes.clone());
                    }
                    TreeContent::Bytes(bytes) => save.remote = Some(bytes.clone()),
                    TreeContent::UndoDigest(place) => assert!(plan.undo.len() > *place),
                    TreeContent::Manifest(place) => {
                        assert!(plan.undo.len() > *place);
                        save.has_manifest = true;
                    }
                    TreeContent::Directory | TreeContent::AroundRun(..) | TreeContent::Copied(_) => {
                        unreachable!()
                    }
                }
            }
            let saves = &mut self.inventory.packages.get_mut(&name).unwrap().saves;
            saves.insert(saved["save/".len()..].to_owned(), save);
        } else if split(path).is_some() {
            for file in files {
                match &file.content {
                    TreeContent::Bytes(bytes) => {
                        self.write_record(&path.join(&file.name).unwrap(), bytes, file.mtime);
                    }
                    content => assert!(matches!(content, TreeContent::Directory)),
                }
            }
        } else {
            self.put(&path.to_string(), LiveKind::Directory, 0o755);
        }
    }

    fn write_record(&mut self, at: &ObjectPath, bytes: &[u8], mtime: Option<Timestamp>) {
        let Some((name, rest)) = split(at) else { return };
        let package = self.inventory.packages.entry(name).or_default();
        if rest == "pkginfo" {
            package.params = ParamFile::parse(bytes).unwrap().params();
        }
        match rest.strip_prefix("save/").and_then(|saved| saved.split_once('/')) {
            Some((saved, "obsoleted_by")) => {
                package.saves.get_mut(saved).unwrap().obsoleted_by = Some(bytes.to_vec());
            }
            Some((saved, "remote")) => package.saves.get_mut(saved).unwrap().remote = Some(bytes.to_vec()),
            _ => {
                let mtime = mtime.unwrap_or(Timestamp::whole(7));
                let file = RecordFile { bytes: bytes.to_vec().into(), mode: Mode::of(0o644), mtime };
                let ends = rest.match_indices('/').map(|(end, _)| &rest[..end]);
                let above = ends.filter(|above| *above != "save").map(|above| above.as_bytes().to_vec());
                package.directories.extend(above);
                package.records.insert(rest.into_bytes(), file);
            }
        }
    }

    fn remove_record(&mut self, at: &ObjectPath) {
        let (name, rest) = split(at).unwrap();
        let package = self.inventory.packages.get_mut(&name).unwrap();
        match rest.strip_prefix("save/").and_then(|saved| saved.split_once('/')) {
            Some((saved, "obsoleted_by")) => package.saves.get_mut(saved).unwrap().obsoleted_by = None,
            _ => assert!(package.records.remove(rest.as_bytes()).is_some()),
        }
    }
}

/// Returns a path in the directory of a package: the package and the rest.
fn split(at: &ObjectPath) -> Option<(PkgInst, String)> {
    let text = at.to_string();
    let rest = text.strip_prefix("/var/sadm/pkg/")?;
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some((package(name), rest.to_owned()))
}
