//! Which octets of a file have come, when not all came in order.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// A set of octets of a file, as ranges that neither touch nor overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extents(BTreeMap<u64, u64>);

impl Extents {
    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Most often it goes on where the last one ends.
        if let Some(mut last) = self.0.last_entry()
            && *last.get() == start
        {
            last.insert(end);
            return;
        }
        // What touches it becomes one with it; usually that is the one range before.
        while let Some((&from, &to)) = self.0.range(..=end).next_back()
            && to >= start
        {
            start = start.min(from);
            end = end.max(to);
            self.0.remove(&from);
        }
        self.0.insert(start, end);
    }

    /// Returns whether all of `range` has come.
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.reach_from(range.start) >= range.end
    }

    /// Returns up to where everything from `start` on has come; `start` itself when that has not.
    pub fn reach_from(&self, start: u64) -> u64 {
        let before = self.0.range(..=start).next_back();
        before.map_or(start, |(_, end)| start.max(*end))
    }

    /// Returns how many octets have come.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Returns the end of the last range.
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one_and_holes_stay() {
        let mut extents = Extents::default();
        extents.insert(0..10);
        extents.insert(20..30);
        extents.insert(40..50);
        extents.insert(7..7);
        assert_eq!((extents.count(), extents.end()), (30, 50));
        assert!(extents.contains(20..30) && extents.contains(15..15));
        assert_eq!(
            [5, 10, 15, 20].map(|start| extents.reach_from(start)),
            [10, 10, 15, 30]
        );
        for missing in [9..11, 10..20, 19..20, 25..45, 50..51] {
            assert!(!extents.contains(missing.clone()), "{missing:?}");
        }
        extents.insert(30..40);
        assert!(extents.contains(20..50));
        extents.insert(5..60);
        let mut whole = Extents::default();
        whole.insert(0..60);
        assert_eq!(extents, whole);
    }
}
