//! The stories of stages: the contents of a stage go live, and are backed out. The stage lies beside the root.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::session::Caller;
use patchadm_core::operation::stages::StageError;
use patchadm_core::operation::stages::promote::{PromoteReport, PromoteRequest, promote_stage};
use patchadm_inputs::policy::DeleteLimit;
use patchadm_rootfs::{Digest, Door, Root};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::reliability::brought::{patches_promoted, promoted_patches_backed_out};
use crate::reliability::stories::{Command, Story, Told, copy, scripts, with_caller};
use crate::scenario::Scenario;
use crate::tree::Tree;

/// The stage beside a root.
pub(crate) const STAGE: &str = "web";

/// The stories of promotions.
pub(crate) const PROMOTED: [Told; 14] = [
    promoted,
    promotion_backed_out,
    promoted_again,
    promotion_undone,
    first_promotion,
    promoted_by_exchange,
    promotion_backed_out_by_exchange,
    patches_promoted,
    promoted_patches_backed_out,
    promoted_with_hooks,
    promotion_with_hooks_backed_out,
    promoted_with_old_files,
    promotion_backed_out_by_old_files,
    promotion_with_old_files_undone,
];

/// Promotes the stage beside a root.
pub(crate) fn promote(root: &Root, caller: &Caller<'_>) -> Result<PromoteReport, Failure> {
    let report = promote_stage(root, &request(root), caller);
    let report = report.map_err(|error| match error {
        StageError::Failure(failure) => failure,
        other => Failure::BadFile(other.to_string()),
    })?;
    match report.result {
        Err(failure) => Err(failure),
        Ok(_) => Ok(report),
    }
}

fn request(root: &Root) -> PromoteRequest {
    PromoteRequest {
        stage: OsString::from(root.prefix().with_file_name(STAGE)),
        max_delete: DeleteLimit::parse("100%"),
        allow_set_id: true,
        scripts: scripts(),
        ..PromoteRequest::default()
    }
}

/// The directory of the stage of a root, if it has one.
pub(crate) fn stage_of(root: &Path) -> Option<PathBuf> {
    Some(root.with_file_name(STAGE)).filter(|stage| stage.exists())
}

/// The contents of a stage, and the plan of its next promotion, which depends on the base in force.
pub(crate) fn view_of_stage(root: &Path) -> Option<String> {
    let stage = stage_of(root)?;
    let tree = Tree::of(&stage, &[".patchadm-stage", "var/sadm/install/.lockfile"]);
    let root = Root::open_with(root, Door::default()).unwrap();
    let request = PromoteRequest { dry_run: true, ..request(&root) };
    let next = with_caller(|caller| promote_stage(&root, &request, caller)).unwrap();
    let reason = next.result.err().map(|failure| failure.to_string());
    let tree = Digest::of(format!("{:?}", tree.objects()).as_bytes());
    Some(format!("{:?} {:?} {:?} {reason:?} {tree}", next.base, next.paths, next.conflicts))
}

/// Copies the stage of a story beside another root.
pub(crate) fn copy_stage(story: &Story, beside: &Path) {
    let stage = story.stage.beside(STAGE);
    if stage.exists() {
        copy(&stage, &beside.join(STAGE), &mut HashMap::new());
    }
}

/// A stage in which software is built.
struct Built {
    live: Scenario,
}

impl Built {
    /// The stage of a root with a package and with software that no package has.
    fn new() -> Self {
        let live = Scenario::new();
        live.file("/var/sadm/install/admin/default", NOCHECK);
        live.install(&package());
        live.file("/opt/own/bin/tool", "tool 1\n");
        live.link("/opt/own/bin/again", "/opt/own/bin/tool");
        live.symlink("/opt/own/current", "bin");
        live.file("/opt/own/gone/deep/leaf", "leaf\n");
        Self::of(live)
    }

