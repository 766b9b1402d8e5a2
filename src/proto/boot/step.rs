//! What passes between the planner and its driver: steps one way, answers the other.

use crate::prelude::*;
use core::time::Duration;

use super::plan::{BootPlan, HEAD_LEN, PlanError, Purpose};
use crate::format::kernel_image::{KernelFormat, classify};
use crate::text::url::Url;

/// A request of the planner to its driver.
#[derive(Debug)]
pub enum Step {
    /// Fetch the file and store it. Answered by `File`, `Missing` or `Failed`.
    Fetch {
        /// The file.
        url: Url,
        /// Why.
        purpose: Purpose,
    },
    /// A file's signature, checked before anything of the file is used. Answered by `Done` or
    /// `Failed`.
    Verify {
        /// The file, which has been fetched unless its server failed.
        url: Url,
        /// The signature.
        signature: Box<Url>,
    },
    /// A choice. Answered by `Chosen`, `Help`, `Cancelled` or `TimedOut`; with nobody to ask, by
    /// [`Menu::unattended`].
    Menu(Menu),
    /// A key press. Answered by `Pressed`, `Cancelled` or `TimedOut`; with nobody to ask, by
    /// `TimedOut`.
    Prompt {
        /// What to show.
        text: String,
        /// The key that counts; any when none.
        key: Option<char>,
        /// How long to wait; for ever when none.
        timeout: Option<Duration>,
    },
    /// A line of text. Answered by `Text`, `Cancelled` or `TimedOut`.
    Input {
        /// What to show.
        text: String,
        /// The initial text.
        default: String,
        /// Whether the text is shown while it is typed.
        is_secret: bool,
        /// How long to wait for the first key; for ever when none.
        timeout: Option<Duration>,
    },
    /// What to boot, typed at a `boot:` prompt. Answered by `Text`, `Help`, `Cancelled` or
    /// `TimedOut`; with nobody to ask, by `TimedOut`.
    CommandLine {
        /// The function keys that are answered by `Help`: bit 1 is F1.
        help_keys: u16,
        /// What may be typed, with spaces between, for those who ask.
        labels: String,
        /// How long to wait for the first key; for ever when none.
        timeout: Option<Duration>,
        /// How long to wait for the line, whatever keys are pressed.
        total_timeout: Option<Duration>,
    },
    /// A line to show. Answered by `Done`.
    Say(String),
    /// A limit for the next fetch, from when on nothing is received. Answered by `Done`.
    Limit(Duration),
    /// A question to the network. Answered as the query says, or by `Failed`.
    Query(Query),
    /// A pause. Answered by `Done`.
    Sleep(Duration),
    /// The plan; the end.
    Done(Box<BootPlan>),
    /// Why there is none; the end.
    Failed(PlanError),
}

impl Step {
    /// Returns whether it makes a server work; the number of these is limited.
    pub(super) const fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Fetch { .. } | Self::Verify { .. } | Self::Query(_)
        )
    }

    /// Returns how much text it shows or asks for, in bytes.
    pub(super) fn text_len(&self) -> usize {
        match self {
            Self::Say(text) | Self::Prompt { text, .. } => text.len(),
            Self::Input { text, default, .. } => text.len() + default.len(),
            Self::Menu(menu) => menu.entries.iter().map(Entry::text_len).sum(),
            Self::Fetch { url, .. } | Self::Verify { url, .. } => {
                url.path().len() + url.query().map_or(0, str::len)
            }
            Self::CommandLine { labels, .. } => labels.len(),
            Self::Query(Query::Address(host) | Query::Echo { host, .. }) => host.len(),
            Self::Limit(_) | Self::Sleep(_) | Self::Done(_) | Self::Failed(_) => 0,
        }
    }
}

/// A question to the network that is no fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The first address of this host. Answered by `Text`.
    Address(String),
    /// Whether this host answers ICMP echo requests. Answered by `Done` when it answers one.
    Echo {
        /// The host.
        host: String,
        /// How many requests are sent at most.
        count: u16,
        /// How long to wait for each answer.
        timeout: Duration,
    },
}

