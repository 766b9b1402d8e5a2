//! The part of wireboot that does no I/O: packets, formats, protocol machines and boot plans.
//!
//! Machines own no socket and read no clock: what was received and the time are arguments. A reader
//! who is new here starts with [`dhcp`], whose example drives a client from DISCOVER to lease; the
//! other machines ([`tftp`], [`http`], [`sntp`], [`boot`]) are driven by the same verbs.

#![forbid(unsafe_code)]
// Tests print and make files; the crate itself does neither.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod boot;
pub mod dhcp;
pub mod format;
pub mod http;
pub mod netlink;
pub mod packet;
mod prelude;
pub mod reader;
pub mod sntp;
pub mod switch;
pub mod text;
pub mod tftp;
pub mod time;
pub mod trust;
