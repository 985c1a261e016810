//! Starting and ending background tasks: a shutdown signal that every loop sees, and a supervisor
//! that restarts tasks which end unexpectedly.

mod shutdown;
mod supervisor;

pub use shutdown::{Shutdown, Trigger, shutdown_channel};
pub use supervisor::{STEADY_AFTER, Supervisor};

/// The name of this machine, or of its container; `localhost` if it has none. Read from the kernel: the image
/// has no programs but ours.
pub fn host_name() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| {
        let output = std::process::Command::new("uname").arg("-n").output()?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    let name = named.unwrap_or_default().trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
