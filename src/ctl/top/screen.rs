//! The terminal: raw mode and the alternate screen while open, restored at the end.

use std::io::{Read, Stdout, Write, stdin, stdout};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

use crate::ctl::failure::Failure;

/// Keys that wait to be handled; further ones are dropped.
const KEYS_MAX: usize = 16;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Pause,
}

/// An open screen.
pub(super) struct Screen {
    out: Stdout,
    keys: mpsc::Receiver<Key>,
}

impl Screen {
    /// Takes the terminal over.
    pub fn open() -> Result<Self, Failure> {
        let mut out = stdout();
        enable_raw_mode()?;
        let (sender, keys) = mpsc::channel(KEYS_MAX);
        // From here on dropped, it gives the terminal back.
        let screen = Screen { out: stdout(), keys };
        execute!(out, EnterAlternateScreen, Hide)?;
        // Blocks in reading a key: it ends with the process.
        std::thread::spawn(move || read_keys(&sender));
        Ok(screen)
    }

    /// Shows a text, given the terminal's columns and lines.
    pub fn show(
        &mut self,
        text: impl FnOnce(u16, u16) -> String,
        is_paused: bool,
    ) -> Result<(), Failure> {
        let (columns, lines) = size()?;
        let body = lines.saturating_sub(1);
        let text = text(columns, body);
        queue!(self.out, MoveTo(0, 0))?;
        for line in text.lines().take(body.into()) {
            let line: String = line.chars().take(columns.into()).collect();
            queue!(self.out, Clear(ClearType::CurrentLine))?;
            write!(self.out, "{line}\r\n")?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), MoveTo(0, body))?;
        let state = if is_paused { "PAUSED · " } else { "" };
        write!(self.out, "{state}q quits, space pauses")?;
        self.out.flush()?;
        Ok(())
    }

    /// The next key within this time.
    pub async fn key_within(&mut self, bound: Duration) -> Option<Key> {
        match tokio::time::timeout(bound, self.keys.recv()).await {
            Ok(Some(key)) => Some(key),
            // Keys can no longer be read: nobody could end it.
            Ok(None) => Some(Key::Quit),
            Err(_) => None,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = execute!(self.out, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn read_keys(keys: &mpsc::Sender<Key>) {
    for byte in stdin().lock().bytes() {
        let Ok(byte) = byte else { return };
        if let Some(key) = asked(byte)
            && let Err(mpsc::error::TrySendError::Closed(_)) = keys.try_send(key)
        {
            return;
        }
    }
}

/// What a byte of a key asks for. In raw mode the terminal does not make a signal of Ctrl-C.
fn asked(byte: u8) -> Option<Key> {
    const CONTROL_C: u8 = 3;
    const CONTROL_D: u8 = 4;
    match byte {
        b'q' | b'Q' | CONTROL_C | CONTROL_D => Some(Key::Quit),
        b' ' | b'p' => Some(Key::Pause),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_and_others_ignored() {
        assert_eq!(
            [b'q', 3, b' ', b'x'].map(asked),
            [Some(Key::Quit), Some(Key::Quit), Some(Key::Pause), None]
        );
    }
}
