//! Asks boot servers for a boot file, once there is an address (PXE 2.1 §2.2.5).
//!
//! The question is a REQUEST, as the specification has it, and every other time an INFORM, which
//! is all that some servers answer. All servers are asked at once and the first answer counts. The
//! five verbs are those of [`super::Client`].

use crate::prelude::*;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::boot_service::BootService;
use super::client::Transmit;
use super::config::Config;
use super::message::{self, Exchange};
use super::offer::Offer;
use super::reply::{self, Discard};
use super::resend::Resend;
use crate::packet::dhcp::{CLIENT_PORT, Message, MessageType, SERVER_PORT};
use crate::packet::ipv4::Datagram;
use crate::packet::option::code;
use crate::packet::pxe::{BootItem, Pxe};
use crate::time::{Instant, Random};

/// How often servers are asked before they are given up: about 8.5 s.
const MAX_QUESTIONS: u32 = 8;

/// Question for a boot file, and the servers that are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootQuestion {
    /// Our address.
    pub address: Ipv4Addr,
    /// Where the question goes.
    pub destinations: Vec<SocketAddrV4>,
    /// The only servers whose answers count; none when all do.
    pub believed: Option<Vec<Ipv4Addr>>,
    /// What was chosen from a menu.
    pub item: Option<BootItem>,
}

impl BootQuestion {
    /// Asks for the boot file of a service, or for what was chosen from its menu, from `address`.
    pub fn new(address: Ipv4Addr, service: &BootService, item: Option<BootItem>) -> Self {
        let (destinations, believed) = match item {
            None => (vec![service.address()], None),
            Some(BootItem { kind, .. }) => (
                service.destinations(kind),
                service.believed(kind).map(<[_]>::to_vec),
            ),
        };
        Self {
            address,
            destinations,
            believed,
            item,
        }
    }
}

/// End of an inquiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server answered with this, which grants no address.
    Answered(Box<Offer>),
    /// Nobody answered.
    Unanswered,
}

/// One question, until it is answered or given up.
#[derive(Debug)]
pub struct Inquiry {
    config: Config,
    question: BootQuestion,
    random: Random,
    xid: u32,
    began_at: Instant,
    now: Instant,
    resend: Resend,
    /// Destinations that the message in hand has yet to go to, the last first.
    outgoing: Vec<SocketAddrV4>,
    is_over: bool,
    event: Option<Event>,
}

impl Inquiry {
    /// Begins; the question is due at once.
    pub fn new(config: Config, question: BootQuestion, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            xid: random.next_u32(),
            random,
            config,
            question,
            began_at: now,
            now,
            resend: Resend::new(now),
            outgoing: Vec::new(),
            is_over: false,
            event: None,
        }
    }

    /// Handles a datagram to port 68.
    ///
    /// # Errors
    /// The reason why it is no answer.
    pub fn handle_input(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Discard> {
        self.now = now;
        let reply = reply::read(&datagram, self.xid, &self.config)?;
        // PXE 2.1 §2.2: a boot server answers with an ACK, as only a DHCP server makes offers.
        if self.is_over || reply.message_type != MessageType::Ack {
            return Err(Discard::Unexpected(reply.message_type));
        }
        let server = reply.server_or(None)?;
        let believed = self.question.believed.as_ref();
        if believed.is_some_and(|believed| !believed.contains(&server)) {
            return Err(Discard::WrongServer(server));
        }
        let answer = Offer::read(reply.message, server, reply.source);
        let boot = &answer.boot;
        // A DHCP server that hears the question takes it for one about the address.
        let service = boot.boot_service.as_ref();
        let answers = match (self.question.item, service) {
            (None, Some(_)) => boot.boot_file.is_some() || has_menu(service.map(|it| &it.pxe)),
            (Some(item), Some(service)) => {
                let granted = service.pxe.boot_item;
                boot.boot_file.is_some() && granted.is_none_or(|granted| granted.kind == item.kind)
            }
            (_, None) => boot.boot_file.is_some() && datagram.source.port() != SERVER_PORT,
        };
        if !answers {
            return Err(Discard::NoAnswer);
        }
        self.end(Event::Answered(Box::new(answer)));
        Ok(())
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.is_over {
            return;
        }
        if self.resend.is_spent(now, MAX_QUESTIONS) {
            return self.end(Event::Unanswered);
        }
        self.resend.handle_timeout(now);
    }

    /// Writes the next message to be sent to `buf`, in place of what it holds.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.is_over {
            return None;
        }
        if self.resend.take(self.now, &mut self.random) {
            self.outgoing.clone_from(&self.question.destinations);
        }
        let destination = self.outgoing.pop()?;
        let message = self.message();
        buf.clear();
        message.encode(buf).ok()?;
        Some(Transmit {
            source: SocketAddrV4::new(self.question.address, CLIENT_PORT),
            destination,
            message_type: message.message_type()?,
        })
    }

    fn message(&self) -> Message {
        let exchange = Exchange::new(self.xid, self.began_at, self.now);
        let address = self.question.address;
        // PXE 2.1 asks by REQUEST; some servers answer only an INFORM.
        let mut message = match self.resend.sent() % 2 {
            1 => message::request_extension(&self.config, exchange, address),
            _ => message::inform(&self.config, exchange, address),
        };
        if let Some(item) = self.question.item {
            message.options.set(code::VENDOR_SPECIFIC, item.encode());
        }
        message
    }

    /// Returns the transaction number, which answers must carry.
    pub const fn xid(&self) -> u32 {
        self.xid
    }

    /// Returns the end of the question, once.
    pub const fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Returns when [`Inquiry::handle_timeout`] must be called; none when the question is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_over).then(|| self.resend.next_at())
    }

    fn end(&mut self, event: Event) {
        self.is_over = true;
        self.event = Some(event);
    }
}

