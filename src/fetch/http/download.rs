//! A file on its way, over one connection or several.

use std::io;

use super::pieces::{Id, Pieces};
use crate::fetch::sink::Sink;
use crate::http::{Resume, Start};
use crate::time::Instant;

pub(super) struct Download<'a, 's> {
    sink: &'a mut Sink<'s>,
    pieces: Pieces,
    /// Of the whole file, octets.
    len: Option<u64>,
    /// What makes sure that it is the same file that goes on.
    validator: Option<String>,
}

impl<'a, 's> Download<'a, 's> {
    pub(super) fn new(sink: &'a mut Sink<'s>) -> Self {
        Self {
            sink,
            pieces: Pieces::new(),
            len: None,
            validator: None,
        }
    }

    /// Takes a piece that is to be fetched; none when there is none at the moment.
    pub(super) fn claim(&mut self) -> Option<Id> {
        self.pieces.claim()
    }

    /// Returns what to ask for so that `piece` goes on; none when only the whole file can be had.
    pub(super) fn resume(&self, piece: Id) -> Option<Resume> {
        let len = self.pieces.next(piece).filter(|next| *next > 0)?;
        let validator = self.validator.clone()?;
        Some(Resume { len, validator })
    }

    /// Takes notice of an answer for `piece`. One that begins elsewhere has all come again; a
    /// connection that has joined others may not do so: false, when its answer is of no use.
    ///
    /// # Errors
    /// There is no room for the file.
    pub(super) fn start(&mut self, piece: Id, start: Start, joined: bool) -> io::Result<bool> {
        let goes_on = self.pieces.next(piece) == Some(start.from);
        if joined {
            return Ok(goes_on && start.len == self.len && start.validator == self.validator);
        }
        if !goes_on {
            self.sink.restart()?;
            self.pieces.restart(piece);
        }
        self.sink.expect(start.len)?;
        if let Some(len) = start.len {
            self.pieces.set_len(len);
        }
        (self.len, self.validator) = (start.len, start.validator);
        Ok(true)
    }

    /// Takes the next octets of `piece`, and leaves what is beyond it.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn write(&mut self, piece: Id, octets: &[u8]) -> io::Result<()> {
        let Some(at) = self.pieces.next(piece) else {
            return Ok(());
        };
        let len = self.pieces.advance(piece, octets.len());
        self.sink
            .write_at(at, octets.get(..len).unwrap_or_default())
    }

    /// Returns whether more is wanted of `piece`.
    pub(super) fn wants(&self, piece: Id) -> bool {
        self.pieces.next(piece).is_some()
    }

    /// Takes notice that the server has sent the file to its end.
    pub(super) fn finish(&mut self, piece: Id) {
        self.pieces.finish(piece);
    }

    /// Leaves what is missing of `piece` to others.
    pub(super) fn release(&mut self, piece: Id) {
        self.pieces.release(piece);
    }

    /// Has all connections end.
    pub(super) fn abandon(&mut self) {
        self.pieces.abandon();
    }

    /// Octets that have come.
    pub(super) const fn received(&self) -> u64 {
        self.sink.len()
    }

    /// Octets that are still to come, where that is known and they may be asked for in parts.
    pub(super) fn divisible(&self) -> Option<u64> {
        self.validator.as_ref()?;
        self.pieces.left()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.pieces.left() == Some(0)
    }

    /// Shows how far it has got.
    pub(super) fn show(&mut self, now: Instant) {
        self.sink.show(now);
    }
}
