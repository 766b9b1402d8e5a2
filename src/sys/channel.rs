//! Messages and descriptors between two processes, over a pair of sockets.

#![allow(
    unsafe_code,
    reason = "recvmsg returns the numbers of descriptors that it has opened"
)]

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv,
    recvmsg, sendmsg, socketpair,
};

use super::error::SyscallError;

/// The most descriptors beside a message.
const MAX_DESCRIPTORS: usize = 4;

/// A message and the descriptors beside it.
pub type Parcel = (Vec<u8>, Vec<OwnedFd>);

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Creates both ends.
    ///
    /// # Errors
    /// `socketpair`: too many open files.
    pub fn pair() -> Result<(Self, Self), SyscallError> {
        // SEQPACKET keeps messages apart and reports the end of the other process.
        let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
        let (first, second) = socketpair(AddressFamily::Unix, kind, None, flags)
            .map_err(|errno| SyscallError::new("socketpair", errno))?;
        Ok((Self(first), Self(second)))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// EPIPE: the other end is closed. EMSGSIZE: it is too long.
    pub fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), SyscallError> {
        let files: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&files)];
        let control = if files.is_empty() { &[][..] } else { &rights };
        let message = [IoSlice::new(message)];
        loop {
            match sendmsg::<()>(
                self.0.as_raw_fd(),
                &message,
                control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Err(Errno::EINTR) => {}
                result => {
                    return result
                        .map(drop)
                        .map_err(|errno| SyscallError::new("sendmsg", errno));
                }
            }
        }
    }

    /// Waits for a message of up to `max_len` bytes, which is not empty; none when the other end is
    /// closed.
    ///
    /// # Errors
    /// EMSGSIZE: it is longer, or has more descriptors than any.
    pub fn receive(&self, max_len: usize) -> Result<Option<Parcel>, SyscallError> {
        let failed = |errno| SyscallError::new("recvmsg", errno);
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
        // With MSG_TRUNC the length is that of the message, not of the space for it (recv(2)).
        let len = loop {
            match recv(self.0.as_raw_fd(), &mut [], flags) {
                Err(Errno::EINTR) => {}
                // unix_release_sock leaves ECONNRESET where the other end closes with messages unread.
                Err(Errno::ECONNRESET) | Ok(0) => return Ok(None),
                result => break result.map_err(failed)?,
            }
        };
        if len > max_len {
            return Err(failed(Errno::EMSGSIZE));
        }
        let mut bytes = vec![0; len];
        let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let mut space = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut space,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .map_err(failed)?;
        let mut files = Vec::new();
        let messages = received.cmsgs().map_err(|_| failed(Errno::EMSGSIZE))?;
        for message in messages {
            if let ControlMessageOwned::ScmRights(numbers) = message {
                // SAFETY: the kernel has just opened them, for this caller alone.
                files.extend(
                    numbers
                        .into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
        }
        let is_cut = received.flags.contains(MsgFlags::MSG_CTRUNC) || received.bytes != len;
        if is_cut {
            return Err(failed(Errno::EMSGSIZE));
        }
        Ok(Some((bytes, files)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;
    use crate::sys::memfd::Memfd;

    #[test]
    fn a_message_passes_with_its_files_and_a_long_one_is_refused() {
        let (near, far) = Channel::pair().unwrap();
        let mut file = Memfd::create("test").unwrap();
        file.write_all(b"content").unwrap();
        near.send(b"one", &[file.file().as_fd()]).unwrap();
        near.send(b"two", &[]).unwrap();
        near.send(&[7; 100], &[]).unwrap();
        let (message, files) = far.receive(3).unwrap().unwrap();
        assert_eq!((&message[..], files.len()), (&b"one"[..], 1));
        let mut received = std::fs::File::from(files.into_iter().next().unwrap());
        received.rewind().unwrap();
        let mut content = String::new();
        received.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert_eq!(far.receive(3).unwrap().unwrap().0, b"two");
        assert!(far.receive(99).unwrap_err().is(Errno::EMSGSIZE));
        drop(near);
        assert_eq!(far.receive(100).unwrap().unwrap().0, [7; 100]);
        assert!(far.receive(100).unwrap().is_none());
        assert!(far.send(b"x", &[]).unwrap_err().is(Errno::EPIPE));
    }

    #[test]
    fn more_files_than_any_message_has_are_refused() {
        let (near, far) = Channel::pair().unwrap();
        let file = near.as_fd();
        near.send(b"x", &[file; 9]).unwrap();
        assert!(far.receive(1).unwrap_err().is(Errno::EMSGSIZE));
    }
}
