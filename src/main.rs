//! The program `foreshock`.

use clap::Parser as _;
use foreshock::{cli::Cli, run};

fn main() -> std::process::ExitCode {
    run::main(&Cli::parse()).into()
}
