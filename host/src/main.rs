//! The binary: reads the command line, does one thing, and turns how it went into an exit code.

use std::process::ExitCode;

use clap::Parser;
use host::cli::{Cli, Command};
use host::progress::Screen;
use host::{commands, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::detect();
    if let Err(error) = telemetry::start(&cli.log.filter, cli.log.format, &screen) {
        let text = format!(
            "error: --log {:?} is no filter: {error}; write a level, or levels by module as in \"info,host=debug\"\n",
            cli.log.filter
        );
        // Nobody is left to tell if stderr is gone.
        drop(screen.write(text.as_bytes()));
        return ExitCode::from(commands::WRONG);
    }
    let code = match cli.command {
        Command::Run(run) => commands::run::run(&run, &screen),
        Command::Check(check) => commands::check::check(&check, &screen),
        Command::Inspect(inspect) => commands::inspect::inspect(&inspect, &screen),
        Command::Local(local) => commands::local(&local, &screen),
        Command::State(state) => commands::state::state(&state, &screen),
        Command::Savepoint(savepoint) => commands::savepoint::savepoint(&savepoint, &screen),
        Command::Schema => commands::schema(&screen),
    };
    ExitCode::from(code)
}
