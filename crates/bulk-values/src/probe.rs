//! The protocol of probes, which check the requirements of a slot.
//!
//! An answer comes from another machine, through an arbitrary prefix. It is not trusted, and quoted text is shortened.

use serde::{Deserialize, Serialize};

use crate::result::Blake3Digest;

pub const PROBE_FORMAT: u32 = 1;

const LONGEST_WORD: usize = 100;

const LONGEST_REASON: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOrder {
    pub probe: u32,
    pub work: String,
    /// The file in `work` with the number.
    pub file: String,
    pub base: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeFailure {
    Namespaces(String),
    Overlay(String),
    Other(String),
}

/// The process's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    pub probe: u32,
    pub version: String,
    #[serde(default)]
    pub machine: String,
    /// The number in the file.
    #[serde(default)]
    pub number: Option<u64>,
    #[serde(default)]
    pub scan: Option<Blake3Digest>,
    #[serde(default)]
    pub build: Option<Blake3Digest>,
    /// Why layers are copied, if overlay file systems are refused.
    #[serde(default)]
    pub copies: Option<String>,
    #[serde(default)]
    pub failure: Option<ProbeFailure>,
}

/// The required answer of every slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeExpectation {
    pub work: String,
    pub build_dir: String,
    pub version: String,
    pub machine: String,
    /// The number that was written.
    pub number: u64,
    pub scan: Option<Blake3Digest>,
    pub build: Option<Blake3Digest>,
}

/// Why a slot cannot be used, with advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotMisfit {
    #[error("{0}")]
    NoAnswer(String),
    #[error("patchadm has version {0} there and {1} here: install the same one")]
    Version(String, String),
    /// Results of another machine type would differ.
    #[error("it is a machine of type {0}, and this one is {1}: their results are not the same")]
    Machine(String, String),
    #[error("{0}")]
    Work(String),
    #[error(
        "{0} is a different directory there: a file written here does not appear there; mount the same file system"
    )]
    OtherWork(String),
    #[error("`{0}` of the driver is a different file there: all machines must see the same driver and tree")]
    Driver(&'static str),
    #[error("{0}; allow user namespaces there, or leave this slot out of bulk.conf")]
    NotAllowed(String),
    #[error("{1}; `build_dir` ({0}) must be on a local file system such as ext4 or xfs, not on NFS")]
    NoOverlay(String, String),
    #[error("no sandbox can be made in `build_dir` ({0}): {1}")]
    NoSandbox(String, String),
}

impl SlotMisfit {
    pub fn is_not_allowed(&self) -> bool {
        matches!(self, Self::NotAllowed(_))
    }
}

