//! ICMP echo requests (RFC 792), as `ping` sends them.

#![forbid(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};

use super::SyscallError;

// RFC 792: the types, and the length of the header.
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const HEADER_LEN: usize = 8;

/// Opens a socket for [`request`].
///
/// # Errors
/// EPERM without CAP_NET_RAW.
pub fn open(interface: Option<&str>) -> Result<OwnedFd, SyscallError> {
    let (flags, kind) = (
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockType::Raw,
    );
    let socket = socket(AddressFamily::Inet, kind, flags, SockProtocol::Icmp)
        .map_err(|errno| SyscallError::new("socket(ICMP)", errno))?;
    super::udp::bind_to(&socket, interface)?;
    Ok(socket)
}

/// Sends up to `count` echo requests to `address`, each `timeout` after the one before, until one is
/// answered.
///
/// # Errors
/// ENETUNREACH without a route, and no answer to any of them.
pub fn request(
    socket: &OwnedFd,
    address: Ipv4Addr,
    count: u16,
    timeout: Duration,
) -> Result<(), io::Error> {
    let failed = |call| move |errno| io::Error::other(SyscallError::new(call, errno).chain());
    let to = SockaddrIn::from(SocketAddrV4::new(address, 0));
    let [_, _, _, _, id @ ..] = super::seed().to_be_bytes();
    for _ in 0..count {
        let message = message(ECHO, id);
        sendto(socket.as_raw_fd(), &message, &to, MsgFlags::empty()).map_err(failed("sendto"))?;
        let until = super::now() + timeout;
        while super::now() < until {
            super::wait_readable(&[socket.as_fd()], Some(until))
                .map_err(|error| io::Error::other(error.chain()))?;
            // IPv4's longest header has 60 bytes, and the message 8.
            let mut packet = [0; 128];
            // A raw socket receives a copy of every ICMP message, those of others too.
            while let Ok(len) = recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                let packet = packet.get(..len).unwrap_or_default();
                if is_reply(packet, address, id) {
                    return Ok(());
                }
            }
        }
    }
    Err(io::Error::other(format!("{address} does not answer")))
}

/// Returns a message whose identifier and sequence number are `id`.
fn message(kind: u8, id: [u8; 4]) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = id;
    let sum = [
        u16::from_be_bytes([kind, 0]),
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    ];
    let sum: u32 = sum.into_iter().map(u32::from).sum();
    // The ones' complement of the ones' complement sum; two folds are enough for three words.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let [.., high, low] = (!sum).to_be_bytes();
    [kind, 0, high, low, a, b, c, d]
}

/// Returns whether an IPv4 packet is the reply of `address` to our message.
fn is_reply(packet: &[u8], address: Ipv4Addr, id: [u8; 4]) -> bool {
    // The length of the IPv4 header, in words, is in the low half of its first byte (RFC 791 §3.1).
    let header = packet
        .first()
        .map_or(0, |first| usize::from(first & 0xf) * 4);
    let source = packet.get(12..16) == Some(&address.octets());
    let message = packet.get(header..).unwrap_or_default();
    source && message.starts_with(&[ECHO_REPLY, 0]) && message.get(4..8) == Some(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_that_of_the_host_to_this_request() {
        let id = [1, 2, 3, 4];
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let mut packet = vec![0; 24];
        packet[0] = 0x46;
        packet[12..16].copy_from_slice(&address.octets());
        packet.extend(message(ECHO_REPLY, id));
        assert!(is_reply(&packet, address, id));
        assert!(!is_reply(&packet, Ipv4Addr::new(192, 0, 2, 2), id));
        assert!(!is_reply(&packet, address, [1, 2, 3, 5]));
        packet[24] = ECHO;
        assert!(!is_reply(&packet, address, id));
        for len in 0..packet.len() {
            assert!(!is_reply(&packet[..len], address, id));
        }
    }

    #[test]
    fn the_checksum_makes_all_words_add_up_to_ones() {
        for id in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0xff, 0xfe, 0x80, 1]] {
            let message = message(ECHO, id);
            let words = message.as_chunks::<2>().0.iter();
            let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{id:?}");
        }
    }
}
