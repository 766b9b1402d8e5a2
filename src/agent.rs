//! The whole boot, step by step; each consumes what the one before produced.

#![forbid(unsafe_code)]

use crate::acquire;
use crate::config::Config;
use crate::dhcp::lease::Lease;
use crate::error::Error;
use crate::link::{self, Link};

/// Finds the interfaces, acquires a lease on one of them and configures it.
///
/// # Errors
/// As its steps; the machine's network is then as it was before.
pub fn lease(config: &Config) -> Result<(Link, Lease), Error> {
    let links = link::find(config)?;
    let (link, lease) = acquire::lease(links, config)?;
    if let Err(error) = link.configure(&lease) {
        link.restore();
        return Err(error);
    }
    Ok((link, lease))
}
