//! What a build has left in `/out`, made into packages: trees are packed, packages checked and copied, other files kept.
//!
//! No process of the build is left when it is read. No link of it is followed, and nothing but directories, files, links and
//! hard links is taken. This runs in a sandbox, as the user that built it: what that user cannot read is no part of a result.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::journal::FailureCause;
use patchadm_core::operation::translate::{
    ExistingPolicy, PackageTranslation, TransferDestination, TransferObserver, TranslateRequest,
};
use patchadm_making::make::describe::{DescribeOperand, DescribeRequest, describe};
use patchadm_making::make::{MakeRequest, MakeWatch, ParameterDefaults, make_package};
use patchadm_rootfs::{Dir, FileType, Timestamp, never};
use patchadm_svr4::format::prototype::{AttributeSetting, PrototypeCommand, PrototypeItem, PrototypeLine};
use patchadm_svr4::package::{Ftype, Mode, Params, escape};
use rustix::fs::{Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::made_pkginfo::{PackageIdentity, dependencies, made_pkginfo};
use super::order::TaskFailure;
use super::step::{StepError, TaskError};
use crate::file_copy::copy_file;
use crate::pool::{LOG, RESULT, UNFLUSHED};
use crate::tree_walk::each_below;

/// How a datastream begins.
const STREAM: &[u8] = b"# PaCkAgE DaTaStReAm";

/// The files beside `root` that have a meaning in an output of the first kind.
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

/// The most files of a result, and the most bytes of their names. Its description has 10,000 names, and the pool's own are among
/// them.
const MOST_FILES: usize = 9_900;
const MOST_NAMES: usize = 1 << 20;

/// The parameters of a package that a result notes, and the longest value of one, in bytes.
pub(super) const NOTED: [&str; 3] = ["PKG", "ARCH", "VERSION"];
const LONGEST_PARAMETER: usize = 256;

/// The largest `pkginfo` and `prototype`, in bytes.
const LARGEST_PKGINFO: u64 = 1 << 20;
const LARGEST_PROTOTYPE: u64 = 64 << 20;

fn wrong(reason: impl Into<String>) -> StepError {
    TaskFailure::of(FailureCause::Result, reason).into()
}

/// What is known of the package that is packed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PackingInput {
    /// The output of the build.
    pub(super) out: PathBuf,
    /// An empty directory for what is made on the way.
    pub(super) scratch: PathBuf,
    /// The directory that gets the results.
    pub(super) to: PathBuf,
    /// Its identity in the record.
    pub(super) identity: PackageIdentity,
    /// The packages that it needs when it is installed.
    pub(super) needs: Vec<String>,
    /// The latest modification time, in seconds since 1970.
    pub(super) latest: i64,
    /// The paths at which the base is mounted.
    pub(super) of_host: Vec<PathBuf>,
    /// The most bytes that are packed.
    pub(super) limit: Option<u64>,
}

/// The files of a result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PackedResult {
    /// The datastreams, each with the parameters of its package.
    pub(super) packages: Vec<(String, Params)>,
    /// The other files.
    pub(super) files: Vec<String>,
    /// What was seen and is no failure.
    pub(super) remarks: Vec<String>,
}

/// Packs an output. Whatever is wrong with one that a recipe has written is the failure of its package.
pub(super) fn pack(input: &PackingInput) -> Result<PackedResult, StepError> {
    let packed = pack_readable(input).map_err(|error| match error {
        StepError::Machine(TaskError::Root(error)) if !error.is_no_space() => wrong(error.to_string()),
        other => other,
    })?;
    packed.packages.iter().try_for_each(|(_, params)| must_speak_for_itself(params, &input.identity))?;
    Ok(packed)
}

