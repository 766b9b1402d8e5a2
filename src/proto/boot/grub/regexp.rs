//! Extended regular expressions (POSIX.1 XBD §9.4) for `regexp`, over bytes as in GRUB.
//!
//! The longest of the leftmost matches is found, in time that the product of the lengths of
//! expression and text bounds: no place of the text is tried twice at the same place of the
//! expression. Back-references, collating elements and word boundaries are refused.

use crate::prelude::*;

/// Limits of an expression in bytes and of its code in instructions: they bound the time and memory of
/// a search, see [`Regexp::cost`].
const MAX_TEXT_LEN: usize = 2_000;
// Intervals multiply: ((a{99}){99}){99} has some 20 bytes and would be a million instructions.
const MAX_LEN: usize = 10_000;
/// Limit of nested groups, since the compiler recurses.
const MAX_DEPTH: usize = 50;

/// An instruction; jumps are relative, so that code can be repeated.
#[derive(Debug, Clone, Copy)]
enum RegexpInstruction {
    /// A byte of this set, with a bit for each.
    // Ranges would be looked through at every byte of the text, and copied for every repetition.
    Set([u64; 4]),
    Start,
    End,
    /// The text's position goes into this slot.
    Save(usize),
    /// Goes on at both places, the first of them first.
    Split(isize, isize),
    Jump(isize),
}

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Regexp {
    code: Vec<RegexpInstruction>,
    slots: usize,
}

/// Begin and end of each group of a match; the first is the whole match.
pub(super) type Groups = Vec<Option<(usize, usize)>>;

impl Regexp {
    /// Compiles an expression, and adds to `work` how many instructions were repeated for it, of which
    /// it may have kept none.
    ///
    /// # Errors
    /// What is wrong with it, or not supported.
    pub(super) fn new(expression: &str, work: &mut usize) -> Result<Self, &'static str> {
        if expression.len() > MAX_TEXT_LEN {
            return Err(TOO_LONG);
        }
        let mut compiler = Compiler {
            rest: expression.as_bytes(),
            groups: 1,
            depth: 0,
            work,
        };
        let code = compiler.alternatives()?;
        if !compiler.rest.is_empty() {
            return Err("has a ) without its (");
        }
        let slots = compiler.groups * 2;
        Ok(Self { code, slots })
    }

    /// Returns how many steps a search in a text of this length may take.
    pub(super) const fn cost(&self, len: usize) -> usize {
        (self.code.len() + 1).saturating_mul(len + 1)
    }

    /// Searches a text.
    pub(super) fn find(&self, text: &str) -> Option<Groups> {
        let text = text.as_bytes();
        // For all starts together: what failed from one place fails from there again.
        let mut visited = vec![false; self.cost(text.len())];
        (0..=text.len()).find_map(|start| self.longest_at(text, start, &mut visited))
    }

    /// Searches the longest match that begins at `start`.
    fn longest_at(&self, text: &[u8], start: usize, visited: &mut [bool]) -> Option<Groups> {
        enum MatchTask {
            Visit(usize, usize),
            Restore(usize, Option<usize>),
        }
        let mut slots = vec![None; self.slots];
        let mut longest: Option<(usize, Vec<Option<usize>>)> = None;
        // A list, since a text of 64 KiB would take as many calls within each other.
        let mut jobs = vec![MatchTask::Visit(0, start)];
        while let Some(job) = jobs.pop() {
            let (at, position) = match job {
                MatchTask::Visit(at, position) => (at, position),
                MatchTask::Restore(slot, old) => {
                    if let Some(slot) = slots.get_mut(slot) {
                        *slot = old;
                    }
                    continue;
                }
            };
            let visit = visited.get_mut(at * (text.len() + 1) + position);
            if visit.is_none_or(|visited| core::mem::replace(visited, true)) {
                continue;
            }
            let Some(instruction) = self.code.get(at) else {
                // POSIX.1 XBD §9.1 wants the longest of the leftmost matches, and not the first
                // alternative.
                if longest.as_ref().is_none_or(|(end, _)| position > *end) {
                    longest = Some((position, slots.clone()));
                }
                continue;
            };
            let goes_on = match instruction {
                RegexpInstruction::Set(set) => {
                    if (text.get(position)).is_some_and(|byte| is_in(set, *byte)) {
                        jobs.push(MatchTask::Visit(at + 1, position + 1));
                    }
                    false
                }
                RegexpInstruction::Start => position == 0,
                RegexpInstruction::End => position == text.len(),
                RegexpInstruction::Save(slot) => {
                    if let Some(value) = slots.get_mut(*slot) {
                        jobs.push(MatchTask::Restore(*slot, value.replace(position)));
                    }
                    true
                }
                RegexpInstruction::Split(first, second) => {
                    jobs.push(MatchTask::Visit(at.wrapping_add_signed(*second), position));
                    jobs.push(MatchTask::Visit(at.wrapping_add_signed(*first), position));
                    false
                }
                RegexpInstruction::Jump(by) => {
                    jobs.push(MatchTask::Visit(at.wrapping_add_signed(*by), position));
                    false
                }
            };
            if goes_on {
                jobs.push(MatchTask::Visit(at + 1, position));
            }
        }
        let (end, slots) = longest?;
        let groups = slots.chunks(2).map(|slots| match slots {
            [Some(start), Some(end)] => Some((*start, *end)),
            _ => None,
        });
        Some(
            core::iter::once(Some((start, end)))
                .chain(groups.skip(1))
                .collect(),
        )
    }
}

