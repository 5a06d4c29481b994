//! The contents of the files in the directory of an applied patch: its README, and its patchinfo if one was kept.
//!
//! They are documentation, and no rule depends on them. A file that cannot be read, or is too long, counts as empty.

use crate::operation::patches::after_run::reboot_asked_by;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::source::Image;
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::readme;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// The longest README or patchinfo that is read, in bytes: 1 MiB.
const LARGEST: u64 = 1 << 20;

/// The longest synopsis that is reported, in characters.
const LONGEST_SYNOPSIS: usize = 500;

/// The names of the synopsis in a patchinfo file.
const SYNOPSIS: [&str; 2] = ["PATCH_SYNOPSIS", "SYNOPSIS"];

/// A patch's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchWords {
    /// Its subject, in one line.
    pub synopsis: Option<String>,
    /// The reboot that it requests after installation, as a word of `PATCH_PROPERTIES`.
    pub reboot: Option<&'static str>,
    /// Whether there is a file that could request one.
    pub is_told: bool,
}

/// Returns the words of an applied patch.
pub(super) fn kept_words(view: &RecordView<'_>, id: &PatchId) -> PatchWords {
    let read = |name: String| {
        let path = places::patch(id).ok()?.join(name.as_bytes()).ok()?;
        view.read(&path, LARGEST).ok().flatten()
    };
    let patchinfo = read("patchinfo".to_owned()).and_then(|bytes| ParamFile::parse(&bytes).ok());
    let patchinfo = patchinfo.map(|file| PatchinfoFile::from_params(&file.params()));
    PatchWords::of(patchinfo.as_ref(), read(format!("README.{id}")).as_deref())
}

impl PatchWords {
    /// Returns the words of a delivered patch.
    pub fn of_image(image: &Image) -> Self {
        Self::of(image.patchinfo.as_ref(), image.readme.as_ref().map(|(_, text)| text.as_slice()))
    }

    fn of(patchinfo: Option<&PatchinfoFile>, readme: Option<&[u8]>) -> Self {
        let of_readme = || in_one_line(&readme::field(readme?, "Synopsis")?);
        let of_patchinfo = || {
            let mut named = SYNOPSIS.iter().filter_map(|name| patchinfo?.other.get(name));
            named.find_map(|text| in_one_line(&String::from_utf8_lossy(text)))
        };
        Self {
            synopsis: of_readme().or_else(of_patchinfo),
            reboot: reboot_asked_by(patchinfo, readme),
            is_told: patchinfo.is_some() || readme.is_some(),
        }
    }
}

fn in_one_line(text: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| line.chars().take(LONGEST_SYNOPSIS).collect())
}
