//! What the targets share.

use wireboot::plan::{Answer, Facts, Planner, Step};

/// How many steps a plan may take: its own limits end it before.
const MAX_STEPS: usize = 200_000;

/// Drives a planner whose server answers with the parts of `data` between zero octets, in order
/// and round again; an empty part is a file that is missing.
pub fn plan(data: &[u8]) {
    let Ok(boot_file) = "tftp://192.0.2.1/a/b".parse() else {
        return;
    };
    let mac = wireboot::wire::ethernet::MacAddress([2, 0, 0, 0, 0, 1]);
    let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
    let mut planner = Planner::new(Facts::new(boot_file, mac, address, server));
    let mut files = data.split(|octet| *octet == 0).cycle();
    let mut answer = Answer::Begin;
    for _ in 0..MAX_STEPS {
        answer = match planner.next(answer) {
            Step::Fetch { .. } => match files.next().unwrap_or_default() {
                [] => Answer::Missing,
                file => Answer::File {
                    head: file.to_vec(),
                    len: file.len() as u64,
                },
            },
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } => Answer::Pressed,
            Step::Input { text, .. } => Answer::Text(text),
            Step::Say(_) | Step::Sleep(_) => Answer::Done,
            Step::Done(_) | Step::Failed(_) => return,
        };
    }
    panic!("the plan does not end");
}
