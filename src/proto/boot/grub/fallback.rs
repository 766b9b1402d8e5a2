//! How entries are started, and `fallback`: the entries that are started where the default one fails
//! (`grub_menu_execute_with_fallback` of `grub-core/normal/menu.c`).

use super::super::context::{Context, Turn};
#[cfg(feature = "iso")]
use super::super::iso;
use super::super::loaders::kernel_refusal;
use super::super::plan::{BootPlan, Place, PlanError, Purpose};
use super::super::step::{Answer, FetchResult, Step};
use super::entries::{GrubEntry, default_path, position};
use super::shell::Shell;
use super::stack::{BlockEnd, BlockStack, StackDepth};
use crate::prelude::*;
use crate::text::safe::Quoted;
use crate::text::url::Url;

/// Starts an entry that has been taken from the menu.
///
/// # Errors
/// It nests too deep, or the plan has produced too much text.
pub(super) fn start(
    stack: &mut BlockStack,
    item: GrubEntry,
    context: &mut Context,
) -> Result<(), PlanError> {
    context.note(
        &item.place,
        format!("selected entry {}", Quoted(&item.title)),
    );
    // In a submenu the rest of `default` counts.
    let (_, rest) = default_path(&stack.shell);
    let timeout = stack.shell.variables.value("timeout").map(str::to_owned);
    stack.entries.clear();
    stack.shell.blame = None;
    if item.is_submenu {
        stack.open_context(context)?;
        // GRUB boots the default of a submenu at once where nobody pressed a key; here the time
        // counts again.
        if let Some(timeout) = timeout {
            stack.shell.variables.set("timeout", &timeout);
        }
    }
    stack.shell.variables.set("default", &rest);
    // GRUB sets it, and savedefault of grub-mkconfig stores it.
    let id = item.id().replace('>', ">>");
    let chosen = match stack.shell.variables.value("chosen") {
        Some(around) => format!("{around}>{id}"),
        None => id,
    };
    stack.shell.variables.set_exported("chosen", &chosen);
    let file = item.place.file.clone();
    stack.shell.variables.scopes.push(item.arguments);
    stack.push(file, item.body, BlockEnd::EndEntry, &item.place)
}

/// Menus whose entry was started without a user, the outermost first, and why the first one failed.
#[derive(Debug, Default)]
pub(super) struct Fallbacks {
    menus: Vec<AutomaticMenu>,
    first_error: Option<PlanError>,
}

/// A menu that has started its default entry, and what to return to where that fails.
#[derive(Debug)]
struct AutomaticMenu {
    entries: Vec<GrubEntry>,
    depth: StackDepth,
    default: Option<String>,
    chosen: Option<String>,
    has_fallback: bool,
}

impl Fallbacks {
    /// Handles the start of the default entry of the menu.
    pub(super) fn begin(&mut self, stack: &mut BlockStack) {
        let value = |name: &str| stack.shell.variables.value(name).map(str::to_owned);
        let (default, chosen) = (value("default"), value("chosen"));
        let has_fallback = has_fallback(&stack.shell);
        self.menus.push(AutomaticMenu {
            entries: core::mem::take(&mut stack.entries),
            depth: stack.depth(),
            default,
            chosen,
            has_fallback,
        });
    }

    /// Handles the choice of a user, or a menu to which GRUB returns: no entry follows on its own.
    pub(super) fn forget(&mut self) {
        self.menus.clear();
    }

    /// Returns whether another entry may be started where the one under way fails.
    pub(super) fn is_asked(&self, stack: &BlockStack) -> bool {
        let is_set = self.menus.iter().any(|menu| menu.has_fallback);
        is_set || !self.menus.is_empty() && has_fallback(&stack.shell)
    }

