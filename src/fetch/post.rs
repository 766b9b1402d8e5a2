//! What a boot tells of itself: to a web server, and to the log server of its lease (RFC 5424).

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::fetcher::{Executor, Fetcher};
use super::rotation::Mirrors;
use crate::config::{Config, OutputConfig, SYSLOG_PORT};
use crate::error::{Error, Reason, chain_of};
use crate::gate::Gate;
use crate::link::Link;
use crate::sys::syslog::{self, LogServer};
use crate::timeline::Timeline;
use crate::trust::Trust;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::option::code;
use wireboot_proto::text::url::{Form, Scheme, Url};

/// How long a web server may be silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// The answer to a report, which nobody reads.
const MAX_ANSWER: u64 = 64 << 10;

/// Returns the address that reports go to.
///
/// # Errors
/// [`Reason::Usage`] when it is none of a web server.
pub(super) fn address(config: &OutputConfig) -> Result<Option<Url>, Error> {
    let Some(text) = &config.report_to else {
        return Ok(None);
    };
    let url = text.parse().ok();
    let url = url.filter(|url: &Url| url.scheme() != Scheme::Tftp);
    let unfit = || {
        Box::new(Reason::Usage(
            "--report takes an http:// or https:// URL".to_owned(),
        ))
    };
    url.map(Some).ok_or_else(unfit)
}

/// Begins to send the messages of this boot to a log server, and its account to a web server, where
/// there are such. Both are reached over `link`.
///
/// # Errors
/// [`Reason::Usage`] when `config` has no address of a web server where one should be.
pub fn begin_reports(
    config: &Config,
    link: &Link,
    lease: &Lease,
    trust: &Trust,
    gate: &Gate,
) -> Result<(), Error> {
    let of_lease = || {
        let servers = lease.options.addresses(code::LOG_SERVERS);
        let is_refused = config
            .dhcp
            .introduction
            .not_requested
            .contains(&code::LOG_SERVERS);
        let server = servers.first().filter(|_| !is_refused)?;
        Some(LogServer {
            address: SocketAddr::new(IpAddr::V4(*server), SYSLOG_PORT),
            is_tcp: false,
        })
    };
    let server = config.output.syslog.or_else(of_lease);
    syslog::begin(server, &lease.address.to_string());
    let Some(url) = address(&config.output)? else {
        return Ok(());
    };
    // Files need hashes, signatures and mirrors; a report has none of them.
    let fetcher = Fetcher::new(config, &link.name, lease, trust, &Timeline::default())?;
    let fetcher = Fetcher {
        access: fetcher.access,
        transport: fetcher.transport,
        mirrors: Mirrors::default(),
        rounds: 1,
        stall_timeout: PATIENCE,
        ..Fetcher::default()
    };
    if let Executor::Workers(workers) = fetcher.transport() {
        // Started by the first thread, it ends with this process, whoever it is waiting for.
        let addresses = std::slice::from_ref(&url);
        workers.put(addresses, fetcher.worker(workers, addresses)?);
    }
    let machine = format!(
        "\"mac\":\"{}\",\"interface\":{},\"address\":\"{}\",",
        link.mac,
        serde_json::to_string(&link.name).unwrap_or_default(),
        lease.address
    );
    let headers = [("Content-Type", "application/json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let begun = gate.reports.begin(machine, move |report| {
        let form = Form::new("POST", &headers, report)?;
        match fetcher.get(&url.clone().with_form(form), MAX_ANSWER) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(format!("{url} is not there")),
            // Without "cannot fetch", which it is not.
            Err(error) => {
                let why = error.source().map(chain_of);
                Err(why.map_or_else(|| error.chain(), |why| format!("{url}: {why}")))
            }
        }
    });
    begun.map_err(|error| Box::new(Reason::Usage(format!("cannot begin reports: {error}"))))
}
