//! Secrets of settings: none appears in what Holdfast prints, logs or refuses.

mod programs;
mod settings;
