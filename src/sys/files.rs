//! Files that this process still reads, writes and removes when it has given up what that takes: through
//! a process that was copied from it before, which touches the files of a list and no others.
//!
//! Without such a process they are read and written here.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::channel::Channel;
use super::error::SyscallError;
use super::file::{self, EVERYBODY, Target};
use super::memfd::Memfd;
use super::process::Fork;
use super::{sandbox, signal};

/// More than any file has that this is for, in bytes.
const MAX_LEN: u64 = 1 << 20;
/// A text that says why something has failed.
const MAX_ANSWER: usize = 1024;

/// Operation on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileAction {
    Read,
    Replace(u32),
    ReplaceOwn,
    ReplaceDurably,
    Output,
    Remove,
    Overwrite,
}

/// Reads a regular file of up to 1 MiB that is no symbolic link; whatever else may be there, as a FIFO
/// without a writer, is not waited for.
///
/// # Errors
/// ELOOP for a symbolic link; those of the file system.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    perform(FileAction::Read, path, &[])
}

/// As [`file::replace`].
///
/// # Errors
/// As [`file::replace`].
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    perform(FileAction::Replace(mode), path, bytes).map(drop)
}

/// As [`file::replace_own`].
///
/// # Errors
/// As [`file::replace`].
pub fn replace_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    perform(FileAction::ReplaceOwn, path, bytes).map(drop)
}

/// As [`file::replace_durably`], readable by everybody.
///
/// # Errors
/// As [`file::replace`].
pub fn replace_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    perform(FileAction::ReplaceDurably, path, bytes).map(drop)
}

/// Writes to the target of an output path given by a user.
///
/// # Errors
/// As [`Target::find`] and [`file::replace`].
pub fn output(path: &Path, bytes: &[u8]) -> io::Result<()> {
    perform(FileAction::Output, path, bytes).map(drop)
}

/// Writes a regular file that is there, and is no symbolic link, without another one in its place.
///
/// # Errors
/// ELOOP for a symbolic link; those of the file system.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    perform(FileAction::Overwrite, path, bytes).map(drop)
}

/// Removes a file; one that is missing is no error.
///
/// # Errors
/// Those of the file system.
pub fn remove(path: &Path) -> io::Result<()> {
    perform(FileAction::Remove, path, &[]).map(drop)
}

fn perform(action: FileAction, path: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    if cfg!(feature = "sandbox") {
        let service = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = service.as_ref() {
            let number = service.paths.iter().position(|known| known == path);
            // This process may touch no file itself.
            let number = number.ok_or(Errno::EACCES)?;
            return service.ask(action, number, bytes);
        }
    }
    act(action, path, bytes)
}

fn act(action: FileAction, path: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match action {
        FileAction::Read => {
            // To open a FIFO would wait for its writer otherwise (fifo(7)).
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
            let file = file::open(path, flags)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("is no regular file"));
            }
            return read_whole(file);
        }
        FileAction::Replace(mode) => file::replace(path, bytes, mode)?,
        FileAction::ReplaceOwn => file::replace_own(path, bytes)?,
        FileAction::ReplaceDurably => file::replace_durably(path, bytes, EVERYBODY)?,
        FileAction::Output => match Target::find(path)? {
            Target::Name { path, .. } => file::replace(&path, bytes, EVERYBODY)?,
            Target::Open(target) => file::pour(&mut &*bytes, &target)?,
            Target::Inherited(target) => drop(file::copy(&mut &*bytes, &mut &target)?),
        },
        FileAction::Remove => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        },
        FileAction::Overwrite => {
            let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
            let mut file = file::open(path, flags)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("is no regular file"));
            }
            file.set_len(0)?;
            file.write_all(bytes)?;
        }
    }
    Ok(Vec::new())
}

/// The process for the files of this one.
static SERVICE: Mutex<Option<Service>> = Mutex::new(None);

struct Service {
    channel: Channel,
    paths: Vec<PathBuf>,
    /// It ends with this process, by the end of the channel.
    _process: Fork,
}

