//! Messages between the program and its workers, which parse what the network sends.
//!
//! A worker is not trusted: it may have been taken over by what it parsed. So its messages are decoded
//! as those of the network are, each is at most [`MAX_LEN`] bytes long, and what a message means is
//! checked by its receiver. Files pass as descriptors beside a message.

use core::ops::Range;
use core::time::Duration;

use crate::boot::{Outcome, Query};
use crate::prelude::*;
use crate::reader::{FieldError, Fields, put_duration, put_option, put_text};
use crate::text::url::Url;

/// The longest message, in bytes: a URL has up to 8 KiB and a form of the same order, for each of
/// several mirrors.
pub const MAX_LEN: usize = 128 << 10;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A file is to be fetched: into the descriptor beside this message, or into a new memory file.
    Fetch(Box<Job>),
    /// A question to the network.
    Query(Query),
    /// Go on: the interface has an address again, or the plan is to be carried out.
    Go,
    /// Progress: the address that is asked.
    Source(Box<Url>),
    /// Progress: the length of the file, in bytes.
    Expect(u64),
    /// Progress: the bytes received so far.
    Received(u64),
    /// An event of the timeline.
    Moment {
        /// Time since the kernel's start.
        at: Duration,
        /// The event.
        what: String,
    },
    /// The interface has lost its address; answered by `Go`.
    NeedsAddress,
    /// A file was fetched.
    Fetched(Fetched),
    /// The answer to a question: its text, if it has one.
    Answered(Option<String>),
    /// What was asked for cannot be had.
    Failed(Fault),
    /// The plan is made; this is its kernel.
    Planned {
        /// The kernel.
        kernel: Box<Url>,
        /// The command line; empty for that of the kernel itself.
        command_line: String,
    },
    /// The image is made; its files are beside this message, in this order.
    Image {
        /// The command line.
        command_line: String,
        /// Whether there is an initrd, behind the kernel.
        initrd: bool,
        /// Whether there is a device tree, behind both.
        device_tree: bool,
    },
}

/// A file to fetch from one of several servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The addresses that have it, in the order in which they are tried.
    pub addresses: Vec<Url>,
    /// What it is for.
    pub kind: JobKind,
    /// The longest that it may be, in bytes.
    pub max_len: u64,
    /// The bytes of it that are wanted; all when none.
    pub window: Option<Range<u64>>,
    /// Whether it is no failure when a server does not have it.
    pub may_lack: bool,
    /// Whether one server may continue what another began, since the whole file is verified.
    pub may_mix: bool,
    /// How long a server may be silent.
    pub stall_timeout: Duration,
    /// Rounds of attempts without progress before giving up.
    pub rounds: u32,
    /// What memory must have room for besides the file.
    pub room: Room,
    /// The folder that it is stored in, where that is on a disk; for messages.
    pub folder: String,
}

/// Memory that is taken later, by what is made of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Copies of the file.
    pub copies: u8,
    /// Bytes of anything else, such as copies of the files before it.
    pub beside: u64,
}

impl Room {
    /// Returns the bytes that a file of this length and what is made of it take.
    pub fn with(self, len: u64) -> u64 {
        let files = len.saturating_mul(u64::from(self.copies) + 1);
        files.saturating_add(self.beside)
    }
}

/// The kind of a fetched file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A file that was asked for.
    File,
    /// What is read of an image to find a file in it; no progress display.
    Directory,
    /// Signatures are neither listed nor signed, and have no progress display.
    Signature,
}

/// Result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The index of the server that delivered it, or said that it does not have it.
    pub server: u32,
    /// Whether there is such a file.
    pub is_there: bool,
    /// Whether parts may be of different files, since no server has checked.
    pub is_mixed: bool,
    /// Where it came from, and by what the server there tells it from another.
    pub validator: Option<(Box<Url>, String)>,
}

/// Failure of a worker's task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of it.
    pub kind: FaultKind,
    /// The index of the server that it is about, if it is about one.
    pub server: Option<u32>,
    /// What it is about.
    pub what: String,
    /// Why.
    pub why: String,
}

/// The kind of a [`Fault`], by which the receiver goes on or chooses its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The server says that it has no such file.
    Missing,
    /// The server sends whole files only.
    NoParts,
    /// It is not the expected file.
    Verification,
    /// Another attempt may help.
    Passing,
    /// Anything else about a fetch.
    Fetch,
    /// The arguments or a configuration.
    Usage,
    /// The boot file leads to no kernel.
    NothingBootable,
    /// The boot file says to do something else.
    Instead(Outcome),
    /// A system call failed that every machine should allow.
    System,
    /// The server wants a token; the text is what it says.
    Challenge,
}