impl ProbeExpectation {
    /// Returns why layers are copied, if they are.
    pub fn compare(&self, answer: &ProbeAnswer) -> Result<Option<String>, SlotMisfit> {
        if answer.version != self.version || answer.probe != PROBE_FORMAT {
            return Err(SlotMisfit::Version(cut(&answer.version, LONGEST_WORD), self.version.clone()));
        }
        if answer.machine != self.machine {
            return Err(SlotMisfit::Machine(cut(&answer.machine, LONGEST_WORD), self.machine.clone()));
        }
        match (answer.number, &answer.failure) {
            (Some(number), _) if number == self.number => {}
            (None, Some(ProbeFailure::Other(reason))) => {
                return Err(SlotMisfit::Work(cut(reason, LONGEST_REASON)));
            }
            _ => return Err(SlotMisfit::OtherWork(self.work.clone())),
        }
        let failure = answer.failure.as_ref().map(|failure| match failure {
            ProbeFailure::Namespaces(reason) => SlotMisfit::NotAllowed(cut(reason, LONGEST_REASON)),
            ProbeFailure::Overlay(reason) => {
                SlotMisfit::NoOverlay(self.build_dir.clone(), cut(reason, LONGEST_REASON))
            }
            ProbeFailure::Other(reason) => {
                SlotMisfit::NoSandbox(self.build_dir.clone(), cut(reason, LONGEST_REASON))
            }
        });
        for (name, theirs, ours) in [("scan", answer.scan, self.scan), ("build", answer.build, self.build)] {
            // Without a digest, the failure is more informative.
            if theirs != ours && (theirs.is_some() || failure.is_none()) {
                return Err(SlotMisfit::Driver(name));
            }
        }
        let copies = answer.copies.as_ref().map(|reason| cut(reason, LONGEST_REASON));
        failure.map_or(Ok(copies), Err)
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> ProbeExpectation {
        ProbeExpectation {
            work: "/srv/bulk".to_owned(),
            build_dir: "/srv/bulk/build".to_owned(),
            version: "1.0".to_owned(),
            machine: "x86_64".to_owned(),
            number: 7,
            scan: Some(Blake3Digest::of(b"scan")),
            build: Some(Blake3Digest::of(b"build")),
        }
    }

    fn right() -> ProbeAnswer {
        ProbeAnswer {
            probe: PROBE_FORMAT,
            version: "1.0".to_owned(),
            machine: "x86_64".to_owned(),
            number: Some(7),
            scan: Some(Blake3Digest::of(b"scan")),
            build: Some(Blake3Digest::of(b"build")),
            copies: None,
            failure: None,
        }
    }

    #[track_caller]
    fn misfit(answer: &ProbeAnswer) -> String {
        expected().compare(answer).unwrap_err().to_string()
    }

    #[test]
    fn a_slot_fits_where_everything_is_as_it_is_here() {
        assert_eq!(expected().compare(&right()), Ok(None));
        let copies = Some("x".repeat(5000));
        let misfit = expected().compare(&ProbeAnswer { copies, ..right() }).unwrap();
        assert_eq!(misfit.map(|reason| reason.len()), Some(LONGEST_REASON));
    }

    #[test]
    fn what_is_not_as_it_is_here_is_named() {
        let other = |digest: &[u8]| Some(Blake3Digest::of(digest));
        assert_eq!(
            misfit(&ProbeAnswer { version: "2.0".to_owned(), number: None, ..right() }),
            "patchadm has version 2.0 there and 1.0 here: install the same one"
        );
        assert!(misfit(&ProbeAnswer { machine: "arm".to_owned(), ..right() }).contains("type arm"));
        for number in [Some(8), None] {
            assert!(
                misfit(&ProbeAnswer { number, ..right() })
                    .starts_with("/srv/bulk is a different directory there")
            );
        }
        let missing = Some(ProbeFailure::Other("/srv/bulk is not a directory of a bulk build".to_owned()));
        assert_eq!(
            misfit(&ProbeAnswer { number: None, failure: missing, ..right() }),
            "/srv/bulk is not a directory of a bulk build"
        );
        assert!(misfit(&ProbeAnswer { scan: other(b"x"), ..right() }).starts_with("`scan` of the driver"));
        assert!(misfit(&ProbeAnswer { build: None, ..right() }).starts_with("`build` of the driver"));
    }

    #[test]
    fn what_stands_against_a_sandbox_is_told_with_what_to_do() {
        let failed = |failure| ProbeAnswer { failure: Some(failure), scan: None, build: None, ..right() };
        let namespaces = failed(ProbeFailure::Namespaces("not allowed".to_owned()));
        assert!(expected().compare(&namespaces).unwrap_err().is_not_allowed());
        let overlay = misfit(&failed(ProbeFailure::Overlay("no overlay".to_owned())));
        assert!(overlay.contains("/srv/bulk/build") && overlay.contains("local file system"), "{overlay}");
        let other = misfit(&failed(ProbeFailure::Other("x".repeat(5000))));
        assert!(other.starts_with("no sandbox can be made") && other.len() < 1200, "{other}");
    }

    #[test]
    fn an_answer_of_another_version_is_read_as_far_as_it_says_so() {
        let answer: ProbeAnswer = serde_json::from_str(r#"{"probe":9,"version":"9","new":{}}"#).unwrap();
        assert!(misfit(&answer).contains("version 9 there"));
        assert!(serde_json::from_str::<ProbeAnswer>("{}").is_err());
    }
}
