//! `wireboot lease`: by which family.

use std::net::IpAddr;

use super::{lease, lease6};
use crate::config::Family;
use crate::error::{Error, Reason};
#[cfg(feature = "hand")]
use crate::handover;
use crate::recorder::Recorder;
use crate::settings::options::Settings;

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let config = &settings.config;
    let recorder = Recorder::default();
    if config.dhcp.script_only && config.dhcp.script.is_none() {
        return Err(Box::new(Reason::Usage(
            "--script-only: no --script".to_owned(),
        )));
    }
    #[cfg(feature = "hand")]
    if let Some(path) = &settings.lease.resolv_conf {
        handover::set_resolv_conf(path.clone());
    }
    let options = &settings.lease;
    let kinds = [
        options.keep,
        options.release,
        options.dry_run,
        options.inform.is_some(),
    ];
    if kinds.into_iter().filter(|is_set| *is_set).count() > 1 {
        return Err(Box::new(Reason::Usage(
            "--keep, --release, --dry-run and --inform exclude each other".to_owned(),
        )));
    }
    let follow = match (config.dhcp.family, options.inform) {
        (None | Some(Family::Either), Some(IpAddr::V6(_))) | (Some(Family::V6), _) => {
            lease6::follow
        }
        (None | Some(Family::V4), _) | (Some(Family::Either), Some(IpAddr::V4(_))) => lease::follow,
        (Some(Family::Either), None) => lease6::follow_either,
    };
    let result = follow(&settings, config, &recorder);
    recorder.save_after(config.output.record.as_deref(), result)
}
