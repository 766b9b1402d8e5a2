//! The process that runs the script: it is copied from this one before that gives up what a script may
//! need, such as the way to new privileges, on which sudo depends.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::exec::Program;
use crate::sys::process::{End, Fork};
use crate::sys::{SyscallError, signal};
use wireboot_proto::time::Seconds;

/// Timeout, longer than the restart of resolvers and time servers takes.
pub(super) const MAX_TIME: Duration = Duration::from_secs(30);
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Of all variables of a lease, which is a message of at most 64 KiB, together.
const MAX_LEN: u32 = 1 << 20;

/// A run of the script: its argument and its environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) interface: String,
    pub(super) event: String,
    /// None of them has a NUL.
    pub(super) variables: Vec<(String, String)>,
}

/// Starts the process; returns it and the connection for [`request`].
pub(super) fn start(path: PathBuf) -> Result<(Fork, UnixStream), SyscallError> {
    let pair = UnixStream::pair().map_err(|source| SyscallError::of("socketpair", source));
    let (ours, theirs) = pair?;
    let fork = Fork::run(vec![theirs.as_raw_fd()], || {
        // Those of the terminal go to this process too, whose end is that of the connection.
        signal::block_all();
        match serve(&path, &theirs) {
            Ok(()) => 0,
            Err(error) => {
                log::error!("the script's process: {error}");
                1
            }
        }
    })?;
    Ok((fork, ours))
}

/// Has the script run, and waits for its end.
pub(super) fn request(mut connection: &UnixStream, run: &Run) -> io::Result<()> {
    connection.write_all(&run.encode())?;
    connection.read_exact(&mut [0])
}

/// Runs the script for each request, until the connection is closed.
fn serve(path: &Path, mut connection: &UnixStream) -> io::Result<()> {
    let mut len = [0; 4];
    // A byte by itself: only before it may the connection end.
    while connection.read(len.get_mut(..1).unwrap_or_default())? == 1 {
        connection.read_exact(len.get_mut(1..).unwrap_or_default())?;
        let len = u32::from_ne_bytes(len).min(MAX_LEN);
        let mut text = String::new();
        connection.take(len.into()).read_to_string(&mut text)?;
        execute(path, &Run::decode(&text), MAX_TIME);
        connection.write_all(&[0])?;
    }
    Ok(())
}

impl Run {
    /// Returns the texts, with a NUL behind each, behind their length.
    fn encode(&self) -> Vec<u8> {
        let mut text = format!("{}\0{}\0", self.interface, self.event);
        for (name, value) in &self.variables {
            text.push_str(&format!("{name}={value}\0"));
        }
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        [&len.to_ne_bytes()[..], text.as_bytes()].concat()
    }

    fn decode(text: &str) -> Self {
        let mut texts = text.split_terminator('\0').map(str::to_owned);
        Self {
            interface: texts.next().unwrap_or_default(),
            event: texts.next().unwrap_or_default(),
            variables: texts
                .filter_map(|text| {
                    let (name, value) = text.split_once('=')?;
                    Some((name.to_owned(), value.to_owned()))
                })
                .collect(),
        }
    }
}

/// Runs the script and waits for its end; failures are logged.
pub(super) fn execute(path: &Path, run: &Run, max_time: Duration) {
    let (name, path_text) = (&run.event, path.display());
    log::debug!("{}: {path_text} {name}", run.interface);
    match program(path, run).start() {
        Ok(mut child) => match child.wait_within(max_time) {
            Some(End::Exited(0)) => {}
            Some(end) => log::warn!("{path_text} {name}: {end}"),
            None => {
                child.kill_group();
                let seconds = Seconds(max_time);
                log::error!("{path_text} {name}: timeout after {seconds} s, killed");
            }
        },
        Err(error) => log::error!("{path_text} {name}: {}", error.chain()),
    }
}

fn program(path: &Path, run: &Run) -> Program {
    let name = path.to_string_lossy();
    let program = Program::new(&absolute(path), &name)
        .argument(&run.event)
        .variable("PATH", SYSTEM_PATH)
        .variable("interface", &run.interface);
    let variables = run.variables.iter();
    let program = variables.fold(program, |program, (name, value)| {
        program.variable(name, value)
    });
    program.apart()
}

/// A bare name would be searched for in PATH.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
