//! What of a file is still to come, in pieces of which each is one connection's.
//!
//! A connection that joins takes the upper half of the largest piece, whose owner then stops where
//! that begins: nobody has to know beforehand how fast each of them is.

/// A piece is not halved to less, octets.
const SMALLEST: u64 = 2 << 20;

/// By what a connection knows its piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fetch) struct Id(u32);

/// In the order of the file, none empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    last_id: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Piece {
    id: Id,
    /// The next octet to come.
    next: u64,
    /// Behind the last one; `u64::MAX` while the length of the file is unknown.
    end: u64,
    is_taken: bool,
}

impl Piece {
    const fn left(&self) -> u64 {
        self.end - self.next
    }
}

impl Pieces {
    /// Begins with a file of which nothing is known.
    pub(super) fn new() -> Self {
        let whole = Piece {
            id: Id(0),
            next: 0,
            end: u64::MAX,
            is_taken: false,
        };
        Self {
            pieces: vec![whole],
            last_id: 0,
        }
    }

    /// Takes a piece that is nobody's, or half of one; none when they are too small.
    pub(super) fn claim(&mut self) -> Option<Id> {
        if let Some(free) = self.pieces.iter_mut().find(|piece| !piece.is_taken) {
            free.is_taken = true;
            return Some(free.id);
        }
        let known = self.pieces.iter().enumerate();
        let known = known.filter(|(_, piece)| piece.end < u64::MAX);
        let (place, _) = known.max_by_key(|(_, piece)| piece.left())?;
        let largest = self.pieces.get_mut(place)?;
        if largest.left() < 2 * SMALLEST {
            return None;
        }
        let middle = largest.next + largest.left() / 2;
        let end = std::mem::replace(&mut largest.end, middle);
        self.last_id += 1;
        let id = Id(self.last_id);
        let upper = Piece {
            id,
            next: middle,
            end,
            is_taken: true,
        };
        self.pieces.insert(place + 1, upper);
        Some(id)
    }

    /// Returns where a piece goes on; none when all of it has come, or it is not one any more.
    pub(super) fn next(&self, id: Id) -> Option<u64> {
        let piece = self.pieces.iter().find(|piece| piece.id == id)?;
        Some(piece.next)
    }

    /// Takes notice of the length of the file.
    pub(super) fn set_len(&mut self, len: u64) {
        if let Some(last) = self.pieces.last_mut()
            && last.end == u64::MAX
        {
            last.end = len.max(last.next);
        }
        self.pieces.retain(|piece| piece.left() > 0);
    }

    /// Takes notice that `len` octets more have come to a piece; returns how many of them belong to
    /// it.
    pub(super) fn advance(&mut self, id: Id, len: usize) -> usize {
        let Some(place) = self.pieces.iter().position(|piece| piece.id == id) else {
            return 0;
        };
        let Some(piece) = self.pieces.get_mut(place) else {
            return 0;
        };
        let len = usize::try_from(piece.left()).map_or(len, |left| left.min(len));
        piece.next += len as u64;
        if piece.left() == 0 {
            self.pieces.remove(place);
        }
        len
    }

    /// Takes notice that a piece whose length is unknown has come to its end.
    pub(super) fn finish(&mut self, id: Id) {
        self.pieces
            .retain(|piece| piece.id != id || piece.end < u64::MAX);
    }

    /// Gives a piece back. It becomes part of the one before, where that comes up to it, as its owner
    /// may go on.
    pub(super) fn release(&mut self, id: Id) {
        let Some(place) = self.pieces.iter().position(|piece| piece.id == id) else {
            return;
        };
        let (before, rest) = self.pieces.split_at_mut(place);
        let Some(piece) = rest.first_mut() else {
            return;
        };
        piece.is_taken = false;
        if let Some(before) = before.last_mut()
            && before.end == piece.next
        {
            before.end = piece.end;
            self.pieces.remove(place);
        }
    }

    /// Has all come again, to who has this piece; all others lose theirs.
    pub(super) fn restart(&mut self, id: Id) {
        self.pieces = vec![Piece {
            id,
            next: 0,
            end: u64::MAX,
            is_taken: true,
        }];
    }

    /// Has all come again, to whoever takes it; all others lose their pieces.
    pub(super) fn forget(&mut self) {
        self.last_id += 1;
        self.restart(Id(self.last_id));
        self.release(Id(self.last_id));
    }

    /// Returns how many octets are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        let known = self.pieces.iter().all(|piece| piece.end < u64::MAX);
        known.then(|| self.pieces.iter().map(Piece::left).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const MIB_LEN: usize = 1 << 20;

    #[test]
    fn every_octet_is_fetched_once_by_however_many() {
        let mut pieces = Pieces::new();
        let first = pieces.claim().unwrap();
        assert_eq!((pieces.claim(), pieces.left()), (None, None));
        assert_eq!(pieces.advance(first, MIB_LEN), MIB_LEN);
        pieces.set_len(33 * MIB);
        let second = pieces.claim().unwrap();
        assert_eq!(pieces.next(second), Some(17 * MIB));
        let third = pieces.claim().unwrap();
        assert_eq!(pieces.next(third), Some(25 * MIB));
        assert_eq!(pieces.left(), Some(32 * MIB));
        assert_eq!(pieces.advance(first, 20 * MIB_LEN), 16 * MIB_LEN);
        assert_eq!((pieces.next(first), pieces.advance(first, 1)), (None, 0));
        assert_eq!(pieces.left(), Some(16 * MIB));
        let fourth = pieces.claim().unwrap();
        assert!([21 * MIB, 29 * MIB].contains(&pieces.next(fourth).unwrap()));
        for id in [second, third, fourth] {
            while pieces.advance(id, MIB_LEN) > 0 {}
        }
        assert_eq!((pieces.left(), pieces.claim()), (Some(0), None));
    }

    #[test]
    fn a_piece_given_back_becomes_part_of_the_one_before_or_is_the_next_to_be_taken() {
        let mut pieces = Pieces::new();
        let first = pieces.claim().unwrap();
        pieces.set_len(16 * MIB);
        let second = pieces.claim().unwrap();
        pieces.release(second);
        assert_eq!(pieces.advance(first, 9 * MIB_LEN), 9 * MIB_LEN);
        let third = pieces.claim().unwrap();
        let from = pieces.next(third).unwrap();
        assert_eq!(pieces.advance(third, 1), 1);
        pieces.release(third);
        while pieces.advance(first, MIB_LEN) > 0 {}
        assert_eq!(pieces.claim(), Some(third));
        assert_eq!(pieces.next(third), Some(from + 1));
    }

    #[test]
    fn small_pieces_and_those_of_unknown_length_are_not_halved() {
        let mut pieces = Pieces::new();
        let first = pieces.claim().unwrap();
        assert_eq!(pieces.claim(), None);
        pieces.finish(first);
        assert_eq!(pieces.left(), Some(0));
        let mut pieces = Pieces::new();
        pieces.claim().unwrap();
        pieces.set_len(2 * SMALLEST - 1);
        assert_eq!(pieces.claim(), None);
    }

    #[test]
    fn a_file_that_begins_anew_is_one_piece_again() {
        let mut pieces = Pieces::new();
        let first = pieces.claim().unwrap();
        pieces.set_len(16 * MIB);
        let second = pieces.claim().unwrap();
        pieces.restart(first);
        assert_eq!(pieces.next(first), Some(0));
        assert_eq!((pieces.next(second), pieces.advance(second, 7)), (None, 0));
        pieces.release(second);
        pieces.set_len(0);
        assert_eq!(pieces.left(), Some(0));
    }
}
