//! Whoever is told of a task: events as they happen, and now and then that it goes on.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::order::TaskEvent;

/// Whoever is told of a task.
pub(super) struct TaskTeller {
    shared: Arc<Mutex<Told>>,
    is_ended: Arc<AtomicBool>,
}

/// Where events go, and what is told of a task that goes on.
struct Told {
    out: Box<dyn Write + Send>,
    memory: u64,
    log: u64,
}

impl Told {
    fn tell(&mut self, event: &TaskEvent) -> io::Result<()> {
        let line = serde_json::to_vec(event).unwrap_or_default();
        self.out.write_all(&[&line[..], b"\n"].concat())?;
        self.out.flush()
    }
}

impl TaskTeller {
    /// Tells what goes to `out`; notes in `is_ended` that nobody listens any more.
    pub(super) fn over(out: Box<dyn Write + Send>, is_ended: Arc<AtomicBool>) -> Self {
        let told = Told { out, memory: 0, log: 0 };
        Self { shared: Arc::new(Mutex::new(told)), is_ended }
    }

    /// Tells an event. If nobody listens any more, the task ends soon.
    pub(super) fn tell(&self, event: &TaskEvent) {
        let told = self.shared.lock().map(|mut shared| shared.tell(event));
        if !matches!(told, Ok(Ok(()))) {
            self.is_ended.store(true, Ordering::Relaxed);
        }
    }

    /// Tells that packages are being installed now, or no more.
    pub(super) fn installs(&self, is_begin: bool) {
        self.tell(&TaskEvent::Installs(is_begin));
    }

    /// Notes what is told of a task that goes on; returns whether it is to end.
    pub(super) fn tick(&self, memory: u64, log: u64) -> bool {
        if let Ok(mut shared) = self.shared.lock() {
            (shared.memory, shared.log) = (memory, log);
        }
        self.is_ended.load(Ordering::Relaxed)
    }

    /// Tells each time this time is over that the task goes on, whatever it does, until the returned sender is dropped.
    pub(super) fn go_on(&self, between: Duration) -> Sender<()> {
        let (sender, receiver) = channel();
        let (shared, is_ended) = (self.shared.clone(), self.is_ended.clone());
        std::thread::spawn(move || {
            while matches!(receiver.recv_timeout(between), Err(RecvTimeoutError::Timeout)) {
                let Ok(mut shared) = shared.lock() else { return };
                let event = TaskEvent::Alive { memory: shared.memory, log: shared.log };
                if shared.tell(&event).is_err() {
                    is_ended.store(true, Ordering::Relaxed);
                }
            }
        });
        sender
    }
}
