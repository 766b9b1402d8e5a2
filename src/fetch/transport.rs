//! Who transfers files: this process, or workers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::SandboxConfig;
use crate::worker::{Peer, Worker};

/// Who transfers files.
#[derive(Debug, Clone, Default)]
pub enum Executor {
    /// This process.
    #[default]
    Own,
    /// Workers, each with one file at a time.
    Workers(Workers),
    /// The parent of this process, which judges them too.
    Parent(Arc<Peer>),
}

/// Workers that fetch files, as many as there are files at a time.
#[derive(Debug, Clone)]
pub struct Workers {
    pub(super) config: SandboxConfig,
    /// Those that wait for a file.
    idle: Arc<Mutex<Vec<Worker>>>,
}

impl Workers {
    /// Returns none yet.
    pub(super) fn new(config: SandboxConfig) -> Self {
        Self {
            config,
            idle: Arc::default(),
        }
    }

    /// Adds a worker that waits.
    pub(super) fn put(&self, worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(worker);
    }

    /// Takes out one that waits.
    pub(super) fn take(&self) -> Option<Worker> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }
}
