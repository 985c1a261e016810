//! The operator's tool. `holdfastctl --help` describes its use.

use std::process::ExitCode;

use clap::Parser;
use holdfast::ctl::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return ctl::no_runtime(&error),
    };
    let code = runtime.block_on(ctl::run(arguments));
    // The process ends now. Dropping the runtime would end the drivers' tasks one after the other, and a
    // task that waits for another would then print a panic to standard error.
    std::mem::forget(runtime);
    code
}
