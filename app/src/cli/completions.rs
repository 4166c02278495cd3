//! `bellhop completions`: for shells.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::output;

/// Prints completions for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bellhop completions bash > ~/.local/share/bash-completion/completions/bellhop\n  bellhop completions zsh > ~/.zfunc/_bellhop\n  bellhop completions fish > ~/.config/fish/completions/bellhop.fish"
)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "bellhop", &mut script);
    let mut out = output::stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
