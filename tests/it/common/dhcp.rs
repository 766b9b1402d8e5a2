//! A DHCP server on `far` that answers as a test tells it to, frame by frame.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;
use wireboot_proto::packet::dhcp::{Message, MessageType, Op};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::packet::option::{Options, code};

use super::far::Far;

pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A scripted server; ends when dropped.
pub struct ScriptedDhcp {
    stop: Option<mpsc::Sender<()>>,
    asked: mpsc::Receiver<Message>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedDhcp {
    /// Starts a server that sends the frames which `answer` makes of each message it receives.
    pub fn start(
        far: &Far,
        mut answer: impl FnMut(&Message) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (asks, asked) = mpsc::channel();
        let (listens, listening) = mpsc::channel();
        let thread = far.enter(move || {
            let far = nix::net::if_::if_nametoindex("far").unwrap();
            let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap();
            let tick = Some(Duration::from_millis(20));
            socket.set_read_timeout(tick).unwrap();
            listens.send(()).unwrap();
            let mut buf = [0; 2048];
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let Ok((len, _)) = socket.recv_from(&mut buf) else {
                    continue;
                };
                let Ok(message) = Message::decode(&buf[..len]) else {
                    continue;
                };
                for frame in answer(&message) {
                    sender.send(&frame).unwrap();
                }
                let _ = asks.send(message);
            }
        });
        listening.recv().unwrap();
        Self {
            stop: Some(stop),
            asked,
            thread: Some(thread),
        }
    }

    /// Returns the types of the messages received since the last time.
    pub fn asked(&self) -> Vec<MessageType> {
        let asked = self.asked.try_iter();
        asked.filter_map(|message| message.message_type()).collect()
    }
}

impl Drop for ScriptedDhcp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the answer to a DISCOVER or REQUEST that grants 192.0.2.100/24 for an hour; none to other
/// messages.
pub fn grant(question: &Message) -> Option<Message> {
    let answers = [
        (MessageType::Discover, MessageType::Offer),
        (MessageType::Request, MessageType::Ack),
    ];
    let asked = question.message_type()?;
    let (_, message_type) = answers.into_iter().find(|(to, _)| *to == asked)?;
    let mut options = Options::default();
    options.set(code::MESSAGE_TYPE, [u8::from(message_type)]);
    options.set(code::SERVER_IDENTIFIER, SERVER.octets());
    options.set(code::LEASE_TIME, 3600_u32.to_be_bytes());
    options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
    options.set(code::ROUTER, SERVER.octets());
    Some(Message {
        op: Op::BootReply,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(192, 0, 2, 100),
        options,
        ..question.clone()
    })
}

/// Returns the frame that carries a reply from `port` of the server to everybody.
pub fn framed(message: &Message, port: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode(&mut payload).unwrap();
    let datagram = Datagram {
        source: SocketAddrV4::new(SERVER, port),
        destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
        payload: &payload,
    };
    let sender = MacAddress([2, 0, 0, 0, 0, 1]);
    datagram
        .encode_frame(sender, MacAddress::BROADCAST)
        .unwrap()
}
