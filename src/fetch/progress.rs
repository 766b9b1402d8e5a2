//! The progress display of fetches: bars on a terminal, a line every few seconds elsewhere, or JSON
//! lines for programs.

use std::fmt::Write as _;
use std::io::{Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::sys::{self, messages, terminal};
use crate::worker::Peer;
use wireboot_proto::text::safe::Safe;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::{Instant, Seconds};
use wireboot_proto::worker::Message;

/// Interval of the bars: smooth to the eye, and no load.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of JSON lines.
const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of log lines: at 9600 baud a line takes a tenth of a second to print.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// A character for each tenth leaves room for the name; the percentage stands beside it.
const BAR_WIDTH: u64 = 10;
/// Columns of the narrowest usual terminal, less the last one, behind which some begin a new row.
const LINE_WIDTH: usize = 79;
/// Characters of a name that still tell one file from another.
const SHORTEST_NAME: usize = 16;

/// Form in which progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars that move, on a terminal.
    Bar,
    /// A line every few seconds.
    Lines,
    /// One JSON object a line, on standard output.
    Json,
    /// Not at all.
    Silent,
}

impl Style {
    /// Returns what suits standard error.
    pub fn for_people(quiet: bool) -> Self {
        if quiet {
            Self::Silent
        } else if messages::is_rewritable() {
            Self::Bar
        } else {
            Self::Lines
        }
    }

    const fn interval(self) -> Option<Duration> {
        match self {
            Self::Bar => Some(BAR_INTERVAL),
            Self::Lines => Some(LINE_INTERVAL),
            Self::Json => Some(JSON_INTERVAL),
            Self::Silent => None,
        }
    }
}

/// A JSON line about a fetch.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum ProgressEvent<'a> {
    Started {
        url: &'a str,
        length: Option<u64>,
    },
    Progress {
        url: &'a str,
        octets: u64,
        length: Option<u64>,
    },
    Done {
        url: &'a str,
        octets: u64,
        milliseconds: u64,
    },
    Failed {
        url: &'a str,
        error: &'a str,
    },
}

/// The progress display of all fetches.
#[derive(Debug, Clone)]
pub struct Board {
    style: Style,
    /// The fetches under way, and how many bars the terminal shows.
    shared: Arc<Mutex<(Vec<FetchRow>, usize)>>,
}

#[derive(Debug)]
struct FetchRow {
    id: u64,
    name: String,
    len: u64,
    expected: Option<u64>,
    began_at: Instant,
}

impl Board {
    /// Returns a display without fetches.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            shared: Arc::default(),
        }
    }

    /// How it shows progress.
    pub(super) const fn style(&self) -> Style {
        self.style
    }

    /// Adds a fetch to the display.
    pub(super) fn begin(&self) -> Progress {
        let now = sys::now();
        let id = sys::seed();
        self.rows().0.push(FetchRow {
            id,
            name: String::new(),
            len: 0,
            expected: None,
            began_at: now,
        });
        Progress::of(Shown::Row(self.clone(), id))
    }

    /// Reports a failed fetch to a program; for people the error is printed at the end.
    pub(crate) fn failed(&self, name: &str, error: &str) {
        if self.style == Style::Json {
            print(&ProgressEvent::Failed { url: name, error });
        }
    }

    fn rows(&self) -> MutexGuard<'_, (Vec<FetchRow>, usize)> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One fetch of the display; dropping it removes its bar.
pub(super) struct Progress {
    to: Shown,
    shown_at: Instant,
}

/// Display of the progress of a fetch.
enum Shown {
    /// In a row of the display.
    Row(Board, u64),
    /// By the parent of this process, which draws the display in this style.
    Parent(Arc<Peer>, Style),
    Nowhere,
}

/// How often a worker says that it goes on when nobody is shown how far.
const HEARTBEAT: Duration = Duration::from_secs(5);

impl Progress {
    /// Returns one that is not shown.
    pub(super) fn silent() -> Self {
        Self::of(Shown::Nowhere)
    }

    /// Returns one that is shown by the parent.
    pub(super) fn for_parent(parent: Arc<Peer>, style: Style) -> Self {
        Self::of(Shown::Parent(parent, style))
    }

    fn of(to: Shown) -> Self {
        Self {
            to,
            shown_at: sys::now(),
        }
    }

    /// Sets the address that is shown.
    pub(super) fn rename(&mut self, url: &Url) {
        match &self.to {
            Shown::Row(board, id) => {
                if let Some(row) = board.rows().0.iter_mut().find(|row| row.id == *id) {
                    row.name = url.to_string();
                }
            }
            Shown::Parent(parent, _) => parent.tell(&Message::Source(Box::new(url.clone())), &[]),
            Shown::Nowhere => {}
        }
    }

