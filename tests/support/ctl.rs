//! Runs `holdfastctl` and reads its output.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The result of one run.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The JSON document of a run that ended with this code.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that it ended with this code.
    #[track_caller]
    pub fn ended(&self, code: i32) {
        assert_eq!(self.code, code, "{self:?}");
    }

    /// Returns the single line on standard error of a failed run.
    #[track_caller]
    pub fn refusal(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
        &self.stderr
    }
}

/// Runs it with these arguments, only these environment variables, and this text on standard input.
pub async fn holdfastctl(arguments: &[&str], settings: &[(String, String)], input: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfastctl"));
    command.args(arguments).env_clear();
    command.envs(settings.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who does not read it has ended; nothing here is longer than a pipe holds.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().expect("it ended by itself"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
