//! `foreshock config check`: what is in force, without connecting to anything.

use anyhow::Context as _;

use crate::{
    cli,
    run::{Context, stdout},
};

/// Mistakes were refused before any command began, so what is left is to show.
pub(super) fn run(context: &Context, command: &cli::Config) -> anyhow::Result<()> {
    match command {
        cli::Config::Check => {
            let settings = &context.settings;
            let text = if context.json { settings.describe().to_string() } else { settings.describe_text() };
            writeln!(stdout(), "{}", text.trim_end()).context("stdout cannot be written")
        }
    }
}
