//! The SHA-256 of bytes that come part by part, computed beside whoever receives them.
//!
//! The first bytes are digested at once. More of them get a thread of their own, which takes them in their order; the parts
//! that wait for it are few, and whoever has another one waits, too. Where the system gives no thread, every part is
//! digested at once. A thread that nobody asks for the digest any more ends by itself.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

/// The bytes that are digested before there is a thread: most patches are smaller.
const AT_ONCE: u64 = 1 << 20;

/// The parts that wait for the thread at most.
const MOST_WAITING: usize = 16;

/// A digest under way.
pub(super) struct RunningDigest {
    size: u64,
    worker: DigestWorker,
}

/// Who computes the digest.
enum DigestWorker {
    Caller(Sha256),
    Thread { parts: SyncSender<Vec<u8>>, thread: JoinHandle<Sha256> },
}

impl RunningDigest {
    /// Begins with no bytes.
    pub(super) fn new() -> Self {
        Self { size: 0, worker: DigestWorker::Caller(Sha256::new()) }
    }

    /// The number of bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, part: Vec<u8>) {
        self.size += part.len() as u64;
        match &mut self.worker {
            DigestWorker::Caller(sum) => {
                sum.update(part);
                if self.size > AT_ONCE {
                    self.worker = in_thread(sum.clone());
                }
            }
            DigestWorker::Thread { parts, .. } => {
                if parts.send(part).is_err() {
                    // It has panicked, and the caller does so when it takes the digest back.
                    self.take_back();
                }
            }
        }
    }

    /// Computes the SHA-256 of all bytes so far.
    pub(super) fn sha256(&mut self) -> [u8; 32] {
        self.take_back().finalize().into()
    }

    /// Waits for the thread, if there is one, and goes on without it.
    fn take_back(&mut self) -> Sha256 {
        let none = DigestWorker::Caller(Sha256::new());
        let sum = match std::mem::replace(&mut self.worker, none) {
            DigestWorker::Caller(sum) => sum,
            DigestWorker::Thread { parts, thread } => {
                drop(parts);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        self.worker = DigestWorker::Caller(sum.clone());
        sum
    }
}

/// Hands a digest to a thread, if the system has one.
fn in_thread(sum: Sha256) -> DigestWorker {
    let (parts, waiting) = sync_channel(MOST_WAITING);
    let begun = sum.clone();
    match thread::Builder::new().spawn(move || digest(begun, &waiting)) {
        Ok(thread) => DigestWorker::Thread { parts, thread },
        Err(_) => DigestWorker::Caller(sum),
    }
}

fn digest(mut sum: Sha256, waiting: &Receiver<Vec<u8>>) -> Sha256 {
    for part in waiting {
        sum.update(part);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::sha256;

    #[test]
    fn a_digest_is_the_same_with_a_thread_and_without_one() {
        for parts in [0, 1, 15, 16, 17, 40, 200] {
            let (mut running, mut all) = (RunningDigest::new(), Vec::new());
            for number in 0..parts {
                let part = vec![number; 65_000 + usize::from(number)];
                all.extend_from_slice(&part);
                running.update(part);
            }
            assert_eq!((running.size(), running.sha256()), (all.len() as u64, sha256(&all)), "{parts}");
        }
    }

    #[test]
    fn bytes_may_follow_after_the_digest_was_asked_for() {
        let (mut running, mut all) = (RunningDigest::new(), Vec::new());
        for number in 0..100_u8 {
            let part = vec![number; 50_000];
            all.extend_from_slice(&part);
            running.update(part);
            if number % 30 == 29 {
                assert_eq!(running.sha256(), sha256(&all), "{number}");
                assert_eq!(running.sha256(), sha256(&all), "{number}, asked again");
            }
        }
    }
}
