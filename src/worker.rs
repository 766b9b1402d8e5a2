//! Workers: forks of this process that parse what the network sends, without any privilege.
//!
//! [`Worker`] is the parent's end: messages from there are those of a stranger. [`Peer`] is the
//! worker's own end. A worker gets what it needs by the fork, as values, and descriptors with messages.

#![forbid(unsafe_code)]

use std::fmt::Arguments;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use crate::config::{Sandbox, SandboxConfig};
use crate::error::{Cause, Error, Reason};
use crate::sys::channel::Channel;
use crate::sys::process::{self, Fork};
use crate::sys::sandbox::{self, Calls, OnViolation, Profile};
use crate::sys::{self, SyscallError, machine};
use wireboot_proto::worker::{Fault, FaultKind, MAX_LEN, Message};

/// Purpose of a worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerRole {
    /// Its name, for messages.
    pub name: &'static str,
    /// The system calls that it needs.
    pub calls: Calls,
    /// The folder that it sees as its root, to make files in; else it has no path.
    pub root: Option<&'static str>,
    /// Whether it has the terminal: standard input and output.
    pub has_terminal: bool,
    /// Processor time after which it is killed.
    pub processor_time: Option<Duration>,
    /// The longest file it may write, in bytes.
    pub file_len: u64,
}

/// Proof that workers exist. Without the feature `sandbox` no value of it exists, and so the compiler
/// leaves out all code for workers.
#[cfg(feature = "sandbox")]
#[derive(Debug, Clone, Copy)]
struct Present;
#[cfg(not(feature = "sandbox"))]
#[derive(Debug, Clone, Copy)]
enum Present {}

impl Present {
    /// Tells the compiler, behind a pointer too, that without the feature nobody is here.
    const fn exists(self) {
        #[cfg(not(feature = "sandbox"))]
        match self {}
    }
}

#[cfg(feature = "sandbox")]
#[allow(clippy::unnecessary_wraps, reason = "the other one fails")]
const fn present() -> Result<Present, Error> {
    Ok(Present)
}

#[cfg(not(feature = "sandbox"))]
fn present() -> Result<Present, Error> {
    let why = "this wireboot was built without the feature \"sandbox\"";
    Err(Box::new(Reason::Usage(why.to_owned())))
}

/// A worker, as seen by the process that it works for; dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    present: Present,
    role: WorkerRole,
    channel: Channel,
    fork: Fork,
}

/// A message with its files.
pub type MessageWithFiles = (Message, Vec<OwnedFd>);

impl Worker {
    /// Starts a worker, which does `act` until its end, as [`Fork::run`] says.
    ///
    /// # Errors
    /// [`Reason::System`]: no process can be made.
    pub fn start(
        config: &SandboxConfig,
        role: WorkerRole,
        act: impl FnOnce(Peer),
    ) -> Result<Self, Error> {
        let mut act = Some(act);
        // One copy of the code for all workers.
        Self::start_once(config, role, &mut |peer| {
            if let Some(act) = act.take() {
                act(peer);
            }
        })
    }

    fn start_once(
        config: &SandboxConfig,
        role: WorkerRole,
        act: &mut dyn FnMut(Peer),
    ) -> Result<Self, Error> {
        let failed = |source| {
            Box::new(Reason::System {
                doing: format!("cannot start the worker for {}", role.name),
                source,
            })
        };
        let present = present()?;
        let (own, other) = Channel::pair().map_err(failed)?;
        // Another thread may go on with the worker after the end of this one.
        let ends_with_thread = nix::unistd::gettid() == nix::unistd::getpid();
        let mut kept = vec![other.as_fd().as_raw_fd()];
        kept.extend(machine::open_memory_reports());
        let fork = Fork::run(kept, || {
            confine(config, role, ends_with_thread);
            act(Peer {
                present,
                channel: other,
                asking: Mutex::new(()),
            });
            0
        });
        Ok(Self {
            present,
            role,
            channel: own,
            fork: fork.map_err(failed)?,
        })
    }

