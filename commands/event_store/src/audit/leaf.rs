//! What of a recorded event is hashed: every column, as it is stored, so that no change to any of them goes unnoticed.
//!
//! A leaf is SHA-256 over the byte 0x00 and then, numbers big-endian: the byte 1 (this encoding), position (8 bytes),
//! event id (16), version (8), time in microseconds since 1970 (8), and, each after its length in bytes (4): aggregate
//! type, aggregate id, event type, schema version, payload, metadata. Texts are never parsed and written again.

use ring::digest::{Context, SHA256};
use uuid::Uuid;

use super::tree::Hash;

const LEAF: u8 = 0;
const ENCODING: u8 = 1;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number in the log, from 1.
    pub position: u64,
    /// Its own id.
    pub event_id: Uuid,
    /// Its number in its stream, from 1.
    pub version: u64,
    /// When it was recorded, in microseconds since 1970.
    pub recorded_at: i64,
    /// Aggregate type, aggregate id, event type, schema version, payload and metadata, as they are stored.
    pub texts: [String; 6],
}

impl StoredEvent {
    /// Its leaf.
    pub fn leaf(&self) -> Hash {
        self.leaf_at(self.position)
    }

    /// The leaf that it would have at another position.
    pub fn leaf_at(&self, position: u64) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(&[LEAF]);
        self.encode(position, |bytes| context.update(bytes));
        Hash::from_digest(&context.finish())
    }

    /// What its leaf is the hash of, but for the first byte.
    pub fn encoded(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        self.encode(self.position, |bytes| encoded.extend_from_slice(bytes));
        encoded
    }

    /// The event that was encoded so; none when nothing was.
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        let (fixed, mut rest) = encoded.split_at_checked(41)?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let mut text = || {
            let (length, after) = rest.split_first_chunk()?;
            let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = after;
            String::from_utf8(text.to_vec()).ok()
        };
        let texts = [text()?, text()?, text()?, text()?, text()?, text()?];
        let event = Self {
            position: number(&fixed[1..9])?,
            event_id: Uuid::from_slice(&fixed[9..25]).ok()?,
            version: number(&fixed[25..33])?,
            recorded_at: number(&fixed[33..41])?.cast_signed(),
            texts,
        };
        (fixed[0] == ENCODING && rest.is_empty()).then_some(event)
    }

    fn encode(&self, position: u64, mut write: impl FnMut(&[u8])) {
        let mut fixed = [0; 41];
        fixed[0] = ENCODING;
        fixed[1..9].copy_from_slice(&position.to_be_bytes());
        fixed[9..25].copy_from_slice(self.event_id.as_bytes());
        fixed[25..33].copy_from_slice(&self.version.to_be_bytes());
        fixed[33..41].copy_from_slice(&self.recorded_at.to_be_bytes());
        write(&fixed);
        #[cfg(not(feature = "sabotage-unsealed-metadata"))]
        let texts = &self.texts;
        #[cfg(feature = "sabotage-unsealed-metadata")]
        let texts = &self.texts[..5];
        for text in texts {
            // Postgres holds no text of four gigabytes.
            write(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            write(text.as_bytes());
        }
    }

    /// What it is, for a report.
    pub fn describe(&self) -> String {
        let [aggregate_type, aggregate_id, event_type, ..] = &self.texts;
        format!("{event_type}, version {} of {aggregate_type} {aggregate_id}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> StoredEvent {
        let texts = ["dossier", "d", "DossierCreated", "1", "{}", "[]"].map(str::to_owned);
        StoredEvent { position: 7, event_id: Uuid::from_u128(1), version: 1, recorded_at: 1_000_000, texts }
    }

    #[test]
    fn a_leaf_is_what_other_languages_compute() {
        // python3: sha256(b"\0\1" + (7).to_bytes(8) + (1).to_bytes(16) + (1).to_bytes(8) + (10**6).to_bytes(8)
        //   + b"".join(len(t).to_bytes(4) + t for t in [b"dossier", b"d", b"DossierCreated", b"1", b"{}", b"[]"]))
        assert_eq!(event().leaf().to_string(), "2dgKsixCUG1mlCXno8tq9re/W9rPqL4PoP4APzQE04s=");
    }

    #[test]
    fn an_event_comes_back_from_its_encoding_and_nothing_else_does() {
        let encoded = event().encoded();
        assert_eq!(StoredEvent::decode(&encoded), Some(event()));
        for end in 0..encoded.len() {
            assert_eq!(StoredEvent::decode(&encoded[..end]), None);
        }
        assert_eq!(StoredEvent::decode(&[encoded.as_slice(), &[0]].concat()), None);
        assert_eq!(StoredEvent::decode(&[&[2], &encoded[1..]].concat()), None);
    }

    #[test]
    fn every_column_counts() {
        let original = event().leaf();
        let mut changed = vec![
            StoredEvent { position: 8, ..event() },
            StoredEvent { event_id: Uuid::from_u128(2), ..event() },
            StoredEvent { version: 2, ..event() },
            StoredEvent { recorded_at: 1_000_001, ..event() },
        ];
        for column in 0..6 {
            let mut event = event();
            event.texts[column].push(' ');
            changed.push(event);
        }
        // What moves from the end of one text to the beginning of the next is no longer the same.
        let mut moved = event();
        (moved.texts[0], moved.texts[1]) = ("dossie".to_owned(), "rd".to_owned());
        changed.push(moved);
        for event in changed {
            assert_ne!(event.leaf(), original, "{event:?}");
        }
        assert_eq!(StoredEvent { position: 8, ..event() }.leaf_at(7), original);
    }
}
