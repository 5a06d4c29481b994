//! The warnings that the maker of a patch should see before the patch is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use super::input::open;
use super::lookup::FoundContent;
use super::mapping::PackageItem;
use super::progress::{MakeWarning, MakeWatch};
use patchadm_rootfs::{Root, accounts_of};
use patchadm_svr4::format::deletes;
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::package::{Ftype, Params};
use patchadm_svr4::patch::PatchId;

/// The lowest number of an account of a person; those below are the system's.
const FIRST_PERSON: u32 = 1000;

/// Warns about an invalid id, and about VERSION and ARCH that are not given: they must equal those of the package that
/// the patch is for. `given` are the parameters that were given.
pub(super) fn look_at_parameters(
    params: &Params,
    is_given: impl Fn(&str) -> bool,
    watch: &mut MakeWatch<'_>,
) {
    let id = params.text("SUNW_PATCHID").trim().to_owned();
    if params.get("SUNW_PATCHID").is_none() {
        return;
    }
    if let Err(error) = PatchId::parse(&id, "-") {
        watch.warn(MakeWarning::PatchId(error.to_string()));
    }
    for name in ["ARCH", "VERSION"] {
        if !is_given(name) {
            watch.warn(MakeWarning::OfPatch { name, value: params.text(name).into_owned() });
        }
    }
}

/// Warns about a file `deletes` that has no effect, cannot be read, or names paths that the package delivers.
pub(super) fn look_at_deletes(params: &Params, items: &[PackageItem], watch: &mut MakeWatch<'_>) {
    let is_deletes = |item: &&PackageItem| {
        item.entry.object.ftype == Ftype::Information && item.entry.path.as_bytes() == b"deletes"
    };
    let Some(item) = items.iter().find(is_deletes) else { return };
    if params.get("SUNW_PATCHID").is_none() {
        watch.warn(MakeWarning::DeletesOfNoPatch);
    }
    let text = match &item.source {
        Some(FoundContent::File(path)) => read(path),
        _ => Some(Vec::new()),
    };
    // A file that cannot be read now is reported when it is copied.
    let Some(text) = text else { return };
    let paths = match deletes::parse(&text) {
        Ok(paths) => paths,
        Err(error) => return watch.warn(MakeWarning::Deletes(error.to_string())),
    };
    let objects = items.iter().filter(|item| !item.entry.is_information());
    let delivered: BTreeSet<&[u8]> = objects.map(|item| item.entry.path.as_bytes()).collect();
    for path in paths.iter().filter(|path| delivered.contains(path.as_bytes())) {
        watch.warn(MakeWarning::Deletes(format!("<{path}> is delivered as well, and stays")));
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let (file, _) = open(path).ok()?;
    let mut text = Vec::new();
    file.take(LARGEST_FILE as u64).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Warns about owners and groups that are people of this machine, each once: another root need not know them.
pub(super) fn look_at_owners(items: &[PackageItem], watch: &mut MakeWatch<'_>) {
    let Some(accounts) = Root::open(Path::new("/")).ok().and_then(|host| accounts_of(&host, &host).ok())
    else {
        return;
    };
    let mut met: BTreeMap<(&'static str, &str), (String, usize)> = BTreeMap::new();
    for item in items.iter().filter(|item| !item.entry.is_information()) {
        let attributes = &item.entry.object.attributes;
        let owner = attributes.owner.as_deref().map(|name| ("owner", name, accounts.uid(name)));
        let group = attributes.group.as_deref().map(|name| ("group", name, accounts.gid(name)));
        for (kind, name, number) in owner.into_iter().chain(group) {
            if number.is_some_and(|number| number >= FIRST_PERSON) {
                met.entry((kind, name)).or_insert_with(|| (item.entry.path.to_string(), 0)).1 += 1;
            }
        }
    }
    for ((kind, name), (path, count)) in met {
        let others = count - 1;
        watch.warn(MakeWarning::Account { kind, name: name.to_owned(), path, others });
    }
}
