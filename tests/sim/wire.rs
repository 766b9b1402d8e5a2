//! What the machines of one wire hear of each other: the filters of the counting sockets, run over
//! every frame.

use std::cell::Cell;
use std::rc::Rc;

use wireboot::sys::filter::FilterProgram;
use wireboot::sys::filter::ready::dhcp_requests;
use wireboot_proto::dhcp::RequestCounts;

/// One wire, as each of its machines knows it.
#[derive(Clone)]
pub struct Wire(Rc<Counters>);

struct Counters {
    discovers: FilterProgram,
    requests: FilterProgram,
    count: Cell<RequestCounts>,
}

impl Default for Wire {
    fn default() -> Self {
        Self(Rc::new(Counters {
            discovers: dhcp_requests(true),
            requests: dhcp_requests(false),
            count: Cell::default(),
        }))
    }
}

impl Wire {
    /// Counts a frame; returns what it adds.
    pub fn carry(&self, frame: &[u8]) -> RequestCounts {
        let counted = RequestCounts {
            discovers: self.0.discovers.run(frame),
            requests: self.0.requests.run(frame),
        };
        self.0.count.set(sum(self.0.count.get(), counted));
        counted
    }

    /// Returns everything counted so far.
    pub fn count(&self) -> RequestCounts {
        self.0.count.get()
    }
}

pub const fn sum(one: RequestCounts, other: RequestCounts) -> RequestCounts {
    RequestCounts {
        discovers: one.discovers + other.discovers,
        requests: one.requests + other.requests,
    }
}

pub const fn difference(whole: RequestCounts, part: RequestCounts) -> RequestCounts {
    RequestCounts {
        discovers: whole.discovers - part.discovers,
        requests: whole.requests - part.requests,
    }
}
