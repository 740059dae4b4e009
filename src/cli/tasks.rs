//! `ofa tasks`: the table.

use crate::error::{Error, Result};
use crate::task::{self, Constraint, TASKS, Task, markdown};

/// Lists what the model can be asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As a table in Markdown
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: Args) -> Result<()> {
    if args.markdown {
        say!("{}", markdown().trim_end());
        return Ok(());
    }
    let width = TASKS.iter().map(|task| task.name.len()).max().unwrap_or(0);
    for task in TASKS {
        say!("{:width$} {}", task.name, task.doc);
        for template in task.templates {
            say!("{:width$}   instruction{template}", "");
        }
        if task.image.is_some() {
            say!("{:width$}   needs an image", "");
        }
        for input in task.inputs {
            let need = if input.required { "needs" } else { "takes" };
            say!("{:width$}   {need} {}: {}", "", input.field.name(), input.doc);
        }
        match task.constraint {
            Constraint::Answers => say!("{:width$}   takes answers: the only ones allowed", ""),
            Constraint::Labels(labels) => say!("{:width$}   answers {}", "", labels.join(", ")),
            Constraint::Free | Constraint::Bins | Constraint::Codes => {
                say!("{:width$}   answers with {}", "", task.answer.describe());
            }
        }
    }
    Ok(())
}

/// The task of a command line; one that there is not cannot be meant.
pub fn named(name: &str) -> Result<&'static Task> {
    task::find(name).map_err(|_| Error::option("TASK", format!("one of {}", task::names()), name))
}
