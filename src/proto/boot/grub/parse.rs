//! From text to statements: the lexer makes words, ends of statements and braces of it
//! (`grub-core/script/yylex.l`), and the parser statements of these.

use crate::prelude::*;
use alloc::sync::Arc;
use core::iter::Peekable;
use core::num::NonZeroUsize;
use core::str::CharIndices;

use super::super::plan::{Place, PlanError};

/// Limit of nested blocks, since the parser recurses, and of nested files and functions when they run
/// (MAX_RECURSION_DEPTH of grub-core/script/execute.c).
pub(super) const MAX_DEPTH: usize = 64;

/// Statements that run one after the other.
pub(super) type Block = Arc<Vec<GrubStatement>>;

/// A command, or a statement with blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrubStatement {
    pub(super) line: usize,
    pub(super) what: StatementKind,
}

/// The kind of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StatementKind {
    /// Runs a command.
    Command(Arc<Vec<Word>>),
    /// Runs the block behind the first condition that holds.
    If {
        branches: Arc<Vec<(Block, Block)>>,
        otherwise: Block,
    },
    /// Runs the block and inverts its status.
    Not(Block),
    /// Runs the block for each of the words, which becomes the value of the variable.
    For {
        name: Arc<str>,
        words: Arc<Vec<Word>>,
        body: Block,
    },
    /// Runs the body as long as the condition holds, or until it does.
    Loop(Arc<Loop>),
    /// Puts a line into the menu; the first word is `menuentry` or `submenu`.
    Entry { words: Arc<Vec<Word>>, body: Block },
    /// Names a block.
    Function { name: Arc<str>, body: Block },
    /// A command with this name that GRUB cannot read.
    Unreadable(String),
}

/// A `while` or `until`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loop {
    pub(super) condition: Block,
    pub(super) body: Block,
    pub(super) is_until: bool,
}

/// Parses a file, or the text of one line at `place`.
pub(super) fn parse(text: &[u8], place: &Place) -> Result<Block, PlanError> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let tokens = tokens(text, place)?;
    let mut parser = StatementParser {
        text,
        tokens: &tokens,
        place,
        last_line: tokens.last().map_or(1, |(line, _)| *line),
        depth: 0,
    };
    let block = parser.block(&[])?;
    match parser.tokens.first() {
        Some((line, token)) => Err(parser.error(*line, token, "is unexpected here")),
        None => Ok(block),
    }
}

struct StatementParser<'a> {
    text: &'a str,
    tokens: &'a [(usize, Token)],
    place: &'a Place,
    last_line: usize,
    depth: usize,
}

