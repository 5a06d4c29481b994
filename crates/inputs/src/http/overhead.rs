//! A limit on the bytes that a server sends without one byte of the file. The HTTP library reads trailers without end.

use std::cell::Cell;
use std::io;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::HttpProblem;

pub(super) const LARGEST_HEAD: usize = 64 << 10;
pub(super) const BUFFER: usize = 128 << 10;

/// A head, and a buffer of the body that was read with it.
const MOST: u64 = (LARGEST_HEAD + BUFFER) as u64;

thread_local! {
    /// Each exchange has its own thread.
    static RECEIVED: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug, thiserror::Error)]
#[error("it has more than {} KiB without a byte of the file", MOST >> 10)]
struct Overhead;

/// Bytes of the file have come.
pub(super) fn restart() {
    RECEIVED.set(0);
}

pub(super) fn problem_in(error: &io::Error) -> Option<HttpProblem> {
    let is_overhead = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Overhead>);
    is_overhead.then(|| HttpProblem::Malformed(Overhead.to_string()))
}

/// The last connector of a chain.
#[derive(Debug)]
pub(super) struct OverheadLimit;

#[derive(Debug)]
pub(super) struct LimitedTransport<T>(T);

impl<In: Transport> Connector<In> for OverheadLimit {
    type Out = LimitedTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(LimitedTransport))
    }
}

impl<T: Transport> Transport for LimitedTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let before = self.0.buffers().input().len();
        let has_input = self.0.await_input(timeout)?;
        let now = self.0.buffers().input().len();
        let received = RECEIVED.get() + now.saturating_sub(before) as u64;
        RECEIVED.set(received);
        if received > MOST {
            return Err(Error::Io(io::Error::new(io::ErrorKind::InvalidData, Overhead)));
        }
        Ok(has_input)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