fn pack_readable(input: &PackingInput) -> Result<PackedResult, StepError> {
    let out = Dir::of_host(&input.out)?;
    let names = out.names()?;
    let has = |name: &str| names.iter().any(|found| found == name.as_bytes());
    if names.is_empty() {
        return Err(wrong("nothing was put into /out"));
    }
    let bytes = names.iter().fold(0_usize, |bytes, name| bytes.saturating_add(name.len()));
    if names.len() > MOST_FILES || bytes > MOST_NAMES {
        let count = names.len();
        return Err(wrong(format!(
            "/out has {count} names with {bytes} bytes; a result has {MOST_FILES} with {MOST_NAMES} bytes at most"
        )));
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

/// Keeps a package or a file that was left as it is.
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
                return Err(wrong(format!("/out/{shown} is a directory, and no package")));
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

/// Unpacks a datastream into an empty directory; returns the names of its packages.
fn spool(stream: &Path, to: &Path) -> Result<Vec<String>, StepError> {
    let moved = translate(stream, Vec::new(), TransferDestination::Directory(to.to_owned()))?;
    Ok(moved)
}

/// Makes a datastream of each package of a directory.
fn transfer(
    input: &PackingInput,
    from: &Path,
    packages: &[String],
    result: &mut PackedResult,
) -> Result<(), StepError> {
    for package in packages {
        let params = parameters(&Dir::of_host(from)?.dir(package.as_bytes())?)?;
        let name = format!("{}.pkg", params.text("PKG"));
        must_be_notable(&params)?;
        if result.packages.iter().any(|(known, _)| *known == name) {
            return Err(wrong(format!("two packages are called {}", params.text("PKG"))));
        }
        let stream = input.to.join(&name);
        translate(from, vec![package.clone()], TransferDestination::Stream(stream))?;
        result.packages.push((name, params));
    }
    Ok(())
}

/// Checks that a result has no file of its own of this name.
fn must_be_free(name: &str) -> Result<(), StepError> {
    if [RESULT, LOG, UNFLUSHED].contains(&name) {
        return Err(wrong(format!("/out/{name} has the name of a file that every result has")));
    }
    Ok(())
}

/// Checks the parameters that a result notes: they are short, and the name of the package is that of a file.
fn must_be_notable(params: &Params) -> Result<(), StepError> {
    for name in NOTED {
        let length = params.text(name).len();
        if length > LONGEST_PARAMETER {
            return Err(wrong(format!("pkginfo: {name} has {length} bytes, of {LONGEST_PARAMETER} at most")));
        }
    }
    let name = params.text("PKG");
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
    if name.is_empty() || name.starts_with('.') || !name.as_bytes().iter().all(is_name) {
        return Err(wrong(format!("pkginfo: PKG={} is no name of a package", name.escape_debug())));
    }
    Ok(())
}

/// Checks that a package claims neither applied patches nor the source of another recipe: those who read the set believe its
/// parameters.
fn must_speak_for_itself(params: &Params, identity: &PackageIdentity) -> Result<(), StepError> {
    let is_record = |name: &str| {
        ["PATCHLIST", "PATCH_OBSOLETES", "SUNW_PATCHID"].contains(&name)
            || ["PATCH_INFO_", "PATCHADM_", "KEPT_"].iter().any(|prefix| name.starts_with(prefix))
    };
    if let Some((name, _)) = params.iter().find(|(name, _)| is_record(name)) {
        return Err(wrong(format!("pkginfo: {name} is a record of a root, which no package brings along")));
    }
    let (source, own) = (params.text("SOURCE"), identity.source());
    if !source.is_empty() && source != own {
        return Err(wrong(format!(
            "pkginfo: SOURCE={} is not that of the location, {own}",
            source.escape_debug()
        )));
    }
    Ok(())
}

fn parameters(package: &Dir) -> Result<Params, StepError> {
    let text = package.read_regular(b"pkginfo", LARGEST_PKGINFO)?.unwrap_or_default();
    patchadm_svr4::format::params::read(&text).map_err(|error| wrong(format!("pkginfo: {error}")))
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
    let failed = |error: patchadm_core::operation::translate::TranslateError| wrong(error.to_string());
    let mut observer = TransferObserver { interrupt: &never, transferring: &mut |_| {} };
    let moved = PackageTranslation::prepare(request).map_err(failed)?.perform(&mut observer);
    Ok(moved.map_err(failed)?.into_iter().map(|package| package.instance).collect())
}

/// Checks an output with a tree, and limits its times.
fn must_be_packable(input: &PackingInput, out: &Dir, names: &[Vec<u8>]) -> Result<(), StepError> {
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let is_script = |name: &str| name.starts_with("i.") || name.starts_with("r.");
    let is_known = |name: &str| name == "root" || INFORMATION.contains(&name) || is_script(name);
    if let Some(unknown) = names.iter().map(text).find(|name| !is_known(name)) {
        return Err(wrong(format!(
            "/out has root and {}, which has no meaning beside it",
            unknown.escape_debug()
        )));
    }
    let root = out.look(b"root")?.map(|seen| seen.file_type);
    if root != Some(FileType::Directory) {
        return Err(wrong("/out/root is no directory"));
    }
    only_plain_objects(&out.dir(b"root")?)?;
    limit_times(out, input.latest)?;
    must_be_beside_base(out, &input.of_host)
}

/// Packs a tree.
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
            return Err(wrong(format!("/out/{name} is no file")));
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
    let made = made.map_err(|error| wrong(format!("the package cannot be made: {error}")))?;
    let mut result = PackedResult::default();
    transfer(input, &device, &[made.package.as_str().to_owned()], &mut result)?;
    result.remarks = links_to_output(&out.dir(b"root")?)?;
    Ok(result)
}

fn information(name: &str, source: &Path) -> Vec<u8> {
    [format!("i {name}=").as_bytes(), &escape(source.as_os_str().as_bytes()), b"\n"].concat()
}

/// Returns the lines of the objects: those of the prototype that was left, else one for each object of the tree; adds the sizes
/// of their contents to `bytes`.
fn prototype(input: &PackingInput, out: &Dir, bytes: &mut u64) -> Result<Vec<u8>, StepError> {
    let tree = out.dir(b"root")?;
    if let Some(seen) = out.look(b"prototype")? {
        if seen.file_type != FileType::Regular {
            return Err(wrong("/out/prototype is no file"));
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
        // The content is found below the root; where it was described is of no interest.
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

/// Checks that all contents that a prototype names are files below the tree, to which no link leads, and returns how many bytes
/// they have together.
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
                return Err(refused(format!("{name}{right}: information files lie in /out, without a line")));
            }
            (Ftype::File | Ftype::Editable | Ftype::Volatile, Some(right)) => right.as_slice(),
            (Ftype::File | Ftype::Editable | Ftype::Volatile, None) => {
                // The content of an absolute path is also below the tree.
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

/// Opens the content of an object: a file that lies in the tree itself.
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
        Ok(_) => Err("is no file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns how many bytes the files below a directory have, whether they have blocks for them or not.
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

/// Checks that so many bytes may be packed.
fn must_be_within(bytes: u64, limit: Option<u64>) -> Result<(), StepError> {
    match limit {
        Some(limit) if bytes > limit => {
            let detail = format!("{bytes} bytes to be packed, over the limit of {limit}");
            Err(TaskFailure { limit: Some(limit), ..TaskFailure::of(FailureCause::Disk, detail) }.into())
        }
        _ => Ok(()),
    }
}

/// The beginning of the targets of links that lead into the output.
const OUTPUT: &[u8] = b"/out/";

/// The most links that are told.
const MOST_LINKS: usize = 20;

/// Returns remarks about the symbolic links of a tree that lead into the output directory, which is nowhere else.
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
                    "the symbolic link {} leads to {}, which is only there in the build",
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

/// Checks that no symbolic link is among the files of a package in a directory.
fn no_links(top: &Dir) -> Result<(), StepError> {
    each_below(top, |above, name, seen| match seen.file_type {
        FileType::Symlink => Err(wrong(format!("{} is a symbolic link", above.at(name)))),
        _ => Ok(true),
    })
}

/// Checks that nothing below a directory is a device, a pipe or a socket.
fn only_plain_objects(top: &Dir) -> Result<(), StepError> {
    each_below(top, |above, name, seen| match seen.file_type {
        FileType::Regular | FileType::Directory | FileType::Symlink => Ok(true),
        _ => Err(wrong(format!("{} is a device, a pipe or a socket", above.at(name)))),
    })
}

/// Sets modification times that are later than the latest one.
fn limit_times(top: &Dir, latest: i64) -> Result<(), StepError> {
    let latest = Timestamp::whole(latest);
    each_below(top, |above, name, seen| {
        if seen.mtime > latest {
            above.set_mtime(name, latest)?;
        }
        Ok(true)
    })
}

/// Checks that a tree puts nothing where the base is.
fn must_be_beside_base(out: &Dir, of_host: &[PathBuf]) -> Result<(), StepError> {
    for path in of_host {
        let mut dir = out.dir(b"root")?;
        let mut parts = path.iter().skip(1).map(OsStr::as_bytes).peekable();
        while let Some(part) = parts.next() {
            let Some(seen) = dir.look(part)? else { break };
            if parts.peek().is_none() || seen.file_type != FileType::Directory {
                return Err(wrong(format!("it delivers to {}, which is that of the host", path.display())));
            }
            dir = dir.dir(part)?;
        }
    }
    Ok(())
}
