//! Asks before an act that cannot be undone.

use std::io::{IsTerminal, Write, stderr, stdin};

use super::failure::Failure;

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 64;

/// The flag that answers in advance.
#[derive(clap::Args, Debug)]
pub(super) struct Confirmation {
    /// Do it without asking; required where standard input is no terminal
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Asks on the terminal, unless `--yes` was given.
    ///
    /// # Errors
    /// If the answer is not yes, or nobody can be asked.
    pub fn ask(&self, question: &str) -> Result<(), Failure> {
        use std::io::{BufRead, BufReader, Read};
        if self.yes {
            return Ok(());
        }
        if !stdin().is_terminal() {
            let text = "standard input is no terminal, so nobody can confirm: add --yes";
            return Err(Failure::new(format!("{question} {text}")));
        }
        eprint!("{question} [y/N] ");
        stderr().flush()?;
        let mut answer = String::new();
        BufReader::new(stdin().take(ANSWER_BYTES_MAX)).read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new("nothing was done")),
        }
    }
}
