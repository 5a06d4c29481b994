//! A client: requests, redirects, and the trusted parts of an answer.

use ureq::http::StatusCode;

use super::address::Address;
use super::agents::Agents;
use super::answer::HttpAnswer;
use super::connection::Exchange;
use super::error::{HttpError, HttpProblem};
use super::request::{HttpRequest, Validators};
use super::settings::{HttpSettings, Patience};

/// The most redirects on the way to a file.
const MOST_REDIRECTS: usize = 5;

/// A client, which keeps its connections for the next question.
#[derive(Debug)]
pub struct HttpClient {
    settings: HttpSettings,
    agents: Agents,
}

impl HttpClient {
    /// Makes the client; nothing is reached or read yet.
    pub fn new(settings: &HttpSettings) -> Self {
        Self { settings: settings.clone(), agents: Agents::default() }
    }

    /// Returns how long servers may take.
    pub fn patience(&self) -> &Patience {
        &self.settings.patience
    }

    /// Asks for a file. The answer is the whole file, the rest that was asked for, or that nothing changed; everything else
    /// is an error.
    pub fn get(
        &self,
        request: &HttpRequest<'_>,
        interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<HttpAnswer, HttpError> {
        let mut address = request.address.clone();
        for _ in 0..=MOST_REDIRECTS {
            let fail = |problem| HttpError { address: request.address.to_string(), problem };
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

/// Returns where an answer redirects to, if it does.
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

/// Tells whether the answer is of the same state of the file. A server need not say it again.
fn is_same(known: &Validators, now: &Validators) -> bool {
    match (&known.etag, &now.etag) {
        (Some(known), Some(now)) => known == now,
        _ => known.modified.is_none() || now.modified.is_none() || known.modified == now.modified,
    }
}

/// `Content-Range: bytes FROM-TO/SIZE`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
