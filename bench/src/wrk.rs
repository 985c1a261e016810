//! `wrk`, where it is installed, as the load generator: the same requests as [`super::load`] sends.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::load::Load;

/// Lua for wrk: sends prepared batches; each thread begins at another one.
const SCRIPT: &str = r#"
local count = 0
function setup(thread)
  thread:set("number", count)
  count = count + 1
end
function init(args)
  local directory, threads = args[1], tonumber(args[2])
  batches = {}
  for line in io.lines(directory .. "/lengths") do
    batches[#batches + 1] = tonumber(line)
  end
  local file = io.open(directory .. "/batches", "rb")
  for n, length in ipairs(batches) do batches[n] = file:read(length) end
  file:close()
  at = math.floor(number * #batches / threads)
end
function request()
  at = at % #batches + 1
  return batches[at]
end
"#;

/// Returns whether wrk is installed.
pub async fn is_installed() -> bool {
    // It prints its version and exits with 1.
    let mut wrk = Command::new("wrk");
    wrk.arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().await.is_ok()
}

/// A directory with the requests of one run, removed with it.
pub struct Wrk {
    directory: PathBuf,
}

impl Drop for Wrk {
    fn drop(&mut self) {
        // In the system's directory for such things: it is cleaned up there at the latest.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Wrk {
    /// Writes the requests of a load.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn new(load: &Load) -> Result<Self, Box<dyn Error>> {
        let name = format!("holdfast-bench-{}-{}", std::process::id(), load.depth);
        let directory = std::env::temp_dir().join(name);
        // Ours alone: one that is there already may be somebody else's.
        std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
            .create(&directory)?;
        let wrk = Wrk { directory };
        let (mut batches, mut lengths) = (Vec::new(), String::new());
        for number in 0..load.requests.batches(load.depth) {
            let batch = load.requests.batch(number, load.depth);
            batches.extend_from_slice(batch);
            lengths.push_str(&format!("{}\n", batch.len()));
        }
        fs::write(wrk.directory.join("batches"), batches)?;
        fs::write(wrk.directory.join("lengths"), lengths)?;
        fs::write(wrk.directory.join("script.lua"), SCRIPT)?;
        Ok(wrk)
    }

    /// Sends for so many whole seconds; returns responses a second.
    ///
    /// # Errors
    /// If it fails, or a response has another status than expected.
    pub async fn run(&self, load: &Load, time: Duration) -> Result<f64, Box<dyn Error>> {
        let seconds = time.as_secs().max(1);
        let output = Command::new("wrk")
            .args(["-t", &load.threads.to_string(), "-c", &load.connections.to_string()])
            .args(["-d", &format!("{seconds}s"), "-s"])
            .arg(self.directory.join("script.lua"))
            // Its own bound of 2 s is an error on a busy machine, where large bodies wait for each other.
            .args(["--timeout", "15s"])
            .arg(format!("http://{}/", load.address))
            .arg("--")
            .arg(&self.directory)
            .arg(load.threads.to_string())
            .output()
            .await?;
        let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |before: &str| {
            let rest = output_text.split(before).nth(1)?.trim_start();
            let digits = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
            digits.parse::<f64>().ok()
        };
        let answers = output_text
            .split(" requests in")
            .next()
            .and_then(|text| text.rsplit(char::is_whitespace).next()?.parse::<f64>().ok());
        let fits = match load.status {
            200..400 => !output_text.contains("Non-2xx") && !output_text.contains("Socket errors"),
            _ => answers.is_some() && number("Non-2xx or 3xx responses:") == answers,
        };
        match number("Requests/sec:") {
            Some(rate) if fits && output.status.success() => Ok(rate),
            _ => {
                Err(format!("wrk: {output_text}{}", String::from_utf8_lossy(&output.stderr)).into())
            }
        }
    }
}
