//! Messages for people: a line each on standard error and, for process 1 and its boot, in the kernel's
//! log, which outlives a switch of the root and reaches netconsole.
//!
//! A line of the kernel's log that its console level lets through is written to every console by the
//! kernel itself; then it is not written to standard error too, which is one of them.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{IsTerminal, Write, stderr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::Logger;
use log::{Level, LevelFilter, Log, Metadata, Record};
use wireboot_proto::text::safe::Safe;

/// Variables with other levels than `-v` sets: `debug`, or `wireboot::fetch=trace,wireboot::link=off`.
/// The first that is set counts.
const VARIABLES: [&str; 2] = ["WIREBOOT_LOG", "RUST_LOG"];
/// Longest text of one record of the kernel's log: longer writes are refused (`PRINTKRB_RECORD_MAX` of
/// `devkmsg_write`; older ones have 992 bytes, `LOG_LINE_MAX`).
const MAX_RECORD: usize = 959;
/// The setting of the kernel that lets a process write more than ten lines in five seconds.
const DEVKMSG: &str = "/proc/sys/kernel/printk_devkmsg";
/// The process namespace that the kernel makes at its start (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

// Who writes before `start` has the defaults.
static OUTPUT: OnceLock<Output> = OnceLock::new();
/// The descriptor of the kernel's log is closed, and its number may be that of another file.
static HAS_LEFT_KERNEL_LOG: AtomicBool = AtomicBool::new(false);

/// Destination of messages.
#[derive(Debug, Default)]
struct Output {
    kernel_log: Option<File>,
    /// The kernel itself writes records of lower severity numbers to the consoles.
    console_level: u8,
    has_colour: bool,
    /// Lines may be rewritten, so that the rest of one has to be erased.
    is_rewritten: bool,
}

/// Starts the log: messages up to `level`, unless a variable says otherwise; in the kernel's log too, if
/// this is process 1 or the boot that it started.
pub fn start(level: LevelFilter, is_first: bool) {
    let mut output = Output::new();
    if is_first {
        output.open_kernel_log();
    }
    // It is set already if something was written before.
    let _ = OUTPUT.set(output);
    let text = VARIABLES.iter().find_map(|name| std::env::var(name).ok());
    let rules = rules(level, text.as_deref().unwrap_or_default());
    let highest = rules.filter();
    // Fails only if there is a logger already, as in tests.
    if log::set_boxed_logger(Box::new(Messages(rules))).is_ok() {
        log::set_max_level(highest);
    }
}

/// Writes a message, whatever the level of the log is.
pub fn write(level: Level, text: &str) {
    OUTPUT.get_or_init(Output::new).write(level, text);
}

/// Writes messages to standard error alone from now on: for a copy of this process, whose other
/// descriptors are closed.
pub(super) fn leave_kernel_log() {
    HAS_LEFT_KERNEL_LOG.store(true, Ordering::Relaxed);
}

/// Shows a line that the next one replaces; only on a terminal.
pub fn show(text: &str) {
    if is_rewritable() {
        // Without line wrapping (DECAWM), since a line over two rows could not be erased.
        let text = format!("\x1b[?7l{text}\x1b[K\x1b[?7h\r");
        let _ = stderr().write_all(text.as_bytes());
    }
}

/// Returns whether standard error is a terminal whose lines may be rewritten: not the console, which the
/// first process and its children write to, a log that is not erased.
pub fn is_rewritable() -> bool {
    OUTPUT.get_or_init(Output::new).is_rewritten
}

