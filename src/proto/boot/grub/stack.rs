//! The flow of control: blocks under way, the menus around them, and the status of what has run.

use alloc::sync::Arc;
use alloc::vec;

use super::super::context::Context;
use super::super::plan::{Place, PlanError, Purpose};
use super::entries::GrubEntry;
use super::parse::{Block, Loop, MAX_DEPTH, Word, WordPiece};
use super::shell::Shell;
use super::variables::VariableMap;
use crate::prelude::*;
use crate::text::url::Url;

const UNREADABLE: &str = "GRUB cannot read this line: it has none of |, &, < and > outside of quotes, \
                          and no words behind a block in braces; write \\{ for a brace";

/// Blocks, menus and the status.
#[derive(Debug)]
pub(super) struct BlockStack {
    pub(super) shell: Shell,
    /// Blocks under way, the innermost last.
    pub(super) frames: Vec<BlockFrame>,
    pub(super) entries: Vec<GrubEntry>,
    /// Variables and entries around the menus of `configfile` and `submenu`, the innermost last.
    contexts: Vec<(VariableMap, Vec<GrubEntry>)>,
    /// The last command, if nobody can say whether it would have succeeded.
    unjudged: Option<PlanError>,
    /// Files that the last command loads, of which nobody knows yet whether they are there; the first
    /// is the last of the list.
    unchecked: Vec<(Url, Purpose)>,
}

#[derive(Debug)]
pub(super) struct BlockFrame {
    pub(super) file: Arc<Url>,
    pub(super) block: Block,
    pub(super) next: usize,
    pub(super) then: BlockEnd,
}

/// The action at the end of a block.
#[derive(Debug)]
pub(super) enum BlockEnd {
    /// The statement behind it.
    Nothing,
    /// The same, with a status of success: `source` has it from any file that is there.
    EndFile,
    /// The same, after the menu that the file of `configfile` has, if any.
    EndContext,
    /// The statement behind the call of the function.
    EndFunction,
    /// The boot of the kernel that the entry has loaded, or the menu that a submenu has.
    EndEntry,
    /// The block again, for the next of these words.
    NextWord {
        name: Arc<str>,
        words: vec::IntoIter<String>,
    },
    /// The body of the loop, or the statement behind it.
    LoopCondition(Arc<Loop>),
    /// The condition of the loop.
    LoopBody(Arc<Loop>),
    /// The opposite of its status.
    Invert,
    /// It was this of the conditions: the block behind it, the next one, or the block behind `else`.
    Decide {
        branches: Arc<Vec<(Block, Block)>>,
        at: usize,
        otherwise: Block,
    },
}

impl BlockEnd {
    /// Returns whether the status of the block decides what runs next.
    const fn decides(&self) -> bool {
        matches!(
            self,
            Self::Decide { .. } | Self::Invert | Self::LoopCondition(_)
        )
    }

    const fn is_loop(&self) -> bool {
        matches!(
            self,
            Self::NextWord { .. } | Self::LoopBody(_) | Self::LoopCondition(_)
        )
    }

    const fn is_file(&self) -> bool {
        matches!(self, Self::EndFile | Self::EndContext)
    }

    /// Returns whether the block has arguments.
    const fn is_call(&self) -> bool {
        matches!(self, Self::EndFunction | Self::EndEntry)
    }
}

/// Counts of open blocks, menus and lists of arguments.
#[derive(Debug)]
pub(super) struct StackDepth {
    frames: usize,
    contexts: usize,
    scopes: usize,
}

/// The step after a block.
#[derive(Debug)]
pub(super) enum Ended {
    /// The innermost block, if there is one.
    Continues,
    /// The menu that the block has made.
    Menu,
    /// What the entry at this place has loaded, or its menu.
    Entry(Place),
}

impl BlockStack {
    /// Begins without blocks.
    pub(super) const fn new(shell: Shell) -> Self {
        Self {
            shell,
            frames: Vec::new(),
            entries: Vec::new(),
            contexts: Vec::new(),
            unjudged: None,
            unchecked: Vec::new(),
        }
    }

    /// Returns whether the status of the command under way decides what runs next.
    pub(super) fn is_condition(&self) -> bool {
        self.frames.iter().any(|frame| frame.then.decides())
    }

    /// Returns whether an entry has been chosen.
    pub(super) fn is_in_entry(&self) -> bool {
        let is_entry = |frame: &BlockFrame| matches!(frame.then, BlockEnd::EndEntry);
        self.frames.iter().any(is_entry)
    }

