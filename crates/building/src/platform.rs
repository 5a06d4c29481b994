//! The platform of a run (system, compiler, base), stored in its directory.

use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::BuildBase;
use patchadm_bulk_values::report::RunPlatform;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

use crate::base::BaseLayer;
use crate::driver::Driver;
use crate::report_files::base_of;
use crate::sandbox::BuildUser;
use crate::scan::{TreeScanError, call_platform};
use crate::work::{BulkWork, PROGRAM};

const PLATFORM_FILE: &[u8] = b"platform";

const RELEASES: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];

const LARGEST: u64 = 1 << 16;

const LONGEST: usize = 200;

/// Asks the driver's program, and completes the answer from the base. The second value notes that program's failure.
pub(crate) fn find_platform(
    work: &BulkWork,
    driver: &Driver,
    base: (&BaseLayer, BuildUser),
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> (RunPlatform, Option<String>) {
    let mut platform = RunPlatform { base: base_of(work), ..RunPlatform::default() };
    let mut note = None;
    if driver.knows_platform() {
        match call_platform(work, driver, base, interrupt) {
            Ok(Ok(printed)) => take_lines(&String::from_utf8_lossy(&printed), &mut platform),
            Ok(Err(reason)) => note = Some(reason),
            // The same signal ends the run.
            Err(TreeScanError::Interrupted(_)) => {}
            Err(error) => note = Some(error.to_string()),
        }
    }
    platform.os = platform.os.or_else(|| Some(system_of(&work.conf.base)));
    (platform, note)
}

fn take_lines(printed: &str, platform: &mut RunPlatform) {
    for (name, value) in printed.lines().filter_map(|line| line.split_once('=')) {
        let value: String =
            value.trim().chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
        let place = match name {
            "OS" => &mut platform.os,
            "COMPILER" => &mut platform.compiler,
            _ => continue,
        };
        *place = Some(value).filter(|value| !value.is_empty());
    }
}

/// Returns the operating system of a base, or the kernel's name.
fn system_of(base: &BuildBase) -> String {
    let top: PathBuf = match base {
        BuildBase::Host(_) => "/".into(),
        BuildBase::Directory(path) => path.clone(),
    };
    let read = |path: &Path| {
        let dir = Dir::of_host(path.parent()?).ok()?;
        dir.read_regular(path.file_name()?.as_encoded_bytes(), LARGEST).ok()?
    };
    let named = RELEASES.iter().find_map(|name| {
        let text = String::from_utf8_lossy(&read(&top.join(name))?).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        let value: String = value.trim_matches(['"', '\'']).chars().filter(|l| !l.is_control()).collect();
        Some(value.chars().take(LONGEST).collect::<String>()).filter(|value| !value.is_empty())
    });
    named.unwrap_or_else(|| {
        let kernel = rustix::system::uname();
        format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy())
    })
}

pub(crate) fn keep_platform(run: &Dir, platform: &RunPlatform) -> Result<(), RootError> {
    // Strings: serializing them cannot fail.
    let bytes = serde_json::to_vec(platform).unwrap_or_default();
    run.replace_file(PROGRAM, PLATFORM_FILE, &bytes, Mode::of(0o644))
}

pub(crate) fn read_platform(run: &Dir) -> Result<Option<RunPlatform>, RootError> {
    let bytes = run.read_regular(PLATFORM_FILE, LARGEST)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
