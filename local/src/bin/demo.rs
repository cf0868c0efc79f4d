//! `cargo demo`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = local::demo::Arguments::parse();
    local::cli::run(local::demo::main(arguments))
}
