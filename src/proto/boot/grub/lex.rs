//! The lexer: from text to words, ends of statements and braces (`grub-core/script/yylex.l`).

use core::iter::Peekable;
use core::num::NonZeroUsize;
use core::str::CharIndices;

use super::super::plan::{Place, PlanError};
use crate::prelude::*;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WordPiece {
    /// Literal text; in quotes it may be empty.
    Text(String),
    /// The value of a variable, `is_quoted` when it may not fall apart into words.
    Variable { name: String, is_quoted: bool },
}

/// A word of a command.
pub(super) type Word = Vec<WordPiece>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// `;` or the end of a line.
    End,
    /// `{`, at this byte of the text.
    Open(usize),
    /// `}`, at this byte of the text.
    Close(usize),
    /// `|`, `&`, `||`, `&&`, `<` or `>`: tokens that no statement of GRUB has.
    Operator,
}

/// Splits a text into tokens, each with its line.
///
/// # Errors
/// A quote or a `${` that is never closed.
pub(super) fn tokens(text: &str, place: &Place) -> Result<Vec<(usize, Token)>, PlanError> {
    let mut lexer = Lexer {
        tokens: Vec::new(),
        letters: text.char_indices().peekable(),
        line: place.line.map_or(1, NonZeroUsize::get),
        word: None,
    };
    let mut quote: Option<(char, usize)> = None;
    while let Some((at, letter)) = lexer.letters.next() {
        match (letter, quote) {
            ('\n', None) => lexer.end_word(Some(Token::End)),
            ('\\', None | Some(('"', _))) => match lexer.letters.next() {
                Some((_, '\n')) => lexer.line += 1,
                // Within quotes a backslash stays, except before these.
                Some((_, next)) if quote.is_some() && !"\"\\$".contains(next) => {
                    lexer.push('\\');
                    lexer.push(next);
                }
                Some((_, next)) => lexer.push(next),
                None => {}
            },
            // A text to translate ($"…") is a text in quotes.
            ('$', None) if lexer.is_next(|c| c == '"') => {}
            ('$', None | Some(('"', _))) => lexer.variable(quote.is_some(), place)?,
            (_, Some((closing, _))) if letter == closing => quote = None,
            (_, Some(_)) => lexer.push(letter),
            ('\'' | '"', None) => {
                quote = Some((letter, lexer.line));
                // An empty pair of quotes is a word too.
                let word = lexer.word.get_or_insert_default();
                word.push(WordPiece::Text(String::new()));
            }
            ('#', None) if lexer.word.is_none() => {
                while lexer.letters.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            // These end a word, wherever they stand (CHAR in yylex.l).
            (';', None) => lexer.end_word(Some(Token::End)),
            ('{', None) => lexer.end_word(Some(Token::Open(at))),
            ('}', None) => lexer.end_word(Some(Token::Close(at))),
            ('<' | '>', None) => lexer.end_word(Some(Token::Operator)),
            ('|' | '&', None) if lexer.word.is_none() => {
                let twice = lexer.letters.next_if(|(_, c)| *c == letter).is_some();
                if lexer.is_next(|c| !c.is_whitespace() && c != ';') {
                    // It begins a word of a site that has a & of an address without quotes.
                    lexer.push(letter);
                    if twice {
                        lexer.push(letter);
                    }
                } else {
                    lexer.end_word(Some(Token::Operator));
                }
            }
            (_, None) if letter.is_whitespace() => lexer.end_word(None),
            (_, None) => lexer.push(letter),
        }
        if letter == '\n' {
            lexer.line += 1;
        }
    }
    if let Some((quote, line)) = quote {
        let quote = quote.to_string();
        return Err(PlanError::new(&place.at(line), &quote, "is never closed"));
    }
    lexer.end_word(None);
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    tokens: Vec<(usize, Token)>,
    letters: Peekable<CharIndices<'a>>,
    line: usize,
    /// The word under way; none between words.
    word: Option<Word>,
}

impl Lexer<'_> {
    fn is_next(&mut self, is: impl Fn(char) -> bool) -> bool {
        self.letters.peek().is_some_and(|(_, next)| is(*next))
    }

    /// Ends the word under way, and adds this token behind it.
    fn end_word(&mut self, token: Option<Token>) {
        let word = self.word.take().map(Token::Word);
        let is_empty = word.is_none() && matches!(self.tokens.last(), None | Some((_, Token::End)));
        // An empty line is not worth a token: a file may have a million.
        let token = token.filter(|token| *token != Token::End || !is_empty);
        let tokens = word.into_iter().chain(token);
        self.tokens.extend(tokens.map(|token| (self.line, token)));
    }

    fn push(&mut self, letter: char) {
        let word = self.word.get_or_insert_default();
        match word.last_mut() {
            Some(WordPiece::Text(text)) => text.push(letter),
            _ => word.push(WordPiece::Text(letter.into())),
        }
    }

    /// Reads what is behind a `$`: a name, a number, one of `?#*@`, or one of them in braces.
    fn variable(&mut self, is_quoted: bool, place: &Place) -> Result<(), PlanError> {
        let mut name = String::new();
        let is_braced = self.letters.next_if(|(_, c)| *c == '{').is_some();
        let is_number = self.is_next(|c| c.is_ascii_digit());
        while let Some((_, next)) = self.letters.next_if(|(_, c)| match *c {
            '}' | '\n' => false,
            _ if is_braced => true,
            c if is_number => c.is_ascii_digit(),
            '?' | '#' | '*' | '@' => name.is_empty(),
            c => (c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(is_special),
        }) {
            name.push(next);
        }
        if is_braced && self.letters.next_if(|(_, c)| *c == '}').is_none() {
            let what = "the } of the variable is missing";
            return Err(PlanError::new(&place.at(self.line), &name, what));
        }
        if name.is_empty() {
            // $( is no command in GRUB.
            self.push('$');
        } else {
            let piece = WordPiece::Variable { name, is_quoted };
            self.word.get_or_insert_default().push(piece);
        }
        Ok(())
    }
}

/// Returns whether this is the name of a variable of one letter (SPECIAL in yylex.l).
fn is_special(letter: char) -> bool {
    matches!(letter, '?' | '#' | '*' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_grubs_lexer_ends_them() {
        for (text, expected) in [
            ("a{b}c", "a {1 b }3 c"),
            ("m x{\n l }", "m x {3 ; l }8"),
            ("a;b", "a ; b"),
            ("a=\"{b}\" '{'", "a={b} {"),
            ("$a$1b${2}$#x$?y$*$@", "<a><1>b<2><#>x<?>y<*><@>"),
            ("${a-b}", "<a-b>"),
            ("\"$a-$@\" $\"t $a\"", "<\"a>-<\"@> t <\"a>"),
            ("$(x) $", "$(x) $"),
            ("a#b # c\nd", "a#b ; d"),
            ("a && b || c & d | e", "a OP b OP c OP d OP e"),
            ("u?a=1&b=2 &c", "u?a=1&b=2 &c"),
            ("[ a < b ] >c d>e", "[ a OP b ] OP c d OP e"),
            ("a '<' \">\" \\<", "a < > <"),
            ("a\\ b\\\nc \\{", "a bc {"),
        ] {
            let place = Place::whole(&"tftp://192.0.2.1/g".parse().unwrap());
            let words = tokens(text, &place).unwrap().into_iter();
            let words = words.map(|(_, token)| match token {
                Token::Word(word) => word.iter().map(shown).collect(),
                Token::End => ";".to_owned(),
                Token::Open(at) => format!("{{{at}"),
                Token::Close(at) => format!("}}{at}"),
                Token::Operator => "OP".to_owned(),
            });
            assert_eq!(words.collect::<Vec<_>>().join(" "), expected, "{text}");
        }
    }

    fn shown(piece: &WordPiece) -> String {
        match piece {
            WordPiece::Text(text) => text.clone(),
            WordPiece::Variable { name, is_quoted } => {
                format!("<{}{name}>", if *is_quoted { "\"" } else { "" })
            }
        }
    }
}