struct Compiler<'a> {
    rest: &'a [u8],
    groups: usize,
    depth: usize,
    work: &'a mut usize,
}

type Code = Vec<RegexpInstruction>;

impl Compiler<'_> {
    fn alternatives(&mut self) -> Result<Code, &'static str> {
        let code = self.sequence()?;
        if !self.takes(b'|') {
            return Ok(code);
        }
        let mut ways = vec![code, self.sequence()?];
        while self.takes(b'|') {
            ways.push(self.sequence()?);
        }
        let mut last = ways.pop().unwrap_or_default();
        let mut behind = ways.iter().map(|way| way.len() + 2).sum::<usize>() + last.len();
        let mut code = Vec::with_capacity(behind);
        for way in &mut ways {
            let len = way.len() + 2;
            behind -= len;
            code.push(RegexpInstruction::Split(1, offset(len)));
            code.append(way);
            code.push(RegexpInstruction::Jump(offset(behind) + 1));
        }
        code.append(&mut last);
        Ok(code)
    }

    fn sequence(&mut self) -> Result<Code, &'static str> {
        let mut code = Vec::new();
        while let Some(byte) = self.rest.first().filter(|byte| !b"|)".contains(byte)) {
            let byte = *byte;
            self.skip();
            let mut atom = self.atom(byte)?;
            while let Some(byte) = self.rest.first().filter(|byte| b"*+?{".contains(byte)) {
                let byte = *byte;
                self.skip();
                let (least, most) = match byte {
                    b'*' => (0, None),
                    b'+' => (1, None),
                    b'?' => (0, Some(1)),
                    _ => self.interval()?,
                };
                atom = repeated(&atom, least, most)?;
                *self.work += atom.len();
            }
            code.append(&mut atom);
            if code.len() > MAX_LEN {
                return Err(TOO_LONG);
            }
        }
        Ok(code)
    }

    fn atom(&mut self, byte: u8) -> Result<Code, &'static str> {
        Ok(vec![match byte {
            b'(' => return self.group(),
            b'[' => self.set()?,
            // GRUB compiles with REG_EXTENDED alone, so a line end is a character like others.
            b'.' => any_of(&[], true),
            b'^' => RegexpInstruction::Start,
            b'$' => RegexpInstruction::End,
            b'*' | b'+' | b'?' | b'{' => return Err("repeats nothing"),
            b'\\' => {
                let escaped = self.next().ok_or("ends with a \\")?;
                match escaped {
                    // Additions of gnulib, whose regcomp() GRUB has.
                    b'w' | b'W' => any_of(WORD, escaped == b'W'),
                    b's' | b'S' => any_of(SPACE, escaped == b'S'),
                    _ if escaped.is_ascii_punctuation() => any_of(&[(escaped, escaped)], false),
                    _ => return Err("has a letter or digit behind \\, which is not known here"),
                }
            }
            _ => any_of(&[(byte, byte)], false),
        }])
    }

    fn group(&mut self) -> Result<Code, &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("has groups that nest too deep");
        }
        let slot = self.groups * 2;
        self.groups += 1;
        let mut code = vec![RegexpInstruction::Save(slot)];
        code.append(&mut self.alternatives()?);
        code.push(RegexpInstruction::Save(slot + 1));
        self.depth -= 1;
        if self.takes(b')') {
            return Ok(code);
        }
        Err("has a ( without its )")
    }

    /// `{3}`, `{3,}`, `{,5}` or `{3,5}`, behind its brace.
    fn interval(&mut self) -> Result<(usize, Option<usize>), &'static str> {
        let least = self.number();
        let is_range = self.takes(b',');
        let most = if is_range { self.number() } else { least };
        let is_number = least.is_some() || is_range;
        let is_ordered = most.is_none_or(|most| least.unwrap_or(0) <= most);
        if is_number && is_ordered && self.takes(b'}') {
            return Ok((least.unwrap_or(0), most));
        }
        Err("has an interval in braces that is none")
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.rest.first().filter(|byte| byte.is_ascii_digit()) {
            let digit = usize::from(digit - b'0');
            number = Some(
                number
                    .unwrap_or(0_usize)
                    .saturating_mul(10)
                    .saturating_add(digit),
            );
            self.skip();
        }
        number
    }

    /// A set in brackets, behind the first.
    fn set(&mut self) -> Result<RegexpInstruction, &'static str> {
        const UNCLOSED: &str = "has a [ without its ]";
        let is_inverted = self.takes(b'^');
        let mut ranges = Vec::new();
        let mut is_first = true;
        loop {
            let byte = self.next().ok_or(UNCLOSED)?;
            match (byte, self.rest) {
                // POSIX.1 XBD §9.3.5: ] in the first place, and - in the last, stand for
                // themselves.
                (b']', _) if !is_first => break,
                (b'[', [b':', name @ ..]) => {
                    let end = name
                        .windows(2)
                        .position(|end| end == b":]")
                        .ok_or(UNCLOSED)?;
                    let (name, rest) = name.split_at(end);
                    ranges.extend_from_slice(class(name)?);
                    self.rest = rest.get(2..).unwrap_or_default();
                }
                (b'[', [b'.' | b'=', ..]) => return Err("has a collating element"),
                (_, [b'-', last, ..]) if *last != b']' => {
                    if *last == b'[' || *last < byte {
                        return Err("has a range that is none");
                    }
                    ranges.push((byte, *last));
                    self.rest = self.rest.get(2..).unwrap_or_default();
                }
                _ => ranges.push((byte, byte)),
            }
            is_first = false;
        }
        Ok(any_of(&ranges, is_inverted))
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.rest.first().copied();
        self.skip();
        byte
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        if is_next {
            self.skip();
        }
        is_next
    }
}

