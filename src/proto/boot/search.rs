//! The search for the configuration of a boot loader: names that are tried one after the other until
//! the server has one.

use crate::prelude::*;
use alloc::collections::VecDeque;

use super::error::{Error, Place};
use super::facts::Facts;
use super::planner::{Context, Turn};
use super::{Answer, Fetched};
use crate::text::url::Url;

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    /// What is left to try, each with what it is made of; the first is on its way once it was asked
    /// for.
    names: VecDeque<(Url, &'static str)>,
    /// What is said when there is none of them.
    missing: &'static str,
}

/// What an answer leads to.
#[derive(Debug)]
pub(super) enum Searched {
    /// The next name is asked for.
    Asks(Turn),
    /// This is the configuration.
    Found(Url, Vec<u8>),
}

impl Search {
    /// Begins with names, each with what it is made of.
    pub(super) fn new(names: Vec<(Url, &'static str)>, missing: &'static str) -> Self {
        let names = names.into();
        Self { names, missing }
    }

    /// Takes the answer to the step before.
    ///
    /// # Errors
    /// A server that fails, or has none of the names.
    pub(super) fn next(
        &mut self,
        answer: Answer,
        context: &mut Context,
    ) -> Result<Searched, Error> {
        if answer != Answer::Begin
            && let Some((url, why)) = self.names.pop_front()
        {
            let place = Place::whole(&url);
            match answer.into_fetched() {
                Fetched::File(head) => {
                    context.note(&place, format!("is the configuration, by {why}"));
                    return Ok(Searched::Found(url, head));
                }
                Fetched::Missing => context.note(&place, format!("is not there ({why})")),
                Fetched::Failed(why) => return Err(Error::new(&place, "", why)),
            }
        }
        match self.names.front() {
            Some((url, _)) => Ok(Searched::Asks(Turn::configuration(url.clone()))),
            None => {
                let place = Place::whole(&context.facts.boot_file);
                Err(Error::new(&place, "", self.missing))
            }
        }
    }
}

/// Returns the names of this machine, the most particular first, each with what it is made of: its
/// hardware address, and its IP address in hexadecimal with ever fewer digits.
pub(super) fn names_of(facts: &Facts) -> impl Iterator<Item = (String, &'static str)> {
    let digits = format!("{:08X}", facts.address.to_bits());
    let fewer = (1..=digits.len()).rev();
    let by_address =
        fewer.filter_map(move |len| Some((digits.get(..len)?.to_owned(), "IP address")));
    core::iter::once((facts.hardware_address(), "hardware address")).chain(by_address)
}
