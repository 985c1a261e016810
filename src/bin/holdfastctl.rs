//! The operator's tool. `holdfastctl --help` tells what it does.

use std::process::ExitCode;

use clap::Parser;
use holdfast::ctl::{self, Arguments};

#[tokio::main]
async fn main() -> ExitCode {
    ctl::run(Arguments::parse()).await
}
