//! The golden corpus: one file per event type and schema version ever written, which every build reads back.
//!
//! A file is `golden/<aggregate type>/<event type>.v<schema version>.json` and holds the payload.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use crate::aggregate::{Aggregate, DomainEvent};
use crate::envelope::EventEnvelope;

/// Checks the files of one aggregate against `samples`: one event of each variant, as its file should decode.
pub fn check<A: Aggregate>(samples: &[A::Event]) {
    let sampled: BTreeSet<_> = samples.iter().map(variant).collect();
    assert_eq!(sampled, variants::<A::Event>(), "every variant needs a sample and a golden file");
    for sample in samples {
        let file = folder::<A>().join(format!("{}.v{}.json", sample.event_type(), sample.schema_version()));
        let today = serde_json::to_string_pretty(sample).unwrap();
        let golden = fs::read_to_string(&file)
            .unwrap_or_else(|_| panic!("{} is missing; today it would be\n{today}", file.display()));
        let decoded = decode::<A>(sample.event_type(), sample.schema_version(), &golden);
        assert_eq!(&decoded, sample, "{}", file.display());
        let golden: Value = serde_json::from_str(&golden).unwrap();
        assert_eq!(serde_json::to_value(sample).unwrap(), golden, "{} would change", file.display());
    }
    for entry in fs::read_dir(folder::<A>()).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (event_type, version) = stem.rsplit_once(".v").unwrap();
        let event = decode::<A>(event_type, version.parse().unwrap(), &fs::read_to_string(&path).unwrap());
        assert_eq!(event.event_type(), event_type);
    }
}

fn folder<A: Aggregate>() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(A::TYPE)
}

fn decode<A: Aggregate>(event_type: &str, schema_version: u32, payload: &str) -> A::Event {
    let envelope = EventEnvelope {
        position: 1,
        event_id: Uuid::nil(),
        aggregate_type: A::TYPE.to_owned(),
        aggregate_id: Uuid::nil(),
        version: 1,
        event_type: event_type.to_owned(),
        schema_version,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        payload: RawValue::from_string(payload.trim().to_owned()).unwrap(),
        metadata: RawValue::from_string("{}".to_owned()).unwrap(),
    };
    envelope.decode::<A>().unwrap()
}

fn variant<E: DomainEvent>(event: &E) -> String {
    let json = serde_json::to_value(event).unwrap();
    json.as_object().unwrap().keys().next().unwrap().clone()
}

/// The variants that the decoder knows, from the sentence with which it refuses one it does not know.
fn variants<E: DomainEvent>() -> BTreeSet<String> {
    let refusal = serde_json::from_str::<E>(r#"{"?":{}}"#).unwrap_err().to_string();
    let (_, expected) = refusal.split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
