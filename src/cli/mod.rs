//! The command line: one file a subcommand. Only this room prints.

mod parity;

use crate::error::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// One For All: caption images, answer questions, convert and export models.
#[derive(Parser)]
#[command(name = "ofa", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the goldens of the original implementation
    #[command(hide = true)]
    Parity(parity::Args),
}

/// Parses the arguments and runs what they ask for. 0 done, 1 failed, 2 bad usage.
pub fn run() -> ExitCode {
    let result: Result<()> = match Cli::parse().command {
        Command::Parity(args) => parity::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
