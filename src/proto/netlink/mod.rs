//! Messages of rtnetlink: links, addresses and routes (rtnetlink(7)).

pub mod message;
pub mod route;
