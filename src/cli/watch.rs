//! A run as a person sees it: a live line on a terminal, plain lines elsewhere.

use crate::device::DeviceReport;
use crate::train::{Event, Plan, StepTime, Updated};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between plain lines; the first update has one at once.
const QUIET: Duration = Duration::from_secs(10);
const LIVE: &str = "{bar:30} {pos}/{len} {msg}  {elapsed_precise} of {duration_precise}";

/// Shows what a run tells.
pub struct Watch {
    leads: bool,
    bar: Option<ProgressBar>,
    said: Option<Instant>,
}

impl Watch {
    /// Only the rank that `leads` shows anything.
    pub fn new(leads: bool) -> Self {
        Self { leads, bar: None, said: None }
    }

    /// One line.
    pub fn say(&self, line: &str) {
        match &self.bar {
            _ if !self.leads => {}
            Some(bar) => bar.suspend(|| say!("{line}")),
            None => say!("{line}"),
        }
    }

    pub fn event(&mut self, event: &Event<'_>) {
        if !self.leads {
            return;
        }
        match event {
            Event::Began { updates, total } => {
                if *updates > 0 {
                    self.say(&format!("going on after update {updates}"));
                }
                if std::io::stderr().is_terminal() {
                    let bar = ProgressBar::new(*total).with_position(*updates);
                    if let Ok(style) = ProgressStyle::with_template(LIVE) {
                        bar.set_style(style);
                    }
                    bar.reset_eta();
                    self.bar = Some(bar);
                }
            }
            Event::Updated { updated, time, reward } => self.updated(updated, *time, *reward),
            Event::Skipped { draw, reason } => self.say(&format!("skipped row {draw}: {reason}")),
            Event::Evaluated { update, evaluation } => {
                self.say(&format!("update {update}: evaluated, {:.4} overall", evaluation.overall));
                for (name, value) in evaluation.metrics.iter().filter(|(name, _)| !name.contains('/')) {
                    self.say(&format!("  {name:28} {value:.4}"));
                }
                if let [first, ..] = &evaluation.left_out[..] {
                    self.say(&format!("  left out {}: {first}", evaluation.left_out.len()));
                }
            }
            Event::Saved { update, path } => self.say(&format!("update {update}: saved {}", path.display())),
        }
    }

    fn updated(&mut self, updated: &Updated, time: StepTime, reward: Option<f64>) {
        let Updated { update, lr, loss, gradient_norm, stepped, samples, .. } = updated;
        let rate = *samples as f64 / (time.data + time.update).max(f64::MIN_POSITIVE);
        let reward = reward.map(|reward| format!("CIDEr-D {reward:.3}  ")).unwrap_or_default();
        let line = format!("loss {loss:.4}  {reward}|g| {gradient_norm:.2}  lr {lr:.2e}  {rate:.0} samples/s");
        if !stepped {
            let why = if *samples == 0 { "nothing of it can be read" } else { "its gradient is not finite" };
            self.say(&format!("update {update}: skipped, {why}"));
        }
        match &self.bar {
            Some(bar) => {
                bar.set_position(*update);
                bar.set_message(line);
            }
            None if self.said.is_none_or(|said| said.elapsed() > QUIET) => {
                say!("update {update}  {line}");
                self.said = Some(Instant::now());
            }
            None => {}
        }
    }

    /// What a run would do.
    pub fn plan(&self, plan: &Plan, device: &DeviceReport) {
        if !self.leads {
            return;
        }
        say!("device       {} ({})", device.kind, device.name);
        say!("parameters   {} trained, {} frozen", plan.trained, plan.frozen);
        say!("updates      {} of {} draws each", plan.updates, plan.draws);
        say!("samples      {:.1} an update, by objective:", plan.samples_per_update);
        for (objective, share) in &plan.objectives {
            say!("               {objective:16} {:5.1} %", share * 100.0);
        }
        let each =
            if plan.processes > 1 { format!(", in each of {} processes", plan.processes) } else { String::new() };
        say!("memory       about {:.0} MB for weights, gradients and optimiser{each}", plan.state_bytes as f64 / 1e6);
        say!("an update    {:.2} s, of which {:.2} s data made ahead", plan.seconds, plan.data_seconds);
        say!("the run      about {:.1} hours", plan.seconds * plan.updates as f64 / 3600.0);
        plan.notes.iter().for_each(|note| say!("note         {note}"));
    }
}
