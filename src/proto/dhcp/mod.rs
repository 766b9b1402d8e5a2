//! The DHCP client as a state machine (RFC 2131 §4.4, Figure 5).
//!
//! It owns no socket and reads no clock; style of use:
//!
//! 1. [`Client::handle_input`] or [`Client::handle_timeout`],
//! 2. [`Client::poll_transmit`] until none, then [`Client::poll_event`] until none,
//! 3. wait for input or [`Client::poll_timeout`].
//!
//! Where many machines share a wire, [`Client::handle_contention`] goes before `handle_timeout`.
//! After `handle_timeout(now)` and a full drain, `poll_timeout` is none or later than `now`.
//! One deviation from the RFC: there is no start delay of 1 to 10 s, and the first retransmission
//! comes after 0.5 s and not 4 s, because a machine that boots waits for the answer.

#![forbid(unsafe_code)]

pub mod boot_service;
mod client;
pub mod config;
mod contention;
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

pub use client::{Client, Event, Loss, StateName, Transmit};
pub use contention::RequestCounts;
pub use reply::{Discard, is_host};

#[cfg(test)]
mod tests;
