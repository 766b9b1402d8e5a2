//! IPv6 on one interface: router discovery, address configuration and DHCPv6 (RFC 4861, RFC 4862, RFC
//! 9915). Section numbers of DHCPv6 are those of RFC 8415, which RFC 9915 has replaced.
//!
//! A [`client::Ipv6Client`] joins the machines below it: [`ndisc`] knows what routers advertise,
//! [`dhcp`] asks servers, [`probe`] finds out whether another host has an address. The result is a
//! [`lease::Lease6`].
//!
//! Deviations, all because a booting machine waits for each answer:
//! - an address is used while it is probed (RFC 4862 §5.4 wants it unused for a second), unless detection
//!   is strict;
//! - there is no random delay of up to a second before the first message (RFC 4861 §6.3.7, RFC 8415
//!   §18.2.1);
//! - in the first minute messages are repeated after 0.5, 1, 2, 4, … 16 s, where RFC 8415 §7.6 begins with
//!   1 s and RFC 7559 §2 with 4 s; later the pauses grow up to their hour. A server that sends SOL_MAX_RT or
//!   INF_MAX_RT is obeyed;
//! - an ADVERTISE with a boot file is accepted at once (RFC 8415 §18.2.1 collects for the first second).
//!
//! Not done: temporary addresses, prefix delegation, reconfiguration, authentication.

pub mod address;
pub mod client;
pub mod dhcp;
pub mod exchange;
pub mod export;
pub mod facts;
pub mod identity;
pub mod lease;
pub mod ndisc;
pub mod offer;
pub mod probe;

#[cfg(test)]
mod tests;
