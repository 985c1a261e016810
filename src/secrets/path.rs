//! Paths of files with secrets. The value may be the secret itself, set in place of the file's path by
//! mistake.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use super::MASK;

/// Maximum length of a path that is shown, characters.
const PATH_CHARACTERS_MAX: usize = 1_024;
/// Maximum length of a file name extension, characters.
const EXTENSION_CHARACTERS_MAX: usize = 5;

/// The path of a file with a secret. Shown only if it looks like a path. Empty means "none".
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct FilePath(String);

impl FilePath {
    /// The path: for reading, never for display.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> &str {
        if self.is_empty() || is_path(&self.0) { &self.0 } else { MASK }
    }
}

/// Whether the text begins like a path, or ends in an extension, and has only characters of server
/// paths.
fn is_path(text: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    if text.len() > PATH_CHARACTERS_MAX || !text.chars().all(is_plain) || text.contains("-----") {
        return false;
    }
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
    let has_extension = extension.is_some_and(|extension| {
        (1..=EXTENSION_CHARACTERS_MAX).contains(&extension.len())
            && extension.chars().all(|c| c.is_ascii_alphanumeric())
    });
    ["/", "./", "../"].iter().any(|begin| text.starts_with(begin)) || has_extension
}

impl From<&str> for FilePath {
    fn from(text: &str) -> Self {
        FilePath(text.to_owned())
    }
}

impl From<String> for FilePath {
    fn from(text: String) -> Self {
        FilePath(text)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_shown_and_a_secret_in_its_place_is_not() {
        for path in ["/run/secrets/key", "./key", "../key", "key.pem", "tls/client.key", ""] {
            assert_eq!(FilePath::from(path).to_string(), path);
        }
        for secret in [
            "0123456789abcdef0123456789abcdef",
            "c2VjcmV0/c2VjcmV0+c2VjcmV0==",
            "-----BEGIN PRIVATE KEY-----\nabc\n",
            "/ with spaces",
        ] {
            assert_eq!(format!("{:?}", FilePath::from(secret)), "\"***\"", "{secret}");
        }
    }
}
