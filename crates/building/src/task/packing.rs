//! Packs a build's output in a separate process with the build's rights. It sees three directories and nothing else of
//! the machine, so no other file can get into a package. All processes of the build have ended before.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk_values::conf::{LimitName, Limits};
use patchadm_bulk_values::journal::FailureCause;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_core::operation::translate::{
    ExistingPolicy, PackageTranslation, TransferDestination, TransferObserver, TranslateError,
    TranslateRequest,
};
use patchadm_making::make::describe::{DescribeOperand, DescribeRequest, describe};
use patchadm_making::make::{MakeError, MakeRequest, MakeWatch, ParameterDefaults, make_package};
use patchadm_rootfs::{Dir, FileType, Timestamp, never};
use patchadm_svr4::format::prototype::{AttributeSetting, PrototypeCommand, PrototypeItem, PrototypeLine};
use patchadm_svr4::package::{Ftype, Mode, Params, escape};
use rustix::fs::{Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::entering::TaskInputs;
use super::place::VIEW;
use super::sandbox_run::{Ticks, fail_if_full, memory_file, run_work};
use super::{StepError, TaskError, TaskFailure, over_limit};
use crate::package_limits::{must_have_small_lists, must_have_small_settings, open_package};
use crate::pool::{LOG, RESULT, UNFLUSHED};
use crate::sandbox::{SandboxLimits, StopCause, TaskLog, enclosure_of_work};
use crate::tree_copy::{copy_file, each_below, names_up_to};

/// Names packing as work of an enclosure's first process.
pub const PACKING: &str = "pack";

const ANSWER: &str = "answer.json";

const LARGEST_ANSWER: u64 = 16 << 20;

const LONGEST: Duration = Duration::from_secs(1800);
const ROOM: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PackingAnswer {
    /// Packages with parameters, and other files.
    Packed {
        packages: Vec<(String, Vec<(String, String)>)>,
        files: Vec<String>,
        remarks: Vec<String>,
    },
    Failed(TaskFailure),
    /// There is no space for it.
    NoRoom(String),
    Trouble(String),
}

pub fn pack_in_enclosure(order: File) -> io::Result<i32> {
    let input: PackingInput = serde_json::from_reader(order)?;
    let answer = match pack(&input) {
        Ok(PackedResult { packages, files, remarks }) => {
            let noted = |params: &Params| {
                NOTED.iter().map(|name| ((*name).to_owned(), params.text(name).into_owned())).collect()
            };
            let packages = packages.into_iter().map(|(file, params)| (file, noted(&params))).collect();
            PackingAnswer::Packed { packages, files, remarks }
        }
        Err(StepError::Package(failure)) => PackingAnswer::Failed(failure.cut()),
        Err(StepError::Machine(error)) if error.is_no_space() => PackingAnswer::NoRoom(error.to_string()),
        Err(StepError::Machine(error)) => PackingAnswer::Trouble(error.to_string()),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    if bytes.len() as u64 > LARGEST_ANSWER {
        let detail = format!("its packages have {} bytes of parameters and names", bytes.len());
        bytes = serde_json::to_vec(&PackingAnswer::Failed(TaskFailure::of(FailureCause::Result, detail)))?;
    }
    let scratch = Dir::of_host(&input.scratch).map_err(io::Error::other)?;
    let mut file = scratch.create(ANSWER.as_bytes()).map_err(io::Error::other)?;
    file.put(&bytes).map_err(io::Error::other)?;
    Ok(0)
}

/// Packs in a sandbox that only holds the output, an empty directory, and one for the results.
pub(super) fn pack_in_sandbox(
    inputs: &TaskInputs<'_>,
    input: &PackingInput,
    (log, ticks): (&mut TaskLog, Ticks<'_>),
) -> Result<PackedResult, StepError> {
    let (place, ids) = (inputs.place, inputs.base.ids);
    let parts = [("out", &input.out), ("made", &input.scratch), ("results", &input.to)];
    for (part, _) in parts {
        ids.give(&place.dir, part.as_bytes(), inputs.user.id())?;
    }
    let directories = parts.map(|(part, inside)| (place.part(part), inside.clone()));
    let view = place.part(VIEW);
    let limits = packing_limits(&inputs.order.limits);
    let enclosure =
        enclosure_of_work(PACKING, (&view, &directories), (ids, inputs.user), &limits, place.inside());
    // Strings and numbers: serializing these cannot fail.
    let order = memory_file(&serde_json::to_string(input).unwrap_or_default())?;
    let written = ["made", "results"].map(|part| place.part(part));
    let ended = run_work(place, enclosure, (&limits, order), (&written, log), ticks)?;
    if ended.end != Some(EnclosureEnd::Exited(0)) {
        fail_if_full(&place.path)?;
        let phase = Some("pack".to_owned());
        return Err(match (ended.end, ended.stopped) {
            (_, Some(StopCause::Time(took))) => {
                let detail = format!("it took {} s to pack it", took.as_secs());
                TaskFailure::of(FailureCause::Result, detail).into()
            }
            (end, stopped) => match over_limit(stopped, &inputs.order.limits, phase) {
                Some(failure) => failure.into(),
                None => io::Error::other(format!("the packing process ended unexpectedly: {end:?}")).into(),
            },
        });
    }
    let scratch = Dir::of_host(&place.part("made"))?;
    let answer = scratch.read_regular(ANSWER.as_bytes(), LARGEST_ANSWER)?.unwrap_or_default();
    match serde_json::from_slice(&answer).map_err(io::Error::from)? {
        PackingAnswer::Packed { packages, files, remarks } => {
            let packages = packages.into_iter().map(|(file, noted)| {
                let mut params = Params::new();
                for (name, value) in &noted {
                    params.set(name, value);
                }
                (file, params)
            });
            let packed = PackedResult { packages: packages.collect(), files, remarks };
            take_back(inputs, &packed)?;
            Ok(packed)
        }
        PackingAnswer::Failed(failure) => Err(failure.into()),
        PackingAnswer::NoRoom(reason) => Err(TaskError::NoRoom(reason).into()),
        PackingAnswer::Trouble(reason) => {
            fail_if_full(&place.path)?;
            Err(TaskError::Io(io::Error::other(reason)).into())
        }
    }
}

/// Adds room for intermediate files and the result to the package's limits, each about as large as the output may be.
fn packing_limits(limits: &Limits) -> SandboxLimits {
    let disk = limits.get(LimitName::Disk).unwrap_or_default();
    let limits = SandboxLimits::of(limits).within(Some(LONGEST));
    let limits = limits.with_room(disk.saturating_mul(2).saturating_add(ROOM));
    // Our own process ends by itself.
    SandboxLimits { cpu: None, ..limits }
}

/// Makes the result readable for later sandboxes.
fn take_back(inputs: &TaskInputs<'_>, packed: &PackedResult) -> Result<(), StepError> {
    let results = Dir::of_host(&inputs.place.part("results"))?;
    for file in packed.packages.iter().map(|(file, _)| file).chain(&packed.files) {
        results.set_mode(file.as_bytes(), Mode::of(0o644))?;
    }
    Ok(())
}

const STREAM: &[u8] = b"# PaCkAgE DaTaStReAm";

/// Files of information beside `root`, in a tree.
const INFORMATION: [&str; 12] = [
    "checkinstall",
    "compver",
    "copyright",
    "depend",
    "postinstall",
    "postremove",
    "preinstall",
    "preremove",
    "request",
    "space",
    "pkginfo",
    "prototype",
];

/// Maximum files of a result and bytes of their names. A description holds 10,000 names, including the pool's own.
const MOST_FILES: usize = 9_900;
const MOST_NAMES: usize = 1 << 20;

/// Parameters stored in a result, and the maximum bytes of a value.
pub(super) const NOTED: [&str; 3] = ["PKG", "ARCH", "VERSION"];
const LONGEST_PARAMETER: usize = 256;

const LARGEST_PKGINFO: u64 = 1 << 20;
const LARGEST_PROTOTYPE: u64 = 64 << 20;

fn wrong(reason: impl Into<String>) -> StepError {
    TaskFailure::of(FailureCause::Result, reason).into()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PackingInput {
    pub(super) out: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) to: PathBuf,
    pub(super) identity: PackedIdentity,
    pub(super) needs: Vec<String>,
    pub(super) latest: i64,
    pub(super) of_host: Vec<PathBuf>,
    pub(super) limit: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PackedResult {
    pub(super) packages: Vec<(String, Params)>,
    pub(super) files: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// Every fault of an output is a failure of its package.
fn pack(input: &PackingInput) -> Result<PackedResult, StepError> {
    let packed = pack_readable(input).map_err(|error| match error {
        StepError::Machine(TaskError::Root(error)) if !error.is_no_space() => wrong(error.to_string()),
        other => other,
    })?;
    packed.packages.iter().try_for_each(|(_, params)| must_speak_for_itself(params, &input.identity))?;
    Ok(packed)
}

fn pack_readable(input: &PackingInput) -> Result<PackedResult, StepError> {
    let out = Dir::of_host(&input.out)?;
    let Some(names) = names_up_to(&out, MOST_FILES)? else {
        return Err(wrong(format!("/out has more than {MOST_FILES} names, the limit for a result")));
    };
    let has = |name: &str| names.iter().any(|found| found == name.as_bytes());
    if names.is_empty() {
        return Err(wrong("nothing was put into /out"));
    }
    let bytes = names.iter().fold(0_usize, |bytes, name| bytes.saturating_add(name.len()));
    if bytes > MOST_NAMES {
        return Err(wrong(format!("/out has names with {bytes} bytes; a result has {MOST_NAMES} at most")));
    }
    if has("root") || has("pkginfo") {
        return pack_tree(input, &out, &names);
    }
    must_be_within(size_below(&out)?, input.limit)?;
    let mut result = PackedResult::default();
    for name in &names {
        keep(input, &out, name, &mut result)?;
    }
    if !result.packages.is_empty() && !result.files.is_empty() {
        return Err(wrong("/out has packages and other files"));
    }
    must_be_single(&result)?;
    Ok(result)
}

fn must_be_single(result: &PackedResult) -> Result<(), StepError> {
    let mut names: Vec<_> = result.packages.iter().map(|(_, params)| params.text("PKG")).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(wrong(format!("two packages are called {}", pair.concat()))),
        None => Ok(()),
    }
}

/// Keeps a package or file as the build left it.
fn keep(input: &PackingInput, out: &Dir, name: &[u8], result: &mut PackedResult) -> Result<(), StepError> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let is_plain = name.iter().all(u8::is_ascii_graphic) && !name.starts_with(b".");
    must_be_free(&shown)?;
    if !is_plain {
        return Err(wrong(format!("/out/{} has a name that a result cannot have", shown.escape_debug())));
    }
    let seen = out.look(name)?.ok_or_else(|| wrong("/out changes"))?;
    let path = input.out.join(OsStr::from_bytes(name));
    match seen.file_type {
        FileType::Directory => {
            let package = out.dir(name)?;
            if package.look(b"pkginfo")?.is_none() || package.look(b"pkgmap")?.is_none() {
                return Err(wrong(format!("/out/{shown} is a directory, not a package")));
            }
            only_plain_objects(&package)?;
            no_links(&package)?;
            transfer(input, &input.out, &[shown], result)
        }
        FileType::Regular => {
            let begins = out.open_regular(name)?;
            let mut head = [0; 20];
            let read = std::os::unix::fs::FileExt::read_at(&begins, &mut head, 0).unwrap_or_default();
            if head.get(..read) == Some(STREAM) {
                let unpacked = input.scratch.join("stream");
                let above = Dir::of_host(&input.scratch)?;
                above.remove_tree(b"stream")?;
                above.make_dir(b"stream", Mode::of(0o755))?;
                let names = spool(&path, &unpacked)?;
                return transfer(input, &unpacked, &names, result);
            }
            copy_file(out, name, &Dir::of_host(&input.to)?, name)?;
            result.files.push(shown);
            Ok(())
        }
        _ => Err(wrong(format!("/out/{shown} is neither a file nor a directory"))),
    }
}

fn spool(stream: &Path, to: &Path) -> Result<Vec<String>, StepError> {
    let moved = translate(stream, Vec::new(), TransferDestination::Directory(to.to_owned()))?;
    Ok(moved)
}

fn transfer(
    input: &PackingInput,
    from: &Path,
    packages: &[String],
    result: &mut PackedResult,
) -> Result<(), StepError> {
    for package in packages {
        let directory = Dir::of_host(from)?.dir(package.as_bytes())?;
        must_have_small_lists(&directory)?.map_err(wrong)?;
        let params = parameters(&directory)?;
        let name = format!("{}.pkg", params.text("PKG"));
        must_be_notable(&params)?;
        if result.packages.iter().any(|(known, _)| *known == name) {
            return Err(wrong(format!("two packages are called {}", params.text("PKG"))));
        }
        let stream = input.to.join(&name);
        translate(from, vec![package.clone()], TransferDestination::Stream(stream))?;
        let (_, image) = open_package(&from.join(package)).map_err(|error| wrong(error.to_string()))?;
        image.packages.iter().try_for_each(must_have_small_settings).map_err(wrong)?;
        result.packages.push((name, params));
    }
    Ok(())
}

fn must_be_free(name: &str) -> Result<(), StepError> {
    if [RESULT, LOG, UNFLUSHED].contains(&name) {
        return Err(wrong(format!("/out/{name} has the name of a file that every result has")));
    }
    Ok(())
}

/// Stored parameters must be short, and PKG must be usable as a file name.
fn must_be_notable(params: &Params) -> Result<(), StepError> {
    for name in NOTED {
        let length = params.text(name).len();
        if length > LONGEST_PARAMETER {
            return Err(wrong(format!("pkginfo: {name} has {length} bytes, more than {LONGEST_PARAMETER}")));
        }
    }
    let name = params.text("PKG");
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
    if name.is_empty() || name.starts_with('.') || !name.as_bytes().iter().all(is_name) {
        return Err(wrong(format!("pkginfo: PKG={} is not a valid package name", name.escape_debug())));
    }
    Ok(())
}

/// Rejects claims of applied patches or another recipe's source: readers of the set rely on these parameters.
fn must_speak_for_itself(params: &Params, identity: &PackedIdentity) -> Result<(), StepError> {
    let is_record = |name: &str| {
        ["PATCHLIST", "PATCH_OBSOLETES", "SUNW_PATCHID"].contains(&name)
            || ["PATCH_INFO_", "PATCHADM_", "KEPT_"].iter().any(|prefix| name.starts_with(prefix))
    };
    if let Some((name, _)) = params.iter().find(|(name, _)| is_record(name)) {
        return Err(wrong(format!("pkginfo: {name} is a record of a root, which packages must not deliver")));
    }
    let (source, own) = (params.text("SOURCE"), identity.source());
    if !source.is_empty() && source != own {
        return Err(wrong(format!(
            "pkginfo: SOURCE={} does not match the location, {own}",
            source.escape_debug()
        )));
    }
    Ok(())
}

fn parameters(package: &Dir) -> Result<Params, StepError> {
    let text = package.read_regular(b"pkginfo", LARGEST_PKGINFO)?.unwrap_or_default();
    patchadm_svr4::format::params::parse(&text).map_err(|error| wrong(format!("pkginfo: {error}")))
}

fn translate(
    device: &Path,
    packages: Vec<String>,
    to: TransferDestination,
) -> Result<Vec<String>, StepError> {
    let request = TranslateRequest {
        device: device.to_owned(),
        packages,
        categories: Vec::new(),
        to,
        existing: ExistingPolicy::Refuse,
        description_only: false,
    };
    let failed = |error: TranslateError| {
        if error.is_no_space() {
            StepError::from(io::Error::new(io::ErrorKind::StorageFull, error.to_string()))
        } else {
            wrong(error.to_string())
        }
    };
    let mut observer = TransferObserver { interrupt: &never, transferring: &mut |_| {} };
    let moved = PackageTranslation::prepare(request).map_err(failed)?.perform(&mut observer);
    Ok(moved.map_err(failed)?.into_iter().map(|package| package.instance).collect())
}

/// Checks a tree output, and limits its times.
fn must_be_packable(input: &PackingInput, out: &Dir, names: &[Vec<u8>]) -> Result<(), StepError> {
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let is_script = |name: &str| name.starts_with("i.") || name.starts_with("r.");
    let is_known = |name: &str| name == "root" || INFORMATION.contains(&name) || is_script(name);
    if let Some(unknown) = names.iter().map(text).find(|name| !is_known(name)) {
        return Err(wrong(format!(
            "/out has root and {}, which cannot be used together",
            unknown.escape_debug()
        )));
    }
    let root = out.look(b"root")?.map(|seen| seen.file_type);
    if root != Some(FileType::Directory) {
        return Err(wrong("/out/root is not a directory"));
    }
    only_plain_objects(&out.dir(b"root")?)?;
    limit_times(out, input.latest)?;
    must_be_beside_base(out, &input.of_host)
}

fn pack_tree(input: &PackingInput, out: &Dir, names: &[Vec<u8>]) -> Result<PackedResult, StepError> {
    must_be_packable(input, out, names)?;
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let given = match out.look(b"pkginfo")? {
        Some(_) => parameters(out)?,
        None => Params::new(),
    };
    let params = made_pkginfo(&given, &input.identity).map_err(wrong)?;
    let scratch = Dir::of_host(&input.scratch)?;
    let put = |name: &str, bytes: &[u8]| -> Result<PathBuf, StepError> {
        let mut file = scratch.create(name.as_bytes())?;
        file.put(bytes)?;
        file.set_mtime(Timestamp::whole(input.latest))?;
        Ok(input.scratch.join(name))
    };
    let mut lines =
        vec![information("pkginfo", &put("pkginfo", &patchadm_svr4::format::params::write(&params))?)];
    let needs = dependencies(&input.needs);
    if out.look(b"depend")?.is_none() && !needs.is_empty() {
        lines.push(information("depend", &put("depend", needs.as_bytes())?));
    }
    let mut bytes = 0_u64;
    for name in
        names.iter().map(text).filter(|name| !["root", "pkginfo", "prototype"].contains(&name.as_str()))
    {
        if out.look(name.as_bytes())?.is_some_and(|seen| seen.file_type != FileType::Regular) {
            return Err(wrong(format!("/out/{name} is not a file")));
        }
        bytes = bytes.saturating_add(out.look(name.as_bytes())?.map_or(0, |seen| seen.size));
        lines.push(information(&name, &input.out.join(&name)));
    }
    lines.push(prototype(input, out, &mut bytes)?);
    must_be_within(bytes, input.limit)?;
    let prototype = put("prototype", &lines.concat())?;
    let device = input.scratch.join("made");
    scratch.make_dir(b"made", Mode::of(0o755))?;
    let request = MakeRequest {
        prototype: Some(prototype),
        device: device.clone(),
        overwrite: false,
        roots: vec![input.out.join("root")],
        basedir: None,
        assignments: Params::new(),
        limit: None,
        instance: None,
        defaults: ParameterDefaults::default(),
        now: input.latest,
    };
    let made = make_package(&request, &mut MakeWatch { tell: &mut |_| {}, interrupt: &never });
    let made = made.map_err(|error| match error {
        MakeError::Write(error) if error.is_no_space() => StepError::from(error),
        error => wrong(format!("the package cannot be made: {error}")),
    })?;
    let mut result = PackedResult::default();
    transfer(input, &device, &[made.package.as_str().to_owned()], &mut result)?;
    result.remarks = links_to_output(&out.dir(b"root")?)?;
    Ok(result)
}

fn information(name: &str, source: &Path) -> Vec<u8> {
    [format!("i {name}=").as_bytes(), &escape(source.as_os_str().as_bytes()), b"\n"].concat()
}

/// Returns the build's prototype, or one with all objects of the tree. Adds content sizes to `bytes`.
fn prototype(input: &PackingInput, out: &Dir, bytes: &mut u64) -> Result<Vec<u8>, StepError> {
    let tree = out.dir(b"root")?;
    if let Some(seen) = out.look(b"prototype")? {
        if seen.file_type != FileType::Regular {
            return Err(wrong("/out/prototype is not a file"));
        }
        let text = out.read_regular(b"prototype", LARGEST_PROTOTYPE)?.unwrap_or_default();
        *bytes = bytes.saturating_add(size_of_sources(&text, &tree)?);
        return Ok(text);
    }
    *bytes = bytes.saturating_add(size_below(&tree)?);
    let root = input.out.join("root");
    let operand = DescribeOperand { path: root, renamed: Some(PathBuf::new()), descend: true };
    let request = DescribeRequest {
        operands: vec![operand],
        class: "none".to_owned(),
        follow_links: false,
        with_content: false,
    };
    let described = describe(&request)?;
    if let Some(failure) = described.failures.first() {
        return Err(wrong(failure.to_string().replace('\n', ": ")));
    }
    let mut lines = Vec::new();
    for mut line in described.lines {
        // The content is below the root, wherever the line says.
        if !matches!(line.entry.ftype, Ftype::Symlink | Ftype::Link) {
            line.entry.right = None;
        }
        for name in [&mut line.entry.attributes.owner, &mut line.entry.attributes.group] {
            if *name != AttributeSetting::Missing {
                *name = AttributeSetting::Value("root".to_owned());
            }
        }
        if let AttributeSetting::Value(mode) = &line.entry.attributes.mode
            && mode.bits() & 0o6000 != 0
        {
            return Err(wrong(format!("{} has set-id bits, and no prototype names them", line.entry.path)));
        }
        lines.extend(line.entry.write(None));
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Checks that all sources of a prototype are files below the tree, without links. Returns their total size.
fn size_of_sources(text: &[u8], tree: &Dir) -> Result<u64, StepError> {
    let mut bytes = 0_u64;
    for line in patchadm_svr4::format::prototype::lines(text) {
        let PrototypeLine { number, item } =
            line.map_err(|error| wrong(format!("/out/prototype: {error}")))?;
        let refused = |reason: String| wrong(format!("/out/prototype: line {number}: {reason}"));
        let entry = match item {
            PrototypeItem::Entry(entry) => entry,
            PrototypeItem::Command(PrototypeCommand::Default(_) | PrototypeCommand::Set { .. }) => continue,
            PrototypeItem::Command(_) => {
                return Err(refused(
                    "other prototypes and directories have no meaning in a build".to_owned(),
                ));
            }
        };
        let path = entry.path.as_bytes();
        let shown = |path: &[u8]| String::from_utf8_lossy(path).escape_debug().to_string();
        let source = match (entry.ftype, &entry.right) {
            (Ftype::Information, right) => {
                let right = right.as_ref().map_or(String::new(), |right| format!("={}", shown(right)));
                let name = shown(path);
                return Err(refused(format!(
                    "{name}{right}: information files belong in /out, without a line"
                )));
            }
            (Ftype::File | Ftype::Editable | Ftype::Volatile, Some(right)) => right.as_slice(),
            (Ftype::File | Ftype::Editable | Ftype::Volatile, None) => {
                // An absolute path names a file below the tree as well.
                path.strip_prefix(b"/").unwrap_or(path)
            }
            _ => continue,
        };
        if source == b"/dev/null" {
            continue;
        }
        let file =
            open_source(tree, source).map_err(|reason| refused(format!("{}: {reason}", shown(source))))?;
        bytes = bytes.saturating_add(file.metadata().map_err(TaskError::from)?.len());
    }
    Ok(bytes)
}

/// Opens a source, which must be a file inside the tree.
fn open_source(tree: &Dir, source: &[u8]) -> Result<File, String> {
    let mut parts = source.split(|&byte| byte == b'/');
    if source.starts_with(b"/") || parts.any(|part| part == b".." || part.starts_with(b"$")) {
        return Err("a source is a path below /out/root, without `..` and variables".to_owned());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let opened =
        rustix::fs::openat2(tree, source, flags, Bits::empty(), resolve).map_err(|errno| match errno {
            Errno::LOOP => "a symbolic link, or a path through one".to_owned(),
            errno => errno.to_string(),
        })?;
    let file = File::from(opened);
    match file.metadata() {
        Ok(seen) if seen.is_file() => Ok(file),
        Ok(_) => Err("is not a file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the apparent size of all files below a directory.
fn size_below(top: &Dir) -> Result<u64, StepError> {
    let mut bytes = 0_u64;
    each_below::<StepError>(top, |_, _, seen| {
        if seen.file_type == FileType::Regular {
            bytes = bytes.saturating_add(seen.size);
        }
        Ok(true)
    })?;
    Ok(bytes)
}

fn must_be_within(bytes: u64, limit: Option<u64>) -> Result<(), StepError> {
    match limit {
        Some(limit) if bytes > limit => {
            let detail = format!("{bytes} bytes to be packed, over the limit of {limit}");
            Err(TaskFailure { limit: Some(limit), ..TaskFailure::of(FailureCause::Disk, detail) }.into())
        }
        _ => Ok(()),
    }
}

const OUTPUT: &[u8] = b"/out/";

const MOST_LINKS: usize = 20;

/// Notes symbolic links into the output directory, which exists only during the build.
fn links_to_output(top: &Dir) -> Result<Vec<String>, StepError> {
    let above_all = top.path().to_string();
    let mut remarks = Vec::new();
    each_below::<StepError>(top, |above, name, seen| {
        if seen.file_type == FileType::Symlink {
            let target = above.read_link(name)?;
            if target.starts_with(OUTPUT) {
                let path = above.at(name).to_string();
                let path = path.strip_prefix(&above_all).unwrap_or(&path);
                let target = String::from_utf8_lossy(&target);
                remarks.push(format!(
                    "the symbolic link {} leads to {}, which exists only in the build",
                    path.escape_debug(),
                    target.escape_debug()
                ));
            }
        }
        Ok(true)
    })?;
    remarks.sort();
    remarks.truncate(MOST_LINKS);
    Ok(remarks)
}

fn no_links(top: &Dir) -> Result<(), StepError> {
    each_below(top, |above, name, seen| match seen.file_type {
        FileType::Symlink => Err(wrong(format!("{} is a symbolic link", above.at(name)))),
        _ => Ok(true),
    })
}

fn only_plain_objects(top: &Dir) -> Result<(), StepError> {
    each_below(top, |above, name, seen| match seen.file_type {
        FileType::Regular | FileType::Directory | FileType::Symlink => Ok(true),
        _ => Err(wrong(format!("{} is a device, a pipe or a socket", above.at(name)))),
    })
}

/// Lowers later modification times to this one.
fn limit_times(top: &Dir, latest: i64) -> Result<(), StepError> {
    let latest = Timestamp::whole(latest);
    each_below(top, |above, name, seen| {
        if seen.mtime > latest {
            above.set_mtime(name, latest)?;
        }
        Ok(true)
    })
}

/// Checks that a tree delivers nothing below host paths.
fn must_be_beside_base(out: &Dir, of_host: &[PathBuf]) -> Result<(), StepError> {
    for path in of_host {
        let mut dir = out.dir(b"root")?;
        let mut parts = path.iter().skip(1).map(OsStr::as_bytes).peekable();
        while let Some(part) = parts.next() {
            let Some(seen) = dir.look(part)? else { break };
            if parts.peek().is_none() || seen.file_type != FileType::Directory {
                return Err(wrong(format!("it delivers to {}, which belongs to the host", path.display())));
            }
            dir = dir.dir(part)?;
        }
    }
    Ok(())
}

const LONGEST_NAME: usize = 32;

/// A package's identity by its record and machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedIdentity {
    /// Without version.
    pub name: String,
    pub version: String,
    pub location: String,
    pub categories: Vec<String>,
    /// Processor name as in `uname -m`.
    pub machine: String,
    /// Stamp of all packages of a source, independent of the time of the build.
    pub stamp: String,
}

impl PackedIdentity {
    pub(super) fn source(&self) -> String {
        self.location.replace('/', "_")
    }
}

fn made_pkginfo(given: &Params, identity: &PackedIdentity) -> Result<Params, String> {
    let mut params = given.clone();
    let mut set = |name: &str, value: &str| {
        if params.get(name).is_none() {
            params.set(name, value);
        }
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "+-".contains(letter);
    let pkg: String =
        identity.name.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    if given.get("PKG").is_none() && pkg.len() > LONGEST_NAME {
        return Err(format!(
            "{pkg} is longer than {LONGEST_NAME} bytes: a pkginfo with PKG must say its name"
        ));
    }
    let category = identity.categories.first().map_or("application", String::as_str);
    set("PKG", &pkg);
    set("NAME", &identity.name);
    set("ARCH", &identity.machine);
    set("VERSION", &identity.version);
    set("CATEGORY", category);
    set("BASEDIR", "/");
    set("SOURCE", &identity.source());
    set("PSTAMP", &identity.stamp);
    Ok(params)
}

pub(super) fn dependencies(needs: &[String]) -> String {
    let mut needs = needs.to_vec();
    needs.sort_unstable();
    needs.iter().fold(String::new(), |mut text, pkg| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "P {pkg} {pkg}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> PackedIdentity {
        PackedIdentity {
            name: name.to_owned(),
            version: "1.0nb2".to_owned(),
            location: "net/curl".to_owned(),
            categories: vec!["net".to_owned(), "www".to_owned()],
            machine: "x86_64".to_owned(),
            stamp: "bulk".to_owned(),
        }
    }

    #[test]
    fn what_a_build_leaves_out_is_that_of_its_record() {
        let mut given = Params::new();
        given.set("NAME", "a client");
        let params = made_pkginfo(&given, &identity("curl_x")).unwrap();
        let text = |name: &str| params.text(name).into_owned();
        assert_eq!(
            [text("PKG"), text("NAME"), text("VERSION"), text("CATEGORY"), text("SOURCE")],
            ["curl-x", "a client", "1.0nb2", "net", "net_curl"]
        );
    }

    #[test]
    fn a_name_that_is_too_long_must_be_given_by_the_build() {
        let long = identity(&"a".repeat(33));
        assert!(made_pkginfo(&Params::new(), &long).unwrap_err().contains("longer than 32 bytes"));
        let mut given = Params::new();
        given.set("PKG", "short");
        assert!(made_pkginfo(&given, &long).is_ok());
    }
}
