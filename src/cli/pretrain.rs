//! `ofa pretrain`: a recipe → a run → a model.

use super::watch::Watch;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::train::{Alone, Ended, Event, Journal, Ranks, Recipe, Run, Session, assemble, report};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Trains a model by a recipe.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipe, a TOML file; with --resume the one that the run was begun with
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// Directory of the run: checkpoints, journal, report, and in the end the model as a bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Change a value of the recipe, such as update.schedule.lr=3e-4
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Go on with the run that is in DIR
    #[arg(long)]
    resume: bool,
    /// Print the plan and measure an update, but train nothing
    #[arg(long)]
    dry_run: bool,
    /// auto, gpu, cpu or cuda
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    let recipe = match &args.recipe {
        Some(path) => Recipe::read(path, &args.sets)?,
        None => Session::recipe(&args.out, &args.sets)?,
    };
    let (device, chosen) = pollster::block_on(DeviceChoice::from_name(&args.device)?.open())?;
    let ranks = ranks()?;
    let leads = ranks.rank() == 0;
    let mut watch = Watch::new(leads);
    if args.dry_run {
        let plan = assemble::plan(&recipe, &device)?;
        watch.plan(&plan, &chosen);
        return Ok(());
    }
    let mut session = Session::open(recipe, &args.out, &device, args.resume, leads)?;
    let parts = assemble::parts(&session)?;
    parts.notes.iter().for_each(|note| watch.say(note));
    let mut journal = leads
        .then(|| Journal::open(&session.directory, session.trainer.updates(), session.recipe.run.log_every))
        .transpose()?;
    let recipe_text = session.recipe.to_toml()?;
    let interrupted = interrupts()?;
    let mut unwritten = None;
    let mut observe = |event: Event<'_>| {
        watch.event(&event);
        let Some(journal) = &mut journal else { return };
        let written = journal.note(&event).and_then(|()| match &event {
            Event::Evaluated { evaluation, .. } => report::write(&args.out, &recipe_text, &evaluation.samples),
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
    let run = Run { recipe, draws, ranks: ranks.as_ref(), checkpoints, interrupted: &interrupted };
    let ended = run.go(trainer, progress.clone(), &mut |trainer| parts.evaluate(trainer), &mut observe)?;
    if !leads {
        return Ok(());
    }
    if ended == Ended::Interrupted {
        watch.say(&format!("stopped; go on with: ofa pretrain --out {} --resume", args.out.display()));
        return Ok(());
    }
    let model = args.out.join("model");
    let manifest = session.export(&model)?;
    watch.say(&format!("{}: {} parameters, f32; see also report.html beside it", model.display(), manifest.parameters));
    unwritten.map_or(Ok(()), Err)
}

/// The first Ctrl-C asks the run to stop after a checkpoint, the second ends it.
fn interrupts() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after this update; once more to stop at once");
    })
    .map_err(|error| Error::device(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(interrupted)
}

#[cfg(not(feature = "mpi"))]
fn ranks() -> Result<Box<dyn Ranks>> {
    Ok(Box::new(Alone))
}

#[cfg(feature = "mpi")]
fn ranks() -> Result<Box<dyn Ranks>> {
    Ok(Box::new(crate::train::mpi::World::join()?))
}
