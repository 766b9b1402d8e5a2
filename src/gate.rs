//! The gate that a boot passes after each step: it notes the time the step took, and ends the boot
//! where `--stop-after` says.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt::Display;

use crate::config::{Config, Step};
use crate::error::Error;
use crate::recorder::Recorder;
use crate::timeline::Timeline;
use wireboot_proto::text::url::Url;

/// What a boot takes with it from step to step, and leaves behind at its end.
#[derive(Debug)]
pub struct Gate {
    /// The moments of the boot.
    pub timeline: Timeline,
    /// The last frames of the boot.
    pub recorder: Recorder,
    stop_after: Option<Step>,
    /// The file for the frames, however the boot ends.
    record: Option<String>,
}

/// Why a boot does not go on.
#[derive(Debug)]
pub enum Exit {
    /// Its last step is done.
    After(Step),
    /// A step has failed.
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
        Self {
            timeline: Timeline::begin(),
            recorder: Recorder::default(),
            stop_after: config.boot.stop_after,
            record: config.output.record.clone(),
        }
    }

    /// Returns whether the boot ends after `step`.
    fn is_last(&self, step: Step) -> bool {
        self.stop_after == Some(step)
    }

    /// Ends the boot after `step`, which is done by `act`, if it is the last one.
    ///
    /// # Errors
    /// [`Exit::After`] if it was the last one, and the error of `act`.
    pub fn end_with<T>(
        &self,
        step: Step,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(), Exit> {
        if self.is_last(step) {
            act()?;
        }
        self.pass(step)
    }

    /// Notes that `step` is done.
    ///
    /// # Errors
    /// [`Exit::After`] if it was the last one.
    pub fn pass(&self, step: Step) -> Result<(), Exit> {
        match step {
            // Not a time of its own: a lease is acquired on interfaces from before they are up.
            Step::Link => {}
            Step::Lease => self.timeline.done("lease"),
            Step::Plan => self.timeline.done("plan"),
            Step::Image => self.timeline.done("fetch"),
            Step::Load => {
                self.timeline.done("load");
                log::info!("{}", self.timeline.summary());
            }
        }
        if self.is_last(step) {
            return Err(Exit::After(step));
        }
        Ok(())
    }

    /// Notes the measurements of what is started.
    pub fn measured(&self, measurements: impl IntoIterator<Item = impl Display>) {
        for measurement in measurements {
            self.timeline.note(measurement.to_string());
        }
        self.timeline.done("measure");
    }

    /// Logs what is started, and saves what a boot leaves behind, before the machine is another
    /// kernel's.
    pub fn close(&self, kernel: &Url, command_line: &str) {
        log::info!("starting {kernel} with \"{command_line}\"");
        self.timeline.note("kexec");
        self.timeline.save();
        // Nothing can be returned from a success that was not put in.
        let _ = (self.recorder).save_after(self.record.as_deref(), Ok::<(), Infallible>(()));
    }

    /// Saves what a boot leaves behind that has ended with `exit`; returns its last step.
    ///
    /// # Errors
    /// The error of `exit`.
    pub fn close_after(&self, exit: Exit) -> Result<Step, Error> {
        let result = match exit {
            Exit::After(step) => Ok(step),
            Exit::Failed(error) => Err(error),
        };
        match &result {
            Ok(step) => self.timeline.note(format!("stopped after {step}")),
            Err(error) => self.timeline.note(error.chain()),
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
        let steps = [Step::Link, Step::Lease, Step::Plan, Step::Image, Step::Load];
        for last in steps {
            config.boot.stop_after = Some(last);
            let gate = Gate::open(&config);
            for step in steps {
                let exit = gate.pass(step).err();
                let stops = matches!(exit, Some(Exit::After(at)) if at == last);
                assert_eq!(stops, step == last, "{step} of {last}");
            }
        }
        config.boot.stop_after = None;
        let gate = Gate::open(&config);
        assert!(steps.into_iter().all(|step| gate.pass(step).is_ok()));
        let summary = gate.timeline.summary();
        for step in ["lease ", "plan ", "fetch ", "load "] {
            assert!(summary.contains(step), "{summary}");
        }
    }
}
