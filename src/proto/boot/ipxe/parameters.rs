//! Parameters of requests, from `params` and `param`.

use super::arguments::{Arguments, CommandFault};
use super::format::Type;
use super::state::{CommandEffect, CommandResult, State};
use crate::prelude::*;
use crate::text::url::Form;

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
    /// Names and values of the headers.
    headers: Vec<(String, String)>,
}

/// All lists of a run.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<ParameterList>);

impl Parameters {
    /// Takes the list of this name, which serves one request (`parse_uri` of iPXE claims it).
    pub(super) fn take(&mut self, name: &str) -> Option<ParameterList> {
        let at = self.0.iter().position(|list| list.name == name);
        at.map(|at| self.0.swap_remove(at))
    }
}

impl ParameterList {
    /// Returns the request of the list: as iPXE, a POST where it has fields and no method.
    ///
    /// # Errors
    /// A method or header that is not valid.
    pub(super) fn form(self) -> Result<Form, CommandFault> {
        let value = |value: &str| Type::UriString.format(value.as_bytes());
        let fields = self.fields.iter();
        let fields = fields.map(|(name, text)| format!("{}={}", value(name), value(text)));
        let body = fields.collect::<Vec<_>>().join("&");
        let method = match self.method.as_str() {
            "" if body.is_empty() => "GET",
            "" => "POST",
            method => method,
        };
        let form = Form::new(method, &self.headers, body);
        form.map_err(|word| CommandFault::new(&word, "is no valid method or header of a request"))
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
    let list = if call.has("header") {
        &mut found.headers
    } else {
        &mut found.fields
    };
    list.push((call.word(0).to_owned(), call.text(1)));
    Ok(CommandEffect::Done)
}

fn too_many() -> CommandFault {
    CommandFault::of_command(format!("more than {MAX_PARAMETERS} parameters"))
}
