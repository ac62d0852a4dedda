//! Where the values of settings come from: the environment, a file, the default.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Value;

use super::ConfigError;
use super::settings::{SETTINGS, Setting};

/// Where a value was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the environment.
    Environment,
    /// In the configuration file.
    File,
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A setting with the value that counts, masked when it is secret.
#[derive(Debug)]
pub struct EffectiveSetting {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value, or asterisks.
    pub value: String,
    /// Where it was given.
    pub origin: Origin,
}

/// The values that were given, by the setting's name.
#[derive(Default)]
pub(super) struct Source {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Source {
    /// Reads the environment given. An empty variable counts as none.
    pub fn environment(variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for (name, value) in variables {
            match SETTINGS.iter().find(|setting| setting.name == name) {
                Some(setting) if !value.trim().is_empty() => {
                    values.insert(setting.name, (value.trim().to_owned(), Origin::Environment));
                }
                None if name.starts_with("CAPITUNE_") => return Err(ConfigError::Unknown(name)),
                _ => {}
            }
        }
        Ok(Self { values })
    }

    /// Adds what a TOML file gives and the environment does not.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        // The first line says where the mistake is; the next ones would quote the file, which may hold secrets.
        let fails = |error: &dyn fmt::Display| ConfigError::File {
            path: path.to_path_buf(),
            reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let text = fs::read_to_string(path).map_err(|error| fails(&error))?;
        let values = Figment::from(Toml::string(&text)).extract::<BTreeMap<String, Value>>();
        for (key, value) in values.map_err(|error| fails(&error))? {
            let known = SETTINGS.iter().find(|setting| setting.in_file && setting.key() == key);
            let setting = known.ok_or_else(|| ConfigError::UnknownInFile { key, path: path.to_path_buf() })?;
            let value = text_of(&value).ok_or_else(|| ConfigError::invalid(setting, "a table"))?;
            if !value.is_empty() {
                self.values.entry(setting.name).or_insert((value, Origin::File));
            }
        }
        Ok(())
    }

    /// A setting's value as it was given.
    pub fn given(&self, setting: &Setting) -> Option<&str> {
        self.values.get(setting.name).map(|(value, _)| value.as_str())
    }

    /// A setting's value: what was given, or its default; none when both are empty.
    pub fn text(&self, setting: &Setting) -> Option<&str> {
        let default = Some(setting.default).filter(|default| !default.is_empty());
        self.given(setting).or(default)
    }

    /// A setting's value, read by `read`, which answers none for what it does not accept.
    pub fn optional<T>(
        &self,
        setting: &'static Setting,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(setting) else {
            return Ok(None);
        };
        read(text).map(Some).ok_or_else(|| ConfigError::invalid(setting, text))
    }

    /// The same for a setting that has a default.
    pub fn required<T>(
        &self,
        setting: &'static Setting,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        self.optional(setting, read)?.ok_or_else(|| ConfigError::invalid(setting, ""))
    }

    /// Every setting with the value that counts.
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        let effective = |setting: &&'static Setting| {
            let origin = self.values.get(setting.name).map_or(Origin::Default, |(_, origin)| *origin);
            let value = self.text(setting).unwrap_or_default();
            let value = if setting.secret && !value.is_empty() { "********" } else { value };
            EffectiveSetting { setting, value: value.to_owned(), origin }
        };
        SETTINGS.iter().map(effective).collect()
    }
}

/// A value of the file as it would be written in the environment; none for a table.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.trim().to_owned()),
        Value::Char(_, character) => Some(character.to_string()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_i128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string())),
        Value::Empty(..) => Some(String::new()),
        Value::Array(_, values) => Some(values.iter().map(text_of).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Dict(..) => None,
    }
}