fn has_menu(pxe: Option<&Pxe>) -> bool {
    pxe.is_some_and(|pxe| !pxe.menu.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::boot_service::PXE_PORT;
    use crate::dhcp::reply::Discard;
    use crate::packet::dhcp::Op;
    use crate::packet::ethernet::MacAddress;
    use crate::packet::option::Options;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 1, 2, 3]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
    const ITEM: BootItem = BootItem {
        kind: 0x8000,
        layer: 0,
    };

    fn begin(item: Option<BootItem>, believed: Option<Vec<Ipv4Addr>>) -> Inquiry {
        let question = BootQuestion {
            address: ADDRESS,
            destinations: vec![SocketAddrV4::new(SERVER, PXE_PORT)],
            believed,
            item,
        };
        Inquiry::new(Config::new(MAC, 7), question, Instant::ZERO)
    }

    /// Returns what is sent now, with where it goes.
    fn sent(inquiry: &mut Inquiry) -> Option<(SocketAddrV4, Message)> {
        let mut buf = Vec::new();
        let transmit = inquiry.poll_transmit(&mut buf)?;
        assert_eq!(*transmit.source.ip(), ADDRESS);
        Some((transmit.destination, Message::decode(&buf).unwrap()))
    }

    /// An ACK of `server` with a class, a value of option 43, and a boot file.
    fn ack(inquiry: &Inquiry, server: Ipv4Addr, vendor: &[u8], file: &[u8]) -> Vec<u8> {
        let mut options = Options::default();
        options.set(code::MESSAGE_TYPE, [5]);
        options.set(code::SERVER_IDENTIFIER, server.octets());
        options.set(code::VENDOR_CLASS, *b"PXEClient");
        options.set(code::VENDOR_SPECIFIC, vendor);
        let message = Message {
            op: Op::BootReply,
            xid: inquiry.xid,
            secs: 0,
            broadcast: false,
            ciaddr: ADDRESS,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: MAC,
            sname: Vec::new(),
            file: file.to_vec(),
            options,
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap();
        bytes
    }

    fn input(inquiry: &mut Inquiry, payload: &[u8], port: u16) -> Result<(), Discard> {
        let datagram = Datagram {
            source: SocketAddrV4::new(SERVER, port),
            destination: SocketAddrV4::new(ADDRESS, CLIENT_PORT),
            payload,
        };
        inquiry.handle_input(datagram, Instant::from_millis(1))
    }

    #[test]
    fn a_request_asks_for_the_item_and_its_answer_brings_the_file() {
        let mut inquiry = begin(Some(ITEM), None);
        let (destination, message) = sent(&mut inquiry).unwrap();
        assert_eq!(destination, SocketAddrV4::new(SERVER, PXE_PORT));
        assert_eq!(message.message_type(), Some(MessageType::Request));
        assert_eq!(message.ciaddr, ADDRESS);
        let asked = message.options.get(code::VENDOR_SPECIFIC);
        assert_eq!(asked, Some(&ITEM.encode()[..]));
        assert_eq!(sent(&mut inquiry), None);
        let answer = ack(&inquiry, SERVER, &ITEM.encode(), b"boot.0");
        input(&mut inquiry, &answer, PXE_PORT).unwrap();
        let Some(Event::Answered(offer)) = inquiry.poll_event() else {
            panic!("it is answered")
        };
        assert_eq!(offer.boot.boot_file.as_deref(), Some("boot.0"));
        assert_eq!((inquiry.poll_event(), inquiry.poll_timeout()), (None, None));
        let again = input(&mut inquiry, &answer, PXE_PORT);
        assert_eq!(again, Err(Discard::Unexpected(MessageType::Ack)));
    }

    #[test]
    fn what_answers_something_else_is_discarded() {
        let mut inquiry = begin(Some(ITEM), Some(vec![SERVER]));
        let other = [71, 4, 0x80, 1, 0, 0];
        for (server, vendor, file, port, why) in [
            (SERVER, &other[..], &b"x"[..], 67, Discard::NoAnswer),
            (SERVER, &ITEM.encode(), b"", 67, Discard::NoAnswer),
            (
                STRANGER,
                &ITEM.encode(),
                b"x",
                67,
                Discard::WrongServer(STRANGER),
            ),
        ] {
            let answer = ack(&inquiry, server, vendor, file);
            assert_eq!(input(&mut inquiry, &answer, port), Err(why));
        }
        assert_eq!(inquiry.poll_event(), None);
    }

    #[test]
    fn an_answer_counts_from_any_port_and_without_an_identifier() {
        for (port, class, identifier) in [
            (40_000, true, true),
            (PXE_PORT, true, false),
            (40_000, false, false),
        ] {
            let mut inquiry = begin(None, Some(vec![SERVER]));
            let bytes = ack(&inquiry, SERVER, &[], b"boot.0");
            let mut message = Message::decode(&bytes).unwrap();
            if !class {
                message.options.remove(code::VENDOR_CLASS);
            }
            if !identifier {
                message.options.remove(code::SERVER_IDENTIFIER);
            }
            let mut bytes = Vec::new();
            message.encode(&mut bytes).unwrap();
            input(&mut inquiry, &bytes, port).unwrap();
            let Some(Event::Answered(offer)) = inquiry.poll_event() else {
                panic!("it is answered")
            };
            assert_eq!(offer.server, SERVER);
        }
    }

    #[test]
    fn a_question_without_answer_is_asked_in_both_ways_and_given_up() {
        let mut inquiry = begin(None, None);
        let mut types = Vec::new();
        while let Some(at) = inquiry.poll_timeout() {
            inquiry.handle_timeout(at);
            while let Some((_, message)) = sent(&mut inquiry) {
                types.push(message.message_type().unwrap());
            }
            assert!(inquiry.poll_timeout().is_none_or(|next| next > at));
        }
        use MessageType::{Inform, Request};
        assert_eq!(types, [[Request, Inform]; 4].concat());
        assert_eq!(inquiry.poll_event(), Some(Event::Unanswered));
    }

    #[test]
    fn a_service_may_answer_with_a_menu() {
        let mut inquiry = begin(None, None);
        let menu = [9, 5, 0x80, 0, 2, b'O', b'S'];
        let answer = ack(&inquiry, SERVER, &menu, b"");
        input(&mut inquiry, &answer, PXE_PORT).unwrap();
        assert!(matches!(inquiry.poll_event(), Some(Event::Answered(_))));
        let mut inquiry = begin(None, None);
        let answer = ack(&inquiry, SERVER, &[], b"");
        let result = input(&mut inquiry, &answer, PXE_PORT);
        assert_eq!(result, Err(Discard::NoAnswer));
    }
}
