//! Commands about the network: the interface with its lease, addresses of names, and echoes.

use core::time::Duration;

use super::super::step::{Answer, Query, Step};
use super::arguments::{Arguments, CommandFault, number};
use super::settings::is_our_interface;
use super::state::{CommandEffect, CommandResult, PendingCommand, State};
use crate::prelude::*;

/// Succeeds when the interface that holds the lease is among those named.
pub(super) fn interface(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    // "ipv6" is iPXE's other one (net/ndp.c); a name that it does not know is a failure, too.
    let done = if call.context.facts.has_ipv4() {
        "dhcp"
    } else {
        "ipv6"
    };
    if let Some(name) = call.value("configurator").filter(|name| *name != done) {
        let what = format!("is not done: there is the lease of \"{done}\" alone");
        return Err(CommandFault::new(name, what));
    }
    let names = call.words;
    match names.first() {
        Some(first) if !names.iter().any(|name| is_our_interface(name)) => Err(CommandFault::new(
            first,
            "only net0 is up: the interface that holds the lease",
        )),
        _ => Ok(CommandEffect::Done),
    }
}

pub(super) fn interface_status(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    Ok(CommandEffect::say(format!(
        "{} ({}): {}/{}",
        call.context.facts.interface,
        call.context.facts.mac,
        call.context.facts.address_text(),
        call.context.facts.prefix_len
    )))
}

/// Asks for the address of a host.
pub(super) fn look_up(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let query = Query::Address(call.word(1).to_owned());
    let setting = Some(call.word(0).to_owned());
    Ok(CommandEffect::Ask(
        Step::Query(query),
        PendingCommand::Reply { setting },
    ))
}

/// Asks for an echo, as often as --count says; without it iPXE does not end by itself.
pub(super) fn ping(_: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let count = call.value("count").map_or(Ok(1), number)?;
    let query = Query::Echo {
        host: call.word(0).to_owned(),
        count: u16::try_from(count.clamp(1, MAX_ECHOES)).unwrap_or(1),
        timeout: call.timeout()?.unwrap_or(ECHO_TIMEOUT),
    };
    let setting = None;
    Ok(CommandEffect::Ask(
        Step::Query(query),
        PendingCommand::Reply { setting },
    ))
}

/// iPXE's PING_DEFAULT_TIMEOUT.
const ECHO_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_ECHOES: i64 = 100;

/// Handles what a query has found.
pub(super) fn replied(state: &mut State, setting: Option<String>, answer: Answer) -> CommandResult {
    if let (Answer::Text(text), Some(setting)) = (&answer, &setting) {
        state.set(setting, text)?;
        return Ok(CommandEffect::Done);
    }
    if answer == Answer::Done && setting.is_none() {
        return Ok(CommandEffect::Done);
    }
    Err(CommandFault::of_command(
        if let Answer::Failed(why) = answer {
            why
        } else {
            "there was no answer".to_owned()
        },
    ))
}
