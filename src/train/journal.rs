//! What a run writes down: `metrics.jsonl`, which is the truth, and the same numbers for TensorBoard.

use super::run::{Event, StepTime};
use super::tensorboard::TensorBoard;
use crate::error::{Error, Result};
use crate::weights::replace_file;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The journal's file in the run's directory.
pub const METRICS: &str = "metrics.jsonl";

/// Writes events down as they come.
pub struct Journal {
    path: PathBuf,
    file: File,
    board: TensorBoard,
    log_every: u64,
    /// Of the updates since the last line.
    time: StepTime,
    samples: usize,
    tokens: usize,
    /// Sum and number of rewards.
    rewards: (f64, usize),
    updates: u64,
}

impl Journal {
    /// Opens the journal of a run in `directory` that goes on after `updates` updates: what was written of later ones,
    /// by a part of the run that was killed, is forgotten.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or written.
    pub fn open(directory: &Path, updates: u64, log_every: u64) -> Result<Self> {
        let path = directory.join(METRICS);
        let failed = |error: std::io::Error| Error::file(path.display(), error);
        if path.is_file() {
            let kept: String = read(directory)?
                .into_iter()
                .filter(|line| line["update"].as_u64().is_some_and(|update| update <= updates))
                .map(|line| format!("{line}\n"))
                .collect();
            replace_file(&path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let board = TensorBoard::create(&directory.join("tensorboard"), updates)?;
        let time = StepTime::default();
        Ok(Self { path, file, board, log_every, time, samples: 0, tokens: 0, rewards: (0.0, 0), updates })
    }

    /// Writes an event down, if it belongs into the journal.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn note(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Began { .. } | Event::Saved { .. } => Ok(()),
            Event::Skipped { draw, reason } => {
                let line = json!({ "kind": "skipped", "update": self.updates + 1, "draw": draw,
                                   "reason": reason.to_string() });
                self.write(&line)
            }
            Event::Updated { updated, time, reward } => {
                self.updates = updated.update;
                self.time.data += time.data;
                self.time.update += time.update;
                self.samples += updated.samples;
                self.tokens += updated.tokens;
                if let Some(reward) = reward {
                    self.rewards = (self.rewards.0 + reward, self.rewards.1 + 1);
                }
                if !updated.update.is_multiple_of(self.log_every) && updated.stepped {
                    return Ok(());
                }
                let seconds = (self.time.data + self.time.update).max(f64::MIN_POSITIVE);
                let mut line =
                    serde_json::to_value(updated).map_err(|error| Error::file(self.path.display(), error))?;
                line["kind"] = "update".into();
                line["samples_per_second"] = (self.samples as f64 / seconds).into();
                line["tokens_per_second"] = (self.tokens as f64 / seconds).into();
                line["data_share"] = (self.time.data / seconds).into();
                if self.rewards.1 > 0 {
                    line["reward"] = (self.rewards.0 / self.rewards.1 as f64).into();
                }
                self.rewards = (0.0, 0);
                (self.time, self.samples, self.tokens) = (StepTime::default(), 0, 0);
                self.write(&line)
            }
            Event::Evaluated { update, evaluation } => {
                let mut line =
                    serde_json::to_value(evaluation).map_err(|error| Error::file(self.path.display(), error))?;
                line["kind"] = "evaluation".into();
                line["update"] = (*update).into();
                self.write(&line)
            }
        }
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        writeln!(self.file, "{line}").map_err(|error| Error::file(self.path.display(), error))?;
        let update = line["update"].as_u64().unwrap_or(0);
        let mut scalars = Vec::new();
        let kind = line["kind"].as_str().unwrap_or_default();
        flatten(kind, line, &mut scalars);
        self.board.write(update, &scalars)
    }
}

/// The numbers in a line, by path.
fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, f32)>) {
    match value {
        Value::Number(number) => into.extend(number.as_f64().map(|number| (prefix.to_owned(), number as f32))),
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "update") {
                flatten(&format!("{prefix}/{key}"), value, into);
            }
        }
        _ => {}
    }
}

/// The lines of a run's journal. A last line that was cut off is left out.
///
/// # Errors
/// [`Error::File`] when there is none, or a line in the middle is no JSON.
pub fn read(directory: &Path) -> Result<Vec<Value>> {
    let path = directory.join(METRICS);
    let text = fs::read_to_string(&path).map_err(|error| Error::file(path.display(), error))?;
    let mut lines = Vec::new();
    let count = text.lines().count();
    for (index, line) in text.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(_) if index + 1 == count => {}
            Err(error) => return Err(Error::file(path.display(), format!("line {}: {error}", index + 1))),
        }
    }
    Ok(lines)
}