    /// Sets the announced length.
    pub(super) fn expect(&mut self, len: Option<u64>) {
        let Some(announced) = len else { return };
        match &self.to {
            Shown::Row(board, id) => {
                if let Some(row) = board.rows().0.iter_mut().find(|row| row.id == *id) {
                    row.expected = len;
                    if board.style == Style::Json {
                        print(&ProgressEvent::Started {
                            url: &row.name,
                            length: len,
                        });
                    }
                }
            }
            Shown::Parent(parent, _) => parent.tell(&Message::Expect(announced), &[]),
            Shown::Nowhere => {}
        }
    }

    /// Shows that `len` bytes have been received, when an update is due.
    pub(super) fn advance(&mut self, len: u64, now: Instant) {
        let due = match &self.to {
            Shown::Row(board, _) => board.style.interval(),
            // The parent waits no longer than some minutes for a word.
            Shown::Parent(_, style) => style.interval().or(Some(HEARTBEAT)),
            Shown::Nowhere => return,
        };
        if due.is_none_or(|interval| now.since(self.shown_at) < interval) {
            return;
        }
        self.shown_at = now;
        let (board, id) = match &self.to {
            Shown::Row(board, id) => (board, *id),
            Shown::Parent(parent, _) => return parent.tell(&Message::Received(len), &[]),
            Shown::Nowhere => return,
        };
        let (rows, shown) = &mut *board.rows();
        let Some(row) = rows.iter_mut().find(|row| row.id == id) else {
            return;
        };
        row.len = len;
        match board.style {
            Style::Bar => draw(rows, shown, now),
            Style::Lines => log::info!("{}", under_way(row, now)),
            Style::Json => print(&ProgressEvent::Progress {
                url: &row.name,
                octets: len,
                length: row.expected,
            }),
            Style::Silent => {}
        }
    }

    /// Reports that the file is complete.
    pub(super) fn finish(&self, len: u64) {
        let Shown::Row(board, id) = &self.to else {
            return;
        };
        let now = sys::now();
        let (rows, shown) = &mut *board.rows();
        let Some(at) = rows.iter().position(|row| row.id == *id) else {
            return;
        };
        let row = rows.remove(at);
        let time = now.since(row.began_at);
        match board.style {
            Style::Bar => {
                clear(shown);
                log::info!("{}", done(&row.name, len, time));
                draw(rows, shown, now);
            }
            Style::Lines => log::info!("{}", done(&row.name, len, time)),
            Style::Json => print(&ProgressEvent::Done {
                url: &row.name,
                octets: len,
                milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            }),
            Style::Silent => {}
        }
    }
}

impl Drop for Progress {
    /// Removes the bar of a fetch that failed.
    fn drop(&mut self) {
        let Shown::Row(board, id) = &self.to else {
            return;
        };
        let (rows, shown) = &mut *board.rows();
        let before = rows.len();
        rows.retain(|row| row.id != *id);
        if rows.len() < before && board.style == Style::Bar {
            clear(shown);
            draw(rows, shown, sys::now());
        }
    }
}

/// Draws all bars and leaves the cursor where they begin, so that other lines come before them.
fn draw(rows: &[FetchRow], shown: &mut usize, now: Instant) {
    let mut text = "\r\x1b[J".to_owned();
    for (index, row) in rows.iter().enumerate() {
        text.push_str(if index > 0 { "\n" } else { "" });
        // Without line wrapping (DECAWM), since a bar over two lines could not be erased.
        text.push_str("\x1b[?7l");
        text.push_str(&under_way(row, now));
        text.push_str("\x1b[?7h");
    }
    text.push('\r');
    if rows.len() > 1 {
        // Writing to a string does not fail.
        let _ = write!(text, "\x1b[{}A", rows.len() - 1);
    }
    *shown = rows.len();
    // A terminal that has gone is no reason to stop fetching.
    let _ = stderr().write_all(text.as_bytes());
}

fn clear(shown: &mut usize) {
    if std::mem::take(shown) > 0 {
        // A terminal that has gone is no reason to stop.
        let _ = stderr().write_all(b"\r\x1b[J");
    }
}

fn print(event: &ProgressEvent<'_>) {
    // Strings and numbers can always be written as JSON.
    let line = serde_json::to_string(event).unwrap_or_default() + "\n";
    terminal::print(&line);
}

