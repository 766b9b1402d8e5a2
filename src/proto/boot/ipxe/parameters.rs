//! Parameters of requests, from `params` and `param`.

use super::super::context::Context;
use super::super::error::Place;
use super::arguments::{Arguments, CommandFault};
use super::format::Type;
use super::state::{CommandEffect, CommandResult, State};
use crate::prelude::*;

/// Limit of parameters in all lists together, since a script can add them in a loop.
const MAX_PARAMETERS: usize = 1_000;

/// A list of parameters.
#[derive(Debug, Default)]
pub(super) struct ParameterList {
    /// Empty for the unnamed one.
    name: String,
    method: String,
    /// Names and values of the form.
    fields: Vec<(String, String)>,
    /// The names of the headers.
    headers: Vec<String>,
}

/// All lists of a run.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<ParameterList>);

impl Parameters {
    /// Takes the list of this name, which serves one request (`parse_uri` of iPXE claims it); an
    /// empty one when there is none.
    pub(super) fn take(&mut self, name: &str) -> ParameterList {
        let at = self.0.iter().position(|list| list.name == name);
        at.map(|at| self.0.swap_remove(at)).unwrap_or_default()
    }
}

impl ParameterList {
    /// Returns the address with the form in its query.
    ///
    /// # Errors
    /// A request that needs more than a GET: the server would take it for another one.
    pub(super) fn apply_to(
        &self,
        address: &str,
        place: &Place,
        context: &mut Context,
    ) -> Result<String, CommandFault> {
        let method = self.method.as_str();
        if let Some(header) = self.headers.first() {
            let what = "the request needs this header, and only plain requests are sent";
            return Err(CommandFault::new(header, what));
        }
        if !["", "GET", "POST"].contains(&method) {
            let what = "the request needs this method, and only GET is sent";
            return Err(CommandFault::new(method, what));
        }
        if self.fields.is_empty() {
            return Ok(address.to_owned());
        }
        let text = "parameters are sent in the query of a GET, not as a form";
        context.note(place, text);
        let value = |value: &str| Type::UriString.format(value.as_bytes());
        let fields = self.fields.iter();
        let fields = fields.map(|(name, text)| format!("{}={}", value(name), value(text)));
        let query = fields.collect::<Vec<_>>().join("&");
        let separator = if address.contains('?') { '&' } else { '?' };
        Ok(format!("{address}{separator}{query}"))
    }
}

/// Begins a list, in place of one with the same name.
pub(super) fn begin(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let name = call.value("name").unwrap_or_default();
    state.parameters.take(name);
    if !call.has("delete") {
        if state.parameters.0.len() >= MAX_PARAMETERS {
            return Err(too_many());
        }
        state.parameters.0.push(ParameterList {
            name: name.to_owned(),
            method: call.value("method").unwrap_or_default().to_owned(),
            ..ParameterList::default()
        });
    }
    Ok(CommandEffect::Done)
}

/// Adds a parameter to a list.
pub(super) fn add(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let list = call.value("params").unwrap_or_default();
    let lists = &mut state.parameters.0;
    let sizes = lists
        .iter()
        .map(|list| list.fields.len() + list.headers.len());
    if sizes.sum::<usize>() >= MAX_PARAMETERS {
        return Err(too_many());
    }
    let found = lists.iter_mut().find(|known| known.name == list);
    let found = found.ok_or_else(|| CommandFault::new(list, "no such list of parameters"))?;
    let name = call.word(0).to_owned();
    if call.has("header") {
        found.headers.push(name);
    } else {
        found.fields.push((name, call.text(1)));
    }
    Ok(CommandEffect::Done)
}

fn too_many() -> CommandFault {
    CommandFault::of_command(format!("more than {MAX_PARAMETERS} parameters"))
}
