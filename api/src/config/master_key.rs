//! The key that personal data keys are wrapped with.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

use super::ConfigError;
use crate::embedded::write_private;

/// A 256-bit key, and those that are accepted beside it while one replaces the other. It never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    bytes: [u8; 32],
    accepted: Vec<[u8; 32]>,
}

impl MasterKey {
    /// The key's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The key as the event store takes it.
    pub fn key(&self) -> event_store::MasterKey {
        self.accepted.iter().fold(event_store::MasterKey::new(&self.bytes), event_store::MasterKey::accepting)
    }

    /// Reads keys separated by commas or white space, each 64 hexadecimal digits, or base64 of either alphabet, padded
    /// or not. The first wraps; all are accepted.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        let mut keys = words.map(bytes).collect::<Option<Vec<_>>>()?.into_iter();
        Some(Self { bytes: keys.next()?, accepted: keys.collect() })
    }

    /// Reads a key from a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds no key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let fails = |reason: String| ConfigError::File { path: path.to_path_buf(), reason };
        let text = fs::read_to_string(path).map_err(|error| fails(error.to_string()))?;
        Self::parse(&text).ok_or_else(|| fails("it does not hold 64 hexadecimal digits or base64 of 32 bytes".into()))
    }

    /// Reads a key from a file, which is made, with a new key, when missing.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or made, or holds no key.
    pub fn read_or_create(path: &Path) -> Result<Self, ConfigError> {
        if !path.exists() {
            create(path).map_err(|error| ConfigError::File { path: path.to_path_buf(), reason: error.to_string() })?;
        }
        Self::read(path)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKey")
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(path, text.as_bytes())
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let bytes = if text.len() == 64 {
        from_hexadecimal(text)?
    } else {
        let text = text.trim_end_matches('=');
        STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?
    };
    bytes.try_into().ok()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    digits?.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}