// Their numbers are their places: both ends are of the same program.
const JOB_KINDS: [JobKind; 3] = [JobKind::File, JobKind::Directory, JobKind::Signature];
const FAULT_KINDS: [FaultKind; 12] = [
    FaultKind::Missing,
    FaultKind::NoParts,
    FaultKind::Verification,
    FaultKind::Passing,
    FaultKind::Fetch,
    FaultKind::Usage,
    FaultKind::NothingBootable,
    FaultKind::Instead(Outcome::LocalBoot),
    FaultKind::Instead(Outcome::Reboot),
    FaultKind::Instead(Outcome::PowerOff),
    FaultKind::System,
    FaultKind::Challenge,
];

impl Message {
    /// Returns the message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(match self {
            Self::Fetch(_) => 0,
            Self::Query(Query::Address(_)) => 1,
            Self::Query(Query::Echo { .. }) => 2,
            Self::Go => 3,
            Self::Source(_) => 4,
            Self::Expect(_) => 5,
            Self::Received(_) => 6,
            Self::Moment { .. } => 7,
            Self::NeedsAddress => 8,
            Self::Fetched(_) => 9,
            Self::Answered(_) => 10,
            Self::Failed(_) => 11,
            Self::Planned { .. } => 12,
            Self::Image { .. } => 13,
        });
        match self {
            Self::Fetch(job) => job.encode(&mut out),
            Self::Query(Query::Address(host)) => put_text(host, &mut out),
            Self::Query(Query::Echo {
                host,
                count,
                timeout,
            }) => {
                put_text(host, &mut out);
                out.extend(u32::from(*count).to_le_bytes());
                put_duration(*timeout, &mut out);
            }
            Self::Go | Self::NeedsAddress => {}
            Self::Source(url) => url.encode(&mut out),
            Self::Planned {
                kernel,
                command_line,
            } => {
                kernel.encode(&mut out);
                put_text(command_line, &mut out);
            }
            Self::Expect(len) | Self::Received(len) => out.extend(len.to_le_bytes()),
            Self::Moment { at, what } => {
                put_duration(*at, &mut out);
                put_text(what, &mut out);
            }
            Self::Fetched(fetched) => {
                out.extend(fetched.server.to_le_bytes());
                out.push(fetched.is_there.into());
                out.push(fetched.is_mixed.into());
                put_option(fetched.validator.as_ref(), &mut out, |(url, tag), out| {
                    url.encode(out);
                    put_text(tag, out);
                });
            }
            Self::Answered(text) => put_option(text.as_deref(), &mut out, put_text),
            Self::Failed(fault) => {
                out.push(index_of(&FAULT_KINDS, fault.kind));
                put_option(fault.server, &mut out, |server, out| {
                    out.extend(server.to_le_bytes());
                });
                put_text(&fault.what, &mut out);
                put_text(&fault.why, &mut out);
            }
            Self::Image {
                command_line,
                initrd,
                device_tree,
            } => {
                put_text(command_line, &mut out);
                out.push((*initrd).into());
                out.push((*device_tree).into());
            }
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The field that is missing, too long or not valid, or something behind the last one.
    pub fn decode(message: &[u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::new(message);
        let decoded = match fields.u8()? {
            0 => Self::Fetch(Box::new(Job::decode(&mut fields)?)),
            1 => Self::Query(Query::Address(fields.text()?)),
            2 => Self::Query(Query::Echo {
                host: fields.text()?,
                count: u16::try_from(fields.u32()?).map_err(|_| FieldError("count"))?,
                timeout: fields.duration()?,
            }),
            3 => Self::Go,
            4 => Self::Source(Box::new(Url::decode(&mut fields)?)),
            5 => Self::Expect(fields.u64()?),
            6 => Self::Received(fields.u64()?),
            7 => Self::Moment {
                at: fields.duration()?,
                what: fields.text()?,
            },
            8 => Self::NeedsAddress,
            9 => Self::Fetched(Fetched {
                server: fields.u32()?,
                is_there: fields.flag()?,
                is_mixed: fields.flag()?,
                validator: fields
                    .option(|fields| Ok((Box::new(Url::decode(fields)?), fields.text()?)))?,
            }),
            10 => Self::Answered(fields.option(Fields::text)?),
            11 => {
                let kind = FAULT_KINDS.get(usize::from(fields.u8()?));
                Self::Failed(Fault {
                    kind: *kind.ok_or(FieldError("kind"))?,
                    server: fields.option(Fields::u32)?,
                    what: fields.text()?,
                    why: fields.text()?,
                })
            }
            12 => Self::Planned {
                kernel: Box::new(Url::decode(&mut fields)?),
                command_line: fields.text()?,
            },
            13 => Self::Image {
                command_line: fields.text()?,
                initrd: fields.flag()?,
                device_tree: fields.flag()?,
            },
            _ => return Err(FieldError("type")),
        };
        fields.end()?;
        Ok(decoded)
    }
}

impl Job {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(
            u32::try_from(self.addresses.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        for url in &self.addresses {
            url.encode(out);
        }
        out.push(index_of(&JOB_KINDS, self.kind));
        out.extend(self.max_len.to_le_bytes());
        put_option(self.window.as_ref(), out, |window, out| {
            out.extend(window.start.to_le_bytes());
            out.extend(window.end.to_le_bytes());
        });
        out.push(self.may_lack.into());
        out.push(self.may_mix.into());
        put_duration(self.stall_timeout, out);
        out.extend(self.rounds.to_le_bytes());
        out.push(self.room.copies);
        out.extend(self.room.beside.to_le_bytes());
        put_text(&self.folder, out);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let mut addresses = Vec::new();
        // Each address has bytes of its own, so that a large count ends with the message.
        for _ in 0..fields.u32()? {
            addresses.push(Url::decode(fields)?);
        }
        let kind = JOB_KINDS.get(usize::from(fields.u8()?));
        Ok(Self {
            addresses,
            kind: *kind.ok_or(FieldError("kind"))?,
            max_len: fields.u64()?,
            window: fields.option(|fields| Ok(fields.u64()?..fields.u64()?))?,
            may_lack: fields.flag()?,
            may_mix: fields.flag()?,
            stall_timeout: fields.duration()?,
            rounds: fields.u32()?,
            room: Room {
                copies: fields.u8()?,
                beside: fields.u64()?,
            },
            folder: fields.text()?,
        })
    }
}

fn index_of<T: PartialEq>(all: &[T], one: T) -> u8 {
    let at = all.iter().position(|known| *known == one);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let pin = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        let form = crate::text::url::Form::new("POST", &[], "a=b".to_owned()).unwrap();
        let addresses = vec![
            url(&format!(
                "https://user:secret@h.example:8443/a%20b?c=d#sha256={pin}"
            )),
            url(&format!(
                "http://[2001:db8::1]/x.iso#/casper/vmlinuz#sha256={pin}"
            )),
            url("tftp://192.0.2.1/pxelinux.0"),
            url("http://h/script").with_form(form),
        ];
        let job = Job {
            addresses: addresses.clone(),
            kind: JobKind::Directory,
            max_len: u64::MAX,
            window: Some(7..9),
            may_lack: true,
            may_mix: false,
            stall_timeout: Duration::from_millis(1500),
            rounds: 4,
            room: Room {
                copies: 2,
                beside: 1 << 40,
            },
            folder: "/srv".to_owned(),
        };
        let [first, ..] = &addresses[..] else {
            unreachable!()
        };
        let mut all = vec![
            Message::Fetch(Box::new(job)),
            Message::Query(Query::Address("h.example".to_owned())),
            Message::Query(Query::Echo {
                host: "h".to_owned(),
                count: 3,
                timeout: Duration::from_secs(1),
            }),
            Message::Go,
            Message::Source(Box::new(first.clone())),
            Message::Expect(1 << 40),
            Message::Received(5),
            Message::Moment {
                at: Duration::from_micros(7),
                what: "asked".to_owned(),
            },
            Message::NeedsAddress,
            Message::Fetched(Fetched {
                server: 1,
                is_there: true,
                is_mixed: true,
                validator: Some((Box::new(first.clone()), "\"tag\"".to_owned())),
            }),
            Message::Answered(None),
            Message::Answered(Some("192.0.2.1".to_owned())),
            Message::Planned {
                kernel: Box::new(first.clone()),
                command_line: "quiet".to_owned(),
            },
            Message::Image {
                command_line: "quiet".to_owned(),
                initrd: true,
                device_tree: false,
            },
        ];
        all.extend(FAULT_KINDS.map(|kind| {
            Message::Failed(Fault {
                kind,
                server: Some(2),
                what: "a".to_owned(),
                why: "b".to_owned(),
            })
        }));
        all
    }

    #[test]
    fn each_message_is_read_as_it_was_written_and_no_part_of_it_is_one() {
        for message in all() {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            for len in 0..bytes.len() {
                assert!(Message::decode(&bytes[..len]).is_err(), "{message:?} {len}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Message::decode(&longer), Err(FieldError("end")));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_by_its_field() {
        let url = |host: &[u8], path: &[u8]| {
            let mut bytes = vec![12, 1, 0];
            for text in [host, &[], path] {
                if text.is_empty() {
                    bytes.push(0);
                } else {
                    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
                    bytes.extend(text);
                }
            }
            bytes.extend([0; 8]);
            bytes
        };
        assert!(Message::decode(&url(b"h", b"/")).is_ok());
        for (bytes, field) in [
            (vec![], "length"),
            (vec![14], "type"),
            (vec![10, 2], "flag"),
            (vec![10, 1, 0xff, 0xff, 0xff, 0xff], "length"),
            (vec![10, 1, 1, 0, 0, 0, 0xff], "text"),
            (vec![11, 12], "kind"),
            (vec![12, 3], "scheme"),
            (url(b"h/x", b"/"), "host"),
            (url(b"h", b"/\r\n"), "path"),
            (url(b"h", b"x"), "path"),
        ] {
            assert_eq!(Message::decode(&bytes), Err(FieldError(field)), "{bytes:?}");
        }
    }
}