const TOO_LONG: &str = "is too long";
const WORD: &[(u8, u8)] = &[(b'a', b'z'), (b'A', b'Z'), (b'0', b'9'), (b'_', b'_')];
const SPACE: &[(u8, u8)] = &[(b'\t', b'\r'), (b' ', b' ')];

fn class(name: &[u8]) -> Result<&'static [(u8, u8)], &'static str> {
    Ok(match name {
        b"alpha" => &[(b'a', b'z'), (b'A', b'Z')],
        b"digit" => &[(b'0', b'9')],
        b"alnum" => &[(b'a', b'z'), (b'A', b'Z'), (b'0', b'9')],
        b"upper" => &[(b'A', b'Z')],
        b"lower" => &[(b'a', b'z')],
        b"xdigit" => &[(b'0', b'9'), (b'a', b'f'), (b'A', b'F')],
        b"space" => SPACE,
        b"blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        b"punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        b"print" => &[(b' ', b'~')],
        b"graph" => &[(b'!', b'~')],
        b"cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        _ => return Err("has a class of characters that is not known"),
    })
}

fn any_of(ranges: &[(u8, u8)], is_inverted: bool) -> RegexpInstruction {
    let mut set = [if is_inverted { u64::MAX } else { 0 }; 4];
    for byte in ranges.iter().flat_map(|(first, last)| *first..=*last) {
        if is_in(&set, byte) == is_inverted
            && let Some(bits) = set.get_mut(usize::from(byte / 64))
        {
            *bits ^= 1 << (byte % 64);
        }
    }
    RegexpInstruction::Set(set)
}

