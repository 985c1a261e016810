//! The terminal: raw mode and the alternate screen while open, restored at the end.

use std::io::{Stdout, Write, stdout};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
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
pub(super) enum Key {
    Quit,
    Pause,
    Redraw,
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
    while let Ok(event) = crossterm::event::read() {
        let key = match event {
            Event::Key(key) if key.kind == KeyEventKind::Press => asked(key),
            Event::Resize(..) => Some(Key::Redraw),
            _ => None,
        };
        if let Some(key) = key
            && let Err(mpsc::error::TrySendError::Closed(_)) = keys.try_send(key)
        {
            return;
        }
    }
}

/// What a key asks for. In raw mode the terminal does not make a signal of Ctrl-C.
fn asked(key: KeyEvent) -> Option<Key> {
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
            Some(Key::Quit)
        }
        KeyCode::Char(' ' | 'p') => Some(Key::Pause),
        _ => None,
    }
}
