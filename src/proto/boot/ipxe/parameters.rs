//! Parameters of requests, from `params` and `param`.

use super::arguments::CommandFault;
use super::format::Type;
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

    /// Begins a list, in place of one with the same name.
    pub(super) fn begin(&mut self, name: &str, method: &str) -> Result<(), CommandFault> {
        self.take(name);
        if self.0.len() >= MAX_PARAMETERS {
            return Err(too_many());
        }
        self.0.push(ParameterList {
            name: name.to_owned(),
            method: method.to_owned(),
            ..ParameterList::default()
        });
        Ok(())
    }

    /// Adds a field of the form or a header to the list of this name.
    pub(super) fn add(
        &mut self,
        list: &str,
        is_header: bool,
        parameter: (String, String),
    ) -> Result<(), CommandFault> {
        let lists = self.0.iter();
        let sizes = lists.map(|list| list.fields.len() + list.headers.len());
        if sizes.sum::<usize>() >= MAX_PARAMETERS {
            return Err(too_many());
        }
        let found = self.0.iter_mut().find(|known| known.name == list);
        let found = found.ok_or_else(|| CommandFault::new(list, "no such list of parameters"))?;
        let list = if is_header {
            &mut found.headers
        } else {
            &mut found.fields
        };
        list.push(parameter);
        Ok(())
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

fn too_many() -> CommandFault {
    CommandFault::of_command(format!("more than {MAX_PARAMETERS} parameters"))
}
