//! Follows the boot file to an image in a worker: what it parses are boot files, menus, ISO images and
//! packed kernels. It has no network; what it asks for is fetched and judged by its parent.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::SandboxConfig;
use crate::error::{Cause, Error, Reason};
use crate::fetch::Fetcher;
use crate::image::Image;
use crate::sys::hashing::Hashing;
use crate::sys::memfd::{FileIdentity, SealedFile};
use crate::sys::sandbox::Calls;
use crate::sys::terminal::Terminal;
use crate::worker::{MessageWithFiles, Peer, Worker, WorkerRole, as_fault, of_fault};
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::Message;

/// The worker that follows boot files. Ten minutes of processor time unpack the largest kernel many
/// times.
const ROLE: WorkerRole = WorkerRole {
    name: "following the boot file",
    calls: Calls::Terminal,
    root: None,
    has_terminal: true,
    processor_time: Some(Duration::from_secs(600)),
    file_len: u64::MAX,
};

/// Length of files that are hashed before it is known what for: most kernels, and few configurations.
const LONG: u64 = 1 << 20;

/// The kernel of a plan, and its command line.
type Made = (Url, String);

/// A worker that has made a plan, and waits to carry it out.
#[derive(Debug)]
pub(super) struct PlanWorker {
    worker: Worker,
    /// The hashes of files that it was given, which may be parts of its image.
    hashes: Vec<(FileIdentity, Hashing)>,
    /// What errors of the worker itself are about.
    boot_file: String,
}

impl PlanWorker {
    /// Lets a worker do `plan`, which returns kernel and command line with a plan, and later `assemble`;
    /// waits until it has a plan.
    ///
    /// # Errors
    /// That of `plan`, and [`Reason::Fetch`] when the worker itself fails.
    pub(super) fn start<P>(
        config: &SandboxConfig,
        boot_file: &Url,
        fetcher: &Fetcher,
        plan: impl FnOnce(&Fetcher) -> Result<(Made, P), Error>,
        assemble: impl FnOnce(P, &Fetcher) -> Result<Image, Error>,
    ) -> Result<(Self, Made), Error> {
        // A worker that is killed leaves the terminal as it was in a menu.
        Terminal::remember();
        let work = |peer: Peer| {
            let peer = Arc::new(peer);
            let fetcher = fetcher.of_parent(Arc::clone(&peer));
            if let Err(error) = work(&peer, &fetcher, plan, assemble) {
                peer.tell(&Message::Failed(as_fault(&error)), &[]);
            }
        };
        let mut planner = Self {
            worker: Worker::start(config, ROLE, work)?,
            hashes: Vec::new(),
            boot_file: boot_file.to_string(),
        };
        match planner.await_result(fetcher)? {
            (
                Message::Planned {
                    kernel,
                    command_line,
                },
                _,
            ) => Ok((planner, (*kernel, command_line))),
            _ => Err(planner.refuse("an answer to another question")),
        }
    }

    /// Lets the worker make the image of its plan.
    ///
    /// # Errors
    /// That of `assemble`, and [`Reason::Fetch`] when the worker itself fails.
    pub(super) fn assemble(mut self, fetcher: &Fetcher) -> Result<Image, Error> {
        let sent = self.worker.send(&Message::Go, &[]);
        sent.map_err(|cause| self.failed(cause))?;
        let (message, files) = self.await_result(fetcher)?;
        let Message::Image {
            command_line,
            initrd,
            device_tree,
        } = message
        else {
            return Err(self.refuse("an answer to another question"));
        };
        let mut files = files.into_iter();
        let mut next = |what: &str| -> Result<Rc<SealedFile>, Error> {
            let file = files.next().map(SealedFile::try_from);
            match file {
                Some(Ok(file)) => {
                    let identity = file.identity().ok();
                    let known = self.hashes.iter().position(|(of, _)| Some(*of) == identity);
                    file.set_hashing(known.map(|at| self.hashes.swap_remove(at).1));
                    Ok(Rc::new(file))
                }
                Some(Err(_)) => Err(self.refuse(&format!("{what} that it could still change"))),
                None => Err(self.refuse(&format!("no {what}"))),
            }
        };
        let image = Image {
            kernel: next("kernel")?,
            initrd: initrd.then(|| next("initrd")).transpose()?,
            device_tree: device_tree.then(|| next("device tree")).transpose()?,
            command_line,
            hashes: fetcher.hashes,
        };
        if command_line_is_cut(&image.command_line) || files.next().is_some() {
            return Err(self.refuse("an image with something else"));
        }
        Ok(image)
    }

    /// Serves the worker until it has a result.
    fn await_result(&mut self, fetcher: &Fetcher) -> Result<MessageWithFiles, Error> {
        loop {
            // Whoever is at a menu may take any time.
            let received = self.worker.receive(None);
            let (message, files) = received.map_err(|cause| self.failed(cause))?;
            if let Message::Failed(fault) = message {
                return Err(of_fault(fault));
            }
            if matches!(message, Message::Planned { .. } | Message::Image { .. }) {
                return Ok((message, files));
            }
            let Some((answer, file)) = fetcher.serve(message) else {
                return Err(self.refuse("a message that is none of its own"));
            };
            if let Some(file) = &file {
                self.hash(file, fetcher);
            }
            let file: Vec<_> = file.iter().map(AsFd::as_fd).collect();
            let sent = self.worker.send(&answer, &file);
            sent.map_err(|cause| self.failed(cause))?;
        }
    }

    /// Begins to hash what may be measured, beside what is fetched next.
    fn hash(&mut self, file: &SealedFile, fetcher: &Fetcher) {
        let is_long = file.size().is_ok_and(|len| len >= LONG);
        if !fetcher.hashes || !is_long {
            return;
        }
        file.hash_beside();
        if let (Ok(identity), Some(hashing)) = (file.identity(), file.take_hashing()) {
            self.hashes.push((identity, hashing));
        }
    }

    fn refuse(&mut self, what: &str) -> Error {
        let cause = self.worker.refuse(what);
        self.failed(cause)
    }

    fn failed(&self, source: Cause) -> Error {
        Terminal::restore();
        Box::new(Reason::Fetch {
            url: self.boot_file.clone(),
            source,
        })
    }
}

/// Returns whether a command line holds a zero, behind which the next kernel would not read on.
fn command_line_is_cut(command_line: &str) -> bool {
    command_line.contains('\0')
}

/// What the worker does.
fn work<P>(
    peer: &Peer,
    fetcher: &Fetcher,
    plan: impl FnOnce(&Fetcher) -> Result<(Made, P), Error>,
    assemble: impl FnOnce(P, &Fetcher) -> Result<Image, Error>,
) -> Result<(), Error> {
    let ((kernel, command_line), plan) = plan(fetcher)?;
    let made = Message::Planned {
        kernel: Box::new(kernel),
        command_line,
    };
    peer.tell(&made, &[]);
    if peer.receive().0 != Message::Go {
        return Ok(());
    }
    let image = assemble(plan, fetcher)?;
    let files = [
        Some(&image.kernel),
        image.initrd.as_ref(),
        image.device_tree.as_ref(),
    ];
    let files: Vec<_> = files
        .into_iter()
        .flatten()
        .map(|file| file.as_fd())
        .collect();
    let message = Message::Image {
        initrd: image.initrd.is_some(),
        device_tree: image.device_tree.is_some(),
        command_line: image.command_line.clone(),
    };
    peer.tell(&message, &files);
    Ok(())
}
