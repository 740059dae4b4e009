//! `ofa tasks`: the table.

use crate::error::Result;
use crate::task::TASKS;

/// Lists what the model can be asked.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: Args) -> Result<()> {
    for task in TASKS {
        println!("{:10} {}", task.name, task.doc);
        for template in task.templates {
            println!("{:10}   instruction{template}", "");
        }
        for input in task.inputs {
            let need = if input.required { "needs" } else { "takes" };
            println!("{:10}   {need} {}: {}", "", input.field.name(), input.doc);
        }
    }
    Ok(())
}
