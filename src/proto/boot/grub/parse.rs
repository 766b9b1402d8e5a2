//! The parser: from text to statements.

use alloc::sync::Arc;

use super::super::plan::{Place, PlanError};
use super::lex::{Token, Word, WordPiece, tokens};
use crate::prelude::*;

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
