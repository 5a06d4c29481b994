//! Messages between the program and its second process.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::{ProcessIdentity, ScriptEnd};

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HostOrder {
    Open(OpenOrder),
    Run(RunOrder),
    Go,
    Interrupt,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenOrder {
    pub(super) root: OsString,
    pub(super) temporary: OsString,
    pub(super) user: Option<(u32, u32)>,
    pub(super) absolute_tools: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunOrder {
    pub(super) file: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) directory: OsString,
    pub(super) trace: bool,
    pub(super) limit_ms: Option<u64>,
    pub(super) session: ScriptSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ScriptSession {
    /// The session of the second process; the script has its own process group in it.
    OfCaller,
    Own,
    Terminal,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SupervisorAnswer {
    /// Answers Open: the private directory, and why absolute tools are missing, if so.
    Ready {
        directory: OsString,
        absolute_tools: Option<String>,
    },
    /// Answers Open: another process holds the lock.
    Locked {
        path: String,
        holder: String,
    },
    /// Answers Open or Run.
    Failed {
        reason: String,
    },
    /// Answers Run: the process exists and waits to begin.
    Began(ProcessIdentity),
    Ended(ScriptEnd),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_bytes_of_a_path_arrive() {
        use std::os::unix::ffi::OsStringExt;
        let root = OsString::from_vec(b"/r\xff\n".to_vec());
        let opening =
            OpenOrder { root: root.clone(), temporary: "/t".into(), user: None, absolute_tools: true };
        let text = serde_json::to_vec(&HostOrder::Open(opening)).unwrap();
        let Ok(HostOrder::Open(opening)) = serde_json::from_slice(&text) else { panic!("another message") };
        assert_eq!(opening.root, root);
    }
}
