//! What `ofa pretrain` and `ofa finetune` have in common: a recipe → a run → a model.

use super::interrupt::interrupted;
use super::memory::keep_freed;
use super::watch::Watch;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::train::{Ended, Event, Journal, Ranks, Recipe, Run, Session, Workers, assemble, plan, report, resolved};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Updates that a dry run measures.
const PLANNED: usize = 3;

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Directory of the run: checkpoints, journal, report, and in the end the model as a bundle
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Change a value of the recipe, such as update.schedule.lr=3e-4
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Go on with the run that is in DIR
    #[arg(long, requires = "out")]
    resume: bool,
    /// Print the plan and measure an update, but train nothing
    #[arg(long)]
    dry_run: bool,
    /// auto, gpu, cpu, cuda or torch
    #[arg(long, default_value = "auto")]
    device: String,
    /// Processes that share every update, on the cores of this machine; several train on the CPU
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
}

impl RunArgs {
    /// The recipe at `path`, or the one that the run to be resumed was begun with. `before` is set before what the
    /// person sets.
    pub fn recipe(&self, path: Option<&Path>, before: Vec<String>) -> Result<Recipe> {
        match (path, &self.out) {
            (Some(path), _) => Recipe::read(path, &self.with(before)),
            (None, Some(out)) => Session::recipe(out, &self.with(before)),
            (None, None) => Err(Error::option("recipe", "a file, or --resume with --out", "neither")),
        }
    }

    /// Settings, the person's last.
    pub fn with(&self, mut before: Vec<String>) -> Vec<String> {
        before.extend(self.sets.iter().cloned());
        before
    }

    /// Writes the best checkpoint of the run that is there as an f32 bundle.
    pub fn export(&self, bundle: &Path) -> Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        let (device, _) = pollster::block_on(DeviceChoice::from_name(&self.device)?.open())?;
        let session = Session::best(out, &self.sets, &device)?;
        let manifest = session.export(bundle)?;
        let (update, parameters) = (session.trainer.updates(), manifest.parameters);
        say!("{}: {parameters} parameters, f32, after update {update}", bundle.display());
        Ok(())
    }

    /// Plans or runs. `command` is what the person would go on with.
    pub fn go(&self, command: &str, recipe: Recipe) -> Result<()> {
        keep_freed();
        let workers = usize::from(self.workers);
        if u64::from(self.workers) > recipe.batch.draws {
            let expected = format!("at most {}, the draws of an update (batch.draws)", recipe.batch.draws);
            return Err(Error::option("--workers", expected, workers));
        }
        share_cores(workers)?;
        let ranks = ranks(workers)?;
        let ended = self.train(command, resolved(recipe)?, ranks.as_ref());
        if let Err(error) = &ended
            && ranks.size() > 1
        {
            tell!("error on rank {}: {error}", ranks.rank());
            ranks.abort();
        }
        ended
    }

    fn train(&self, command: &str, recipe: Recipe, ranks: &dyn Ranks) -> Result<()> {
        let choice = DeviceChoice::from_name(&self.device)?;
        // Workers share the cores, which is what whoever asks for some without naming a device has in mind.
        let choice = if self.workers > 1 && choice == DeviceChoice::Auto { DeviceChoice::Cpu } else { choice };
        let (device, chosen) = pollster::block_on(choice.open())?;
        if self.workers > 1 && chosen.kind != "cpu" {
            return Err(Error::option("--workers", "1, or --device cpu", self.workers));
        }
        let recipe_text = recipe.to_toml()?;
        ranks.agree("recipe", fingerprint(&recipe_text))?;
        let leads = ranks.rank() == 0;
        let mut watch = Watch::new(leads);
        let Some(out) = self.out.as_deref().filter(|_| !self.dry_run) else {
            watch.plan(&plan(&recipe, &device, ranks, PLANNED)?, &chosen);
            return Ok(());
        };
        let mut session = Session::open(recipe, out, &device, self.resume, leads)?;
        let parts = assemble::parts(&session)?;
        parts.notes.iter().for_each(|note| watch.say(note));
        session.altered.iter().for_each(|value| watch.say(&format!("not as the run was begun: {value}")));
        if self.resume && session.progress.draws == 0 {
            watch.say(&format!("{} holds no run to go on with: this one begins", out.display()));
        }
        let mut journal = leads
            .then(|| Journal::open(&session.directory, session.trainer.updates(), session.recipe.run.log_every))
            .transpose()?;
        let interrupted = interrupts(leads)?;
        let (mut unwritten, mut samples) = (None, Vec::new());
        let mut observe = |event: Event<'_>| {
            watch.event(&event);
            let Some(journal) = &mut journal else { return };
            let written = journal.note(&event).and_then(|()| match &event {
                Event::Evaluated { evaluation, .. } => {
                    samples.clone_from(&evaluation.samples);
                    report::write(out, &recipe_text, &samples)
                }
                _ => Ok(()),
            });
            // A journal that cannot be written ends no run, but the run does not count as done either.
            if let Err(error) = written {
                watch.say(&error.to_string());
                unwritten = Some(error);
            }
        };
        let Session { recipe, checkpoints, trainer, progress, .. } = &mut session;
        let draws = parts.draws.as_ref();
        let run = Run { recipe, draws, ranks, checkpoints, interrupted: &interrupted };
        if leads && recipe.run.evaluate_every > 0 {
            parts.rehearse(trainer)?;
        }
        let ended = run.go(trainer, progress.clone(), &mut |trainer| parts.evaluate(trainer), &mut observe)?;
        if !leads {
            return Ok(());
        }
        if ended == Ended::Interrupted {
            watch.say(&format!("stopped; go on with: {command} --out {} --resume", as_argument(out)));
            return Ok(());
        }
        report::write(out, &recipe_text, &samples)?;
        let model = out.join("model");
        let manifest = session.export(&model)?;
        let parameters = manifest.parameters;
        watch.say(&format!("{}: {parameters} parameters, f32; see also report.html beside it", model.display()));
        unwritten.map_or(Ok(()), Err)
    }
}

/// A path as a shell takes it.
pub fn as_argument(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=:,@%".contains(letter);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The first Ctrl-C asks the run to stop after a checkpoint, the second ends it.
pub fn interrupts(leads: bool) -> Result<Arc<AtomicBool>> {
    interrupted(move || {
        if leads {
            tell!("stopping after this update; once more to stop at once");
        }
    })
}

/// Leaves each of so many processes its part of the cores, unless the person has said how many threads one has.
fn share_cores(workers: usize) -> Result<()> {
    if workers == 1 || std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return Ok(());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = rayon::ThreadPoolBuilder::new().num_threads((cores / workers).max(1)).build_global();
    threads.map_err(|error| Error::device(format!("cannot start threads: {error}")))
}

/// The processes that train together: the workers of this machine, or those that `mpirun` started.
fn ranks(workers: usize) -> Result<Box<dyn Ranks>> {
    if workers > 1 {
        return Ok(Box::new(Workers::start(workers)?));
    }
    #[cfg(feature = "mpi")]
    return Ok(Box::new(crate::train::mpi::World::join()?));
    #[cfg(not(feature = "mpi"))]
    Ok(Box::new(crate::train::Alone))
}
