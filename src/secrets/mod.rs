//! Values that are never shown whole: secrets, and URLs with credentials.
//!
//! INVARIANT: all printing, logging and error messages of such values use this module. A secret is
//! shown as `***`; a URL without its user info and without the value of any parameter that is not
//! known to be harmless; a URL that does not parse as its scheme alone, since any part of it may be
//! the secret.

mod path;
mod url;

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

pub use path::FilePath;
pub use url::{HINT, Host, ParsedUrl, ServiceUrl, UrlFault, mask_url};

/// The mask of a secret.
const MASK: &str = "***";
/// Maximum length of a value shown in a message, characters.
const ECHO_CHARACTERS_MAX: usize = 80;

/// A text that is never shown; [`Secret::expose`] returns it. Empty means "none".
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself: for use, never for display.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn masked(&self) -> &'static str {
        if self.is_empty() { "" } else { MASK }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.masked())
    }
}

/// Quotes the value of a non-secret setting for a message. A URL put there by mistake is masked
/// nevertheless.
pub fn quoted(value: &str) -> String {
    if value.contains("://") {
        return format!("{:?}", mask_url(value));
    }
    let mut characters = value.chars();
    let shown: String = characters.by_ref().take(ECHO_CHARACTERS_MAX).collect();
    let rest = if characters.next().is_some() { "…" } else { "" };
    format!("{:?}", shown + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_masked_wherever_it_is_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "\"***\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(format!("{:?}", Secret::default()), "\"\"");
    }

    #[test]
    fn quoted_value_is_bounded_and_masked_if_it_is_a_url() {
        assert_eq!(quoted("many"), "\"many\"");
        assert_eq!(quoted("redis://:hunter2@h"), "\"redis://***@h\"");
        assert_eq!(quoted("hunter2 mongodb://h"), "\"***\"");
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), ECHO_CHARACTERS_MAX + 3);
    }
}
