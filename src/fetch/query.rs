//! Questions of a boot plan to the network that are no fetches.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use super::fetcher::{Executor, Fetcher};
use super::remote;
use crate::error::Cause;
use crate::sys::echo;
use wireboot_proto::boot::{Answer, Query};
use wireboot_proto::text::url::Url;
use wireboot_proto::worker::Message;

impl Fetcher {
    /// Answers a question of a plan.
    pub fn answer(&self, query: Query) -> Answer {
        match self.transport() {
            Executor::Own => self.answer_here(query, None),
            Executor::Workers(workers) => remote::answer(self, workers, query),
            Executor::Parent(peer) => remote::answer_of(Ok(peer.ask(&Message::Query(query)).0)),
        }
    }

    /// Answers a question in this process, with a socket for echo requests where it may not open one.
    pub(super) fn answer_here(&self, query: Query, socket: Option<OwnedFd>) -> Answer {
        let answer = match query {
            Query::Address(host) => self
                .address_of(&host)
                .map(|ip| Answer::Text(ip.to_string())),
            Query::Echo {
                host,
                count,
                timeout,
            } => self.address_of(&host).and_then(|ip| match ip {
                IpAddr::V4(ip) => {
                    let open = || echo::open(self.access.interface.as_deref());
                    let socket = socket.map_or_else(open, Ok)?;
                    echo::request(&socket, ip, count, timeout)?;
                    Ok(Answer::Done)
                }
                IpAddr::V6(_) => Err("only IPv4 addresses are asked for an echo".into()),
            }),
        };
        answer.unwrap_or_else(|error| Answer::Failed(error.to_string()))
    }

    /// Returns the first address of a host, one of IPv4 if it has any.
    fn address_of(&self, host: &str) -> Result<IpAddr, Cause> {
        let url = Url::tftp(host, "/")?;
        let found = self.access.resolve(&url, self.stall_timeout)?;
        let mut addresses = found.iter().map(|address| address.ip());
        let first = addresses.clone().find(IpAddr::is_ipv4);
        let first = first.or_else(|| addresses.next());
        first.ok_or_else(|| format!("no address is known for {host}").into())
    }
}
