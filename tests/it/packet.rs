//! Packet sockets and rings against the running kernel, on a veth pair in a network namespace
//! of each test's own.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::common::{in_new_namespace, ip, pair, wait_until};
use wireboot::sys::filter::{Condition, FilterProgram, Load, Size, WHOLE_FRAME};
use wireboot::sys::packet::{PacketSocket, PacketType, SocketConfig, SocketType};
use wireboot::sys::ring::{Layout, Ring, TransmitRing, Version};
use wireboot::sys::{now, wait_readable};
use wireboot_proto::packet::ethernet::{MacAddress, VlanTag};

const V3: Layout = Layout {
    version: Version::V3 {
        block_len: 4096,
        retire_time: Duration::from_millis(1),
    },
    memory: 16 * 4096,
};

/// A broadcast frame of the experimental EtherType 0x88b5 (IEEE 802), so that the kernel's own
/// chatter on a new interface never counts.
fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x52, 0x54, 0, 1, 2, 3, 0x88, 0xb5, number]);
    frame.resize(len, 0);
    frame
}

fn experimental() -> FilterProgram {
    let size = Size::Half;
    Condition::equal(Load::Frame { size, offset: 12 }, 0x88b5)
        .compile(WHOLE_FRAME)
        .unwrap()
}

fn wait(source: &impl AsFd) {
    let deadline = now() + Duration::from_secs(10);
    let ready = wait_readable(&[source.as_fd()], Some(deadline)).unwrap();
    assert!(ready[0], "nothing came within 10 s");
}

/// Returns the octets of the frames that are there.
fn drain(ring: &mut Ring) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(mut batch) = ring.next_batch() {
        while let Some(frame) = batch.next() {
            frames.push(frame.octets().to_vec());
        }
    }
    frames
}