/// Returns the line about a fetch in progress, not wider than a terminal.
fn under_way(row: &FetchRow, now: Instant) -> String {
    let time = now.since(row.began_at);
    let rate = rate(row.len, time);
    let state = match row.expected.filter(|expected| *expected > 0) {
        None => format!("{}, {rate}", size(row.len)),
        Some(expected) => {
            let part = row.len.min(expected);
            let filled = usize::try_from(part.saturating_mul(BAR_WIDTH) / expected).unwrap_or(0);
            let bar: String = (0..usize::try_from(BAR_WIDTH).unwrap_or(0))
                .map(|at| if at < filled { '#' } else { '.' })
                .collect();
            let missing = u128::from(expected - part);
            let left = time.as_millis() * missing / u128::from(part.max(1)) / 1_000;
            let percent = part.saturating_mul(100) / expected;
            let size = size(expected);
            format!("[{bar}] {percent:3} % of {size}, {rate}, {left} s left")
        }
    };
    let name = Safe::name(&row.name).to_string();
    let room = LINE_WIDTH.saturating_sub(state.len() + 2);
    format!("{}: {state}", shortened(name, room))
}

/// Leaves out the middle of a name that has no room: a URL begins with the server and ends with the
/// file.
fn shortened(name: String, room: usize) -> String {
    let len = name.chars().count();
    if len <= room {
        return name;
    }
    let room = room.max(SHORTEST_NAME) - 1;
    let start: String = name.chars().take(room / 2).collect();
    let end: String = name.chars().skip(len - (room - room / 2)).collect();
    format!("{start}…{end}")
}

fn done(name: &str, len: u64, time: Duration) -> String {
    let (name, size) = (Safe::name(name), size(len));
    // A small file's rate says how long the server took to answer, and nothing about the path.
    if len < 1 << 20 {
        return format!("{name}: {size}");
    }
    format!(
        "{name}: {size} in {:.2} s, {}",
        Seconds(time),
        rate(len, time)
    )
}

fn rate(len: u64, time: Duration) -> String {
    // The clock counts milliseconds; less than one is none.
    let per_second = u128::from(len) * 1_000 / time.as_millis().max(1);
    if per_second < 1 << 20 {
        return format!("{} KiB/s", per_second >> 10);
    }
    let tenths = (per_second * 10 + (1 << 19)) >> 20;
    format!("{}.{} MiB/s", tenths / 10, tenths % 10)
}

fn size(len: u64) -> String {
    match len {
        0..10_000 => format!("{len} B"),
        10_000..10_000_000 => format!("{} KiB", len >> 10),
        _ => format!("{} MiB", len >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_under_way_shows_its_part_its_rate_and_the_time_left() {
        let row = |len, expected| FetchRow {
            id: 0,
            name: "f".to_owned(),
            len,
            expected,
            began_at: Instant::ZERO,
        };
        let text = under_way(&row(1 << 20, Some(4 << 20)), Instant::from_millis(2_000));
        let expected = "f: [##........]  25 % of 4096 KiB, 512 KiB/s, 6 s left";
        assert_eq!(text, expected);
        let text = under_way(&row(9_999, None), Instant::ZERO);
        assert_eq!(text, "f: 9999 B, 9.5 MiB/s");
        let longer_than_said = under_way(&row(20, Some(10)), Instant::from_millis(1_000));
        assert!(longer_than_said.contains("100 % of 10 B"));
    }

    #[test]
    fn a_finished_fetch_shows_its_size_and_rate() {
        let text = done("f", 16 << 20, Duration::from_millis(1_500));
        assert_eq!(text, "f: 16 MiB in 1.50 s, 10.7 MiB/s");
    }

    #[test]
    fn a_small_file_has_a_size_and_no_rate() {
        let text = |len| done("f", len, Duration::from_millis(10));
        assert_eq!(text(148), "f: 148 B");
        assert_eq!(text((1 << 20) - 1), "f: 1023 KiB");
        assert_eq!(text(1 << 20), "f: 1024 KiB in 0.01 s, 100.0 MiB/s");
    }

    #[test]
    fn a_long_name_loses_its_middle_before_the_rest_loses_anything() {
        let row = FetchRow {
            id: 0,
            name: format!("http://192.0.2.1/{}/vmlinuz-6.12", "long/".repeat(40)),
            len: 1 << 20,
            expected: Some(4 << 20),
            began_at: Instant::ZERO,
        };
        let text = under_way(&row, Instant::from_millis(2_000));
        assert_eq!(text.chars().count(), LINE_WIDTH, "{text}");
        assert!(text.starts_with("http://192"), "{text}");
        assert!(
            text.contains("…") && text.contains("vmlinuz-6.12: [##"),
            "{text}"
        );
        assert!(text.ends_with(" 6 s left"), "{text}");
    }

    #[test]
    fn a_fetch_that_ends_leaves_the_board() {
        let board = Board::new(Style::Silent);
        let first = board.begin();
        let second = board.begin();
        second.finish(1);
        assert_eq!(board.rows().0.len(), 1);
        drop(first);
        assert_eq!(board.rows().0.len(), 0);
    }
}
