//! The handshake of a network block device in its fixed newstyle, and the requests that hand the
//! connection to the kernel's driver.
//!
//! It is as <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md> has it: `NBD_OPT_GO`, and
//! `NBD_OPT_EXPORT_NAME` where a server has no other. Left out: TLS, and the handshakes before it.

use crate::netlink::message::{Builder, NLM_F_ACK, NLM_F_REQUEST, attributes, nested};
use crate::prelude::*;
use crate::reader::{DecodeError, Reader};

// The magic numbers of "Newstyle negotiation" there.
const NBDMAGIC: [u8; 8] = *b"NBDMAGIC";
const IHAVEOPT: [u8; 8] = *b"IHAVEOPT";
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

// The section "Values" of that document.
const FLAG_FIXED_NEWSTYLE: u16 = 1;
const FLAG_NO_ZEROES: u16 = 2;
const OPT_EXPORT_NAME: u32 = 1;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// The longest reply, in bytes: it may have a text for people of 4,096.
const MAX_REPLY_LEN: u32 = 8192;
/// Replies to one option: those of all kinds of information, and more.
const MAX_REPLIES: u32 = 64;
/// Sizes of blocks that the kernel takes.
const BLOCK_LENS: core::ops::RangeInclusive<u32> = 512..=4096;

/// What a server has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// Its length, in bytes.
    pub len: u64,
    /// Transmission flags, which the kernel's driver reads.
    pub flags: u16,
    /// The smallest block that it is read by, in bytes.
    pub block_len: u32,
}