    /// Sends a message to the worker.
    ///
    /// # Errors
    /// Why it has ended, in plain words.
    pub fn send(&mut self, message: &Message, files: &[BorrowedFd<'_>]) -> Result<(), Cause> {
        self.present.exists();
        let message = message.encode();
        if message.len() > MAX_LEN {
            return Err("the addresses are too long".into());
        }
        let sent = self.channel.send(&message, files);
        sent.map_err(|_| self.end())
    }

    /// Waits for a message of the worker; for `limit` at most, if there is one.
    ///
    /// # Errors
    /// Why it has ended, in plain words; one that sends what is no message, or nothing for that time, is
    /// killed.
    pub fn receive(&mut self, limit: Option<Duration>) -> Result<MessageWithFiles, Cause> {
        self.present.exists();
        if let Some(limit) = limit {
            self.await_message(limit)?;
        }
        match self.channel.receive(MAX_LEN) {
            Ok(Some((message, files))) => match Message::decode(&message) {
                Ok(message) => Ok((message, files)),
                Err(error) => Err(self.refuse(&error.to_string())),
            },
            Ok(None) => Err(self.end()),
            Err(error) => Err(self.refuse(&error.chain())),
        }
    }

    fn await_message(&mut self, limit: Duration) -> Result<(), Cause> {
        let deadline = sys::now() + limit;
        loop {
            // A signal ends the wait early.
            let readable = sys::wait_readable(&[self.channel.as_fd()], Some(deadline))?;
            if readable.contains(&true) {
                return Ok(());
            }
            if sys::now() >= deadline {
                let seconds = limit.as_secs();
                return Err(self.kill(format_args!("has said nothing for {seconds} s")));
            }
        }
    }

    /// Kills a worker that sends what it must not.
    pub fn refuse(&mut self, what: &str) -> Cause {
        self.kill(format_args!("sent {what}"))
    }

    #[inline(never)]
    fn kill(&mut self, why: Arguments<'_>) -> Cause {
        self.fork.kill();
        format!("the worker for {} was killed: it {why}", self.role.name).into()
    }

    /// Returns why the worker has ended.
    fn end(&mut self) -> Cause {
        let name = self.role.name;
        // One that has closed its end may go on all the same.
        if let Some(end) = self.fork.wait_within(END_TIME) {
            return format!("the worker for {name} failed: {end}").into();
        }
        self.kill(format_args!("listens no more and did not end"))
    }
}

/// Many times what the kernel takes to end a process with all its memory; the tests' have none.
const END_TIME: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// Gives up all privileges, and says what could not be given up.
fn confine(config: &SandboxConfig, role: WorkerRole, ends_with_thread: bool) {
    if !role.has_terminal {
        process::close_terminal();
    }
    let capabilities = if role.root.is_some() {
        sandbox::CAP_OWNERS
    } else if machine::kernel_release() < (5, 7) && role.calls == Calls::Network {
        sandbox::CAP_NET_RAW
    } else {
        0
    };
    if let Some(root) = role.root
        && let Err(error) = sandbox::enter(root)
    {
        // Or it would make its files elsewhere.
        log::error!("{}", error.chain());
        process::leave();
    }
    let profile = Profile {
        user: config.user,
        capabilities,
        ends_with_thread,
        calls: role.calls,
        on_violation: on_violation(config),
        processor_time: role.processor_time,
        file_len: role.file_len,
    };
    report(
        &format!("the worker for {}", role.name),
        sandbox::confine(&profile),
    );
}

/// Makes this process, which is for `name`, one with these capabilities and system calls alone, for ever,
/// unless the sandbox is off.
pub fn give_up(config: &SandboxConfig, name: &str, capabilities: u64, calls: Calls) {
    if !config.has_workers() {
        if cfg!(feature = "sandbox") {
            log::warn!(
                "the sandbox is off (--sandbox off): {name} keeps all privileges of this process"
            );
        }
        return;
    }
    let profile = Profile {
        user: config.user,
        capabilities,
        ends_with_thread: false,
        calls,
        on_violation: on_violation(config),
        processor_time: None,
        file_len: u64::MAX,
    };
    let mut missing = Vec::new();
    if !process::await_one_thread() {
        missing.push(SyscallError::new(
            "the end of other threads",
            Errno::ETIMEDOUT,
        ));
    }
    // For the look at free memory, when there is more to be written.
    let _ = machine::open_memory_reports();
    missing.extend(sandbox::confine(&profile));
    report(name, missing);
}

fn report(name: &str, missing: Vec<SyscallError>) {
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(SyscallError::chain).collect();
        let missing = missing.join("; ");
        log::info!("{name} lacks a part of its sandbox: {missing}");
    }
}

