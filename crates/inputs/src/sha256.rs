//! SHA-256 of bytes, of a stream, and of parts in parallel with their receiver. With the feature `http`, ring computes
//! it (with processor extensions); without it, the crate `sha2`.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

pub use implementation::Sha256;

#[cfg(feature = "http")]
mod implementation {
    use ring::digest::{Context, SHA256};

    use super::Sha256Sum;

    #[derive(Clone)]
    pub struct Sha256(Context);

    impl Default for Sha256 {
        fn default() -> Self {
            Self(Context::new(&SHA256))
        }
    }

    impl Sha256 {
        pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
            self.0.update(bytes.as_ref());
        }

        pub fn finalize(self) -> Sha256Sum {
            let mut sum = Sha256Sum::default();
            // Both have 32 bytes.
            sum.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
            sum
        }
    }
}

#[cfg(not(feature = "http"))]
mod implementation {
    use sha2::Digest as _;

    use super::Sha256Sum;

    #[derive(Clone, Default)]
    pub struct Sha256(sha2::Sha256);

    impl Sha256 {
        pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
            self.0.update(bytes);
        }

        pub fn finalize(self) -> Sha256Sum {
            self.0.finalize().into()
        }
    }
}

pub type Sha256Sum = [u8; 32];

impl Sha256 {
    pub fn digest(bytes: impl AsRef<[u8]>) -> Sha256Sum {
        let mut sum = Self::default();
        sum.update(bytes);
        sum.finalize()
    }

    pub fn new() -> Self {
        Self::default()
    }
}

impl io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// A [`RunningDigest`] digests the first bytes at once, and later ones in a thread. Only a few parts may wait for it,
// then the receiver waits as well. The caller gets digested buffers back to fill them again.

/// Most patches are smaller, so that they need no thread.
const AT_ONCE: u64 = 1 << 20;

const MOST_WAITING: usize = 16;

pub(crate) struct RunningDigest {
    size: u64,
    most_waiting: usize,
    worker: DigestWorker,
}

enum DigestWorker {
    Caller(Sha256),
    Thread { parts: SyncSender<Vec<u8>>, digested: Receiver<Vec<u8>>, thread: JoinHandle<Sha256> },
}

impl RunningDigest {
    pub(crate) fn new() -> Self {
        Self::of_parts_waiting(MOST_WAITING)
    }

    pub(crate) fn of_parts_waiting(most_waiting: usize) -> Self {
        Self { size: 0, most_waiting, worker: DigestWorker::Caller(Sha256::new()) }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns a used buffer to fill again, if there is one.
    pub(crate) fn update(&mut self, part: Vec<u8>) -> Option<Vec<u8>> {
        self.size += part.len() as u64;
        match &mut self.worker {
            DigestWorker::Caller(sum) => {
                sum.update(&part);
                if self.size > AT_ONCE {
                    self.worker = in_thread(sum.clone(), self.most_waiting);
                }
                Some(part)
            }
            DigestWorker::Thread { parts, digested, .. } => {
                if parts.send(part).is_ok() {
                    return digested.try_recv().ok();
                }
                // It has panicked; the caller panics when it takes the digest back.
                self.take_back();
                None
            }
        }
    }

    pub(crate) fn sha256(&mut self) -> Sha256Sum {
        self.take_back().finalize()
    }

    /// Waits for the thread, if any, and continues without it.
    fn take_back(&mut self) -> Sha256 {
        let none = DigestWorker::Caller(Sha256::new());
        let sum = match std::mem::replace(&mut self.worker, none) {
            DigestWorker::Caller(sum) => sum,
            DigestWorker::Thread { parts, thread, .. } => {
                drop(parts);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        self.worker = DigestWorker::Caller(sum.clone());
        sum
    }
}

fn in_thread(sum: Sha256, most_waiting: usize) -> DigestWorker {
    let (parts, waiting) = sync_channel(most_waiting);
    let (used, digested) = channel();
    let begun = sum.clone();
    match thread::Builder::new().spawn(move || digest(begun, &waiting, &used)) {
        Ok(thread) => DigestWorker::Thread { parts, digested, thread },
        Err(_) => DigestWorker::Caller(sum),
    }
}

fn digest(mut sum: Sha256, waiting: &Receiver<Vec<u8>>, used: &Sender<Vec<u8>>) -> Sha256 {
    for part in waiting {
        sum.update(&part);
        // The receiver may have gone.
        let _ = used.send(part);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    #[test]
    fn the_digest_of_any_length_is_that_of_another_implementation() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        for length in (0..300).chain([4_095, 4_096, 65_537, 100_000]) {
            let expected: Sha256Sum = sha2::Sha256::digest(&bytes[..length]).into();
            assert_eq!(Sha256::digest(&bytes[..length]), expected, "{length}");
            let mut sum = Sha256::new();
            for part in bytes[..length].chunks(77) {
                sum.update(part);
            }
            assert_eq!(sum.clone().finalize(), expected, "{length}, in parts");
            sum.update(b"more");
            assert_ne!(sum.finalize(), expected, "a clone goes on by itself");
        }
    }

    #[test]
    fn a_digest_is_the_same_with_a_thread_and_without_one() {
        for parts in [0, 1, 15, 16, 17, 40, 200] {
            let (mut running, mut all) = (RunningDigest::new(), Vec::new());
            for number in 0..parts {
                let part = vec![number; 65_000 + usize::from(number)];
                all.extend_from_slice(&part);
                running.update(part);
            }
            assert_eq!(
                (running.size(), running.sha256()),
                (all.len() as u64, Sha256::digest(&all)),
                "{parts}"
            );
        }
    }

    #[test]
    fn a_buffer_comes_back_with_what_was_in_it_and_few_are_ever_needed() {
        let (mut running, mut all, mut spare, mut made) =
            (RunningDigest::of_parts_waiting(2), Vec::new(), Vec::new(), 0);
        for number in 0..100_u8 {
            let mut part = spare.pop().unwrap_or_else(|| {
                made += 1;
                Vec::new()
            });
            part.clear();
            part.resize(100_000, number);
            all.extend_from_slice(&part);
            spare.extend(running.update(part));
        }
        assert_eq!(running.sha256(), Sha256::digest(&all));
        assert!(
            made <= 5,
            "{made}: one is filled, one is digested, two wait, and one may be on its way back"
        );
    }

    #[test]
    fn bytes_may_follow_after_the_digest_was_asked_for() {
        let (mut running, mut all) = (RunningDigest::new(), Vec::new());
        for number in 0..100_u8 {
            let part = vec![number; 50_000];
            all.extend_from_slice(&part);
            running.update(part);
            if number % 30 == 29 {
                assert_eq!(running.sha256(), Sha256::digest(&all), "{number}");
                assert_eq!(running.sha256(), Sha256::digest(&all), "{number}, asked again");
            }
        }
    }
}