/// The answer to a [`Step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The first call, before any step.
    Begin,
    /// The file has been fetched.
    File {
        /// Its first [`HEAD_LEN`] bytes, or all.
        head: Vec<u8>,
        /// Its length in bytes.
        len: u64,
    },
    /// The server has no such file.
    Missing,
    /// The file could not be fetched or verified, for this reason.
    Failed(String),
    /// An entry was chosen.
    Chosen {
        /// Its number in [`Menu::entries`].
        entry: usize,
        /// The command line, when it was edited.
        command_line: Option<String>,
        /// Whether a user has chosen it, and not the time or the lack of a user.
        is_by_user: bool,
    },
    /// The key was pressed.
    Pressed,
    /// The line was entered.
    Text(String),
    /// The function key of this number was pressed.
    Help(u8),
    /// The user cancelled.
    Cancelled,
    /// Nobody answered.
    TimedOut,
    /// It is done.
    Done,
}

/// Result of a fetch.
pub(super) enum FetchResult {
    File(Vec<u8>),
    Missing,
    Failed(String),
}

impl Answer {
    /// Returns why a text cannot be read, of which only the beginning is here.
    pub(super) fn cut_text(&self) -> Option<String> {
        let Self::File { head, len } = self else {
            return None;
        };
        // Whether it is a text takes all of it to tell, and most files are there whole.
        let is_cut = *len > head.len() as u64
            && matches!(
                classify(head),
                KernelFormat::IpxeScript | KernelFormat::Text
            );
        is_cut.then(|| format!("is a text of {len} bytes, more than the allowed {HEAD_LEN}"))
    }

    /// Returns the result of [`Step::Fetch`]; any other answer is a failure.
    pub(super) fn into_fetched(self) -> FetchResult {
        match self {
            Self::File { head, .. } => FetchResult::File(head),
            Self::Missing => FetchResult::Missing,
            Self::Failed(why) => FetchResult::Failed(why),
            Self::Begin
            | Self::Chosen { .. }
            | Self::Pressed
            | Self::Text(_)
            | Self::Help(_)
            | Self::Cancelled
            | Self::TimedOut
            | Self::Done => FetchResult::Failed("the file was not fetched".to_owned()),
        }
    }
}

/// A choice between entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Menu {
    /// The line above.
    pub title: Option<String>,
    /// The lines, from the top.
    pub entries: Vec<Entry>,
    /// The entry the bar is on at first.
    pub selected: Option<usize>,
    /// Time without a key after which the menu answers itself.
    pub timeout: Option<Duration>,
    /// Time after which it answers itself in any case.
    pub total_timeout: Option<Duration>,
    /// The entry that is started then, if not the selected one.
    pub on_timeout: Option<usize>,
    /// Shown only when a key is pressed within the timeout.
    pub is_hidden: bool,
    /// The function keys that answer the menu with [`Answer::Help`]: bit 1 is
    /// F1.
    pub help_keys: u16,
}

/// A line of a menu.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The text.
    pub text: String,
    /// Whether it can be chosen; the others separate and explain.
    pub is_choice: bool,
    /// The key that chooses it.
    pub key: Option<char>,
    /// Whether that key only moves the bar to it.
    pub key_moves_bar: bool,
    /// The command line, where it may be edited.
    pub command_line: Option<String>,
    /// More about the entry, shown while the bar is on it.
    pub help: Option<String>,
}

impl Entry {
    /// Returns the length of its texts in bytes, plus 16: showing an empty entry costs time too.
    fn text_len(&self) -> usize {
        let optional = [&self.command_line, &self.help];
        let optional = optional.into_iter().flatten().map(String::len);
        16 + self.text.len() + optional.sum::<usize>()
    }
}

impl Menu {
    /// Returns the answer when nobody is there: the entry of the timeout, or the selected one, or
    /// `TimedOut` when the menu has neither.
    pub fn unattended(&self) -> Answer {
        let timeout = self.timeout.or(self.total_timeout);
        let on_timeout = timeout.and(self.on_timeout);
        match on_timeout.or(self.selected) {
            Some(entry) => Answer::Chosen {
                entry,
                command_line: None,
                is_by_user: false,
            },
            None => Answer::TimedOut,
        }
    }
}