const fn on_violation(config: &SandboxConfig) -> OnViolation {
    match config.mode {
        Sandbox::Log => OnViolation::Log,
        Sandbox::On | Sandbox::Off => OnViolation::Kill,
    }
}

/// The end of a worker's channel that it has itself.
#[derive(Debug)]
pub struct Peer {
    present: Present,
    channel: Channel,
    /// Held from a question to its answer.
    asking: Mutex<()>,
}

impl Peer {
    /// Sends a message; the worker ends when nobody is there to receive it.
    pub fn tell(&self, message: &Message, files: &[BorrowedFd<'_>]) {
        self.present.exists();
        if self.channel.send(&message.encode(), files).is_err() {
            process::leave();
        }
    }

    /// Waits for a message; the worker ends when no more can come.
    pub fn receive(&self) -> MessageWithFiles {
        self.present.exists();
        let received = self.channel.receive(MAX_LEN).ok().flatten();
        let decoded =
            received.and_then(|(message, files)| Some((Message::decode(&message).ok()?, files)));
        decoded.unwrap_or_else(|| process::leave())
    }

    /// Sends a question and waits for its answer.
    pub fn ask(&self, question: &Message) -> MessageWithFiles {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(question, &[]);
        self.receive()
    }
}

#[cfg(feature = "sandbox")]
#[cfg(test)]
impl WorkerRole {
    /// The role of a worker in tests.
    pub const OF_TESTS: Self = Self {
        name: "tests",
        calls: Calls::Network,
        root: None,
        has_terminal: false,
        processor_time: None,
        file_len: u64::MAX,
    };
}

/// Returns an error as a message has it: with the text of its causes.
pub fn as_fault(error: &Error) -> Fault {
    let (kind, what) = match &**error {
        Reason::Usage(what) => (FaultKind::Usage, what.clone()),
        Reason::NothingBootable { what, .. } => (FaultKind::NothingBootable, what.clone()),
        Reason::Instead { outcome, .. } => (FaultKind::Instead(*outcome), String::new()),
        Reason::Fetch { url, .. } => (FaultKind::Fetch, url.clone()),
        Reason::Verification { what, .. } => (FaultKind::Verification, what.clone()),
        Reason::NoInterface(_)
        | Reason::NoCarrier { .. }
        | Reason::NoOffer(_)
        | Reason::Interrupted(_)
        | Reason::Said(_)
        | Reason::Refused(_)
        | Reason::Configure { .. }
        | Reason::Output { .. }
        | Reason::Kexec { .. }
        | Reason::System { .. } => (FaultKind::System, error.to_string()),
        #[cfg(feature = "root")]
        Reason::Root { .. } => (FaultKind::System, error.to_string()),
    };
    let why = if let Reason::Verification { why, .. } = &**error {
        why.clone()
    } else {
        causes(error)
    };
    Fault {
        kind,
        server: None,
        what,
        why,
    }
}

/// Returns the text of all causes of an error.
fn causes(error: &Error) -> String {
    let own = format!("{error}: ");
    let chain = error.chain();
    chain.strip_prefix(&own).unwrap_or_default().to_owned()
}

/// Returns the error of a message of a worker.
pub fn of_fault(fault: Fault) -> Error {
    let Fault {
        kind, what, why, ..
    } = fault;
    match kind {
        FaultKind::Usage => Box::new(Reason::Usage(what)),
        FaultKind::NothingBootable => Box::new(Reason::NothingBootable {
            what,
            source: (!why.is_empty()).then(|| why.into()),
        }),
        FaultKind::Instead(outcome) => Box::new(Reason::Instead {
            outcome,
            source: why.into(),
        }),
        FaultKind::Verification => Box::new(Reason::Verification { what, why }),
        FaultKind::System => Box::new(Reason::System {
            doing: what,
            source: SyscallError::of("a call of the worker", std::io::Error::other(why)),
        }),
        FaultKind::Fetch
        | FaultKind::Missing
        | FaultKind::NoParts
        | FaultKind::Passing
        | FaultKind::Challenge => Box::new(Reason::Fetch {
            url: what,
            source: why.into(),
        }),
    }
}

#[cfg(feature = "sandbox")]
#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::sys::echo;

