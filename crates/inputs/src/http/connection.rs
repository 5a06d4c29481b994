//! A request in progress: a thread reads what the server sends, and the caller takes it in parts.
//!
//! The caller waits for a part only for a moment at a time, so that it can end regardless of the server. A thread
//! without a listener ends at its next part, or when the server is silent for too long.

use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Error};

use super::address::Address;
use super::error::{HttpError, HttpProblem};
use super::request::{HttpRequest, Validators};
use super::settings::Patience;
use super::tls_problem::tls_problem;

/// The pause between two looks at whether to go on.
const LOOK: Duration = Duration::from_millis(100);

/// The parts in which a file is handed on, in bytes, and how many wait at most.
const PART: usize = 64 << 10;
const MOST_WAITING: usize = 32;

/// A message of the thread.
enum Heard {
    Head(StatusCode, HeaderMap),
    Part(Vec<u8>),
    End,
    Failed(HttpProblem),
}

/// A question that was sent.
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    listener: Listener,
}

/// The content of a file as it comes.
pub struct HttpBody {
    listener: Listener,
    from: u64,
    size: Option<u64>,
    validators: Validators,
}

struct Listener {
    heard: Receiver<Heard>,
    address: String,
    patience: Patience,
    /// How long was waited for a part, and the bytes that came in that time.
    waited: Duration,
    bytes: u64,
}

impl Exchange {
    /// Asks a server, and waits for the head of its answer.
    pub(super) fn begin(
        agent: &Agent,
        request: &HttpRequest<'_>,
        patience: &Patience,
        interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<Self, HttpError> {
        let (teller, heard) = sync_channel(MOST_WAITING);
        let headers = headers_of(request);
        let (agent, address) = (agent.clone(), request.address.clone());
        // It ends by itself; a caller that is no longer interested does not wait for it.
        thread::spawn(move || converse(&agent, &address, &headers, &teller));
        let address = request.address.to_string();
        let mut listener =
            Listener { heard, address, patience: patience.clone(), waited: Duration::ZERO, bytes: 0 };
        match listener.next(patience.connect + patience.connect + patience.first_byte, interrupt)? {
            Heard::Head(status, headers) => Ok(Self { status, headers, listener }),
            Heard::Failed(problem) => Err(listener.error(problem)),
            Heard::Part(_) | Heard::End => {
                Err(listener.error(HttpProblem::Broken("the server does not answer".to_owned())))
            }
        }
    }

    /// Returns the text of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the content that follows.
    pub(super) fn body(self, from: u64, size: Option<u64>, validators: Validators) -> HttpBody {
        HttpBody { listener: self.listener, from, size, validators }
    }
}

impl HttpBody {
    /// Returns the number of bytes that the server leaves out at the beginning.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Returns the size of the whole file, if the server says it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the state of the file.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Returns the next bytes; `None` at the end. A server that sends next to nothing is an error.
    pub fn next_bytes(&mut self, interrupt: &dyn Fn() -> Option<i32>) -> Result<Option<Vec<u8>>, HttpError> {
        let limit = self.listener.patience.slow;
        match self.listener.next(limit, interrupt)? {
            Heard::Part(bytes) => Ok(Some(bytes)),
            Heard::End | Heard::Head(..) => Ok(None),
            Heard::Failed(problem) => Err(self.listener.error(problem)),
        }
    }
}

impl Listener {
    /// Waits for the next message of the thread, unless the speed stays below the slowest for a whole `limit`.
    fn next(&mut self, limit: Duration, interrupt: &dyn Fn() -> Option<i32>) -> Result<Heard, HttpError> {
        loop {
            let began = Instant::now();
            let heard = self.heard.recv_timeout(LOOK);
            self.waited += began.elapsed();
            if let Some(signal) = interrupt() {
                return Err(self.error(HttpProblem::Interrupted(signal)));
            }
            if let Ok(Heard::Part(bytes)) = &heard {
                self.bytes += bytes.len() as u64;
            }
            if self.waited >= limit {
                let least = self.patience.slowest.saturating_mul(limit.as_secs().max(1));
                if self.bytes < least && !matches!(heard, Ok(Heard::End | Heard::Head(..))) {
                    return Err(self.error(HttpProblem::Slow(self.patience.slowest)));
                }
                (self.waited, self.bytes) = (Duration::ZERO, 0);
            }
            match heard {
                Ok(heard) => return Ok(heard),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.error(HttpProblem::Broken("the connection ended".to_owned())));
                }
            }
        }
    }

    fn error(&self, problem: HttpProblem) -> HttpError {
        HttpError { address: self.address.clone(), problem }
    }
}

