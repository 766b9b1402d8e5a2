//! The part of wireboot that does no I/O: packets, formats, protocol machines and boot plans.
//!
//! Machines own no socket and read no clock: what was received and the time are arguments. A reader
//! who is new here starts with [`dhcp`], whose example drives a client from DISCOVER to lease; the
//! other machines ([`tftp`], [`http`], [`sntp`], [`dns`], [`boot`]) are driven by the same verbs.

#![forbid(unsafe_code)]
// Tests print and make files; the crate itself does neither.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod boot;
pub mod dhcp;
pub mod dns;
pub mod format {
    //! Formats of files: captures, kernels and their archives, device trees, the TPM's messages.

    #[cfg(feature = "root")]
    pub mod archive;
    pub mod cpio;
    pub mod fdt;
    #[cfg(feature = "root")]
    pub mod filesystem;
    #[cfg(feature = "root")]
    pub mod gpt;
    #[cfg(feature = "iso")]
    pub mod iso9660;
    pub mod kernel_image;
    pub mod pcap;
    pub mod pcapng;
    #[cfg(feature = "root")]
    pub mod program;
    pub mod tpm;
    pub mod uki;
    #[cfg(feature = "root")]
    pub mod verity;
    #[cfg(feature = "tls")]
    pub mod x509;
}
pub mod http;
pub mod ipv6;
#[cfg(feature = "root")]
pub mod nbd;
pub mod netlink {
    //! Messages of rtnetlink: links, addresses and routes (rtnetlink(7)).

    #[cfg(feature = "bond")]
    pub mod bond;
    pub mod message;
    pub mod request;
    pub mod route;
    pub mod route6;
}
#[cfg(feature = "root")]
pub mod oci;
pub mod packet {
    //! Packets on the wire: headers and messages, decoded and encoded without state.
    //!
    //! `decode` never panics and never reads past its input, whatever it is given; `encode` writes
    //! what `decode` reads.

    pub mod arp;
    pub mod dhcp;
    pub mod dhcpv6;
    pub mod dns;
    pub mod ethernet;
    pub mod icmpv6;
    pub mod ipv4;
    pub mod option;
    pub mod pxe;
    pub mod switch_frame;
    pub mod tftp;
}
mod prelude {
    //! What `std` would bring into scope and `no_std` does not.

    pub(crate) use alloc::borrow::ToOwned;
    pub(crate) use alloc::boxed::Box;
    pub(crate) use alloc::string::{String, ToString};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use alloc::{format, vec};
}
pub mod reader;
pub mod sntp;
pub mod sorted;
pub mod switch;
pub mod text {
    //! Text that comes from the network or goes to people: addresses of files, names, and what may be
    //! shown.

    pub mod json;
    pub mod names;
    #[cfg(feature = "root")]
    pub mod remote_root;
    pub mod safe;
    pub mod url;
}
pub mod tftp;
pub mod time;
pub mod trust {
    //! What may be started: signatures, lists of hashes, and the policy.

    pub mod policy;
    pub mod signature;
    pub mod sums;
}
pub mod worker;
