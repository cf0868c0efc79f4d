//! `cargo run -p local -- up`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = local::up::Arguments::parse();
    local::cli::run(local::up::main(arguments))
}
