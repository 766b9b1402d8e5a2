//! Programs to start. The standard library's `Command` would be 15 KiB more.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, execve, setpgid};

use super::error::SyscallError;
use super::memfd::Memfd;
use super::process::{self, Fork};

/// A program, with what it is given. A text with a NUL in it, which no program could get, is cut there.
#[derive(Debug)]
pub struct Program {
    path: CString,
    /// The first one is the name that it sees itself by.
    arguments: Vec<CString>,
    /// `NAME=VALUE`.
    variables: Vec<CString>,
    is_apart: bool,
}

/// The exit code of shells for a program that cannot be started.
const NOT_STARTED: u8 = 127;

impl Program {
    /// Returns the program in the file `path`, which sees itself by `name` and has no variables.
    pub fn new(path: &Path, name: &str) -> Self {
        Self {
            path: c_string(path.as_os_str()),
            arguments: vec![c_string(name.as_ref())],
            variables: Vec::new(),
            is_apart: false,
        }
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(c_string(argument.as_ref()));
        self
    }

    /// Adds a variable to its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        let variable = format!("{name}={value}");
        self.variables.push(c_string(variable.as_ref()));
        self
    }

    /// Adds the variables of this process.
    pub fn own_variables(mut self) -> Self {
        for (mut name, value) in std::env::vars_os() {
            name.push("=");
            name.push(value);
            self.variables.push(c_string(&name));
        }
        self
    }

    /// Lets it run in a process group of its own, for one signal to all its children (kill(2), negative
    /// id), without the standard input and output of this process, which another program may use.
    pub const fn apart(mut self) -> Self {
        self.is_apart = true;
        self
    }

    /// Starts it; where that fails, its process says so and ends with exit code 127.
    ///
    /// # Errors
    /// Those of [`Fork::run`].
    pub fn start(&self) -> Result<Fork, SyscallError> {
        Fork::run(Vec::new(), || {
            let errno = self.execute();
            let path = self.path.to_string_lossy();
            log::error!("cannot start {path}: {}", errno.desc());
            NOT_STARTED
        })
    }

    /// Makes this process the program; returns only if that fails.
    #[cfg(feature = "root")]
    pub fn become_it(&self) -> SyscallError {
        SyscallError::new("execve", self.execute())
    }

    /// Becomes the program; returns only if that fails.
    fn execute(&self) -> Errno {
        if self.is_apart {
            // Where one of these fails the program still runs, but for what it shares with this process.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            if let Ok(empty) = Memfd::create("nothing") {
                let _ = dup2_stdin(empty.file());
            }
            let _ = dup2_stdout(std::io::stderr());
        }
        // Otherwise it inherits that of this thread, which blocks the signals of a signalfd.
        let _ = SigSet::empty().thread_set_mask();
        process::restore_sigpipe();
        let Err(errno) = execve(&self.path, &self.arguments, &self.variables);
        errno
    }
}

fn c_string(text: &OsStr) -> CString {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    // The NUL is there, at the end at the latest.
    CStr::from_bytes_until_nul(&bytes)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::process::End;
    use super::super::signal::Signals;
    use super::*;

    #[test]
    fn a_program_has_its_name_arguments_variables_and_no_blocked_signals() {
        let name = format!("wireboot-program-{}", std::process::id());
        let out = std::env::temp_dir().join(name);
        let script = "echo $0 $1 $A $(grep Sig[BI] /proc/self/status) > $OUT; cat; exit 3";
        let program = Program::new(Path::new("/bin/sh"), "sh")
            .argument("-c")
            .argument(script)
            .argument("zero")
            .argument("one")
            .variable("PATH", "/usr/bin:/bin")
            .variable("A", "b=c\0d")
            .variable("OUT", &out.display().to_string())
            .apart();
        let end = std::thread::spawn(move || {
            let _signals = Signals::open().unwrap();
            program.start().unwrap().wait()
        });
        assert_eq!(end.join().unwrap(), End::Exited(3));
        let said = fs::read_to_string(&out).unwrap();
        let (said, ignored) = said.split_once(" SigIgn: ").unwrap();
        assert_eq!(said, "zero one b=c SigBlk: 0000000000000000");
        // SIGPIPE, which is 13; who started the tests may have ignored others.
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        assert_eq!(ignored & 1 << 12, 0);
        fs::remove_file(out).unwrap();
    }

    #[test]
    fn what_cannot_be_started_ends_as_in_a_shell() {
        let mut none = Program::new(Path::new("/nonexistent"), "x")
            .start()
            .unwrap();
        assert_eq!(none.wait(), End::Exited(127));
    }
}