    /// Goes to the end of the innermost function or entry.
    pub(super) fn leave_call(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            // It is at its end then, and does what it does there.
            frame.next = frame.block.len();
            if frame.then.is_call() {
                return;
            }
            self.leave();
        }
    }

    /// Where a command asks for the status of one that loads files, returns the next of these that nobody
    /// knows about: elsewhere files are fetched once the plan is known.
    pub(super) fn unchecked_file(
        &mut self,
        words: &[Word],
        place: &Place,
        context: &mut Context,
    ) -> Option<(Url, Purpose)> {
        let is_status =
            |piece: &WordPiece| matches!(piece, WordPiece::Variable { name, .. } if name == "?");
        if self.unchecked.is_empty() || !words.iter().flatten().any(is_status) {
            return None;
        }
        while let Some((url, purpose)) = self.unchecked.pop() {
            // Each look counts: the command runs again for each of the files.
            context.budget.produce(url.path().len());
            match self.shell.sizes.get(&url.to_string()) {
                Some(0) => {
                    context.note(place, format!("{url} not found"));
                    self.status(false);
                    self.shell.forget(purpose);
                }
                Some(_) => {}
                None => {
                    self.unchecked.push((url.clone(), purpose));
                    return Some((url, purpose));
                }
            }
        }
        None
    }

    /// Handles a command of which nobody can say whether it would succeed.
    pub(super) fn unknown(&mut self, name: &str, what: &str, place: &Place, context: &mut Context) {
        let error = PlanError::new(place, name, what);
        context.note(place, error.without_place());
        self.status(false);
        self.unjudged = Some(error);
    }

    /// Handles a line that GRUB cannot read, and leaves out.
    ///
    /// # Errors
    /// It is in an entry, or names a kernel or an initrd, which must not be lost like that.
    pub(super) fn unreadable(
        &mut self,
        name: &str,
        place: &Place,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        let loads = ["linux", "initrd", "module", "devicetree"];
        if self.is_in_entry() || loads.iter().any(|load| name.starts_with(load)) {
            return Err(PlanError::new(place, name, UNREADABLE));
        }
        self.unknown(name, UNREADABLE, place, context);
        Ok(())
    }

    /// Returns the status of what has run, or its opposite, which nobody knows where the status is
    /// not known.
    pub(super) fn judged(&mut self, is_inverted: bool) -> Result<bool, PlanError> {
        let holds = self.shell.variables.value("?") == Some("0");
        match self.unjudged.take() {
            Some(error) if is_inverted => Err(error),
            _ => Ok(holds != is_inverted),
        }
    }

    /// Begins a round of `for` with the next word, if there is one.
    pub(super) fn next_round(
        &mut self,
        file: Arc<Url>,
        body: Block,
        mut then: BlockEnd,
        place: &Place,
        context: &mut Context,
    ) -> Result<(), PlanError> {
        if let BlockEnd::NextWord { name, words } = &mut then
            && let Some(word) = words.next()
        {
            context.budget.step(place)?;
            self.shell.variables.assign(name, &word, place)?;
            self.push(file, body, then, place)?;
        }
        Ok(())
    }

    pub(super) fn depth(&self) -> StackDepth {
        StackDepth {
            frames: self.frames.len(),
            contexts: self.contexts.len(),
            scopes: self.shell.variables.scopes.len(),
        }
    }

    /// Leaves all blocks and menus that were begun since then, and drops what they have loaded.
    pub(super) fn unwind(&mut self, depth: &StackDepth) {
        while self.frames.len() > depth.frames {
            self.leave();
        }
        while self.contexts.len() > depth.contexts {
            self.close_context();
        }
        self.shell.variables.scopes.truncate(depth.scopes);
        self.shell.unload();
        self.shell.forget(Purpose::DeviceTree);
        self.shell.loading.clear();
        self.status(false);
    }

    /// Leaves the innermost block.
    fn leave(&mut self) -> Option<BlockFrame> {
        let frame = self.frames.pop()?;
        if frame.then.is_call() {
            self.shell.variables.scopes.pop();
        }
        if matches!(frame.then, BlockEnd::EndContext) {
            self.close_context();
        }
        if frame.then.is_file()
            && let Some(outer) = self.frames.last()
        {
            self.shell.variables.set_file(&outer.file);
        }
        Some(frame)
    }

    /// Leaves this number of loops of the function or file under way, at most all; of the last
    /// one only the round with `continues`.
    pub(super) fn leave_loops(&mut self, loops: usize, continues: bool) {
        let around = self.frames.iter().rev();
        let around = around.take_while(|frame| !frame.then.is_file() && !frame.then.is_call());
        let mut left = loops.min(around.filter(|frame| frame.then.is_loop()).count());
        while left > 0
            && let Some(frame) = self.frames.last_mut()
        {
            if frame.then.is_loop() {
                left -= 1;
                if left == 0 && continues {
                    frame.next = frame.block.len();
                    return;
                }
            }
            self.leave();
        }
    }

    pub(super) fn open_context(&mut self, context: &mut Context) -> Result<(), PlanError> {
        let variables = self.shell.variables.open_context(&mut context.budget)?;
        let entries = core::mem::take(&mut self.entries);
        self.contexts.push((variables, entries));
        Ok(())
    }

    fn close_context(&mut self) {
        if let Some((variables, entries)) = self.contexts.pop() {
            self.shell.variables.close_context(variables);
            self.entries = entries;
        }
    }

    /// Goes on behind the innermost block.
    pub(super) fn ended(&mut self, context: &mut Context) -> Result<Ended, PlanError> {
        if let Some(frame) = self.frames.last()
            && matches!(frame.then, BlockEnd::EndContext)
            && !self.entries.is_empty()
        {
            return Ok(Ended::Menu);
        }
        let Some(frame) = self.leave() else {
            return Ok(Ended::Continues);
        };
        // A block that decides has a statement at least, as the parser makes sure of.
        let line = frame.block.first().map_or(1, |statement| statement.line);
        let place = Place::of_line(frame.file.clone(), line);
        let file = frame.file;
        match frame.then {
            BlockEnd::Nothing | BlockEnd::EndFunction => {}
            BlockEnd::EndFile | BlockEnd::EndContext => self.status(true),
            BlockEnd::EndEntry => return Ok(Ended::Entry(place)),
            BlockEnd::Invert => {
                let status = self.judged(true)?;
                self.status(status);
            }
            then @ BlockEnd::NextWord { .. } => {
                self.next_round(file, frame.block, then, &place, context)?;
            }
            BlockEnd::LoopCondition(parts) => {
                context.budget.step(&place)?;
                if self.judged(parts.is_until)? {
                    let body = parts.body.clone();
                    self.push(file, body, BlockEnd::LoopBody(parts), &place)?;
                } else {
                    self.status(true);
                }
            }
            BlockEnd::LoopBody(parts) => {
                let condition = parts.condition.clone();
                self.push(file, condition, BlockEnd::LoopCondition(parts), &place)?;
            }
            BlockEnd::Decide {
                branches,
                at,
                otherwise,
            } => match branches.get(at) {
                Some((_, body)) if self.judged(false)? => {
                    self.push(file, body.clone(), BlockEnd::Nothing, &place)?;
                }
                _ => self.decide(branches, at + 1, otherwise, &place)?,
            },
        }
        Ok(Ended::Continues)
    }

    /// Runs the condition of this number, or the block of `else` after the last.
    pub(super) fn decide(
        &mut self,
        branches: Arc<Vec<(Block, Block)>>,
        at: usize,
        otherwise: Block,
        place: &Place,
    ) -> Result<(), PlanError> {
        let Some((condition, _)) = branches.get(at) else {
            // An `if` that does nothing has succeeded.
            self.status(true);
            return self.push(place.file.clone(), otherwise, BlockEnd::Nothing, place);
        };
        let condition = condition.clone();
        let then = BlockEnd::Decide {
            branches,
            at,
            otherwise,
        };
        self.push(place.file.clone(), condition, then, place)
    }

    pub(super) fn push(
        &mut self,
        file: Arc<Url>,
        block: Block,
        then: BlockEnd,
        place: &Place,
    ) -> Result<(), PlanError> {
        if self.frames.len() >= MAX_DEPTH {
            let what = format!("files, functions and blocks nest deeper than {MAX_DEPTH}");
            return Err(PlanError::at(place, what));
        }
        self.frames.push(BlockFrame {
            file,
            block,
            next: 0,
            then,
        });
        Ok(())
    }

    pub(super) fn status(&mut self, status: bool) {
        self.shell
            .variables
            .set("?", if status { "0" } else { "1" });
        self.unjudged = None;
        self.unchecked = core::mem::take(&mut self.shell.loading);
        // They are taken from the end.
        self.unchecked.reverse();
    }
}