/// Why there is no export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NbdError {
    /// It is no server of this protocol, or of an older one.
    #[error("it is no NBD server of the fixed newstyle")]
    NoServer,
    /// The server refuses, with this type of reply and text.
    #[error("the server refuses: {0} {1}")]
    Refused(&'static str, String),
    /// Its replies cannot be used.
    #[error("{0}")]
    Reply(&'static str),
    /// A reply is too short.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Reply,
    Payload(u32, usize),
    /// What follows `NBD_OPT_EXPORT_NAME`.
    Export,
    Done,
}

/// The client's side of a handshake.
#[derive(Debug)]
pub struct Handshake {
    name: String,
    state: State,
    transmit: Vec<u8>,
    has_zeroes: bool,
    replies: u32,
    export: Option<Export>,
}

impl Handshake {
    /// Begins to ask for the export with this name.
    pub const fn new(name: String) -> Self {
        Self {
            name,
            state: State::Greeting,
            transmit: Vec::new(),
            has_zeroes: true,
            replies: 0,
            export: None,
        }
    }

    /// Returns how many bytes are to be received next; 0 at the end.
    pub const fn wanted(&self) -> usize {
        match self.state {
            State::Greeting => 18,
            State::Reply => 20,
            State::Payload(_, len) => len,
            State::Export if self.has_zeroes => 10 + 124,
            State::Export => 10,
            State::Done => 0,
        }
    }

    /// Returns what is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let transmit = core::mem::take(&mut self.transmit);
        (!transmit.is_empty()).then_some(transmit)
    }

    /// Returns the export, once the handshake is done.
    pub fn export(&self) -> Option<Export> {
        self.export.filter(|_| self.state == State::Done)
    }

    /// Handles as many bytes as are [`wanted`](Self::wanted).
    ///
    /// # Errors
    /// [`NbdError`], behind which the connection is of no use.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), NbdError> {
        let mut reader = Reader::new(bytes);
        match self.state {
            State::Greeting => {
                let magic: [u8; 8] = reader.array("NBDMAGIC")?;
                let version: [u8; 8] = reader.array("IHAVEOPT")?;
                let flags = u16::from_be_bytes(reader.array("flags")?);
                if magic != NBDMAGIC || version != IHAVEOPT || flags & FLAG_FIXED_NEWSTYLE == 0 {
                    return Err(NbdError::NoServer);
                }
                let own = flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
                self.has_zeroes = flags & FLAG_NO_ZEROES == 0;
                self.transmit.extend(u32::from(own).to_be_bytes());
                let name = self.name.as_bytes();
                let len = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
                let [one, block_size] = [1, INFO_BLOCK_SIZE].map(u16::to_be_bytes);
                let data = [&len, name, &one, &block_size].concat();
                self.send(OPT_GO, &data);
                self.state = State::Reply;
            }
            State::Reply => {
                let magic = u64::from_be_bytes(reader.array("magic")?);
                let option = u32::from_be_bytes(reader.array("option")?);
                let kind = u32::from_be_bytes(reader.array("type")?);
                let len = u32::from_be_bytes(reader.array("length")?);
                self.replies += 1;
                if magic != REPLY_MAGIC
                    || option != OPT_GO
                    || len > MAX_REPLY_LEN
                    || self.replies > MAX_REPLIES
                {
                    return Err(NbdError::Reply("its replies are none to the question"));
                }
                let len = usize::try_from(len).unwrap_or_default();
                self.state = State::Payload(kind, len);
                if len == 0 {
                    return self.payload(kind, &[]);
                }
            }
            State::Payload(kind, _) => return self.payload(kind, bytes),
            State::Export => {
                self.set_export(&mut reader)?;
                self.state = State::Done;
            }
            State::Done => {}
        }
        Ok(())
    }

    fn payload(&mut self, kind: u32, bytes: &[u8]) -> Result<(), NbdError> {
        self.state = State::Reply;
        let mut reader = Reader::new(bytes);
        match kind {
            REP_ACK if self.export.is_some() => self.state = State::Done,
            REP_ACK => return Err(NbdError::Reply("it does not say how long the export is")),
            REP_INFO => match u16::from_be_bytes(reader.array("information")?) {
                INFO_EXPORT => self.set_export(&mut reader)?,
                INFO_BLOCK_SIZE => {
                    let least = u32::from_be_bytes(reader.array("minimum block size")?);
                    let len = least.max(*BLOCK_LENS.start());
                    if !BLOCK_LENS.contains(&len) || !len.is_power_of_two() {
                        return Err(NbdError::Reply(
                            "its blocks have a length that Linux cannot read",
                        ));
                    }
                    self.export.get_or_insert(NO_EXPORT).block_len = len;
                }
                _ => {}
            },
            REP_ERR_UNSUP => {
                let name = self.name.clone();
                self.send(OPT_EXPORT_NAME, name.as_bytes());
                self.state = State::Export;
            }
            _ if kind & 0x8000_0000 != 0 => {
                let what = match kind & 0xff {
                    2 => "by its policy",
                    5 => "without TLS, which is not supported",
                    6 => "there is no such export",
                    7 => "it is shutting down",
                    8 => "its blocks are too long",
                    _ => "the request is wrong",
                };
                let text = String::from_utf8_lossy(bytes).into_owned();
                return Err(NbdError::Refused(what, text));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_export(&mut self, reader: &mut Reader<'_>) -> Result<(), NbdError> {
        let len = u64::from_be_bytes(reader.array("export size")?);
        let flags = u16::from_be_bytes(reader.array("transmission flags")?);
        let export = self.export.get_or_insert(NO_EXPORT);
        (export.len, export.flags) = (len, flags);
        Ok(())
    }

    fn send(&mut self, option: u32, data: &[u8]) {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.transmit.extend(IHAVEOPT);
        self.transmit.extend(option.to_be_bytes());
        self.transmit.extend(len.to_be_bytes());
        self.transmit.extend(data);
    }
}

const NO_EXPORT: Export = Export {
    len: 0,
    flags: 0,
    block_len: *BLOCK_LENS.start(),
};

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME`
/// (include/uapi/linux/genetlink.h).
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `NBD_CMD_CONNECT` and the attributes (include/uapi/linux/nbd-netlink.h).
const CONNECT: u8 = 1;
const INDEX: u16 = 1;
const SIZE_BYTES: u16 = 2;
const BLOCK_SIZE_BYTES: u16 = 3;
const SERVER_FLAGS: u16 = 5;
const CLIENT_FLAGS: u16 = 6;
const SOCKETS: u16 = 7;
const SOCKET_ITEM: u16 = 1;
const SOCKET_FD: u16 = 1;
/// The device ends when nobody has it open or mounted (`NBD_CFLAG_DISCONNECT_ON_CLOSE`).
const DISCONNECT_ON_CLOSE: u64 = 2;

const FLAGS: u16 = NLM_F_REQUEST | NLM_F_ACK;

/// Returns the request for the number of the driver's family of generic netlink.
pub fn family_request() -> Vec<u8> {
    Builder::new(CONTROLLER, FLAGS, 1, &[GET_FAMILY, 1, 0, 0])
        .attribute(FAMILY_NAME, b"nbd\0")
        .finish()
}

/// Reads that number from the payload of the answer.
pub fn family(payload: &[u8]) -> Option<u16> {
    let value = attribute(payload, FAMILY_ID)?;
    Some(u16::from_ne_bytes(value.try_into().ok()?))
}

/// Returns the request for a device over the connection with this descriptor.
pub fn connect_request(family: u16, export: Export, descriptor: u32) -> Vec<u8> {
    let socket = nested(SOCKET_FD, &descriptor.to_ne_bytes());
    Builder::new(family, FLAGS, 2, &[CONNECT, 1, 0, 0])
        .attribute(SIZE_BYTES, &export.len.to_ne_bytes())
        .attribute(BLOCK_SIZE_BYTES, &u64::from(export.block_len).to_ne_bytes())
        .attribute(SERVER_FLAGS, &u64::from(export.flags).to_ne_bytes())
        .attribute(CLIENT_FLAGS, &DISCONNECT_ON_CLOSE.to_ne_bytes())
        .attribute(SOCKETS, &nested(SOCKET_ITEM, &socket))
        .finish()
}

/// Reads the number of the device from the payload of the answer.
pub fn device(payload: &[u8]) -> Option<u32> {
    let value = attribute(payload, INDEX)?;
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

/// Returns the value of an attribute behind the header of generic netlink.
fn attribute(payload: &[u8], kind: u16) -> Option<&[u8]> {
    let mut all = attributes(payload.get(4..)?).map_while(Result::ok);
    Some(all.find(|found| found.kind == kind)?.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\0\x03";

    fn reply(kind: u32, payload: &[u8]) -> [Vec<u8>; 2] {
        let mut header = REPLY_MAGIC.to_be_bytes().to_vec();
        for field in [OPT_GO, kind, u32::try_from(payload.len()).unwrap()] {
            header.extend(field.to_be_bytes());
        }
        [header, payload.to_vec()]
    }

    /// Gives the replies of a server; returns what was sent, and the export.
    fn shake(replies: &[Vec<u8>]) -> Result<(Vec<u8>, Option<Export>), NbdError> {
        let mut client = Handshake::new("debian".to_owned());
        let mut sent = Vec::new();
        for reply in replies.iter().filter(|reply| !reply.is_empty()) {
            assert_eq!(client.wanted(), reply.len());
            client.handle_input(reply)?;
            sent.extend(client.poll_transmit().unwrap_or_default());
        }
        Ok((sent, client.export()))
    }

    fn info(len: u64, flags: u16) -> [Vec<u8>; 2] {
        let payload = [&[0, 0][..], &len.to_be_bytes(), &flags.to_be_bytes()].concat();
        reply(REP_INFO, &payload)
    }

    #[test]
    fn an_export_is_asked_for_by_its_name() {
        let greeting = [GREETING.to_vec(), Vec::new()];
        let blocks = [&[0, 3][..], &4096u32.to_be_bytes(), &[0; 8]].concat();
        let replies = [
            greeting.clone(),
            reply(REP_INFO, &blocks),
            reply(REP_INFO, &[0, 9]),
            info(1 << 30, 3),
            reply(REP_ACK, &[]),
        ];
        let (sent, export) = shake(&replies.concat()).unwrap();
        assert_eq!(
            sent,
            b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x0e\0\0\0\x06debian\0\x01\0\x03"
        );
        let expected = Export {
            len: 1 << 30,
            flags: 3,
            block_len: 4096,
        };
        assert_eq!(export, Some(expected));
        // A server without NBD_OPT_GO.
        let replies = [
            greeting.clone(),
            reply(REP_ERR_UNSUP, b"unknown"),
            [[&77u64.to_be_bytes()[..], &[0, 1]].concat(), Vec::new()],
        ];
        let (sent, export) = shake(&replies.concat()).unwrap();
        assert!(sent.ends_with(b"IHAVEOPT\0\0\0\x01\0\0\0\x06debian"));
        assert_eq!(
            export.map(|export| (export.len, export.flags, export.block_len)),
            Some((77, 1, 512))
        );
        let refused = shake(&[greeting.clone(), reply(0x8000_0006, b"no \"debian\"")].concat());
        let refused = refused.unwrap_err().to_string();
        assert_eq!(
            refused,
            "the server refuses: there is no such export no \"debian\""
        );
        for wrong in [
            reply(REP_ACK, &[]),
            reply(REP_INFO, &[0]),
            reply(REP_INFO, &[0, 0, 1]),
            reply(REP_INFO, &[0, 3, 0, 1, 0, 0]),
            [vec![0; 20], Vec::new()],
        ] {
            shake(&[greeting.clone(), wrong].concat()).unwrap_err();
        }
        let many = vec![reply(REP_INFO, &[0, 9]).to_vec(); 65].concat();
        shake(&[greeting.to_vec(), many].concat()).unwrap_err();
        for old in [
            *b"NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53\0\x03",
            *b"NBDMAGICIHAVEOPT\0\x02",
        ] {
            assert_eq!(shake(&[old.to_vec()]), Err(NbdError::NoServer));
        }
    }

    #[test]
    fn requests_to_the_kernel_have_its_layout() {
        let request = family_request();
        assert_eq!(request.len(), 28);
        assert_eq!(request[16..], [3, 1, 0, 0, 8, 0, 2, 0, b'n', b'b', b'd', 0]);
        assert_eq!(family(&[1, 2, 0, 0, 6, 0, 1, 0, 0x21, 0, 0, 0]), Some(0x21));
        assert_eq!(family(&[1, 2, 0, 0, 6, 0, 2, 0, 0x21, 0, 0, 0]), None);
        assert_eq!(device(&[1, 1, 0, 0, 8, 0, 1, 0, 5, 0, 0, 0]), Some(5));
        assert_eq!(device(&[1]), None);
        let request = connect_request(0x21, NO_EXPORT, 9);
        assert!(request.ends_with(&[16, 0, 7, 0, 12, 0, 1, 0, 8, 0, 1, 0, 9, 0, 0, 0]));
    }
}
