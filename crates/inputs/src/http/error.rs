//! The reasons why a file was not fetched.

/// The reason a file was not fetched.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {problem}")]
pub struct HttpError {
    /// The address.
    pub address: String,
    /// The problem.
    pub problem: HttpProblem,
}

/// A problem between a server and this program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpProblem {
    /// The server has no such file.
    #[error("the server does not have it (status {0})")]
    NotThere(u16),
    /// The server refuses, or cannot answer.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// The connection cannot be made, or breaks.
    #[error("{0}")]
    Broken(String),
    /// The certificate of the server is of an authority that nobody believes.
    #[error("no authority that is believed issued the certificate of the server")]
    UnknownIssuer,
    /// The server, or its certificate, is not to be believed.
    #[error("{0}")]
    Untrusted(String),
    /// The server sends next to nothing.
    #[error("the server sends fewer than {0} bytes a second")]
    Slow(u64),
    /// The file ends too early.
    #[error("the connection ended after {got} of {size} bytes")]
    Cut {
        /// The bytes that came.
        got: u64,
        /// The size of the file.
        size: u64,
    },
    /// The file has another size than it should.
    #[error("it has {found}, and should have {size} bytes")]
    Size {
        /// The size, in words.
        found: String,
        /// The size that it should have.
        size: u64,
    },
    /// The server sends another part of the file than it was asked for.
    #[error("the server sends another part of the file than it was asked for")]
    OtherRange,
    /// A redirect leads on and on.
    #[error("it is redirected more than 5 times")]
    Redirects,
    /// A redirect leads nowhere.
    #[error("it is redirected to what is no address: {0}")]
    BadRedirect(String),
    /// A redirect leads away from `https:`.
    #[error("it is redirected from https to <{0}>")]
    Downgrade(String),
    /// The server compresses although it was told not to.
    #[error("the server sends it compressed as <{0}>, which nobody asked for")]
    Compressed(String),
    /// The certificates of authorities cannot be read.
    #[error("the certificates in {path} cannot be used: {reason}")]
    Certificates {
        /// The file or directory.
        path: String,
        /// The fault.
        reason: String,
    },
    /// A proxy cannot be used.
    #[error("<{0}> is no proxy; one is named as host:port")]
    Proxy(String),
    /// A proxy speaks a protocol that this program does not.
    #[error("<{0}> is a SOCKS proxy, and only HTTP proxies are supported; one is named as host:port")]
    Socks(String),
    /// A proxy on a command line has a password.
    #[error("<{0}> has a password, which every user of this machine sees on a command line")]
    SeenPassword(String),
    /// The library that speaks HTTP failed by a defect of its own.
    #[error("the HTTP library failed: {0}")]
    Library(String),
    /// The program was built without a network.
    #[error("this program was built without HTTP")]
    NotBuilt,
    /// The caller wants it to end.
    #[error("ended by signal {0}")]
    Interrupted(i32),
}

impl HttpProblem {
    /// Tells whether it may go better at the next attempt.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Broken(_) | Self::Slow(_) | Self::Cut { .. } | Self::OtherRange => true,
            _ => false,
        }
    }
}