/// Starts the process for these files, which keeps the privileges to write files and no others. To be
/// called while this process has all it takes.
///
/// # Errors
/// `fork` and `socketpair`: there can be no further process or file.
pub fn serve(paths: Vec<PathBuf>) -> Result<(), SyscallError> {
    let (channel, other) = Channel::pair()?;
    let process = Fork::run(vec![other.as_fd().as_raw_fd()], || {
        // Those of the terminal go to this process too, whose end is that of the channel.
        signal::block_all();
        for error in sandbox::keep_only(sandbox::CAP_FILES) {
            log::debug!("the process that writes files: {}", error.chain());
        }
        while let Ok(Some((request, files))) = other.receive(MAX_REQUEST) {
            let (answer, content) = match serve_one(&paths, &request, files) {
                Ok(content) => (vec![DONE], content),
                Err(error) => (refusal(&error), None),
            };
            let content: Vec<_> = content
                .iter()
                .map(|content| content.file().as_fd())
                .collect();
            if other.send(&answer, &content).is_err() {
                break;
            }
        }
        0
    })?;
    *SERVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Service {
        channel,
        paths,
        _process: process,
    });
    Ok(())
}

/// The number of an action, a mode, and the number of a path.
const MAX_REQUEST: usize = 7;

/// First bytes of answers; behind the last two is a number, or a text.
const DONE: u8 = 0;
const ERRNO: u8 = 1;
const TEXT: u8 = 2;

impl Service {
    fn ask(&self, action: FileAction, number: usize, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let gone = || io::Error::other("the process that writes files has ended");
        let (code, mode) = action.encode();
        // A number without a path, which the other end refuses; no list is that long.
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let request = [&[code][..], &mode.to_le_bytes(), &number.to_le_bytes()].concat();
        // No message is as long as a file may be.
        let mut content = Memfd::create("content").map_err(SyscallError::into_source)?;
        content.write_all(bytes)?;
        let sent = self.channel.send(&request, &[content.file().as_fd()]);
        sent.map_err(|_| gone())?;
        let answer = self.channel.receive(MAX_ANSWER);
        let (answer, files) = answer.ok().flatten().ok_or_else(gone)?;
        match answer.split_first() {
            Some((&DONE, _)) => Ok(content_of(files)?),
            Some((&ERRNO, number)) => {
                let number = number
                    .first_chunk()
                    .map_or(0, |four| i32::from_le_bytes(*four));
                Err(io::Error::from_raw_os_error(number))
            }
            Some((_, text)) => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
            None => Err(gone()),
        }
    }
}

fn serve_one(paths: &[PathBuf], request: &[u8], files: Vec<OwnedFd>) -> io::Result<Option<Memfd>> {
    let invalid = || io::Error::from(Errno::EINVAL);
    let &[code, a, b, c, d, low, high] = request else {
        return Err(invalid());
    };
    let action = FileAction::decode(code, u32::from_le_bytes([a, b, c, d])).ok_or_else(invalid)?;
    let path = paths.get(usize::from(u16::from_le_bytes([low, high])));
    let bytes = content_of(files)?;
    let read = act(action, path.ok_or_else(invalid)?, &bytes)?;
    if action != FileAction::Read {
        return Ok(None);
    }
    let mut content = Memfd::create("content").map_err(SyscallError::into_source)?;
    content.write_all(&read)?;
    Ok(Some(content))
}

fn refusal(error: &io::Error) -> Vec<u8> {
    match error.raw_os_error() {
        Some(number) => [&[ERRNO][..], &number.to_le_bytes()].concat(),
        None => {
            let mut answer = vec![TEXT];
            answer.extend(error.to_string().bytes().take(MAX_ANSWER - 1));
            answer
        }
    }
}

fn content_of(files: Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    for file in files {
        let mut file = File::from(file);
        file.rewind()?;
        content.append(&mut read_whole(file)?);
    }
    Ok(content)
}

/// Reads a file, unless it is longer than what is handled here: what replaces it must not lose its end.
fn read_whole(file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let len = file.take(MAX_LEN + 1).read_to_end(&mut content)?;
    if u64::try_from(len).is_ok_and(|len| len <= MAX_LEN) {
        Ok(content)
    } else {
        Err(Errno::EFBIG.into())
    }
}

