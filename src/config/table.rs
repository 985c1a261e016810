//! The macro that the table of settings (`fields`) is written with.

/// A setting, for documentation.
pub(super) struct Field {
    /// Its name in the file; `HOLDFAST_` and its capitals in the environment.
    pub name: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
    /// Its type, as written in this file.
    pub kind: &'static str,
    /// Whether a reload applies a new value; otherwise it needs a restart.
    pub is_reloadable: bool,
}

impl Field {
    /// Whether its value is or contains a secret, so that no message shows it.
    pub fn is_secret(&self) -> bool {
        ["Secret", "ServiceUrl", "AdminKey", "FilePath"]
            .iter()
            .any(|secret| self.kind.contains(secret))
    }
}

/// `reload` marks a setting whose new value a reload applies.
macro_rules! is_reloadable {
    () => {
        false
    };
    (reload) => {
        true
    };
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr $(, $reload:ident)?;)+) => {
        /// All settings of Holdfast, shared by its programs. Names end with the unit.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($name: $default,)+ }
            }
        }

        /// The settings of one source (a file, the environment); absent ones are `None`.
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct Layer {
            $($name: Option<$type>,)+
        }

        impl Layer {
            /// Overrides the settings of `config`.
            pub fn apply(self, config: &mut Config) {
                $(if let Some(value) = self.$name { config.$name = value; })+
            }
        }

        /// Name and documentation of all settings, in order.
        pub(super) const FIELDS: &[Field] =
            &[$(Field {
                name: stringify!($name),
                doc: &[$($doc),+],
                kind: stringify!($type),
                is_reloadable: is_reloadable!($($reload)?),
            },)+];

        impl Config {
            /// The values in the order of [`FIELDS`], secrets masked.
            pub(super) fn shown(&self) -> Vec<toml::Value> {
                // Serializing these types cannot fail; a defect would show as an empty text.
                let show = |value: Result<toml::Value, toml::ser::Error>| {
                    value.unwrap_or_else(|_| toml::Value::String(String::new()))
                };
                vec![$(show(toml::Value::try_from(&self.$name)),)+]
            }

            /// These settings with the reloadable ones of `new`.
            #[must_use]
            pub fn with_reloadable_of(&self, new: &Config) -> Config {
                Config {
                    $($name: if is_reloadable!($($reload)?) {
                        new.$name.clone()
                    } else {
                        self.$name.clone()
                    },)+
                }
            }

            /// Whether each setting differs from that of `new`, in the order of [`FIELDS`].
            pub(super) fn differs_from(&self, new: &Config) -> Vec<bool> {
                vec![$(self.$name != new.$name,)+]
            }
        }
    };
}

pub(super) use {is_reloadable, settings};
