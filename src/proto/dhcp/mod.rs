//! The DHCP client as a state machine (RFC 2131 §4.4, Figure 5).
//!
//! [`Client`] owns no socket and reads no clock. A program drives it in a loop:
//!
//! 1. [`Client::handle_input`] or [`Client::handle_timeout`],
//! 2. [`Client::poll_transmit`] until none, then [`Client::poll_event`] until none,
//! 3. wait for input or [`Client::poll_timeout`].
//!
//! ```
//! use std::net::{Ipv4Addr, SocketAddrV4};
//! use wireboot_proto::dhcp::config::Config;
//! use wireboot_proto::dhcp::{Client, Event, StateName};
//! use wireboot_proto::packet::dhcp::{Message, MessageType, Op};
//! use wireboot_proto::packet::ethernet::MacAddress;
//! use wireboot_proto::packet::option::code;
//! use wireboot_proto::packet::ipv4::Datagram;
//! use wireboot_proto::time::Instant;
//!
//! const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
//!
//! /// In place of a network: an OFFER for a DISCOVER, an ACK for a REQUEST.
//! fn reply_to(payload: &[u8]) -> Vec<u8> {
//!     let mut message = Message::decode(payload).unwrap();
//!     let message_type = match message.message_type() {
//!         Some(MessageType::Discover) => MessageType::Offer,
//!         _ => MessageType::Ack,
//!     };
//!     message.op = Op::BootReply;
//!     message.yiaddr = Ipv4Addr::new(192, 0, 2, 100);
//!     message.options.set(code::MESSAGE_TYPE, [u8::from(message_type)]);
//!     message.options.set(code::SERVER_IDENTIFIER, SERVER.octets());
//!     message.options.set(code::LEASE_TIME, 3600_u32.to_be_bytes());
//!     let mut reply = Vec::new();
//!     message.encode(&mut reply).unwrap();
//!     reply
//! }
//!
//! // The program's monotonic clock; here it stands still, since every message is answered at once.
//! let now = Instant::ZERO;
//! let config = Config::new(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]), 7);
//! let mut client = Client::new(config, now);
//! let mut sent = Vec::new();
//! let mut payload = Vec::new();
//! let lease = 'bound: loop {
//!     client.handle_timeout(now);
//!     let mut replies = Vec::new();
//!     while let Some(transmit) = client.poll_transmit(&mut payload) {
//!         // A program sends a frame from `transmit.source` to `transmit.destination`.
//!         sent.push(transmit.message_type);
//!         replies.push(reply_to(&payload));
//!     }
//!     while let Some(event) = client.poll_event() {
//!         if let Event::Bound(lease) = event {
//!             break 'bound lease;
//!         }
//!     }
//!     // A program waits for a frame here, at most until `client.poll_timeout()`.
//!     for payload in &replies {
//!         let datagram = Datagram {
//!             source: SocketAddrV4::new(SERVER, 67),
//!             destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
//!             payload,
//!         };
//!         if let Err(discard) = client.handle_input(datagram, now) {
//!             println!("ignored: {discard}");
//!         }
//!     }
//! };
//! assert_eq!(sent, [MessageType::Discover, MessageType::Request]);
//! assert_eq!(lease.address, Ipv4Addr::new(192, 0, 2, 100));
//! // The loop goes on: the address is announced by ARP again, and the lease renewed at T1.
//! assert_eq!(client.state(), StateName::Bound);
//! assert_eq!(client.poll_timeout(), Some(Instant::from_millis(2_000)));
//! ```
//!
//! A client that detects address conflicts, as is the default, also needs
//! [`Client::poll_arp`] in step 2 and [`Client::handle_arp`] for packets about
//! [`Client::conflict_watch`]. Where many machines share a wire, [`Client::handle_contention`] goes
//! before `handle_timeout`. After `handle_timeout(now)` and a full drain, `poll_timeout` is none or
//! later than `now`.
//!
//! One deviation from the RFC: there is no start delay of 1 to 10 s (§4.4.1), and the first
//! retransmission comes after 0.5 s and not 4 s (§4.1), because a machine that boots waits for the
//! answer.

#![forbid(unsafe_code)]

pub mod boot_service;
mod client;
pub mod config;
pub mod identity;
pub mod inquiry;
pub mod json;
pub mod lease;
mod message;
pub mod offer;
mod probe;
mod reply;
mod resend;
pub mod survey;

pub use client::{Client, Event, Loss, Notice, StateName, Transmit};
pub use reply::{Discard, is_host, stray};
pub use resend::RequestCounts;

#[cfg(test)]
mod tests;