    /// Returns the entry to start after one that failed.
    ///
    /// # Errors
    /// There is none: the error of the first entry that failed.
    pub(super) fn next(
        &mut self,
        error: PlanError,
        stack: &mut BlockStack,
        context: &mut Context,
    ) -> Result<GrubEntry, PlanError> {
        if error.outcome.is_some() {
            return Err(error);
        }
        let first = self.first_error.get_or_insert_with(|| error.clone());
        let mut why = error;
        while let Some(menu) = self.menus.last() {
            stack.unwind(&menu.depth);
            for (name, value) in [("default", &menu.default), ("chosen", &menu.chosen)] {
                match value {
                    Some(value) => stack.shell.variables.set(name, value),
                    None => stack.shell.variables.unset(name),
                }
            }
            while let Some(number) = next_number(&mut stack.shell, &menu.entries, context) {
                let place = why.place.clone();
                let Some(item) = menu.entries.get(number) else {
                    context.note(&place, format!("fallback: there is no entry {number}"));
                    continue;
                };
                let text = format!(
                    "{}; continuing with {}, as fallback says",
                    why.without_place(),
                    Quoted(&item.title)
                );
                context.note(&place, text);
                match item.refusal(&stack.shell) {
                    None => return Ok(item.clone()),
                    Some(refusal) => why = refusal,
                }
            }
            self.menus.pop();
        }
        Err(first.clone())
    }
}

fn has_fallback(shell: &Shell) -> bool {
    let value = shell.variables.value("fallback");
    value.is_some_and(|value| !value.is_empty())
}

/// Takes the first entry out of `fallback`: a number, or a title or id, which is all of it
/// (`get_and_remove_first_entry_number`).
fn next_number(shell: &mut Shell, entries: &[GrubEntry], context: &mut Context) -> Option<usize> {
    let value = shell.variables.value("fallback")?.trim_start().to_owned();
    context.budget.produce(value.len());
    context.budget.check().ok()?;
    let end = value.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = value.split_at(end.unwrap_or(value.len()));
    let (number, rest) = match digits.parse() {
        Ok(number) => (Some(number), rest.trim_start()),
        Err(_) => (position(entries, &value), ""),
    };
    shell.variables.set("fallback", rest);
    number
}

/// A plan whose files are asked for before it is started: another entry follows if one is missing.
#[derive(Debug)]
pub(super) struct PlanCheck {
    plan: Box<BootPlan>,
    /// Files to ask for, the next last.
    left: Vec<(Url, Purpose)>,
}

impl PlanCheck {
    pub(super) fn new(plan: Box<BootPlan>) -> Self {
        let parts = plan
            .parts()
            .map(|(part, purpose)| (part.url.clone(), purpose));
        let mut left: Vec<_> = parts.collect();
        // They are taken from the end.
        left.reverse();
        Self { plan, left }
    }

    /// Returns the request for the next file, or the plan when all are there.
    pub(super) fn turn(self) -> (Turn, Option<Self>) {
        match self.left.last().cloned() {
            Some((url, purpose)) => (Turn::Ask(Step::Fetch { url, purpose }), Some(self)),
            None => (Turn::Done(self.plan), None),
        }
    }

    /// Handles the answer to the request.
    ///
    /// # Errors
    /// The file is not there, or is no kernel.
    pub(super) fn answered(mut self, answer: Answer) -> Result<Self, PlanError> {
        let Some((url, purpose)) = self.left.pop() else {
            return Ok(self);
        };
        let what = match answer.into_fetched() {
            FetchResult::File(head) if purpose == Purpose::Kernel && !self.is_image() => {
                kernel_refusal(&url, &head)
            }
            FetchResult::File(_) => None,
            FetchResult::Missing => Some("the server has no such file".to_owned()),
            FetchResult::Failed(why) => Some(why),
        };
        match what {
            Some(what) => Err(PlanError::at(&Place::whole(&url), what)),
            None => Ok(self),
        }
    }

    /// Returns whether memdisk stands for the ISO image that is its initrd.
    fn is_image(&self) -> bool {
        #[cfg(feature = "iso")]
        return iso::of_memdisk(&self.plan).is_some();
        #[cfg(not(feature = "iso"))]
        return false;
    }
}
