//! Many machines that are switched on together, and one server that answers only so many a
//! second.

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use wireboot_proto::time::{Instant, Random};

use super::client::Machine;
use super::net::{Conditions, Network};
use super::server::{Server, Service};
use super::town::Member;
use super::wire::Wire;

/// What is to be simulated.
#[derive(Debug, Clone, Copy)]
pub struct Rack {
    pub machines: u32,
    pub answers_per_second: u64,
    /// All are switched on within this time.
    pub within: Duration,
    /// Into how many wires they are divided, none of which hears the others; the server hears all.
    pub wires: u32,
    pub conditions: Conditions,
    pub seed: u64,
}

/// What came of it.
pub struct Outcome {
    rack: Rack,
    pub leased: u32,
    pub last_at: Duration,
    /// Packets that machines sent in the busiest 100 ms, the first packet of each left out.
    pub peak: u32,
    pub sent: u32,
    pub most_sent: u32,
    /// Requests that the server's queue had no room for.
    pub overflows: u64,
}

impl Rack {
    pub const TEN_THOUSAND: Self = Self {
        machines: 10_000,
        answers_per_second: 1_000,
        within: Duration::from_secs(1),
        wires: 1,
        conditions: Conditions::GOOD,
        seed: 1,
    };

    /// Switches the machines on and waits until all have a lease, `patience` at most.
    pub fn run(self, patience: Duration) -> Outcome {
        let mut network = Network::new(self.conditions, self.seed);
        let server = Server::new(Service {
            boot_file: Some("http://10.0.0.1/boot"),
            answers_per_second: self.answers_per_second,
            ..Service::dhcp(Ipv4Addr::new(10, 0, 0, 1))
        });
        network.plug_in(Member::Server(Box::new(server)));
        let wires: Vec<Wire> = (0..self.wires).map(|_| Wire::default()).collect();
        let mut random = Random::new(self.seed);
        for (number, wire) in (0..self.machines).zip(wires.iter().cycle()) {
            let within = u64::try_from(self.within.as_millis()).expect("seconds");
            let start_at = Instant::from_millis(random.next_u64() % (within + 1));
            let machine = Machine::new(number, random.next_u64(), start_at, wire.clone());
            network.plug_in(Member::Machine(Box::new(machine)));
        }
        self.watch(network, patience)
    }

    fn watch(self, mut network: Network<Member>, patience: Duration) -> Outcome {
        let end = Instant::ZERO + patience;
        let mut outcome = Outcome {
            rack: self,
            leased: 0,
            last_at: Duration::ZERO,
            peak: 0,
            sent: 0,
            most_sent: 0,
            overflows: 0,
        };
        let mut is_leased = vec![false; network.stations.len()];
        let mut window = VecDeque::new();
        while outcome.leased < self.machines
            && let Some((index, frames)) = network.step(end)
        {
            let now = network.now;
            let Member::Machine(machine) = &network.stations[index] else {
                continue;
            };
            for number in 0..frames.len() {
                if machine.sent as usize > frames.len() || number > 0 {
                    window.push_back(now);
                }
            }
            while window
                .front()
                .is_some_and(|at| now.since(*at) >= Duration::from_millis(100))
            {
                window.pop_front();
            }
            outcome.peak = outcome.peak.max(u32::try_from(window.len()).expect("few"));
            if machine.lease.is_some() && !std::mem::replace(&mut is_leased[index], true) {
                outcome.leased += 1;
                outcome.last_at = now.since(Instant::ZERO);
            }
        }
        for member in &network.stations {
            match member {
                Member::Machine(machine) => {
                    outcome.sent += machine.sent;
                    outcome.most_sent = outcome.most_sent.max(machine.sent);
                }
                Member::Server(server) => outcome.overflows = server.overflows,
            }
        }
        outcome
    }
}

impl Outcome {
    /// The least time in which all can be leased: each takes two answers.
    pub fn ideal(&self) -> Duration {
        let answers = u64::from(self.rack.machines) * 2;
        Duration::from_millis(answers * 1000 / self.rack.answers_per_second)
    }

    /// The peak as a multiple of what the server answers in that time.
    pub fn peak_ratio(&self) -> f64 {
        let per_second = u32::try_from(self.rack.answers_per_second).expect("a rate");
        f64::from(self.peak) * 10.0 / f64::from(per_second)
    }

    /// The time of the last lease as a multiple of the ideal.
    pub fn time_ratio(&self) -> f64 {
        self.last_at.as_secs_f64() / self.ideal().as_secs_f64()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rack {
            machines,
            answers_per_second,
            within,
            wires,
            conditions: Conditions { loss, .. },
            ..
        } = self.rack;
        write!(
            f,
            "{machines:>6} machines on {wires:>3} wires within {:>4.1} s, {loss:>2} % loss, \
             {answers_per_second:>5} answers/s: {:>6} leased, \
             the last after {:>5.1} s = {:.2} × ideal; \
             peak of {:>4} packets in 100 ms = {:.2} × the server's rate; \
             {:.2} packets a machine, {} at most; {} beyond the queue",
            within.as_secs_f64(),
            self.leased,
            self.last_at.as_secs_f64(),
            self.time_ratio(),
            self.peak,
            self.peak_ratio(),
            f64::from(self.sent) / f64::from(machines),
            self.most_sent,
            self.overflows,
        )
    }
}