impl Output {
    fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // https://no-color.org
        let is_plain =
            variable("NO_COLOR").is_some() || variable("TERM").is_some_and(|term| term == "dumb");
        let is_console = || std::process::id() == 1 || std::os::unix::process::parent_id() == 1;
        Self {
            has_colour: is_terminal && !is_plain,
            is_rewritten: is_terminal && !is_console(),
            ..Self::default()
        }
    }

    fn open_kernel_log(&mut self) {
        let Ok(file) = File::options().write(true).open("/dev/kmsg") else {
            return;
        };
        self.kernel_log = Some(file);
        // A container may not change it for the machine that it is on.
        if fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name.as_os_str() == FIRST_NAMESPACE)
        {
            // Refused where the kernel's command line has printk.devkmsg, and without the line's end
            // (devkmsg_sysctl_set_loglvl).
            let _ = fs::write(DEVKMSG, "on\n");
        }
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        if read(DEVKMSG).trim() == "on" {
            let levels = read("/proc/sys/kernel/printk");
            let level = levels.split_whitespace().next().map(str::parse);
            // At 0 all goes to standard error as well.
            self.console_level = level.and_then(Result::ok).unwrap_or(0);
        }
    }

    fn write(&self, level: Level, text: &str) {
        // Of LOG_ERR, LOG_WARNING, LOG_INFO and LOG_DEBUG.
        let (prefix, colour, severity) = match level {
            Level::Error => ("error:", "\x1b[1;31m", 3),
            Level::Warn => ("warning:", "\x1b[1;33m", 4),
            Level::Info => ("", "", 6),
            Level::Debug | Level::Trace => ("", "", 7),
        };
        let space = if prefix.is_empty() { "" } else { " " };
        #[cfg(feature = "report")]
        if !HAS_LEFT_KERNEL_LOG.load(Ordering::Relaxed) {
            super::syslog::write(severity, &format!("{prefix}{space}{text}"));
        }
        let log = self.kernel_log.as_ref();
        if let Some(mut log) = log.filter(|_| !HAS_LEFT_KERNEL_LOG.load(Ordering::Relaxed)) {
            let record = format!("<{severity}>wireboot: {prefix}{space}{text}");
            let mut record = record.into_bytes();
            record.truncate(MAX_RECORD);
            // Without the end of the line nobody sees it before the next one (prb_final_commit).
            record.push(b'\n');
            if log.write_all(&record).is_ok() && severity < self.console_level {
                return;
            }
        }
        let end = if self.is_rewritten { "\x1b[K" } else { "" };
        let line = if self.has_colour && !prefix.is_empty() {
            format!("wireboot: {colour}{prefix}\x1b[0m{space}{text}{end}\n")
        } else {
            format!("wireboot: {prefix}{space}{text}{end}\n")
        };
        // A terminal that has gone is no reason to stop.
        let _ = stderr().write_all(line.as_bytes());
    }
}

/// Writes the records that pass these rules.
// The library's own way of writing ends at standard error, and keeps a buffer for each thread, for which the
// C library's allocator and its keys are set up.
struct Messages(Logger);

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.0.matches(record) {
            return;
        }
        let mut text = Safe::line(record.args()).to_string();
        // Debug messages of a library make sense only with its name.
        if !record.target().starts_with("wireboot") && record.level() > Level::Info {
            let library = record.target().split("::").next().unwrap_or_default();
            text = format!("{library}: {text}");
        }
        write(record.level(), &text);
    }

    fn flush(&self) {}
}

/// Returns what decides which records are written.
fn rules(level: LevelFilter, text: &str) -> Logger {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    // ureq logs requests with their passwords.
    builder.filter_module("ureq_proto", LevelFilter::Off);
    builder.parse_filters(text);
    // Never called: without it the library's own would be linked.
    builder.format(|_, _| Ok(()));
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_changes_the_level_of_each_target() {
        let is_logged = |text, target, level| {
            let metadata = Metadata::builder().target(target).level(level).build();
            rules(LevelFilter::Info, text).enabled(&metadata)
        };
        assert!(is_logged("", "wireboot::fetch", Level::Info));
        assert!(!is_logged("", "wireboot::fetch", Level::Debug));
        assert!(!is_logged("", "ureq_proto::client", Level::Error));
        assert!(is_logged("debug", "wireboot::fetch", Level::Debug));
        assert!(!is_logged("debug", "ureq_proto::client", Level::Error));
        let rules = "wireboot::fetch=TRACE,debug,wireboot::link=off,rustls";
        assert!(is_logged(rules, "wireboot::fetch::http", Level::Trace));
        assert!(is_logged(rules, "wireboot::acquire", Level::Debug));
        assert!(!is_logged(rules, "wireboot::link", Level::Error));
        assert!(is_logged(rules, "rustls::client", Level::Trace));
    }
}
