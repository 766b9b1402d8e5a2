//! Drives [`crate::tftp::Get`] over UDP sockets: one for each way of asking, until one works.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::sink::Sink;
use super::{Failure, Fetcher, other};
use crate::plan::url::Url;
use crate::sys;
use crate::sys::SyscallError;
use crate::tftp::{Config, Event, Failure as TransferFailure, Get, Terms};
use crate::wire::tftp::ErrorCode;

/// A transfer that brought nothing for so long has failed.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Room for several windows, so that a busy machine loses none.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest block that can be agreed on, and its header.
const MAX_PACKET: usize = 65_468;

/// Fetches the file of `url` from `server` into `sink`.
pub(super) fn get(
    fetcher: &Fetcher,
    url: &Url,
    server: SocketAddr,
    max_len: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Failure> {
    let mut config = Config {
        server,
        file: url.tftp_file().to_owned(),
        terms: Terms::best(fetcher.path_mtu, &server),
        stall_timeout: STALL_TIMEOUT,
        max_len,
        skip: 0,
        expected_len: None,
    };
    loop {
        let Some(failure) = transfer(fetcher, &mut config, sink)? else {
            return Ok(());
        };
        let Some(terms) = config.terms.after(&failure) else {
            return Err(if is_missing(&failure) {
                Failure::Missing(failure.into())
            } else {
                other(failure)
            });
        };
        log::debug!("{url}: {failure}; asking again with {terms:?}");
        config.terms = terms;
        config.skip = sink.len();
    }
}

const fn is_missing(failure: &TransferFailure) -> bool {
    matches!(
        failure,
        TransferFailure::Refused {
            code: ErrorCode::FILE_NOT_FOUND,
            ..
        }
    )
}

/// Runs one transfer to its end; what has come stays in `sink`.
fn transfer(
    fetcher: &Fetcher,
    config: &mut Config,
    sink: &mut Sink<'_>,
) -> Result<Option<TransferFailure>, Failure> {
    let socket = open(fetcher, config.server)?;
    let mut get = Get::new(config.clone(), sys::now());
    let mut outgoing = Vec::new();
    let mut incoming = vec![0; MAX_PACKET];
    let mut no_room: Option<std::io::Error> = None;
    loop {
        while let Some(transmit) = get.poll_transmit(&mut outgoing) {
            // Lost like any datagram; it is repeated in time.
            if let Err(error) = socket.send_to(&outgoing, transmit.destination) {
                log::debug!("sending to {}: {error}", transmit.destination);
            }
        }
        // The server has been told by now.
        if let Some(error) = no_room {
            return Err(other(error));
        }
        while let Some(event) = get.poll_event() {
            match event {
                Event::Started { len, terms, .. } => {
                    log::debug!("{}: {terms:?}, {len:?} octets", config.file);
                    config.expected_len = config.expected_len.or(len);
                    if let Err(error) = sink.expect(len) {
                        get.abort("no room");
                        no_room = Some(error);
                    }
                }
                Event::Done => return Ok(None),
                Event::Failed(failure) => return Ok(Some(failure)),
            }
        }
        if no_room.is_some() {
            continue;
        }
        match socket.recv_from(&mut incoming) {
            Ok((len, source)) => {
                let payload = incoming.get(..len).unwrap_or_default();
                match get.handle_input(source, payload, sys::now()) {
                    Ok(octets) => {
                        if let Err(error) = sink.write(octets) {
                            get.abort("no room");
                            no_room = Some(error);
                        }
                    }
                    Err(discard) => log::trace!("{source}: {discard}"),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                sys::wait_readable(&[socket.as_fd()], get.poll_timeout()).map_err(other)?;
                get.handle_timeout(sys::now());
            }
            // What ICMP says of an earlier datagram; the timeouts decide.
            Err(error) => {
                log::debug!("receiving from {}: {error}", config.server);
                get.handle_timeout(sys::now());
            }
        }
    }
}

fn open(fetcher: &Fetcher, server: SocketAddr) -> Result<UdpSocket, Failure> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).map_err(other)?;
    socket.set_nonblocking(true).map_err(other)?;
    if let Some(interface) = &fetcher.interface {
        setsockopt(&socket, sockopt::BindToDevice, &interface.into())
            .map_err(|errno| other(SyscallError::new("setsockopt(SO_BINDTODEVICE)", errno)))?;
    }
    // The kernel gives what it allows.
    let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
    Ok(socket)
}