/// Returns the first `count` frames, and fails when they do not come.
fn collect(ring: &mut Ring, count: usize) -> Vec<Vec<u8>> {
    let mut frames = drain(ring);
    while frames.len() < count {
        wait(ring);
        frames.extend(drain(ring));
    }
    frames
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_plain_socket_reads_what_passes_with_time_direction_and_true_length() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let socket = PacketSocket::open(near, &experimental()).unwrap();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let mut other = frame(1, 60);
        other[12] = 0x99;
        sender.send(&other).unwrap();
        sender.send(&frame(2, 90)).unwrap();
        wait(&socket);
        let mut buf = [0; 64];
        let received = socket.recv(&mut buf).unwrap().unwrap();
        assert_eq!((received.len, received.metadata.original_len), (64, 90));
        assert_eq!(buf, frame(2, 90)[..64]);
        assert_eq!(received.metadata.direction, PacketType::Broadcast);
        let nanoseconds = received.metadata.timestamp.as_nanos();
        let age = std::time::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        assert!(age.elapsed().unwrap() < Duration::from_secs(60));
        assert_eq!(socket.recv(&mut buf).unwrap(), None);
        let statistics = socket.statistics().unwrap();
        assert_eq!((statistics.packets, statistics.drops), (1, 0));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn rings_of_both_versions_lend_frames_in_order_many_times_around() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        for layout in [Layout::SMALL, V3] {
            let mut ring = Ring::open(near, &experimental(), layout).unwrap();
            for round in 0..20_u8 {
                let sent: Vec<_> = (0..12).map(|i| frame(round, 60 + i)).collect();
                for frame in &sent {
                    sender.send(frame).unwrap();
                }
                assert_eq!(collect(&mut ring, 12), sent, "{layout:?} {round}");
            }
            assert!(ring.next_batch().is_none());
            let statistics = ring.statistics().unwrap();
            assert_eq!((statistics.packets, statistics.drops), (240, 0));
            assert_eq!(ring.damaged(), 0);
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn bursts_from_a_transmit_ring_arrive_whole_and_in_order_many_times_around() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let layout = Layout {
            memory: 1 << 20,
            ..Layout::SMALL
        };
        let mut ring = Ring::open(near, &experimental(), layout).unwrap();
        let mut sender = TransmitRing::open(far, 1514, 16 * 2048).unwrap();
        for round in 0..20 {
            let sent: Vec<_> = (0..11).map(|i| frame(round, 60 + 100 * i)).collect();
            for frame in &sent {
                assert!(sender.put(frame).unwrap());
            }
            assert_eq!(sender.flush().unwrap(), 0);
            assert_eq!(collect(&mut ring, 11), sent, "{round}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_burst_with_a_frame_above_the_mtu_says_what_is_lost_and_the_next_one_is_sent() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let mut ring = Ring::open(near, &experimental(), Layout::SMALL).unwrap();
        let mut sender = TransmitRing::open(far, 2000, 16 * 2048).unwrap();
        assert!(sender.put(&frame(1, 2_100)).is_err());
        for (number, len) in [(1, 60), (2, 1_900), (3, 60)] {
            assert!(sender.put(&frame(number, len)).unwrap());
        }
        assert_eq!(sender.flush().unwrap(), 2);
        assert!(sender.put(&frame(4, 1_514)).unwrap());
        ip("link set far down");
        let error = sender.flush().unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::ENETDOWN));
        ip("link set far up");
        wait_until("far has a carrier", || {
            ip("link show far").contains("LOWER_UP")
        });
        assert_eq!(sender.flush().unwrap(), 0);
        assert_eq!(collect(&mut ring, 2), [frame(1, 60), frame(4, 1_514)]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_full_ring_counts_what_it_loses_and_goes_on_afterwards() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        for layout in [Layout::SMALL, V3] {
            let mut ring = Ring::open(near, &experimental(), layout).unwrap();
            for _ in 0..1_000 {
                sender.send(&frame(1, 1_000)).unwrap();
            }
            wait(&ring);
            let read = u64::try_from(drain(&mut ring).len()).unwrap();
            let statistics = ring.statistics().unwrap();
            assert_eq!(statistics.packets, 1_000);
            assert_eq!(statistics.packets - statistics.drops, read, "{layout:?}");
            assert!(statistics.drops > 0);
            sender.send(&frame(2, 60)).unwrap();
            assert_eq!(collect(&mut ring, 1), [frame(2, 60)]);
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_tag_is_taken_out_of_the_octets_and_told_beside_them() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let plain = PacketSocket::open(near, &experimental()).unwrap();
        let mut rings =
            [Layout::SMALL, V3].map(|layout| Ring::open(near, &experimental(), layout).unwrap());
        let mut tagged = frame(1, 80);
        tagged.splice(12..12, [0x81, 0x00, 0x60, 0x05]);
        sender.send(&tagged).unwrap();
        let tag = VlanTag {
            tpid: 0x8100,
            tci: 0x6005,
        };
        for ring in &mut rings {
            wait(ring);
            let mut batch = ring.next_batch().unwrap();
            let seen = batch.next().unwrap();
            assert_eq!((seen.vlan(), seen.octets()), (Some(tag), &frame(1, 80)[..]));
        }
        wait(&plain);
        let mut buf = [0; 100];
        let received = plain.recv(&mut buf).unwrap().unwrap();
        assert_eq!(received.metadata.vlan, Some(tag));
        assert_eq!(buf[..received.len], frame(1, 80));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_frame_larger_than_its_slot_is_cut_off_and_known_to_be() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let version = Version::V2 { slot_len: 256 };
        let layout = Layout {
            version,
            memory: 4096,
        };
        let mut ring = Ring::open(near, &experimental(), layout).unwrap();
        sender.send(&frame(1, 1_000)).unwrap();
        wait(&ring);
        let mut batch = ring.next_batch().unwrap();
        let seen = batch.next().unwrap();
        assert_eq!(seen.original_len(), 1_000);
        assert!((100..256).contains(&seen.octets().len()));
        assert_eq!(seen.octets(), &frame(1, 1_000)[..seen.octets().len()]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_ring_opened_before_the_link_is_raised_works_afterwards() {
    in_new_namespace(|| {
        let (near, far) = pair();
        ip("link set near down");
        let program = experimental();
        let opened = std::thread::spawn(move || Ring::open(near, &program, Layout::SMALL));
        let mut ring = opened.join().unwrap().unwrap();
        ip("link set near up");
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        // What the far end sends before the kernel has noticed its carrier is lost.
        wait_until("a frame in the ring", || {
            sender.send(&frame(3, 60)).unwrap();
            let deadline = now() + Duration::from_millis(100);
            wait_readable(&[ring.as_fd()], Some(deadline)).unwrap()[0]
        });
        assert_eq!(collect(&mut ring, 1), [frame(3, 60)]);
        drain(&mut ring);
        ip("link set near down");
        wait(&ring);
        // The error that the kernel left is taken by looking twice, and nothing spins on it.
        assert!(ring.next_batch().is_none() && ring.next_batch().is_none());
        let deadline = now() + Duration::from_millis(20);
        assert_eq!(
            wait_readable(&[ring.as_fd()], Some(deadline)).unwrap(),
            [false]
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn promiscuous_mode_and_groups_end_with_the_socket() {
    in_new_namespace(|| {
        let (near, _) = pair();
        let everything = FilterProgram::everything();
        let groups = [MacAddress([0x01, 0x80, 0xc2, 0, 0, 0x0e])];
        let options = SocketConfig {
            promiscuous: true,
            groups: &groups,
            ..SocketConfig::new(near, &everything)
        };
        let socket = options.open().unwrap();
        assert!(ip("-d link show near").contains("promiscuity 1"));
        assert!(ip("maddress show dev near").contains("01:80:c2:00:00:0e"));
        drop(socket);
        assert!(ip("-d link show near").contains("promiscuity 0"));
        assert!(!ip("maddress show dev near").contains("01:80:c2:00:00:0e"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_datagram_socket_has_the_kernel_write_and_remove_the_ethernet_header() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let everything = FilterProgram::everything();
        let open = |interface| {
            let options = SocketConfig {
                kind: SocketType::Datagram,
                protocol: 0x88b5,
                ..SocketConfig::new(interface, &everything)
            };
            options.open().unwrap()
        };
        let (receiver, sender) = (open(near), open(far));
        let raw = PacketSocket::open(near, &experimental()).unwrap();
        sender
            .send_to(far, MacAddress::BROADCAST, 0x88b5, b"payload")
            .unwrap();
        wait(&receiver);
        let mut buf = [0; 100];
        let received = receiver.recv(&mut buf).unwrap().unwrap();
        assert_eq!(&buf[..received.len], b"payload");
        wait(&raw);
        let received = raw.recv(&mut buf).unwrap().unwrap();
        assert_eq!(buf[..6], [0xff; 6]);
        assert_eq!(&buf[12..received.len], b"\x88\xb5payload");
    });
}
