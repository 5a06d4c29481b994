//! Work of several threads, with the results in the order of the questions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

type AnsweredJob<T, R> = (T, SyncSender<R>);

/// Threads that answer questions. The caller ensures that not too many questions are in progress ([`Self::under_way`]);
/// each holds its data in memory.
pub(super) struct InOrder<T, R> {
    jobs: Option<Sender<AnsweredJob<T, R>>>,
    answers: VecDeque<Receiver<R>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static, R: Send + 'static> InOrder<T, R> {
    /// Starts `threads` threads, each with a worker of its own.
    pub(super) fn new<W: FnMut(T) -> R + Send + 'static>(threads: usize, worker: impl Fn() -> W) -> Self {
        let (jobs, waiting) = channel::<AnsweredJob<T, R>>();
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let (waiting, work) = (waiting.clone(), worker());
            std::thread::spawn(move || answer(&waiting, work))
        };
        Self { jobs: Some(jobs), answers: VecDeque::new(), threads: (0..threads.max(1)).map(start).collect() }
    }

    /// Returns the number of questions whose answer has not been taken yet.
    pub(super) fn under_way(&self) -> usize {
        self.answers.len()
    }

    /// Asks a question.
    pub(super) fn ask(&mut self, question: T) {
        let (answer, receiver) = sync_channel(1);
        self.answers.push_back(receiver);
        if let Some(jobs) = &self.jobs {
            // If all threads are gone, the missing answer shows it.
            let _ = jobs.send((question, answer));
        }
    }

    /// Waits for the answer to the oldest question; returns `None` if there is no question, or its thread failed.
    pub(super) fn answer(&mut self) -> Option<R> {
        self.answers.pop_front()?.recv().ok()
    }
}

fn answer<T, R>(waiting: &Mutex<Receiver<AnsweredJob<T, R>>>, mut work: impl FnMut(T) -> R) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((question, to)) = job else { return };
        // If the whole work was given up, no one waits for the answer any more.
        let _ = to.send(work(question));
    }
}

impl<T, R> Drop for InOrder<T, R> {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that failed has given no answer, which its owner has noticed.
            let _ = thread.join();
        }
    }
}

impl<T, R> fmt::Debug for InOrder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder")
            .field("threads", &self.threads.len())
            .field("under_way", &self.answers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions_whichever_thread_is_faster() {
        let mut pool = InOrder::new(3, || {
            |number: u64| {
                std::thread::sleep(std::time::Duration::from_millis((7 - number) % 5));
                number * 2
            }
        });
        (0..7).for_each(|number| pool.ask(number));
        assert_eq!(pool.under_way(), 7);
        let answers: Vec<u64> = std::iter::from_fn(|| pool.answer()).collect();
        assert_eq!(answers, [0, 2, 4, 6, 8, 10, 12]);
    }

    #[test]
    fn a_thread_that_fails_leaves_its_answer_out() {
        let mut pool = InOrder::new(1, || |number: u32| 1 / number.checked_sub(1).unwrap());
        pool.ask(0);
        assert_eq!(pool.answer(), None);
    }
}