fn is_in(set: &[u64; 4], byte: u8) -> bool {
    (set.get(usize::from(byte / 64))).is_some_and(|bits| bits >> (byte % 64) & 1 == 1)
}

fn repeated(code: &Code, least: usize, most: Option<usize>) -> Result<Code, &'static str> {
    let count = most.unwrap_or(least + 1).max(1);
    if (code.len() + 2).saturating_mul(count) > MAX_LEN {
        return Err(TOO_LONG);
    }
    let len = offset(code.len());
    let mut all = Vec::new();
    for _ in 0..least {
        all.extend_from_slice(code);
    }
    match most {
        None => {
            all.push(RegexpInstruction::Split(1, len + 2));
            all.extend_from_slice(code);
            all.push(RegexpInstruction::Jump(-len - 1));
        }
        Some(most) => {
            for left in (1..=most - least).rev() {
                all.push(RegexpInstruction::Split(1, offset(left) * (len + 1)));
                all.extend_from_slice(code);
            }
        }
    }
    Ok(all)
}

fn offset(len: usize) -> isize {
    isize::try_from(len).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_match_as_posix_says() {
        for (expression, text, expected) in [
            ("b", "abc", Some("b")),
            ("^b", "abc", None),
            ("^a", "abc", Some("a")),
            ("c$", "abc", Some("c")),
            ("", "abc", Some("")),
            ("a|ab|abc", "abcd", Some("abc")),
            ("(a|ab)(c|bcd)", "abcd", Some("abcd,a,bcd")),
            ("^10[.]77[.]", "10.77.0.2", Some("10.77.")),
            ("^10\\.77\\.", "10x77.0.2", None),
            (
                "^([0-9a-f]{1,2}):([0-9a-f]{2})",
                "52:54:00",
                Some("52:54,52,54"),
            ),
            ("(a*)*b", "aaab", Some("aaab,aaa")),
            ("(a*)+", "b", Some(",")),
            ("x*", "aaa", Some("")),
            ("(x)|(y)", "y", Some("y,-,y")),
            ("a{2,3}", "aaaa", Some("aaa")),
            ("a{2}$", "aaa", Some("aa")),
            ("a{,2}b", "aaab", Some("aab")),
            ("(ab){2,}", "abababx", Some("ababab,ab")),
            ("[^]a-c-]+", "a]-xyz", Some("xyz")),
            ("[]x]+", "a]x", Some("]x")),
            ("[[:digit:][:upper:]]+", "ab1Cd", Some("1C")),
            ("\\w+\\s\\W", "a b_1 +", Some("b_1 +")),
            ("\\(\\$", "a($", Some("($")),
            (".+", "ä", Some("ä")),
            ("a||b", "b", Some("b")),
            ("a||b", "c", Some("")),
        ] {
            let groups = Regexp::new(expression, &mut 0).unwrap().find(text);
            let found = groups.map(|groups| {
                let text = |group: &Option<(usize, usize)>| {
                    group.map_or("-", |(start, end)| &text[start..end])
                };
                groups.iter().map(text).collect::<Vec<_>>().join(",")
            });
            assert_eq!(found.as_deref(), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_or_too_long_is_refused() {
        for expression in [
            "(a",
            "a)",
            "[a",
            "[a-",
            "[b-a]",
            "[[:x:]]",
            "[[.a.]]",
            "*a",
            "a{",
            "a{3,2}",
            "a{x}",
            "(a)\\1",
            "\\b",
            "a\\",
            "(a{999}){999}",
            &"(".repeat(60),
        ] {
            assert!(Regexp::new(expression, &mut 0).is_err(), "{expression}");
        }
    }

    proptest! {
        /// The time stays within the cost; a match lies within the text.
        #[test]
        fn any_expression_ends(expression in "[ab.()|*+?^$\\[\\]{}0-9,\\\\-]{0,20}", text in "[ab]{0,60}") {
            if let Ok(regexp) = Regexp::new(&expression, &mut 0)
                && let Some(groups) = regexp.find(&text)
            {
                for (start, end) in groups.into_iter().flatten() {
                    prop_assert!(start <= end && end <= text.len());
                }
            }
        }
    }
}