fn headers_of(request: &HttpRequest<'_>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some((from, condition)) = request.rest.and_then(|(from, known)| Some((from, known.condition()?))) {
        headers.push(("Range", format!("bytes={from}-")));
        headers.push(("If-Range", condition.to_owned()));
    }
    if let Some(known) = request.known {
        if let Some(etag) = &known.etag {
            headers.push(("If-None-Match", etag.clone()));
        } else if let Some(modified) = &known.modified {
            headers.push(("If-Modified-Since", modified.clone()));
        }
    }
    headers
}

/// Sends the request, and passes on what arrives until there is no listener.
fn converse(agent: &Agent, address: &Address, headers: &[(&str, String)], teller: &SyncSender<Heard>) {
    let mut request = agent.get(address.to_string());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answered = without_panic(|| request.call().map_err(|error| problem_of(&error)));
    let last = match answered {
        Err(problem) => Heard::Failed(problem),
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            let head = Heard::Head(parts.status, parts.headers);
            if teller.send(head).is_err() {
                return;
            }
            match without_panic(|| hand_on(&mut body.into_reader(), teller)) {
                Err(problem) => Heard::Failed(problem),
                Ok(false) => return,
                Ok(true) => Heard::End,
            }
        }
    };
    // The listener may have gone.
    let _ = teller.send(last);
}

/// Hands on all bytes; returns false if there is no listener.
fn hand_on(body: &mut ureq::BodyReader<'_>, teller: &SyncSender<Heard>) -> Result<bool, HttpProblem> {
    let mut buffer = vec![0; PART];
    loop {
        let count = body.read(&mut buffer).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => problem_of(&error),
            Err(error) => HttpProblem::Broken(without_number(&error.to_string())),
        })?;
        let part = buffer.get(..count).unwrap_or_default().to_vec();
        if part.is_empty() {
            return Ok(true);
        }
        if teller.send(Heard::Part(part)).is_err() {
            return Ok(false);
        }
    }
}

/// Calls the library: a panic in it is an error like any other.
pub(super) fn without_panic<T>(work: impl FnOnce() -> Result<T, HttpProblem>) -> Result<T, HttpProblem> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        Err(HttpProblem::Library(said.chars().take(200).flat_map(char::escape_debug).collect()))
    })
}

/// Returns the words of the system without its number.
fn without_number(text: &str) -> String {
    text.split(" (os error").next().unwrap_or(text).to_owned()
}

fn problem_of(error: &Error) -> HttpProblem {
    match error {
        Error::HostNotFound => HttpProblem::Broken("the host is not known".to_owned()),
        Error::Timeout(_) => HttpProblem::Broken("the server takes too long".to_owned()),
        Error::Rustls(error) => tls_problem(error),
        Error::Tls(_) | Error::Pem(_) => HttpProblem::Untrusted(error.to_string()),
        Error::Io(inner) => match inner.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => tls_problem(error),
            None => HttpProblem::Broken(without_number(&inner.to_string())),
        },
        error => HttpProblem::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_library_is_an_error_and_not_tried_again() {
        let failed = without_panic::<()>(|| panic!("a defect"));
        let problem = failed.unwrap_err();
        assert_eq!(problem.to_string(), "the HTTP library failed: a defect");
        assert!(!problem.is_passing());
    }
}
