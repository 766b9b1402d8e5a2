//! Questions of a boot plan to the network that are no fetches.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::failure::Failure;
use super::fetcher::{Executor, Fetcher, Workers};
use super::progress::Progress;
use super::remote::{await_end, fault, silence};
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
            Executor::Workers(workers) => by_worker(self, workers, query),
            Executor::Parent(peer) => of_message(Ok(peer.ask(&Message::Query(query)).0)),
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

/// Lets a worker answer a question of a plan.
fn by_worker(fetcher: &Fetcher, workers: &Workers, query: Query) -> Answer {
    let ask = || -> Result<Message, Cause> {
        // It asks name servers alone, as those that fetch do too.
        let mut worker = fetcher.worker(workers, &[])?;
        // It takes CAP_NET_RAW to open one.
        let socket = if matches!(query, Query::Echo { .. }) {
            Some(echo::open(fetcher.access.interface.as_deref())?)
        } else {
            None
        };
        let files: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
        worker.send(&Message::Query(query), &files)?;
        let mut progress = Progress::silent();
        let limit = silence(fetcher.stall_timeout);
        let end = await_end(fetcher, &mut worker, limit, &mut progress)?;
        workers.put(&[], worker);
        Ok(end)
    };
    of_message(ask())
}

/// Returns what a message answers to a question of a plan.
fn of_message(message: Result<Message, Cause>) -> Answer {
    match message {
        Ok(Message::Answered(text)) => text.map_or(Answer::Done, Answer::Text),
        Ok(Message::Failed(fault)) => Answer::Failed(fault.why),
        Ok(_) => Answer::Failed("no answer".to_owned()),
        Err(cause) => Answer::Failed(cause.to_string()),
    }
}

/// Returns the answer to a question of a plan as a message.
pub(super) fn as_message(answer: Answer) -> Message {
    if let Answer::Text(text) = answer {
        Message::Answered(Some(text))
    } else if let Answer::Failed(why) = answer {
        fault((None, Failure::Other(why.into())))
    } else {
        Message::Answered(None)
    }
}
