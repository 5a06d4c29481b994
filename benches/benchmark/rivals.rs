//! Other tools that change an installed tree: dpkg, rpm, rsync, a snapshot before rsync, and OSTree.
//!
//! They get every fair advantage: uncompressed packages, like the patch; no maintainer scripts; no dependencies. Their
//! root and their database are on the disk, in the benchmark's own mount namespace, and none is started on a root
//! elsewhere. dpkg syncs as it does by default, whatever the host's configuration says. dpkg and rpm are measured with
//! the full package (20,000 files), and with a package of only the changed files, beside another package that owns the
//! rest. They revert the change by installing the old version. rsync gets the full new tree and keeps replaced files
//! in a directory; it neither syncs nor records anything. A snapshot is a copy that shares its blocks, if the file
//! system can share them; rsync then changes the tree, and the copy replaces it to revert the change. OSTree pulls a
//! commit of the new tree from a repository beside it, checks it out as hard links, and renames it into place. To
//! revert the change, it checks out the old commit, and removes the objects of the new one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::contender::{Contender, Role};
use crate::delivery::{Parents, directories};
use crate::disk::{Disk, is_root};
use crate::inputs::{Inputs, fresh};
use crate::line::{Line, is_installed};
use crate::options::Options;
use crate::report::Report;
use crate::workload::{File, Version, Workload};

/// A package to build.
struct Cut<'a> {
    name: &'static str,
    version: u8,
    files: Vec<(&'a File, Version)>,
}

/// The packages of the other tools, built once.
pub(crate) struct Rivals {
    directory: PathBuf,
}

impl Rivals {
    /// Builds the packages of the installed tools. The small version leaves out the packages of changed files.
    pub(crate) fn build(
        inputs: &Inputs,
        scratch: &Path,
        options: &Options,
        report: &mut Report,
    ) -> Result<Self> {
        let rivals = Self { directory: scratch.join("rivals") };
        fresh(&rivals.directory)?;
        for cut in cuts(&inputs.workload).into_iter().take(options.pick(usize::MAX, 2)) {
            Report::progress(&format!("packages of {} {} for the others", cut.name, cut.version));
            let stage = rivals.directory.join("stage");
            fresh(&stage)?;
            link_tree(&stage, inputs, &cut.files)?;
            if is_installed("rpmbuild")
                && is_installed("rpm")
                && let Err(error) = rivals.rpm(&cut, &stage)
            {
                report.failed(&format!("rpm, {}", cut.name), &error);
            }
            if is_installed("dpkg-deb")
                && is_installed("dpkg")
                && let Err(error) = rivals.deb(&cut, &stage)
            {
                report.failed(&format!("dpkg, {}", cut.name), &error);
            }
            fs::remove_dir_all(&stage)?;
        }
        if is_installed("rsync") || is_installed("ostree") {
            link_tree(&rivals.directory.join("new"), inputs, &inputs.workload.tree(Version::New))?;
        }
        Ok(rivals)
    }

    /// Sets the tools up on a disk. Tools that are not installed, or do not work here, are reported and left out.
    pub(crate) fn contenders(&self, disk: &Disk, inputs: &Inputs, report: &mut Report) -> Vec<Contender> {
        let mut contenders = Vec::new();
        let all = [
            Role::Dpkg,
            Role::DpkgChanged,
            Role::Rpm,
            Role::RpmChanged,
            Role::Rsync,
            Role::Snapshot,
            Role::OsTree,
        ];
        for role in all {
            let (program, made) = match role {
                Role::Dpkg | Role::DpkgChanged => ("dpkg", self.package(names(role).0, 1, "deb").exists()),
                Role::Rpm | Role::RpmChanged => ("rpm", self.package(names(role).0, 1, "rpm").exists()),
                Role::OsTree => ("ostree", is_installed("ostree") && self.directory.join("new").exists()),
                _ => ("rsync", self.directory.join("new").exists()),
            };
            if !made {
                report.skipped(role.name(), &format!("{program} is not installed, or has no package here"));
                continue;
            }
            let contender = match role {
                Role::Dpkg | Role::DpkgChanged => self.dpkg_contender(disk, role),
                Role::Rpm | Role::RpmChanged => self.rpm_contender(disk, role),
                Role::Snapshot => self.snapshot_contender(disk, inputs),
                Role::OsTree => self.ostree_contender(disk, inputs),
                _ => self.rsync_contender(disk, inputs),
            };
            match contender {
                Ok(contender) => contenders.push(contender),
                Err(error) => report.failed(&format!("{}, {}", role.name(), disk.word()), &error),
            }
        }
        contenders
    }

