//! The parser: from text to statements.

use crate::prelude::*;
use alloc::sync::Arc;
use core::num::NonZeroUsize;

use super::super::error::{Place, PlanError};

/// Limit of nested blocks, since the parser recurses.
const MAX_DEPTH: usize = 32;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WordPiece {
    /// Literal text.
    Text(String),
    /// The value of a variable, `is_quoted` when it may not fall apart into words.
    Variable { name: String, is_quoted: bool },
}

/// A word of a command.
pub(super) type Word = Vec<WordPiece>;

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
    /// Puts a line into the menu.
    Entry { words: Arc<Vec<Word>>, body: Block },
    /// Names a block.
    Function { name: Arc<str>, body: Block },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Word),
    /// `;` or the end of a line.
    End,
    Open,
    Close,
}

/// Parses a file, or the text of one line at `place`.
pub(super) fn parse(text: &[u8], place: &Place) -> Result<Block, PlanError> {
    let text = String::from_utf8_lossy(text);
    let tokens = tokens(text.trim_start_matches('\u{feff}'), place)?;
    let mut parser = StatementParser {
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
            let line = self
                .tokens
                .first()
                .map_or(self.last_line, |(line, _)| *line);
            let what = format!("blocks nest deeper than {MAX_DEPTH}");
            return Err(PlanError::new(&self.place.at(line), "{", what));
        }
        let mut statements = Vec::new();
        while let Some((line, token)) = self.tokens.first() {
            match token {
                Token::End => self.skip(),
                Token::Close => break,
                Token::Open => return Err(self.error(*line, token, "is unexpected here")),
                Token::Word(word) => {
                    let keyword = plain(word);
                    if keyword.is_some_and(|keyword| ends.contains(&keyword)) {
                        break;
                    }
                    let what = match keyword {
                        Some("if") => self.condition()?,
                        Some("menuentry" | "submenu") => self.entry()?,
                        Some("function") => self.function()?,
                        Some("for" | "while" | "until") => {
                            return Err(self.error(*line, token, "loops are not supported"));
                        }
                        Some("then" | "elif" | "else" | "fi") => {
                            return Err(self.error(*line, token, "has no if"));
                        }
                        Some("!") => {
                            self.skip();
                            let what = StatementKind::Command(self.words());
                            let line = *line;
                            StatementKind::Not(Arc::new(vec![GrubStatement { line, what }]))
                        }
                        _ => StatementKind::Command(self.words()),
                    };
                    statements.push(GrubStatement { line: *line, what });
                }
            }
        }
        self.depth -= 1;
        Ok(Arc::new(statements))
    }

    fn condition(&mut self) -> Result<StatementKind, PlanError> {
        let mut branches = Vec::new();
        loop {
            self.skip();
            let condition = self.block(&["then"])?;
            if condition.is_empty() {
                let line = self
                    .tokens
                    .first()
                    .map_or(self.last_line, |(line, _)| *line);
                return Err(PlanError::new(
                    &self.place.at(line),
                    "if",
                    "has no condition",
                ));
            }
            self.expect("then")?;
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

    fn entry(&mut self) -> Result<StatementKind, PlanError> {
        self.skip();
        let words = self.words();
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
        while let Some((_, Token::End)) = self.tokens.first() {
            self.skip();
        }
        match self.tokens.first() {
            Some((_, Token::Open)) => self.skip(),
            other => {
                let line = other.map_or(self.last_line, |(line, _)| *line);
                return Err(PlanError::new(&self.place.at(line), "{", "is missing"));
            }
        }
        let block = self.block(&[])?;
        match self.tokens.first() {
            Some((_, Token::Close)) => {
                self.skip();
                Ok(block)
            }
            _ => Err(PlanError::new(
                &self.place.at(self.last_line),
                "}",
                "is missing at the end",
            )),
        }
    }

    fn words(&mut self) -> Arc<Vec<Word>> {
        let mut words = Vec::new();
        while let Some((_, Token::Word(word))) = self.tokens.first() {
            words.push(word.clone());
            self.skip();
        }
        words.into()
    }

    fn is_at(&self, keyword: &str) -> bool {
        matches!(self.tokens.first(), Some((_, Token::Word(word))) if plain(word) == Some(keyword))
    }

    fn expect(&mut self, keyword: &str) -> Result<(), PlanError> {
        if self.is_at(keyword) {
            self.skip();
            return Ok(());
        }
        let line = (self.tokens.first()).map_or(self.last_line, |(line, _)| *line);
        Err(PlanError::new(&self.place.at(line), keyword, "is missing"))
    }

    fn skip(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn error(&self, line: usize, token: &Token, what: &str) -> PlanError {
        let word = match token {
            Token::Word(word) => plain(word).unwrap_or_default(),
            Token::End => ";",
            Token::Open => "{",
            Token::Close => "}",
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

/// Splits a text into tokens, each with its line.
fn tokens(text: &str, place: &Place) -> Result<Vec<(usize, Token)>, PlanError> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    let mut line = place.line.map_or(1, NonZeroUsize::get);
    // The word under way; none between words.
    let mut word: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\n', None) => {
                tokens.extend(word.take().map(|word| (line, Token::Word(word))));
                tokens.push((line, Token::End));
            }
            ('\\', None | Some(('"', _))) => match letters.next() {
                Some('\n') => line += 1,
                // Within quotes a backslash stays, except before these.
                Some(next) if quote.is_some() && !"\"\\$".contains(next) => {
                    push(&mut word, '\\');
                    push(&mut word, next);
                }
                Some(next) => push(&mut word, next),
                None => {}
            },
            ('$', None | Some(('"', _))) => {
                let mut name = String::new();
                let is_braced = letters.next_if_eq(&'{').is_some();
                let in_name = |c: &char| {
                    if is_braced {
                        *c != '}' && *c != '\n'
                    } else {
                        c.is_ascii_alphanumeric() || *c == '_' || *c == '?'
                    }
                };
                while let Some(next) = letters.next_if(in_name) {
                    name.push(next);
                }
                if is_braced && letters.next_if_eq(&'}').is_none() {
                    let what = "the } of the variable is missing";
                    return Err(PlanError::new(&place.at(line), &name, what));
                }
                if name.is_empty() {
                    push(&mut word, '$');
                } else {
                    word.get_or_insert_default().push(WordPiece::Variable {
                        name,
                        is_quoted: quote.is_some(),
                    });
                }
            }
            (_, Some((closing, _))) if letter == closing => quote = None,
            (_, Some(_)) => push(&mut word, letter),
            ('\'' | '"', None) => {
                quote = Some((letter, line));
                // An empty pair of quotes is a word too.
                word.get_or_insert_default()
                    .push(WordPiece::Text(String::new()));
            }
            ('#', None) if word.is_none() => while letters.next_if(|c| *c != '\n').is_some() {},
            (';' | '{' | '}', None) => {
                let is_alone = word.is_none();
                if !is_alone && letter != ';' {
                    push(&mut word, letter);
                } else {
                    tokens.extend(word.take().map(|word| (line, Token::Word(word))));
                    tokens.push((
                        line,
                        match letter {
                            '{' => Token::Open,
                            '}' => Token::Close,
                            _ => Token::End,
                        },
                    ));
                }
            }
            (_, None) if letter.is_whitespace() => {
                tokens.extend(word.take().map(|word| (line, Token::Word(word))));
            }
            (_, None) => push(&mut word, letter),
        }
        if letter == '\n' {
            line += 1;
        }
    }
    if let Some((quote, line)) = quote {
        let quote = quote.to_string();
        return Err(PlanError::new(&place.at(line), &quote, "is never closed"));
    }
    tokens.extend(word.map(|word| (line, Token::Word(word))));
    Ok(tokens)
}

fn push(word: &mut Option<Word>, letter: char) {
    let word = word.get_or_insert_default();
    match word.last_mut() {
        Some(WordPiece::Text(text)) => text.push(letter),
        _ => word.push(WordPiece::Text(letter.into())),
    }
}
