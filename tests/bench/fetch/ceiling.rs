//! How fast a TFTP server sends at most: to a receiver that only counts, and that sleeps while a window
//! comes, so that the server is not even held up by waking it.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

const BLOCK_LEN: usize = 1468;
const NAPS: [u64; 4] = [50, 100, 200, 400];
const WINDOWS: [u16; 3] = [64, 256, 1024];

/// Returns the best rate of several windows and naps, octets a second, for a server with windows;
/// without, that of lockstep.
pub(super) fn of_server(host: &str, knows_windows: bool) -> f64 {
    let rates = |window| NAPS.map(|nap| rate(host, window, Duration::from_micros(nap)));
    match knows_windows {
        true => WINDOWS.into_iter().flat_map(rates).fold(0.0, f64::max),
        false => (0..4)
            .map(|_| rate(host, 1, Duration::ZERO))
            .fold(0.0, f64::max),
    }
}

fn rate(host: &str, window: u16, nap: Duration) -> f64 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let room = 16_usize << 20;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &room).unwrap();
    let limit = Some(Duration::from_secs(5));
    socket.set_read_timeout(limit).unwrap();
    let request = match window {
        1 => format!("\0\x01file\0octet\0blksize\0{BLOCK_LEN}\0"),
        _ => format!("\0\x01file\0octet\0blksize\0{BLOCK_LEN}\0windowsize\0{window}\0"),
    };
    socket.send_to(request.as_bytes(), (host, 69)).unwrap();
    let mut packet = [0; BLOCK_LEN + 4];
    let (_, server) = socket.recv_from(&mut packet).unwrap();
    socket.connect(server).unwrap();
    socket.send(&[0, 4, 0, 0]).unwrap();
    let begun = Instant::now();
    let (mut octets, mut blocks) = (0, 0_u16);
    loop {
        let len = match socket.recv(&mut packet) {
            Ok(len) => len,
            // All that was there is counted.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "packets were lost"
                );
                thread::sleep(nap);
                continue;
            }
            Err(error) => panic!("{host}: {error}"),
        };
        octets += len - 4;
        blocks = blocks.wrapping_add(1);
        assert_eq!(packet[2..4], blocks.to_be_bytes(), "a packet was lost");
        let is_last = len < packet.len();
        if blocks.is_multiple_of(window) || is_last {
            let [high, low] = blocks.to_be_bytes();
            socket.send(&[0, 4, high, low]).unwrap();
        }
        if is_last {
            return octets as f64 / begun.elapsed().as_secs_f64();
        }
        // The first packet is waited for, and the others are slept away.
        socket.set_nonblocking(window > 1).unwrap();
    }
}