    /// Removes the packages.
    pub(crate) fn clear(self) -> Result<()> {
        Ok(fs::remove_dir_all(self.directory)?)
    }

    fn deb(&self, cut: &Cut<'_>, stage: &Path) -> Result<()> {
        let Cut { name, version, .. } = cut;
        fs::create_dir(stage.join("DEBIAN"))?;
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: measured\n"
        );
        fs::write(stage.join("DEBIAN/control"), control)?;
        let line = Line::new("dpkg-deb").words("-Znone --root-owner-group -b").arg(stage);
        line.arg(self.package(name, *version, "deb")).run()
    }

    fn rpm(&self, cut: &Cut<'_>, stage: &Path) -> Result<()> {
        let Cut { name, version, .. } = cut;
        let top = self.directory.join("rpmbuild");
        fresh(&top)?;
        let spec = format!(
            "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n\
             Name: {name}\nVersion: {version}\nRelease: 1\nSummary: measured\nLicense: none\nBuildArch: noarch\n\
             AutoReqProv: no\n%description\nMeasured.\n%install\nmkdir -p %{{buildroot}}\ncp -al {}/opt %{{buildroot}}\n\
             %files\n%defattr(-,root,root)\n/opt/acme\n",
            stage.display()
        );
        fs::write(top.join("a.spec"), spec)?;
        let line = Line::new("rpmbuild").words("-bb --quiet --nodeps --define");
        let line = line.arg(format!("_topdir {}", top.display())).arg("--define");
        let line =
            line.arg(format!("_dbpath {}/db", top.display())).arg("--define").arg("_build_id_links none");
        let line = line.arg("--define").arg("_binaries_in_noarch_packages_terminate_build 0");
        let line =
            line.arg("--define").arg("_binary_payload w.ufdio").arg("--buildroot").arg(top.join("root"));
        line.arg(top.join("a.spec")).run()?;
        let built = top.join(format!("RPMS/noarch/{name}-{version}-1.noarch.rpm"));
        fs::rename(built, self.package(name, *version, "rpm"))?;
        Ok(fs::remove_dir_all(&top)?)
    }

    fn package(&self, name: &str, version: u8, form: &str) -> PathBuf {
        self.directory.join(format!("{name}-{version}.{form}"))
    }

    fn dpkg_contender(&self, disk: &Disk, role: Role) -> Result<Contender> {
        let (name, rest) = names(role);
        let root = disk.at(if rest.is_some() { "dpkg-changed" } else { "dpkg" });
        let database = root.join("var/lib/dpkg");
        for directory in ["info", "updates", "triggers"] {
            fs::create_dir_all(database.join(directory))?;
        }
        for file in ["status", "available"] {
            fs::write(database.join(file), "")?;
        }
        disk.assert_ours(&root)?;
        let dpkg = |sync: &str, force: &str| {
            let line = privileged("dpkg").arg(format!("--root={}", root.display()));
            let line = line.arg(format!("--admindir={}", database.display()));
            let line = line.arg(format!("--log={}", root.join("dpkg.log").display()));
            line.words(sync).words("--force-bad-path").words(force).arg("-i")
        };
        let setup = dpkg("--force-unsafe-io", "").arg(self.package(name, 1, "deb"));
        rest.iter().fold(setup, |line, rest| line.arg(self.package(rest, 1, "deb"))).run()?;
        let apply = dpkg("--no-force-unsafe-io", "").arg(self.package(name, 2, "deb"));
        let back_out = dpkg("--no-force-unsafe-io", "--force-downgrade").arg(self.package(name, 1, "deb"));
        Ok(Contender { role, root, apply, back_out, undo: None })
    }

    fn rpm_contender(&self, disk: &Disk, role: Role) -> Result<Contender> {
        let (name, rest) = names(role);
        let root = disk.at(if rest.is_some() { "rpm-changed" } else { "rpm" });
        fs::create_dir_all(root.join("var/lib/rpm"))?;
        disk.assert_ours(&root)?;
        let rpm = || {
            let line = privileged("rpm").arg("--root").arg(&root);
            line.words("--dbpath /var/lib/rpm --noplugins")
        };
        rpm().arg("--initdb").run()?;
        let change = || rpm().words("--noscripts --nodeps -U");
        let setup = change().arg(self.package(name, 1, "rpm"));
        rest.iter().fold(setup, |line, rest| line.arg(self.package(rest, 1, "rpm"))).run()?;
        let apply = change().arg(self.package(name, 2, "rpm"));
        let back_out = change().arg("--oldpackage").arg(self.package(name, 1, "rpm"));
        Ok(Contender { role, root, apply, back_out, undo: None })
    }

    fn rsync_contender(&self, disk: &Disk, inputs: &Inputs) -> Result<Contender> {
        let (root, backup) = (disk.at("rsync"), disk.at("rsync-backup"));
        fresh(&root)?;
        Line::new("cp").arg("-a").arg(inputs.base_files().join("opt")).arg(&root).run()?;
        let Workload { files, added, .. } = &inputs.workload;
        let paths: String = added.iter().map(|file| format!("{}\n", file.path)).collect();
        let (new, old) = (directories(added), directories(files));
        let new: Vec<&String> = new.difference(&old).collect();
        let new: String = new.iter().rev().map(|path| format!("{path}\n")).collect();
        let [added, new] = [("added", paths), ("new-directories", new)].map(|(name, list)| {
            let file = self.directory.join(name);
            fs::write(&file, list).map(|()| file)
        });
        let slash = |path: &Path| format!("{}/", path.display());
        let backup_option = format!("--backup-dir={}", backup.display());
        let apply = Line::new("rsync").words("-a --delete --backup").arg(backup_option);
        let apply = apply.arg(slash(&self.directory.join("new"))).arg(slash(&root));
        let text =
            "rsync -a \"$0\" \"$1\"; cd \"$1\"; xargs -r rm < \"$2\"; xargs -r rmdir < \"$3\"; rm -r \"$0\"";
        let back_out = Line::shell(text).arg(slash(&backup)).arg(slash(&root)).arg(added?).arg(new?);
        Ok(Contender { role: Role::Rsync, root, apply, back_out, undo: Some(backup) })
    }

    fn snapshot_contender(&self, disk: &Disk, inputs: &Inputs) -> Result<Contender> {
        let root = disk.at("snapshot");
        fresh(&root)?;
        Line::new("cp").arg("-a").arg(inputs.base_files().join("opt")).arg(&root).run()?;
        let (tree, copy) = (root.join("opt"), root.join("opt.old"));
        let probe = Line::new("cp").words("-a --reflink=always").arg(&tree).arg(&copy);
        probe.run().context("the file system shares no blocks")?;
        fs::remove_dir_all(&copy)?;
        let text = "cp -a --reflink=always \"$1\" \"$2\"; rsync -a --delete \"$0/\" \"$1/\"";
        let apply = Line::shell(text).arg(self.directory.join("new/opt")).arg(&tree).arg(&copy);
        let text = "mv \"$0\" \"$0.new\"; mv \"$1\" \"$0\"; rm -r \"$0.new\"";
        let back_out = Line::shell(text).arg(&tree).arg(&copy);
        Ok(Contender { role: Role::Snapshot, root, apply, back_out, undo: None })
    }

    fn ostree_contender(&self, disk: &Disk, inputs: &Inputs) -> Result<Contender> {
        let root = disk.at("ostree");
        fresh(&root)?;
        let (delivered, own) = (self.directory.join("ostree"), root.join("repo"));
        let ostree = |repository: &Path| Line::new("ostree").arg(format!("--repo={}", repository.display()));
        for repository in [&delivered, &own] {
            ostree(repository).words("init --mode=bare").run()?;
        }
        for (branch, tree) in [("old", inputs.base_files()), ("new", self.directory.join("new"))] {
            let commit = ostree(&delivered).words("commit --subject=measured --branch").arg(branch);
            commit.arg(tree.join("opt")).run()?;
        }
        let pull = |branch: &str| format!("ostree --repo=\"$1\" pull-local \"$0\" {branch}");
        // Only the renames are visible.
        let switch = |branch: &str| {
            format!(
                "ostree --repo=\"$1\" checkout -H {branch} \"$2.next\"; \
                 if [ -e \"$2\" ]; then mv \"$2\" \"$2.last\"; fi; mv \"$2.next\" \"$2\"; rm -rf \"$2.last\""
            )
        };
        let forget = "ostree --repo=\"$1\" refs --delete new; ostree --repo=\"$1\" prune --refs-only";
        let line = |text: String| Line::shell(&text).arg(&delivered).arg(&own).arg(root.join("opt"));
        line(format!("{}; {}", pull("old"), switch("old"))).run()?;
        let apply = line(format!("{}; {}", pull("new"), switch("new")));
        let back_out = line(format!("{}; {forget}", switch("old")));
        Ok(Contender { role: Role::OsTree, root, apply, back_out, undo: None })
    }
}

