//! The command line: one file a subcommand. Only this room prints.

/// One line for the person, or for a program that reads along and may stop.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::output::line(format_args!($($part)*)) };
}

/// A line of standard error.
macro_rules! tell {
    ($($part:tt)*) => { $crate::cli::output::aside(format_args!($($part)*)) };
}

mod bench;
mod codes;
mod convert;
#[cfg(feature = "train")]
mod corpus;
#[cfg(feature = "train")]
mod evaluate;
mod export;
#[cfg(feature = "train")]
mod finetune;
mod init;
mod interrupt;
#[cfg(feature = "train")]
mod memory;
mod output;
#[cfg(feature = "parity")]
mod parity;
mod predict;
#[cfg(feature = "train")]
mod pretrain;
#[cfg(feature = "train")]
mod questions;
mod tasks;
#[cfg(feature = "train")]
mod training;
mod verify;
#[cfg(feature = "train")]
mod watch;
#[cfg(feature = "train")]
mod world;

use crate::error::{Error, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// The exit code of a command line that cannot be meant, as clap has it.
const BAD_USAGE: u8 = 2;

/// One For All: caption images, answer questions, convert and export models.
#[derive(Parser)]
#[command(name = "ofa", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the tasks
    Tasks(tasks::Args),
    Predict(predict::Args),
    Convert(convert::Args),
    Export(export::Args),
    Codes(codes::Args),
    #[cfg(feature = "train")]
    Pretrain(pretrain::Args),
    #[cfg(feature = "train")]
    Finetune(finetune::Args),
    #[cfg(feature = "train")]
    Corpus(corpus::Args),
    Verify(verify::Args),
    #[command(subcommand)]
    Bench(bench::Command),
    #[cfg(feature = "train")]
    Evaluate(evaluate::Args),
    #[command(hide = true)]
    Init(init::Args),
    /// Run the goldens of the original implementation
    #[command(hide = true)]
    #[cfg(feature = "parity")]
    Parity(parity::Args),
}

/// Parses the arguments and runs what they ask for. 0 done, 1 failed, 2 bad usage.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let command = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command;
    let result: Result<()> = match command {
        Command::Tasks(args) => tasks::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Export(args) => export::run(args),
        Command::Codes(args) => codes::run(args),
        #[cfg(feature = "train")]
        Command::Pretrain(args) => pretrain::run(args),
        #[cfg(feature = "train")]
        Command::Finetune(args) => finetune::run(args),
        #[cfg(feature = "train")]
        Command::Corpus(args) => corpus::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Bench(command) => bench::run(command),
        #[cfg(feature = "train")]
        Command::Evaluate(args) => evaluate::run(args),
        Command::Init(args) => init::run(args),
        #[cfg(feature = "parity")]
        Command::Parity(args) => parity::run(args),
    };
    match result {
        Ok(()) if output::is_lost() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = as_typed(error, &matches);
            tell!("error: {error}");
            if matches!(error, Error::Option { .. }) { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// The error with an option called as it is on the command line: the rest of the crate knows its name in the API.
fn as_typed(error: Error, matches: &ArgMatches) -> Error {
    let Error::Option { option, expected, found } = error else { return error };
    let mut long = String::new();
    for letter in option.chars() {
        if letter.is_ascii_uppercase() {
            long.push('-');
        }
        long.push(letter.to_ascii_lowercase());
    }
    let (mut command, mut matches) = (&Cli::command(), matches);
    while let Some((name, of_subcommand)) = matches.subcommand() {
        let Some(subcommand) = command.find_subcommand(name) else { break };
        (command, matches) = (subcommand, of_subcommand);
    }
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&long));
    // What is missing may have been asked for by name; what came from elsewhere was not typed.
    let typed = argument.is_some_and(|argument| {
        let source = matches.value_source(argument.get_id().as_str());
        source.is_none_or(|source| source == ValueSource::CommandLine)
    });
    Error::Option { option: if typed { format!("--{long}") } else { option }, expected, found }
}
