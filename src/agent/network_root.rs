//! The end of a boot without a kernel: the network's root in place of one.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use wireboot_proto::dhcp::lease::Lease;

use crate::acquire::Binding;
use crate::config::{Config, RootConfig, Stage};
use crate::error::SWITCH_ROOT;
use crate::fetch::Fetcher;
use crate::gate::{Exit, Gate};
use crate::measure;
use crate::root;
use crate::timeline::Moment;

/// Mounts the root that the configuration or a plan names, and ends this process; process 1 switches
/// to it then.
pub(super) fn start(
    config: &Config,
    root: &RootConfig,
    gate: &Gate,
    binding: &mut Binding,
    lease: &Lease,
    fetcher: Fetcher,
) -> Result<Infallible, Exit> {
    let image = root::fetch(root, lease, &fetcher, &config.trust.sandbox)?;
    // Its workers end.
    drop(fetcher);
    gate.pass(Stage::Image)?;
    let mounted = root::mount(&image, root, &config.trust.sandbox)?;
    gate.timeline.done("mount");
    let measurements = image.measure()?;
    (gate.timeline).extend(measurements.iter().copied().map(Moment::from));
    measure::extend(&measurements);
    gate.timeline.done("measure");
    gate.pass(Stage::Load)?;
    gate.close(
        &format!("mounted {}, and switching to it", image.name),
        "root is mounted",
    );
    // The next system asks for the same address; until it does, the kernel keeps it.
    binding.settle();
    mounted.keep()?;
    std::process::exit(SWITCH_ROOT.into())
}
