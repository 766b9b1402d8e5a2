//! The gate that a boot passes after each stage: it notes the time that the stage took, and ends the
//! boot where `--stop-after` says.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use crate::config::{Config, Stage};
use crate::error::Error;
use crate::recorder::Recorder;
#[cfg(feature = "report")]
use crate::reports::Reports;
#[cfg(feature = "report")]
use crate::sys::syslog;
#[cfg(feature = "attended")]
use crate::sys::watchdog::Watchdog;
use crate::timeline::Timeline;

/// The records of a boot, which are passed from stage to stage and saved at its end; clones are of the
/// same records.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The timeline of the boot.
    pub timeline: Timeline,
    /// The last frames of the boot.
    pub recorder: Recorder,
    stop_after: Option<Stage>,
    /// Resets the machine when the boot hangs.
    #[cfg(feature = "attended")]
    watchdog: Watchdog,
    /// Reports to others.
    #[cfg(feature = "report")]
    pub reports: Reports,
    /// The file for the frames, on success too.
    record: Option<String>,
}

/// The most characters of frames in a report: what a worker is asked has at most 128 KiB in all.
#[cfg(feature = "report")]
const MAX_FRAMES: usize = 96 << 10;

/// The reason why a boot ends.
#[derive(Debug)]
pub enum Exit {
    /// Its last stage is done.
    After(Stage),
    /// A stage has failed.
    Failed(Error),
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Gate {
    /// Begins the timeline of a boot.
    pub fn open(config: &Config) -> Self {
        #[cfg(feature = "report")]
        syslog::hold();
        #[cfg(feature = "attended")]
        let watchdog = Watchdog::default();
        #[cfg(feature = "attended")]
        config
            .boot
            .watchdog
            .iter()
            .for_each(|time| watchdog.begin(*time));
        Self {
            #[cfg(feature = "attended")]
            watchdog,
            timeline: Timeline::begin(),
            recorder: Recorder::default(),
            stop_after: config.boot.stop_after,
            #[cfg(feature = "report")]
            reports: Reports::default(),
            record: config.output.record.clone(),
        }
    }

    /// Returns whether the boot ends after `stage`.
    fn is_last(&self, stage: Stage) -> bool {
        self.stop_after == Some(stage)
    }

    /// Ends the boot after `stage`, which is done by `act`, if it is the last one.
    ///
    /// # Errors
    /// [`Exit::After`] if it was the last one, and the error of `act`.
    pub fn end_with<T>(
        &self,
        stage: Stage,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(), Exit> {
        if self.is_last(stage) {
            act()?;
        }
        self.pass(stage)
    }

    /// Records that `stage` is done.
    ///
    /// # Errors
    /// [`Exit::After`] if it was the last one.
    pub fn pass(&self, stage: Stage) -> Result<(), Exit> {
        match stage {
            // Not timed: the lease is acquired while the interfaces come up.
            Stage::Link => {}
            Stage::Lease => self.timeline.done("lease"),
            Stage::Plan => self.timeline.done("plan"),
            Stage::Image => self.timeline.done("fetch"),
            // Timed before the measurements, which belong to no stage.
            Stage::Load => log::info!("{}", self.timeline.summary()),
        }
        #[cfg(feature = "report")]
        (self.reports).send(&stage.to_string(), || self.timeline.json(), "");
        if self.is_last(stage) {
            return Err(Exit::After(stage));
        }
        Ok(())
    }

    /// Tells others how a boot ends, while the network is still there.
    pub fn report(&self, exit: &Exit) {
        #[cfg(feature = "report")]
        {
            if let Exit::Failed(error) = exit {
                let why = error.chain();
                syslog::end(Some(&why));
                let frames = self.recorder.base64();
                let frames = frames.filter(|frames| frames.len() < MAX_FRAMES);
                let why = serde_json::to_string(&why).unwrap_or_default();
                let frames = frames.map_or_else(|| "null".to_owned(), |text| format!("\"{text}\""));
                let fields = format!("\"error\":{why},\"frames\":{frames},");
                (self.reports).send("failed", || self.timeline.json(), &fields);
            }
            self.reports.finish();
            syslog::end(None);
        }
        #[cfg(not(feature = "report"))]
        // Nobody is told without the feature.
        let _ = exit;
    }

    /// Logs what is begun at the end of a boot, and saves the records before it, with the event `moment`.
    pub fn close(&self, what: &str, moment: &str) {
        log::info!("{what}");
        self.timeline.note(moment);
        #[cfg(feature = "report")]
        {
            (self.reports).send(moment, || self.timeline.json(), "");
            self.reports.finish();
            syslog::end(None);
        }
        #[cfg(feature = "attended")]
        self.watchdog.end();
        self.timeline.save();
        // The result is the one that is passed.
        let _ = (self.recorder).save_after(self.record.as_deref(), Ok::<(), Infallible>(()));
    }

    /// Saves the records of a boot that has ended with `exit`; returns its last stage.
    ///
    /// # Errors
    /// The error of `exit`.
    pub fn close_after(&self, exit: Exit) -> Result<Stage, Error> {
        #[cfg(feature = "attended")]
        self.watchdog.end();
        let result = match exit {
            Exit::After(stage) => Ok(stage),
            Exit::Failed(error) => Err(error),
        };
        match &result {
            Ok(stage) => self.timeline.note(format!("stopped after {stage}")),
            Err(error) => self.timeline.broken_off(error.chain()),
        }
        self.timeline.save();
        self.recorder.save_after(self.record.as_deref(), result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_ends_at_its_last_step_and_goes_on_after_all_others() {
        let mut config = Config::for_boot();
        let stages = [
            Stage::Link,
            Stage::Lease,
            Stage::Plan,
            Stage::Image,
            Stage::Load,
        ];
        for last in stages {
            config.boot.stop_after = Some(last);
            let gate = Gate::open(&config);
            for stage in stages {
                let exit = gate.pass(stage).err();
                let stops = matches!(exit, Some(Exit::After(at)) if at == last);
                assert_eq!(stops, stage == last, "{stage} of {last}");
            }
        }
        config.boot.stop_after = None;
        let gate = Gate::open(&config);
        assert!(stages.into_iter().all(|stage| gate.pass(stage).is_ok()));
        let summary = gate.timeline.summary();
        for step in ["lease ", "plan ", "fetch "] {
            assert!(summary.contains(step), "{summary}");
        }
    }
}
