//! `wireboot arping`: who has an address, in the words and with the exit codes of iputils' arping.

use std::fmt::Write as _;
use std::io::{Write, stdout};
use std::net::Ipv4Addr;

use crate::arping::{Asker, Heard, Neighbourhood};
use crate::error::{Error, Reason};
use crate::settings::options::{ArpingOptions, Question, Settings};
use crate::sys;
use crate::sys::signal::{Signal, Signals};
use crate::sys::terminal::print;
use wireboot_proto::packet::arp::Operation;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::time::Instant;

/// Exit code for everything but an answer and its absence.
const OTHER: u8 = 2;

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    ask(settings).map_err(|error| {
        if matches!(*error, Reason::Said(_) | Reason::Interrupted(_)) {
            return error;
        }
        error.print();
        Box::new(Reason::Said(OTHER))
    })
}

fn ask(settings: Settings) -> Result<(), Error> {
    let options = settings.arping;
    let name = settings.config.link.interfaces.first().map(String::as_str);
    let signals = Signals::open().map_err(Reason::no_signals)?;
    if options.scan {
        if !settings.operands.is_empty() {
            return Err(Box::new(Reason::Usage(
                "--scan takes no address".to_owned(),
            )));
        }
        let near = Neighbourhood::find(name, None)?;
        let ended = near.scan(&signals, |packet| {
            print(&format!("{}\t{}\n", packet.spa, hex(packet.sha)));
        });
        return ended.or_else(unless_interrupted);
    }
    let [address] = &settings.operands[..] else {
        let advice = match &settings.operands[..] {
            [first, address] if first.parse::<Ipv4Addr>().is_err() => {
                format!(" (did you mean '-I {first} {address}'?)")
            }
            _ => String::new(),
        };
        return Err(Box::new(Reason::Usage(format!(
            "arping takes one address{advice}; see 'wireboot arping --help'"
        ))));
    };
    let target: Ipv4Addr = address
        .parse()
        .map_err(|_| Box::new(Reason::Usage(format!("'{address}' is no IPv4 address"))))?;
    let near = Neighbourhood::find(name, Some(target))?;
    let own = near.source(target);
    let source = match options.question {
        Question::Duplicate => Ipv4Addr::UNSPECIFIED,
        Question::Announcement | Question::Reply => options.source.unwrap_or(target),
        // Without an address, as at the console of a boot, one may still ask.
        Question::WhoHas => options.source.or(own).unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    let mut run = ArpingRun {
        asker: Asker::about(&near, target)?,
        mac: near.mac,
        target,
        source,
        options,
        sent: 0,
        sent_to_all: 0,
        received: 0,
        requests: 0,
        broadcasts: 0,
        answers_now: 0,
        answerer: None,
    };
    run.say(&format!(
        "ARPING {target} from {source} {}\n",
        near.link.name
    ));
    run.drive(&signals).or_else(unless_interrupted)?;
    run.finish()
}

/// Returns success for SIGINT, which ends arping with its counts.
fn unless_interrupted(error: Error) -> Result<(), Error> {
    if matches!(*error, Reason::Interrupted(Signal::Interrupt)) {
        return Ok(());
    }
    Err(error)
}

struct ArpingRun {
    asker: Asker,
    mac: MacAddress,
    target: Ipv4Addr,
    source: Ipv4Addr,
    options: ArpingOptions,
    sent: u64,
    sent_to_all: u64,
    received: u64,
    requests: u64,
    broadcasts: u64,
    /// Answers since the last question.
    answers_now: u64,
    /// The first who answered: asked alone from then on.
    answerer: Option<MacAddress>,
}

impl ArpingRun {
    fn drive(&mut self, signals: &Signals) -> Result<(), Error> {
        let deadline = self.options.deadline.map(|time| sys::now() + time);
        let mut next_at = sys::now();
        loop {
            let now = sys::now();
            if deadline.is_some_and(|at| now >= at) {
                return Ok(());
            }
            if now >= next_at {
                if deadline.is_none() && self.options.count == Some(self.sent) {
                    return Ok(());
                }
                self.ask()?;
                next_at = now + self.options.interval;
            }
            let until: Instant = deadline.map_or(next_at, |at| at.min(next_at));
            self.asker.wait(until, signals)?;
            self.receive();
            if self.is_done() {
                return Ok(());
            }
        }
    }

    fn ask(&mut self) -> Result<(), Error> {
        let receiver = self.answerer.filter(|_| !self.options.broadcasts);
        let question = self.options.question;
        self.asker
            .ask(question, self.source, self.target, receiver)?;
        self.sent += 1;
        self.sent_to_all += u64::from(receiver.is_none());
        self.answers_now = 0;
        Ok(())
    }

    fn receive(&mut self) {
        let mut all = Vec::new();
        self.asker.receive(|heard| all.push(heard));
        for heard in all {
            let packet = &heard.packet;
            let is_to_us = packet.tpa == self.source && packet.tha == self.mac;
            // A claim of the address by another is a duplicate, to whomever it is.
            let is_ours = is_to_us || self.options.question == Question::Duplicate;
            if packet.spa != self.target || !is_ours {
                continue;
            }
            self.received += 1;
            self.answers_now += 1;
            self.requests += u64::from(packet.operation == Operation::Request);
            self.broadcasts += u64::from(!heard.is_unicast);
            self.answerer.get_or_insert(packet.sha);
            let line = self.line(&heard);
            self.say(&line);
        }
    }

    /// Whether everything is answered, so that nothing more is waited for.
    fn is_done(&self) -> bool {
        let is_first = self.options.first || self.options.question == Question::Duplicate;
        let options = &self.options;
        // With a deadline --count limits the answers, not the requests.
        let has_all = options.count.is_some_and(|count| {
            self.received >= count && (self.sent >= count || options.deadline.is_some())
        });
        (is_first && self.received > 0) || (has_all && self.answers_now > 0)
    }

    /// Returns the line about an answer, as `recv_pack` of iputils has it.
    fn line(&self, heard: &Heard) -> String {
        let packet = &heard.packet;
        let way = if heard.is_unicast {
            "Unicast"
        } else {
            "Broadcast"
        };
        let kind = match packet.operation {
            Operation::Reply => "reply",
            Operation::Request => "request",
        };
        let mut line = format!("{way} {kind} from {} [{}] ", packet.spa, hex(packet.sha));
        let is_for_other = packet.tpa != self.source;
        if is_for_other {
            let _ = write!(line, "for {} ", packet.tpa);
        }
        if packet.tha != self.mac {
            let word = if is_for_other { "" } else { "for " };
            let _ = write!(line, "{word}[{}]", hex(packet.tha));
        }
        let us = heard.after_us;
        let _ = writeln!(line, " {}.{:03}ms", us / 1_000, us % 1_000);
        line
    }

    /// Prints the counts; exits as iputils does: 1 if nobody has answered, or somebody has with -D.
    fn finish(&self) -> Result<(), Error> {
        let mut text = format!(
            "Sent {} probes ({} broadcast(s))\nReceived {} response(s)",
            self.sent, self.sent_to_all, self.received
        );
        let mut kinds = Vec::new();
        for (count, kind) in [(self.requests, "request"), (self.broadcasts, "broadcast")] {
            if count > 0 {
                kinds.push(format!("{count} {kind}(s)"));
            }
        }
        if !kinds.is_empty() {
            let _ = write!(text, " ({})", kinds.join(", "));
        }
        self.say(&(text + "\n"));
        let is_wrong = match self.options.question {
            Question::Duplicate => self.received > 0,
            Question::Announcement | Question::Reply => false,
            Question::WhoHas => {
                let wanted = self
                    .options
                    .count
                    .filter(|_| self.options.deadline.is_some());
                self.received < wanted.unwrap_or(1)
            }
        };
        if is_wrong {
            return Err(Box::new(Reason::Said(1)));
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        if !self.options.quiet {
            print(text);
            let _ = stdout().flush();
        }
    }
}

/// Returns a hardware address in the capitals of iputils.
fn hex(mac: MacAddress) -> String {
    mac.to_string().to_ascii_uppercase()
}
