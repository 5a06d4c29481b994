//! Parameters and everything that is written in their syntax; patch ids and lists of them; the texts beside a patch.

use patchadm_core::script::protocol::PatchMessage;
use patchadm_inputs::database::policy;
use patchadm_inputs::native::Distribution;
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::format::params;
use patchadm_svr4::format::params::{LONGEST_NAME, MOST_PARAMETERS, ParamFile};
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::readme;
use patchadm_svr4::format::response;
use patchadm_svr4::format::response::Response;
use patchadm_svr4::package::{ObjectPath, PackagePath, Params, escape, unescape};
use patchadm_svr4::patch::{FixId, FixList, ObsoleteCounts, PatchId, PatchInfo, PatchList, Requirements};

/// Reads parameters, where they are some.
fn read(input: &[u8]) -> Option<Params> {
    ParamFile::parse(input).ok().map(|file| file.params())
}

/// Whether the plain writer can say all names; one that was cut in the middle of a letter may have grown.
fn is_writable(params: &Params) -> bool {
    params.iter().all(|(name, _)| name.len() <= LONGEST_NAME)
}

pub fn pkginfo(input: &[u8]) {
    let Ok(file) = ParamFile::parse(input) else { return };
    assert_eq!(file.write(), input, "what was not changed is written as it was");
    let params = file.params();
    assert!(params.iter().count() <= MOST_PARAMETERS.min(input.len()));
    if is_writable(&params) {
        let written = params::write(&params);
        assert_eq!(read(&written).as_ref(), Some(&params), "{}", written.escape_ascii());
        assert_eq!(params::write(&params), written);
    }
}

/// Changes a parameter in the middle of a file: nothing else is another one afterwards.
pub fn params(input: &[u8]) {
    let (value, text) = input.split_at(input.len().min(8));
    let Ok(mut file) = ParamFile::parse(text) else { return };
    let before = file.params();
    let value = value.trim_ascii_end();
    if value.ends_with(b"\x0b") || !is_writable(&before) {
        return;
    }
    file.set("PATCHLIST", value);
    let after = ParamFile::parse(&file.write()).expect("a changed file can be read").params();
    assert_eq!(after.get("PATCHLIST"), Some(value));
    let others = |params: &Params| {
        let others = params.iter().filter(|(name, _)| *name != "PATCHLIST");
        others.map(|(name, value)| (name.to_owned(), value.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(others(&after), others(&before));
    file.remove("PATCHLIST");
    let removed = ParamFile::parse(&file.write()).expect("a file with less can be read").params();
    assert_eq!(removed.get("PATCHLIST"), None);
}

pub fn admin(input: &[u8]) {
    let Some(params) = read(input) else { return };
    match Admin::from_params(&params) {
        Ok((_, unknown)) => assert!(unknown.len() <= params.iter().count()),
        Err(error) => assert!(error.to_string().len() < 200 + 4 * input.len()),
    }
}

pub fn response(input: &[u8]) {
    let Ok(response) = Response::parse(input) else { return };
    let names: Vec<&str> = response.params.iter().map(|(name, _)| name).collect();
    assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)), "each name once");
    if let Ok(text) = response::write(&response.params)
        && is_writable(&response.params)
    {
        assert_eq!(Response::parse(&text).map(|again| again.params), Ok(response.params));
    }
}

pub fn patchinfo(input: &[u8]) {
    let Some(params) = read(input).filter(is_writable) else { return };
    let file = PatchinfoFile::from_params(&params);
    let written = file.write();
    let again = read(&written).map(|params| PatchinfoFile::from_params(&params));
    assert_eq!(again, Some(file), "{}", written.escape_ascii());
}

pub fn policy(input: &[u8]) {
    if let Ok(policy) = policy::parse(input, "policy") {
        let _ = policy.is_restricted("105181");
        assert!(!policy.separator.is_empty());
        assert!(policy.exclude.iter().all(|id| !id.is_empty()));
    }
}

pub fn readme(input: &[u8]) {
    let _ = readme::reboot_request(input);
    for label in ["Patch-ID#", "Synopsis", "Date", "Obsoleted by", "Patches required with this patch"] {
        if let Some(field) = readme::field(input, label) {
            assert!(field.len() <= 3 * input.len(), "a byte is one letter at most");
            assert_eq!(field.trim(), field);
        }
    }
}

fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

pub fn patch_id(input: &[u8]) {
    let text = text(input);
    for separator in ["-", "_", "--"] {
        let Ok(id) = PatchId::parse(&text, separator) else { continue };
        assert_eq!(PatchId::parse(id.as_str(), separator), Ok(id.clone()));
        assert!(id.contains(&id) && !id.is_later_than(&id) && id.same_base(&id));
        assert!(id.as_str().len() <= PatchId::LONGEST);
    }
}

pub fn patch_list(input: &[u8]) {
    let text = text(input);
    let Ok(list) = PatchList::parse(&text, "-") else { return };
    assert!(list.len() <= PatchList::LIMIT.min(text.len()));
    assert_eq!(PatchList::parse(&list.to_string(), "-"), Ok(list));
}

pub fn fix_list(input: &[u8]) {
    let text = text(input);
    let legible = FixList::parse_legible(&text);
    assert!(legible.iter().all(|id| id.as_str().len() <= FixId::LONGEST && id.as_str().is_ascii()));
    let Ok(list) = FixList::parse(&text) else { return };
    assert_eq!(FixList::parse(&list.to_string()), Ok(list.clone()));
    assert_eq!(legible, list, "nothing of a list without a fault is left out");
}

/// What a root says of its distribution goes into URLs.
pub fn os_release(input: &[u8]) {
    let Some(Distribution { id, release }) = Distribution::parse(input) else { return };
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    assert!(id.bytes().chain(release.iter().flat_map(|text| text.bytes())).all(is_part));
    assert!(!id.is_empty() && id.len() <= input.len());
}

pub fn obsoletes(input: &[u8]) {
    let text = text(input);
    let Ok(counts) = ObsoleteCounts::parse(&text, "-") else { return };
    assert_eq!(ObsoleteCounts::parse(&counts.to_string(), "-"), Ok(counts.clone()));
    let mut all = PatchList::new();
    for id in counts.ids() {
        all.push(id.clone());
    }
    let mut more = counts.clone();
    more.count_up(&all);
    if counts.ids().all(|id| counts.count(id) < u32::MAX) {
        more.count_down(&all);
        assert_eq!(more, counts, "a backout takes back what was applied");
    }
}

pub fn requirements(input: &[u8]) {
    let text = text(input);
    let Ok(requirements) = Requirements::parse(&text, "-") else { return };
    assert_eq!(Requirements::parse(&requirements.to_string(), "-"), Ok(requirements));
}

pub fn patch_info(input: &[u8]) {
    let text = text(input);
    let info = PatchInfo::parse(&text, "-");
    let written = info.to_string();
    assert!(written.len() <= text.len() * 8 + 64);
    assert_eq!(PatchInfo::parse(&written, "-"), info, "{written:?}");
}

pub fn paths(input: &[u8]) {
    assert_eq!(unescape(&escape(input)), input);
    assert!(unescape(input).len() <= input.len());
    if let Ok(path) = ObjectPath::new(input) {
        assert_eq!(ObjectPath::new(path.as_bytes()).as_ref(), Ok(&path));
        assert!(path.as_bytes().starts_with(b"/") && path.as_bytes().len() <= input.len().max(1));
        assert!(path.as_bytes().split(|&byte| byte == b'/').all(|name| name != b".." && name != b"."));
        assert!(path.ancestors().all(|above| path.is_below(&above) || above == path));
        let _ = path.link_source(input);
    }
    if let Ok(path) = PackagePath::new(input) {
        assert_eq!(PackagePath::new(path.as_bytes()).as_ref(), Ok(&path));
        let base = ObjectPath::new(b"/opt/base").expect("a path");
        let resolved = path.resolve(&base, |_| Some("value".into()));
        if let Ok(resolved) = resolved {
            assert!(path.is_absolute() || resolved.is_below(&base) || resolved == base);
        }
    }
}

pub fn script_output(input: &[u8]) {
    let _ = PatchMessage::last_in(input);
}
