//! The operator's tool. `holdfastctl --help` tells what it does.

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
    // The process ends now. A runtime that is dropped ends the drivers' tasks one after the other,
    // and one that waits for another then panics in the face of whoever reads standard error.
    std::mem::forget(runtime);
    code
}
