//! The program `bench`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    bench::main().await
}
