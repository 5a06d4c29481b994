//! The HTTP client: requests, redirects, and the trusted parts of an answer. A thread reads the answer; the caller
//! waits only for moments, so that it can stop regardless of the server. Without a listener, the thread ends at its
//! next part, or when the server is silent for too long.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, DefaultConnector};
use ureq::{Agent, Error, Proxy};

use super::address::Address;
use super::distant::{DistantResolver, LocalHost, must_be_distant};
use super::overhead::{self, BUFFER, LARGEST_HEAD, OverheadLimit};
use super::tls::{believed, tls_problem};
use super::{HttpAnswer, HttpError, HttpProblem, HttpRequest, HttpSettings, Patience, Validators};
use crate::password::without_password;

const MOST_REDIRECTS: usize = 5;

/// Reuses its connections.
#[derive(Debug)]
pub struct HttpClient {
    settings: HttpSettings,
    agents: Agents,
}

impl HttpClient {
    /// Creates the client; nothing is reached or read yet.
    pub fn new(settings: &HttpSettings) -> Self {
        Self { settings: settings.clone(), agents: Agents::default() }
    }

    pub fn patience(&self) -> &Patience {
        &self.settings.patience
    }

    /// Returns the whole file, the requested rest, or that nothing changed; everything else is an error.
    pub fn get(
        &self,
        request: &HttpRequest<'_>,
        interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<HttpAnswer, HttpError> {
        let mut address = request.address.clone();
        for _ in 0..=MOST_REDIRECTS {
            let fail = |problem| HttpError { address: request.address.to_string(), problem };
            if let Some(excepted) = &self.settings.local_hosts {
                must_be_distant(&address, excepted).map_err(fail)?;
            }
            let agent = self.agents.of(&address, &self.settings).map_err(fail)?;
            let asked = HttpRequest { address: &address, ..*request };
            let exchange = Exchange::begin(&agent, &asked, &self.settings.patience, interrupt)?;
            match redirect(&address, &exchange).map_err(fail)? {
                Some(next) => address = next,
                None => return answer(exchange, request).map_err(fail),
            }
        }
        Err(HttpError { address: request.address.to_string(), problem: HttpProblem::Redirects })
    }
}

fn redirect(from: &Address, exchange: &Exchange) -> Result<Option<Address>, HttpProblem> {
    if !matches!(exchange.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    leads_to(from, exchange.header("location").unwrap_or_default()).map(Some)
}

fn leads_to(from: &Address, location: &str) -> Result<Address, HttpProblem> {
    let to = from.redirected(location).map_err(|error| HttpProblem::BadRedirect(error.to_string()))?;
    if from.is_secure() && !to.is_secure() {
        return Err(HttpProblem::Downgrade(to.to_string()));
    }
    Ok(to)
}

fn answer(exchange: Exchange, request: &HttpRequest<'_>) -> Result<HttpAnswer, HttpProblem> {
    let encoding = exchange.header("content-encoding").unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(HttpProblem::Compressed(encoding.chars().take(40).collect()));
    }
    let validators = validators_of(&exchange);
    match (exchange.status, request.rest) {
        (StatusCode::OK, _) => {
            let size = exchange.header("content-length").and_then(|text| text.parse().ok());
            Ok(HttpAnswer::Content(Box::new(exchange.body(0, size, validators))))
        }
        (StatusCode::PARTIAL_CONTENT, Some((from, known))) => {
            let range = exchange.header("content-range").and_then(parse_range);
            match range {
                Some(range) if range.from == from && range.is_to_end() && is_same(known, &validators) => {
                    let size = range.size;
                    Ok(HttpAnswer::Content(Box::new(exchange.body(from, Some(size), validators))))
                }
                _ => Err(HttpProblem::OtherRange),
            }
        }
        (StatusCode::PARTIAL_CONTENT, None) | (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
            Err(HttpProblem::OtherRange)
        }
        (StatusCode::NOT_MODIFIED, _) if request.known.is_some() => Ok(HttpAnswer::Unchanged),
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Err(HttpProblem::NotThere(exchange.status.as_u16())),
        (status, _) => Err(HttpProblem::Status(status.as_u16())),
    }
}

fn validators_of(exchange: &Exchange) -> Validators {
    let strong = |tag: &&str| tag.starts_with('"') && tag.len() <= 1024;
    Validators {
        etag: exchange.header("etag").filter(strong).map(str::to_owned),
        modified: exchange.header("last-modified").filter(|date| date.len() <= 100).map(str::to_owned),
    }
}

/// A server need not repeat its validators.
fn is_same(known: &Validators, now: &Validators) -> bool {
    match (&known.etag, &now.etag) {
        (Some(known), Some(now)) => known == now,
        _ => known.modified.is_none() || now.modified.is_none() || known.modified == now.modified,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContentRange {
    from: u64,
    to: u64,
    size: u64,
}

impl ContentRange {
    fn is_to_end(self) -> bool {
        self.from <= self.to && self.to.checked_add(1) == Some(self.size)
    }
}

fn parse_range(text: &str) -> Option<ContentRange> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    Some(ContentRange { from: from.parse().ok()?, to: to.parse().ok()?, size: size.parse().ok()? })
}

const LOOK: Duration = Duration::from_millis(100);
const PART: usize = 64 << 10;
const MOST_WAITING: usize = 32;

enum Heard {
    Head(StatusCode, HeaderMap),
    Part(Vec<u8>),
    End,
    Failed(HttpProblem),
}

pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    listener: Listener,
}

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
    /// Time spent waiting for a part, and the bytes received meanwhile.
    waited: Duration,
    bytes: u64,
}