    fn of(live: Scenario) -> Self {
        live.run(&format!("stage new {STAGE} -R @ROOT@ --path opt")).ok();
        Self { live }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.live.beside(STAGE).join("opt").join(path)
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
        self.mode(path, mode);
        self.time(path, 1_700_000_000);
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn time(&self, path: &str, seconds: u64) {
        let moment = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
        fs::File::open(self.at(path)).unwrap().set_modified(moment).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    fn link(&self, path: &str, source: &str) {
        fs::hard_link(self.at(source), self.at(path)).unwrap();
    }

    fn symlink(&self, path: &str, target: &str) {
        symlink(target, self.at(path)).unwrap();
    }

    /// Every kind of change.
    fn build(&self) {
        self.write("ACMEweb/bin/httpd", &"second httpd\n".repeat(400), 0o4755);
        self.write("ACMEweb/bin/added", "added\n", 0o555);
        self.mode("ACMEweb/share/modes", 0o600);
        self.time("ACMEweb/share/times", 1_600_000_000);
        self.mode("ACMEweb/share", 0o750);
        self.remove("ACMEweb/share/gone");
        self.remove("ACMEweb/share/current");
        self.symlink("ACMEweb/share/current", "v2");
        // A file becomes a directory, a directory a file, and a file a link.
        self.remove("ACMEweb/share/flat");
        self.write("ACMEweb/share/flat/leaf", "leaf of flat\n", 0o600);
        self.remove("ACMEweb/tree/leaf");
        fs::remove_dir(self.at("ACMEweb/tree")).unwrap();
        self.write("ACMEweb/tree", "a tree no more\n", 0o644);
        self.remove("ACMEweb/share/pointed");
        self.symlink("ACMEweb/share/pointed", "flat/leaf");
        // Names of one file are separated, joined, and new.
        self.remove("own/bin/again");
        self.write("own/bin/again", "tool 1\n", 0o644);
        self.remove("ACMEweb/bin/two");
        self.link("ACMEweb/bin/two", "ACMEweb/bin/one");
        self.write("own/new/deep/tool", "tool\n", 0o755);
        self.link("own/new/tool.again", "own/new/deep/tool");
        fs::remove_dir_all(self.at("own/gone")).unwrap();
        self.remove("own/current");
        self.symlink("own/current", "new/deep");
    }

    /// A later change, over some of the same objects.
    fn build_again(&self) {
        self.write("ACMEweb/bin/httpd", &"third httpd\n".repeat(200), 0o755);
        self.write("ACMEweb/share/gone", "is back\n", 0o644);
        self.remove("own/new/tool.again");
        self.mode("own/new/deep/tool", 0o700);
        self.write("own/gone/deep/leaf", "another leaf\n", 0o644);
        self.time("ACMEweb/bin/added", 1_650_000_000);
    }

    /// Hooks of the root's policy, before and after, in both directions. They change nothing, because the writes of a
    /// hook are not undone.
    fn with_hooks(self) -> Self {
        for name in ["before", "after"] {
            let hook = format!("/etc/promote/{name}");
            self.live.file(&hook, format!("#!/bin/sh\necho {name} $PATCHADM_DIRECTION of $PATCHADM_ID\n"));
            self.live.mode(&hook, 0o755);
        }
        let policy = "promote_before=/etc/promote/before\npromote_after=/etc/promote/after\n";
        self.live.file("/etc/patchadm/policy", policy);
        self
    }

    /// A policy that keeps old files.
    fn keeping(self) -> Self {
        self.live.file("/etc/patchadm/policy", "undo_format=files\n");
        self
    }

    fn promote(&self) {
        let run = self.live.run(&format!("stage promote {STAGE} -R @ROOT@ --max-delete 100% --allow-set-id"));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }

    fn story(self, name: &'static str, act: Command) -> Story {
        Story::of(name, self.live, act)
    }
}

fn package() -> Package {
    Package::new("ACMEweb")
        .directory("bin")
        .directory("share")
        .directory("tree")
        .file("bin/httpd", 0o755, "first httpd\n".repeat(300))
        .file("bin/one", 0o755, "one\n")
        .file("bin/two", 0o755, "one\n")
        .file("share/gone", 0o644, "gone\n")
        .file("share/flat", 0o644, "flat\n")
        .file("share/pointed", 0o644, "a file\n")
        .file("share/modes", 0o644, "modes\n")
        .file("share/times", 0o644, "times\n")
        .file("tree/leaf", 0o640, "leaf\n")
        .symlink("share/current", "v1")
}

pub(crate) fn promoted() -> Story {
    let built = Built::new();
    built.build();
    built.story("promote", Command::Promote)
}

fn promotion_backed_out() -> Story {
    let built = Built::new();
    built.build();
    built.promote();
    built.story("back out a promotion", Command::BackOut(vec!["web-01".to_owned()]))
}

/// A second promotion, which supersedes the first one and follows a patch.
fn promoted_again() -> Story {
    let built = Built::new();
    built.build();
    built.promote();
    let patch = Package::new("ACMEweb").file("bin/one", 0o755, "one of the patch\n");
    built.live.patchadd("", &Patch::of("100-01", patch)).ok();
    built.build_again();
    built.story("promote again", Command::Promote)
}

fn promotion_undone() -> Story {
    let built = Built::new();
    built.build();
    built.promote();
    built.build_again();
    built.promote();
    built.story("undo a promotion", Command::Undo)
}

/// A tree that no package has, on a root whose only run listed the stage.
fn first_promotion() -> Story {
    let live = Scenario::new();
    live.file("/opt/own/bin/tool", "tool 1\n");
    live.file("/opt/own/lib/libt.so.1", "library 1\n");
    live.file("/opt/own/gone", "gone\n");
    let built = Built::of(live);
    built.write("own/bin/tool", "tool 2\n", 0o755);
    built.write("own/lib/libt.so.1", "library 2\n", 0o644);
    built.write("own/lib/libn.so", "new\n", 0o644);
    built.remove("own/gone");
    built.story("promote software of no package", Command::Promote)
}

/// A promotion whose changes become visible at once in one of the two trees.
fn promoted_by_exchange() -> Story {
    let built = Built::new();
    built.build();
    built.story("promote by exchange", Command::Exchange("/opt/ACMEweb", Box::new(Command::Promote)))
}

/// The backout of a promotion by exchange.
fn promotion_backed_out_by_exchange() -> Story {
    let built = Built::new();
    built.build();
    built.promote();
    let back = Command::BackOut(vec!["web-01".to_owned()]);
    built.story("back out a promotion by exchange", Command::Exchange("/opt/own", Box::new(back)))
}

fn promoted_with_hooks() -> Story {
    let built = Built::new().with_hooks();
    built.build();
    built.story("promote with hooks", Command::Promote)
}

fn promotion_with_hooks_backed_out() -> Story {
    let built = Built::new().with_hooks();
    built.build();
    built.promote();
    built.story("back out a promotion with hooks", Command::BackOut(vec!["web-01".to_owned()]))
}

pub(crate) fn promoted_with_old_files() -> Story {
    let built = Built::new().keeping();
    built.build();
    built.story("promote and keep the old files", Command::Promote)
}

fn promotion_backed_out_by_old_files() -> Story {
    let built = Built::new().keeping();
    built.build();
    built.promote();
    let act = Command::BackOut(vec!["web-01".to_owned()]);
    built.story("back out a promotion by old files", act)
}

fn promotion_with_old_files_undone() -> Story {
    let built = Built::new().keeping();
    built.build();
    built.promote();
    built.build_again();
    built.promote();
    built.story("undo a promotion by old files", Command::Undo)
}