impl StatementParser<'_> {
    /// Parses statements up to a `}`, one of the words `ends`, or the end.
    fn block(&mut self, ends: &[&str]) -> Result<Block, PlanError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let what = format!("blocks nest deeper than {MAX_DEPTH}");
            return Err(PlanError::at(&self.here(), what));
        }
        let mut statements = Vec::new();
        while let Some((line, token)) = self.tokens.first() {
            let keyword = match token {
                Token::End => {
                    self.skip();
                    continue;
                }
                Token::Close(_) => break,
                Token::Open(_) => return Err(self.error(*line, token, "is unexpected here")),
                Token::Operator => None,
                Token::Word(word) => plain(word),
            };
            if keyword.is_some_and(|keyword| ends.contains(&keyword)) {
                break;
            }
            let what = match keyword {
                Some("if") => self.condition()?,
                Some("menuentry" | "submenu") => self.entry()?,
                Some("function") => self.function()?,
                Some("for") => self.for_words()?,
                Some("while" | "until") => self.while_holds(keyword == Some("until"))?,
                Some("then" | "elif" | "else" | "fi") => {
                    return Err(self.error(*line, token, "has no if"));
                }
                Some("do" | "done") => {
                    return Err(self.error(*line, token, "has no for, while or until"));
                }
                Some("case" | "esac" | "select") => {
                    return Err(self.error(*line, token, "is a word that GRUB has no meaning for"));
                }
                Some("!") => {
                    self.skip();
                    let (what, line) = (self.command()?, *line);
                    StatementKind::Not(Arc::new(vec![GrubStatement { line, what }]))
                }
                _ => self.command()?,
            };
            statements.push(GrubStatement { line: *line, what });
        }
        self.depth -= 1;
        Ok(Arc::new(statements))
    }

    fn condition(&mut self) -> Result<StatementKind, PlanError> {
        let mut branches = Vec::new();
        loop {
            self.skip();
            let condition = self.judged("if", "then")?;
            let body = self.block(&["elif", "else", "fi"])?;
            branches.push((condition, body));
            if !self.is_at("elif") {
                break;
            }
        }
        let otherwise = if self.is_at("else") {
            self.skip();
            self.block(&["fi"])?
        } else {
            Block::default()
        };
        self.expect("fi")?;
        Ok(StatementKind::If {
            branches: branches.into(),
            otherwise,
        })
    }

    /// Parses a condition up to the word behind it.
    fn judged(&mut self, keyword: &str, end: &str) -> Result<Block, PlanError> {
        let condition = self.block(&[end])?;
        if condition.is_empty() {
            return Err(PlanError::new(&self.here(), keyword, "has no condition"));
        }
        self.expect(end)?;
        Ok(condition)
    }

    fn for_words(&mut self) -> Result<StatementKind, PlanError> {
        self.skip();
        let words = self.words();
        let [name, keyword, words @ ..] = words.as_slice() else {
            return Err(PlanError::new(&self.here(), "for", "needs NAME in WORDS"));
        };
        let name = plain(name).filter(|_| plain(keyword) == Some("in"));
        let Some(name) = name.map(Arc::from) else {
            return Err(PlanError::new(&self.here(), "for", "needs NAME in WORDS"));
        };
        self.skip_ends();
        self.expect("do")?;
        let body = self.block(&["done"])?;
        self.expect("done")?;
        let words = Arc::new(words.to_vec());
        Ok(StatementKind::For { name, words, body })
    }

    fn while_holds(&mut self, is_until: bool) -> Result<StatementKind, PlanError> {
        self.skip();
        let condition = self.judged(if is_until { "until" } else { "while" }, "do")?;
        let body = self.block(&["done"])?;
        self.expect("done")?;
        Ok(StatementKind::Loop(Arc::new(Loop {
            condition,
            body,
            is_until,
        })))
    }

    /// Parses a command; a block behind its words is its last word, as text.
    fn command(&mut self) -> Result<StatementKind, PlanError> {
        let mut words = self.words();
        if let Some((_, Token::Open(start))) = self.tokens.first() {
            let start = *start;
            self.skip();
            self.block(&[])?;
            let end = match self.tokens.first() {
                Some((_, Token::Close(end))) => *end,
                _ => return Err(PlanError::new(&self.here(), "}", "is missing")),
            };
            self.skip();
            // GRUB_SCRIPT_ARG_TYPE_BLOCK of grub-core/script/execute.c.
            let text = self.text.get(start..=end).unwrap_or_default();
            words.push(vec![WordPiece::Text(text.to_owned())]);
        }
        // Neither | and & nor words behind a block are part of the grammar (parser.y).
        if let Some((_, Token::Word(_) | Token::Operator)) = self.tokens.first() {
            while let Some((_, Token::Word(_) | Token::Operator)) = self.tokens.first() {
                self.skip();
            }
            let name = words.first().and_then(|word| plain(word));
            let name = name.unwrap_or_default().to_owned();
            return Ok(StatementKind::Unreadable(name));
        }
        Ok(StatementKind::Command(words.into()))
    }

    fn entry(&mut self) -> Result<StatementKind, PlanError> {
        let words = self.words().into();
        let body = self.braces()?;
        Ok(StatementKind::Entry { words, body })
    }

    fn function(&mut self) -> Result<StatementKind, PlanError> {
        self.skip();
        let words = self.words();
        let name = words
            .first()
            .and_then(|word| plain(word))
            .map(str::to_owned);
        let body = self.braces()?;
        Ok(StatementKind::Function {
            name: name.unwrap_or_default().into(),
            body,
        })
    }

    fn braces(&mut self) -> Result<Block, PlanError> {
        self.skip_ends();
        let Some((_, Token::Open(_))) = self.tokens.first() else {
            return Err(PlanError::new(&self.here(), "{", "is missing"));
        };
        self.skip();
        let block = self.block(&[])?;
        let Some((_, Token::Close(_))) = self.tokens.first() else {
            let end = self.place.at(self.last_line);
            return Err(PlanError::new(&end, "}", "is missing at the end"));
        };
        self.skip();
        Ok(block)
    }

    fn words(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        while let Some((_, Token::Word(word))) = self.tokens.first() {
            words.push(word.clone());
            self.skip();
        }
        words
    }

    fn skip_ends(&mut self) {
        while let Some((_, Token::End)) = self.tokens.first() {
            self.skip();
        }
    }

    /// Returns the line of the next token.
    fn here(&self) -> Place {
        let line = self.tokens.first();
        self.place
            .at(line.map_or(self.last_line, |(line, _)| *line))
    }

    fn is_at(&self, keyword: &str) -> bool {
        matches!(self.tokens.first(), Some((_, Token::Word(word))) if plain(word) == Some(keyword))
    }

    fn expect(&mut self, keyword: &str) -> Result<(), PlanError> {
        if self.is_at(keyword) {
            self.skip();
            return Ok(());
        }
        Err(PlanError::new(&self.here(), keyword, "is missing"))
    }

    fn skip(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn error(&self, line: usize, token: &Token, what: &str) -> PlanError {
        let word = match token {
            Token::Word(word) => plain(word).unwrap_or_default(),
            Token::End => ";",
            Token::Open(_) => "{",
            Token::Close(_) => "}",
            Token::Operator => "|",
        };
        PlanError::new(&self.place.at(line), word, what)
    }
}

/// Returns the text of a word without variables.
fn plain(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [WordPiece::Text(text)] => Some(text),
        _ => None,
    }
}

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
enum Token {
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
fn tokens(text: &str, place: &Place) -> Result<Vec<(usize, Token)>, PlanError> {
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
