//! The DHCP client as a state machine (RFC 2131 §4.4).

#![forbid(unsafe_code)]

pub mod lease;
