//! A server in this process that answers as a test tells it to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The path.
    pub(super) path: String,
    /// The headers, names in small letters.
    pub(super) headers: Vec<(String, String)>,
    /// The number of requests before this one.
    pub(super) before: usize,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first requested byte.
    pub(super) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// A step of an answer.
pub(super) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one by one, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends bytes over and over until no client receives them.
    Endlessly(Vec<u8>),
    /// Says nothing for a while.
    Wait(Duration),
}

/// A server at a port of its own. Its thread ends with the process.
pub(super) struct FaultyServer {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FaultyServer {
    pub(super) fn begin(answer: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || converse(&stream, &log, &*answer));
            }
        });
        Self { port, asked }
    }

    /// Returns the address of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Returns all requests.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn converse(stream: &TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Vec<Step>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let mut asked =
        Asked { path: first.split(' ').nth(1).unwrap_or_default().to_owned(), ..Asked::default() };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        asked.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    {
        let mut log = log.lock().unwrap();
        asked.before = log.len();
        log.push(asked.clone());
    }
    let mut stream = stream;
    for step in answer(&asked) {
        let sent = match step {
            Step::Send(bytes) => stream.write_all(&bytes),
            Step::Drip(bytes, pause) => bytes.iter().try_for_each(|byte| {
                thread::sleep(pause);
                stream.write_all(&[*byte])
            }),
            Step::Endlessly(bytes) => loop {
                if let Err(error) = stream.write_all(&bytes) {
                    break Err(error);
                }
            },
            Step::Wait(time) => {
                thread::sleep(time);
                Ok(())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Returns the head of an answer, which ends with the connection.
pub(super) fn head(status: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{}\r\n", lines.concat()).into_bytes()
}

/// Returns an answer with its right length.
pub(super) fn whole(status: &str, body: &[u8]) -> Vec<Step> {
    let length = [("Content-Length", body.len().to_string()), ("ETag", "\"one\"".to_owned())];
    vec![Step::Send(head(status, &length)), Step::Send(body.to_vec())]
}

/// Returns the rest of a file, as a good server sends it.
pub(super) fn rest(body: &[u8], from: usize) -> Vec<Step> {
    let left = body.get(from..).unwrap_or_default();
    let headers = [
        ("Content-Length", left.len().to_string()),
        ("Content-Range", format!("bytes {from}-{}/{}", body.len() - 1, body.len())),
        ("ETag", "\"one\"".to_owned()),
    ];
    vec![Step::Send(head("206 Partial Content", &headers)), Step::Send(left.to_vec())]
}