/// Makes a tree of hard links to the files in the packages. Nothing writes to them.
fn link_tree(root: &Path, inputs: &Inputs, files: &[(&File, Version)]) -> Result<()> {
    let mut parents = Parents::default();
    for (file, version) in files {
        let target = root.join(&file.path);
        parents.make(&target)?;
        fs::hard_link(inputs.packaged(file, *version), target)?;
    }
    Ok(())
}

/// Returns the packages to build: full, changed and rest, old and new.
fn cuts(workload: &Workload) -> Vec<Cut<'_>> {
    let indices = |numbers: &[usize], version: Version| -> Vec<(&File, Version)> {
        numbers.iter().map(|&number| (&workload.files[number], version)).collect()
    };
    let mut changed = [&workload.replaced[..], &workload.deleted].concat();
    changed.sort_unstable();
    let rest: Vec<usize> =
        (0..workload.files.len()).filter(|number| changed.binary_search(number).is_err()).collect();
    let mut new = indices(&workload.replaced, Version::New);
    new.extend(workload.added.iter().map(|file| (file, Version::New)));
    vec![
        Cut { name: "acme", version: 1, files: workload.tree(Version::Old) },
        Cut { name: "acme", version: 2, files: workload.tree(Version::New) },
        Cut { name: "acme-changed", version: 1, files: indices(&changed, Version::Old) },
        Cut { name: "acme-changed", version: 2, files: new },
        Cut { name: "acme-rest", version: 1, files: indices(&rest, Version::Old) },
    ]
}

/// Returns the package that is upgraded, and the one beside it.
fn names(role: Role) -> (&'static str, Option<&'static str>) {
    match role {
        Role::DpkgChanged | Role::RpmChanged => ("acme-changed", Some("acme-rest")),
        _ => ("acme", None),
    }
}

/// Returns a program that insists on root. An ordinary user is root in a user namespace.
fn privileged(program: &str) -> Line {
    if is_root() {
        return Line::new(program);
    }
    Line::new("unshare").words("--user --map-root-user --mount --propagation private").arg(program)
}