    /// Returns why what a worker does that has done `act` is no message.
    fn failure(act: impl FnOnce(Peer)) -> String {
        let worker = Worker::start(&SandboxConfig::default(), WorkerRole::OF_TESTS, act);
        worker.unwrap().receive(None).unwrap_err().to_string()
    }

    #[test]
    fn a_worker_is_heard_as_long_as_it_keeps_to_the_rules() {
        let answers = |peer: Peer| peer.tell(&Message::Go, &[]);
        let mut worker =
            Worker::start(&SandboxConfig::default(), WorkerRole::OF_TESTS, answers).unwrap();
        assert_eq!(worker.receive(None).unwrap().0, Message::Go);
        let ended = worker.receive(None).unwrap_err().to_string();
        assert!(ended.ends_with("it ended with exit code 0"), "{ended}");
        assert!(worker.send(&Message::Go, &[]).is_err());
        let send = |bytes: Vec<u8>| failure(move |peer| drop(peer.channel.send(&bytes, &[])));
        let malformed = send(vec![10, 9]);
        assert!(
            malformed.ends_with("was killed: it sent a message with a bad flag"),
            "{malformed}"
        );
        let long = send(vec![0; MAX_LEN + 1]);
        assert!(
            long.contains("was killed: it sent recvmsg failed"),
            "{long}"
        );
        let forbidden = failure(|_| drop(echo::open(None)));
        assert!(
            forbidden.contains("forbidden system call (SIGSYS)"),
            "{forbidden}"
        );
        let reaches = |peer: Peer| {
            let bound = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
            peer.tell(&Message::Expect(u64::from(bound.is_ok())), &[]);
        };
        let mut worker =
            Worker::start(&SandboxConfig::default(), WorkerRole::OF_TESTS, reaches).unwrap();
        assert_eq!(worker.receive(None).unwrap().0, Message::Expect(1));
    }

    #[test]
    fn a_worker_that_says_nothing_or_listens_no_more_is_killed_and_the_reason_is_said() {
        let hang = || loop {
            std::thread::sleep(Duration::from_secs(60));
        };
        let begun_at = std::time::Instant::now();
        let worker = Worker::start(&SandboxConfig::default(), WorkerRole::OF_TESTS, |_peer| {
            hang()
        });
        let mut worker = worker.unwrap();
        let limit = Some(Duration::from_millis(1200));
        let error = worker.receive(limit).unwrap_err().to_string();
        assert!(
            error.ends_with("was killed: it has said nothing for 1 s"),
            "{error}"
        );
        let worker = Worker::start(&SandboxConfig::default(), WorkerRole::OF_TESTS, |peer| {
            drop(peer);
            hang();
        });
        let error = worker.unwrap().receive(None).unwrap_err().to_string();
        assert!(
            error.contains("it listens no more and did not end"),
            "{error}"
        );
        assert!(begun_at.elapsed() < Duration::from_secs(50));
    }
}
