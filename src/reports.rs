//! Reports of a boot to others while it goes on: its account, after each step and when it fails.
//!
//! A thread sends them, one after the other, so that a server that does not answer delays nothing: the
//! first report that does not arrive is the last one.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sys;

/// How long the end of a boot waits for its last reports, where earlier ones have arrived,
const TIME_TO_END: Duration = Duration::from_secs(1);
/// and where none has yet: some round trips.
const TIME_TO_BEGIN: Duration = Duration::from_millis(200);

/// A handle of the reports; clones are of the same. Nothing is sent before [`Reports::begin`].
#[derive(Debug, Clone, Default)]
pub struct Reports(Arc<Mutex<Option<Reporter>>>);

#[derive(Debug)]
struct Reporter {
    /// The machine, as fields of JSON with a comma behind each.
    machine: String,
    queue: Arc<Queue>,
    /// Has a byte for each report; closed at the end.
    wakes: PipeWriter,
    /// Closed by the thread when it ends.
    ending: PipeReader,
}

#[derive(Debug, Default)]
struct Queue {
    /// Those that are not sent yet.
    reports: Mutex<VecDeque<String>>,
    has_arrived: AtomicBool,
}

impl Reports {
    /// Begins to send reports about a machine, which fields of JSON name, by `send`, which says why one has
    /// not arrived.
    ///
    /// # Errors
    /// `pipe2`: EMFILE.
    pub fn begin(
        &self,
        machine: String,
        send: impl Fn(String) -> Result<(), String> + Send + 'static,
    ) -> io::Result<()> {
        let (mut woken, wakes) = pipe()?;
        let (ending, ended) = pipe()?;
        let queue = Arc::<Queue>::default();
        let shared = Arc::clone(&queue);
        thread::spawn(move || {
            let _closed_at_the_end = ended;
            while woken.read(&mut [0]).is_ok_and(|len| len > 0) {
                let report = locked(&shared.reports).pop_front().unwrap_or_default();
                if let Err(why) = send(report) {
                    log::warn!("no more reports: {why}");
                    break;
                }
                // Relaxed: it says only whether more waiting is worth its time.
                shared.has_arrived.store(true, Ordering::Relaxed);
            }
        });
        *locked(&self.0) = Some(Reporter {
            machine,
            queue,
            wakes,
            ending,
        });
        Ok(())
    }

    /// Sends `account`, an object of JSON, as it is after `step`, with more fields in front.
    pub fn send(&self, step: &str, account: impl FnOnce() -> String, more: &str) {
        if let Some(reporter) = &mut *locked(&self.0) {
            let account = account();
            let fields = account.trim_start_matches('{');
            let text = format!("{{{}\"step\":\"{step}\",{more}{fields}", reporter.machine);
            locked(&reporter.queue.reports).push_back(text);
            // The thread may have given up.
            let _ = reporter.wakes.write(&[0]);
        }
    }

    /// Waits until all is sent, for a second at most.
    pub fn finish(&self) {
        let Some(reporter) = locked(&self.0).take() else {
            return;
        };
        drop(reporter.wakes);
        for (time, is_wanted) in [(TIME_TO_BEGIN, true), (TIME_TO_END, false)] {
            if is_wanted || reporter.queue.has_arrived.load(Ordering::Relaxed) {
                let until = Some(sys::now() + time);
                // Sent or not, the boot goes on.
                let _ = sys::wait_readable(&[reporter.ending.as_fd()], until);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