impl FileAction {
    const fn encode(self) -> (u8, u32) {
        match self {
            Self::Read => (0, 0),
            Self::Replace(mode) => (1, mode),
            Self::ReplaceOwn => (2, 0),
            Self::ReplaceDurably => (3, 0),
            Self::Output => (4, 0),
            Self::Remove => (5, 0),
            Self::Overwrite => (6, 0),
        }
    }

    const fn decode(code: u8, mode: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Read,
            1 => Self::Replace(mode & 0o777),
            2 => Self::ReplaceOwn,
            3 => Self::ReplaceDurably,
            4 => Self::Output,
            5 => Self::Remove,
            6 => Self::Overwrite,
            _ => return None,
        })
    }
}

#[cfg(feature = "sandbox")]
#[cfg(test)]
mod tests {
    use super::super::process::End;
    use super::super::sandbox::{Calls, OnViolation, Profile};
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_refused_and_not_cut_off() {
        let path = std::env::temp_dir().join(format!("wireboot-{:016x}", super::super::seed()));
        for (len, is_read) in [(MAX_LEN, true), (MAX_LEN + 1, false)] {
            File::create(&path).unwrap().set_len(len).unwrap();
            let read = read(&path).map(|content| content.len() as u64);
            assert_eq!(read.ok(), is_read.then_some(len));
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_confined_process_reads_and_writes_the_files_of_its_list_and_no_others() {
        let directory =
            std::env::temp_dir().join(format!("wireboot-{:016x}", super::super::seed()));
        fs::create_dir(&directory).unwrap();
        let at = |name: &str| directory.join(name);
        fs::write(at("before"), "old").unwrap();
        fs::write(at("secret"), "not for it").unwrap();
        std::os::unix::fs::symlink(at("secret"), at("link")).unwrap();
        let list = ["before", "new", "link", "missing/new"].map(at).to_vec();
        let fork = Fork::run(Vec::new(), || {
            serve(list).unwrap();
            let missing = sandbox::confine(&Profile {
                user: 65_534,
                capabilities: 0,
                ends_with_thread: true,
                calls: Calls::Lease,
                on_violation: OnViolation::Kill,
                processor_time: None,
                file_len: 1 << 30,
            });
            assert!(
                missing
                    .iter()
                    .all(|error| error.call.starts_with("landlock"))
            );
            assert_eq!(read(&at("before")).unwrap(), b"old");
            replace(&at("before"), b"new", 0o600).unwrap();
            assert_eq!(read(&at("before")).unwrap(), b"new");
            replace_own(&at("missing/new"), &[7; 300_000]).unwrap();
            replace_durably(&at("new"), b"1").unwrap();
            assert_eq!(read(&at("new")).unwrap(), b"1");
            overwrite(&at("new"), b"").unwrap();
            assert_eq!(read(&at("new")).unwrap(), b"");
            assert!(overwrite(&at("link"), b"").is_err());
            remove(&at("new")).unwrap();
            remove(&at("new")).unwrap();
            let error = read(&at("new")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let error = read(&at("link")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::ELOOP as i32));
            for other in ["secret", "else"] {
                assert!(read(&at(other)).is_err());
                assert!(replace(&at(other), b"", EVERYBODY).is_err());
                assert!(remove(&at(other)).is_err());
            }
            0
        });
        let end = fork.unwrap().wait();
        let written = fs::read(at("missing/new")).map(|content| content.len());
        let secret = fs::read_to_string(at("secret"));
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(end, End::Exited(0));
        assert_eq!(
            (written.unwrap(), secret.unwrap().as_str()),
            (300_000, "not for it")
        );
    }

    #[test]
    fn requests_of_another_form_are_refused() {
        let paths = [PathBuf::from("/nonexistent/x")];
        for request in [
            &[][..],
            &[0; 6],
            &[0; 8],
            &[7, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 1, 0],
        ] {
            let refused = serve_one(&paths, request, Vec::new()).unwrap_err();
            assert_eq!(
                refused.raw_os_error(),
                Some(Errno::EINVAL as i32),
                "{request:?}"
            );
        }
    }
}