impl Exchange {
    pub(super) fn begin(
        agent: &Agent,
        request: &HttpRequest<'_>,
        patience: &Patience,
        interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<Self, HttpError> {
        let (teller, heard) = sync_channel(MOST_WAITING);
        let headers = headers_of(request);
        let (agent, address) = (agent.clone(), request.address.clone());
        // It ends by itself, so nobody waits for it.
        thread::spawn(move || converse(&agent, &address, &headers, &teller));
        let address = request.address.to_string();
        let mut listener =
            Listener { heard, address, patience: patience.clone(), waited: Duration::ZERO, bytes: 0 };
        match listener.next(patience.connect + patience.connect + patience.first_byte, interrupt)? {
            Heard::Head(status, headers) => Ok(Self { status, headers, listener }),
            Heard::Failed(problem) => Err(listener.error(problem)),
            Heard::Part(_) | Heard::End => {
                Err(listener.error(HttpProblem::Broken("the server does not respond".to_owned())))
            }
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn body(self, from: u64, size: Option<u64>, validators: Validators) -> HttpBody {
        HttpBody { listener: self.listener, from, size, validators }
    }
}

impl HttpBody {
    /// Returns the offset of the first byte that the server sends.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Returns the size of the whole file, if the server sends it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

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
    /// Fails if the speed stays below the minimum for a whole `limit`.
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

/// Passes on the answer until there is no listener.
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

fn hand_on(body: &mut ureq::BodyReader<'_>, teller: &SyncSender<Heard>) -> Result<bool, HttpProblem> {
    let mut buffer = vec![0; PART];
    loop {
        let count = body.read(&mut buffer).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => problem_of(&error),
            Err(error) => overhead::problem_in(&error)
                .unwrap_or_else(|| HttpProblem::Broken(without_number(&error.to_string()))),
        })?;
        overhead::restart();
        let part = buffer.get(..count).unwrap_or_default().to_vec();
        if part.is_empty() {
            return Ok(true);
        }
        if teller.send(Heard::Part(part)).is_err() {
            return Ok(false);
        }
    }
}

/// Turns a panic of the HTTP library into an error.
pub(super) fn without_panic<T>(work: impl FnOnce() -> Result<T, HttpProblem>) -> Result<T, HttpProblem> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        Err(HttpProblem::Library(said.chars().take(200).flat_map(char::escape_debug).collect()))
    })
}

/// Without the system's error number.
fn without_number(text: &str) -> String {
    text.split(" (os error").next().unwrap_or(text).to_owned()
}

