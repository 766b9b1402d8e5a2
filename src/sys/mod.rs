//! System calls, one file per kernel interface: the only I/O, and the only unsafe code, with its
//! reason in each file.

#[cfg(feature = "root")]
pub mod attributes;
pub mod channel;
pub mod clock;
mod control_group;
pub mod descriptor;
#[cfg(feature = "root")]
pub mod device_mapper;
pub mod drivers;
pub mod echo;
mod error;
pub mod exec;
pub mod file;
pub mod files;
pub mod filter {
    //! Classic BPF as plain data: the programs by which the kernel filters the frames of a socket.
    //!
    //! * [`FilterProgram`] is checked once, by the rules of the kernel's own checker, so that attaching it
    //!   cannot fail for its content and [interpreting](FilterProgram::run_with) it always ends.
    //! * [`Condition`] is how programs are written: tests joined by and, or and not.
    //! * [`ready`] holds the programs for DHCP, ARP, TFTP and PXE.
    //!
    //! Left out: the kernel's extensions that no program here or from `tcpdump` uses (netlink
    //! attributes, random numbers, loads relative to the network header).

    #![forbid(unsafe_code)]

    mod condition;
    mod interpret;
    mod program;
    pub mod ready;
    mod text;

    pub use condition::{Condition, Load, Size};
    pub use interpret::FilterInput;
    #[cfg(feature = "capture")]
    pub use interpret::calculate;
    pub use program::{
        FilterInstruction, FilterProgram, ProgramError, WHOLE_FRAME, ancillary, code,
    };
    pub use ready::dhcp_replies;
    pub use text::TextError;
}
pub mod firmware;
pub mod hashing;
pub mod heap;
pub mod ipv6;
pub mod kexec;
#[cfg(feature = "root")]
pub mod loop_device;
pub mod machine;
pub mod mapped;
pub mod memfd;
pub mod messages;
#[cfg(feature = "root")]
pub mod mounts;
pub mod netlink;
pub mod packet;
pub mod process;
#[cfg(feature = "attended")]
pub mod pseudo_terminal;
pub mod rcu;
pub mod ring;
pub mod sandbox;
pub mod signal;
#[cfg(feature = "report")]
pub mod syslog;
pub mod terminal;
pub mod udp;
#[cfg(feature = "attended")]
pub mod watchdog;

pub use clock::{now, since_1970, up_time, up_time_at, wait_beside, wait_for, wait_readable};
pub use error::SyscallError;
pub use machine::{random, seed};
