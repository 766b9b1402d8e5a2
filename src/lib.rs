//! wireboot boots a machine from the network.
//!
//! The layers, from the top; each uses only those below it:
//!
//! | layer | modules | may do I/O |
//! | --- | --- | --- |
//! | commands | [`cli`] | yes |
//! | first process | [`init`] | yes |
//! | the path | [`agent`] | by what it calls |
//! | drivers | [`acquire`], `capture`, [`fetch`], [`image`], [`planning`] | yes, through [`sys`] |
//! | devices | [`link`], [`console`], [`account`], [`handover`], [`recorder`], [`script`], [`measure`], [`trust`], [`unpack`] | yes, through [`sys`] |
//! | machines | [`dhcp`], [`tftp`], [`http`], [`sntp`], [`switch`], [`verify`] | no: time and input are arguments |
//! | plans | [`plan`], with its URLs | no |
//! | values | [`wire`], [`time`], [`error`], [`settings`], [`config`], [`cmdline`] | no |
//! | kernel | [`sys`] | it is the I/O, and the only unsafe code |

pub mod account;
pub mod acquire;
pub mod agent;
pub mod capture;
pub mod cli;
pub mod cmdline;
pub mod console;
pub mod dhcp;
pub mod error;
pub mod fetch;
pub mod handover;
pub mod http;
pub mod image;
pub mod init;
pub mod link;
pub mod measure;
pub mod plan;
pub mod planning;
pub mod recorder;
pub mod script;
pub mod settings;
pub mod sntp;
pub mod switch;
pub mod sys;
pub mod tftp;
pub mod time;
pub mod trust;
pub mod unpack;
pub mod verify;
pub mod wire;

pub use settings::config;