fn problem_of(error: &Error) -> HttpProblem {
    match error {
        Error::HostNotFound => HttpProblem::Broken("the host is not known".to_owned()),
        Error::Timeout(_) => HttpProblem::Broken("the server takes too long".to_owned()),
        Error::Rustls(error) => tls_problem(error),
        Error::Tls(_) | Error::Pem(_) => HttpProblem::Untrusted(error.to_string()),
        Error::Io(error) => {
            let inner = error.get_ref();
            let of_tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(tls_problem);
            let local = inner.and_then(|inner| inner.downcast_ref::<LocalHost>());
            of_tls
                .or_else(|| local.map(|local| HttpProblem::Local(local.0.clone())))
                .or_else(|| overhead::problem_in(error))
                .unwrap_or_else(|| HttpProblem::Broken(without_number(&error.to_string())))
        }
        Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::BodyStalled => {
            HttpProblem::Malformed(error.to_string())
        }
        error => HttpProblem::Broken(error.to_string()),
    }
}

const NAME: &str = concat!("patchadm/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Default)]
pub(super) struct Agents {
    by_proxy: Mutex<BTreeMap<(Option<String>, bool), Agent>>,
}

impl Agents {
    /// Reads certificates only for the first secure address.
    pub(super) fn of(&self, address: &Address, settings: &HttpSettings) -> Result<Agent, HttpProblem> {
        let key = (settings.proxies.of(address), address.is_secure());
        let mut agents = self.by_proxy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = without_panic(|| agent(key.0.as_deref(), key.1, settings))?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn agent(proxy: Option<&str>, is_secure: bool, settings: &HttpSettings) -> Result<Agent, HttpProblem> {
    if let Some(named) = proxy.filter(|named| settings.proxies.is_seen_by_all && named.contains('@')) {
        return Err(HttpProblem::SeenPassword(shown(named)));
    }
    let used = proxy.map(usable).transpose()?;
    let certificates = if is_secure { believed(settings)? } else { Vec::new() };
    let patience = &settings.patience;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(used)
        .user_agent(NAME)
        .accept_encoding("identity")
        .timeout_connect(Some(patience.connect))
        .timeout_resolve(Some(patience.connect))
        .timeout_recv_response(Some(patience.first_byte))
        .timeout_per_read(Some(patience.slow))
        .max_response_header_size(LARGEST_HEAD)
        .input_buffer_size(BUFFER)
        .tls_config(tls(&certificates))
        .build();
    let connector = DefaultConnector::default().chain(OverheadLimit);
    Ok(match &settings.local_hosts {
        // A proxy is the caller's own, and resolves the hosts itself.
        Some(excepted) if proxy.is_none() => {
            Agent::with_parts(config, connector, DistantResolver { excepted: excepted.clone() })
        }
        _ => Agent::with_parts(config, connector, DefaultResolver::default()),
    })
}

/// The library panics on some proxies.
fn usable(named: &str) -> Result<Proxy, HttpProblem> {
    let (scheme, rest) = named.split_once("://").unwrap_or(("", named));
    if scheme.to_ascii_lowercase().starts_with("socks") {
        return Err(HttpProblem::Socks(shown(named)));
    }
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host).trim_end_matches('/');
    let is_known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_known || Address::parse(&format!("http://{host}")).is_err() {
        return Err(HttpProblem::Proxy(shown(named)));
    }
    Proxy::new(named).map_err(|_| HttpProblem::Proxy(shown(named)))
}

fn shown(proxy: &str) -> String {
    without_password(proxy).chars().take(200).flat_map(char::escape_debug).collect()
}

fn tls(certificates: &[Certificate<'static>]) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Proxies;

    #[test]
    fn no_redirect_leads_from_https_to_http() {
        let secure = Address::parse("https://h/a").unwrap();
        assert_eq!(leads_to(&secure, "/b").unwrap().to_string(), "https://h/b");
        assert!(
            matches!(leads_to(&secure, "http://h/b"), Err(HttpProblem::Downgrade(to)) if to == "http://h/b")
        );
        assert!(matches!(leads_to(&secure, ""), Ok(to) if to.to_string() == "https://h/"));
        assert!(matches!(leads_to(&secure, "ftp://h/b"), Err(HttpProblem::BadRedirect(_))));
        let plain = Address::parse("http://h/a").unwrap();
        assert!(leads_to(&plain, "https://h/b").unwrap().is_secure());
    }

    #[test]
    fn no_address_of_a_stranger_and_no_redirect_leads_to_this_machine() {
        use std::io::{BufRead as _, BufReader, Write as _};
        use std::net::TcpListener;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // It answers only one request: no other one may reach it.
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            assert!(lines.take_while(|line| !line.is_empty()).count() > 0);
            let head = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation:";
            write!(stream, "{head} http://2130706433:{port}/secret\r\n\r\n").unwrap();
        });
        let settings = |excepted: &[&str]| HttpSettings {
            local_hosts: Some(excepted.iter().map(|host| (*host).to_owned()).collect()),
            ..HttpSettings::default()
        };
        let get = |host: &str, excepted: &[&str]| {
            let address = Address::parse(&format!("http://{host}:{port}/x")).unwrap();
            let answer = HttpClient::new(&settings(excepted)).get(&HttpRequest::whole(&address), &|| None);
            answer.map(drop).map_err(|error| error.problem)
        };
        let is_local = |problem: &HttpProblem| matches!(problem, HttpProblem::Local(_));
        for host in ["127.0.0.1", "[::1]", "2130706433"] {
            let problem = get(host, &["127.0.0.2"]).unwrap_err();
            assert!(is_local(&problem) && !problem.is_passing(), "{host}: {problem}");
        }
        // The redirect leads to another name of the same host.
        let problem = get("127.0.0.1", &["127.0.0.1"]).unwrap_err();
        assert!(is_local(&problem), "{problem}");
        served.join().unwrap();
    }

    #[test]
    fn a_range_fits_if_it_goes_to_the_end() {
        let range = parse_range("bytes 5-9/10").unwrap();
        assert_eq!(range, ContentRange { from: 5, to: 9, size: 10 });
        assert!(range.is_to_end());
        assert!(!parse_range("bytes 5-8/10").unwrap().is_to_end());
        assert!(!parse_range("bytes 9-5/6").unwrap().is_to_end());
        for text in ["bytes 5-9/*", "bytes */10", "5-9/10", "bytes -9/10", "bytes 5-18446744073709551616/1"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }

    #[test]
    fn a_panic_of_the_library_is_an_error_and_not_tried_again() {
        let failed = without_panic::<()>(|| panic!("a defect"));
        let problem = failed.unwrap_err();
        assert_eq!(problem.to_string(), "the HTTP library failed: a defect");
        assert!(!problem.is_passing());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
        for (named, shown) in [
            ("http://joe:secret@", "<http://...@> is not a proxy"),
            ("http://joe:secret@h:99999", "<http://...@h:99999> is not a proxy"),
            ("ftp://joe:secret@h:1", "<ftp://...@h:1> is not a proxy"),
            ("http://https:joe:secret@h h", "<http://...@h h> is not a proxy"),
            ("socks5://joe:secret@h:1", "<socks5://...@h:1> is a SOCKS proxy"),
            ("SOCKS4A://h:1", "<SOCKS4A://h:1> is a SOCKS proxy"),
        ] {
            let said = usable(named).unwrap_err().to_string();
            assert!(said.starts_with(shown) && !said.contains("secret"), "{said}");
        }
        let seen = HttpSettings {
            proxies: Proxies { is_seen_by_all: true, ..Proxies::default() },
            ..HttpSettings::default()
        };
        let said = agent(Some("http://joe:secret@h:1"), false, &seen).unwrap_err().to_string();
        assert!(said.contains("sees on a command line") && !said.contains("secret"), "{said}");
        assert!(agent(Some("http://joe:secret@h:1"), false, &HttpSettings::default()).is_ok());
        for named in ["http://h:1", "https://h", "http://joe:secret@h:1", "http://[::1]:3128/"] {
            assert!(usable(named).is_ok(), "{named}");
        }
    }
}
