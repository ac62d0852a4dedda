//! Events outlive the builds that wrote them: writer and reader see an old shape as today's, and an old log makes today's
//! read models.

use std::collections::BTreeMap;

use commands::CommandError;
use domain::dossier::Dossier;
use event_store::{StoreError, StreamId};
use serde_json::Value;
use uuid::Uuid;

use crate::support::models::{assert_models_are_as_made_anew, dump};
use crate::support::process::Process;
use crate::support::{Node, context, database_url, execute, whole_log};

/// A parcel, as an older build and as today's knows it.
mod parcel {
    use domain::rejection::RejectionKind;
    use domain::{Actor, Aggregate, Command, Denial, DomainEvent, Personal, Rejection, Role};
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    #[derive(Debug, Clone, PartialEq)]
    pub struct Send {
        pub to: Personal<String>,
        pub grams: u32,
    }

    impl Command for Send {
        fn name(&self) -> &'static str {
            "SendParcel"
        }
    }

    #[derive(Debug, Clone, PartialEq, thiserror::Error)]
    #[error("the parcel is too heavy")]
    pub struct TooHeavy;

    impl Rejection for TooHeavy {
        fn code(&self) -> &'static str {
            "parcel.too_heavy"
        }

        fn french(&self) -> String {
            "le colis est trop lourd".to_owned()
        }

        fn kind(&self) -> RejectionKind {
            RejectionKind::Conflict
        }
    }

    /// As it was: an address and a weight in grams, side by side.
    pub mod old {
        use super::*;

        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Parcel;

        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum ParcelEvent {
            Sent { to: Personal<String>, grams: u32 },
        }

        impl DomainEvent for ParcelEvent {
            fn event_type(&self) -> &'static str {
                "ParcelSent"
            }

            fn knows(event_type: &str, schema_version: u32) -> bool {
                event_type == "ParcelSent" && schema_version == 1
            }
        }

        impl Aggregate for Parcel {
            const TYPE: &'static str = "parcel";
            type Command = Send;
            type Event = ParcelEvent;
            type Error = TooHeavy;

            fn authorize(&self, _: &Actor, _: &Send) -> Result<Role, Denial> {
                Ok(Role::Applicant)
            }

            fn decide(&self, command: Send) -> Result<Vec<ParcelEvent>, TooHeavy> {
                Ok(vec![ParcelEvent::Sent { to: command.to, grams: command.grams }])
            }

            fn apply(&mut self, _: &ParcelEvent) {}
        }
    }

    /// As it is: the address belongs to a recipient, and weights are in kilograms.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct Parcel {
        pub recipients: Vec<Option<String>>,
        pub kilograms: f64,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub enum ParcelEvent {
        Sent { recipient: Recipient, kilograms: f64 },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Recipient {
        pub address: Personal<String>,
    }

    impl DomainEvent for ParcelEvent {
        fn event_type(&self) -> &'static str {
            "ParcelSent"
        }

        fn schema_version(&self) -> u32 {
            2
        }

        fn knows(event_type: &str, schema_version: u32) -> bool {
            event_type == "ParcelSent" && (1..=2).contains(&schema_version)
        }

        fn upcast(_: &str, schema_version: u32, payload: Value) -> Value {
            match schema_version {
                1 => json!({ "Sent": {
                    "recipient": { "address": payload["Sent"]["to"] },
                    "kilograms": payload["Sent"]["grams"].as_f64().unwrap_or_default() / 1000.0,
                } }),
                _ => payload,
            }
        }
    }

    impl Aggregate for Parcel {
        const TYPE: &'static str = "parcel";
        type Command = Send;
        type Event = ParcelEvent;
        type Error = TooHeavy;

        fn authorize(&self, _: &Actor, _: &Send) -> Result<Role, Denial> {
            Ok(Role::Applicant)
        }

        fn decide(&self, command: Send) -> Result<Vec<ParcelEvent>, TooHeavy> {
            let kilograms = f64::from(command.grams) / 1000.0;
            match self.kilograms + kilograms > 10.0 {
                true => Err(TooHeavy),
                false => Ok(vec![ParcelEvent::Sent { recipient: Recipient { address: command.to }, kilograms }]),
            }
        }

        fn apply(&mut self, event: &ParcelEvent) {
            let ParcelEvent::Sent { recipient, kilograms } = event;
            self.recipients.push(recipient.address.get().cloned());
            self.kilograms += kilograms;
        }
    }
}

fn send(to: Uuid, address: &str, grams: u32) -> parcel::Send {
    parcel::Send { to: domain::Personal::new(to, address.to_owned()), grams }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_build_wrote_is_todays_to_writer_and_reader_alike() {
    let url = database_url().await;
    let (old, new) = (Node::start(&url).await, Node::start(&url).await);
    let ada = old.applicant().await;
    let id = Uuid::now_v7();
    old.commands
        .execute::<parcel::old::Parcel>(id, send(ada.id, "1, rue du Port", 4_000), context(&ada))
        .await
        .unwrap();
    old.commands
        .execute::<parcel::old::Parcel>(id, send(ada.id, "2, rue du Port", 3_000), context(&ada))
        .await
        .unwrap();
    // The writer decides on what was, and what is personal opens where it has come to be.
    let (state, version) = new.commands.state::<parcel::Parcel>(id).await.unwrap();
    let addresses = ["1, rue du Port", "2, rue du Port"].map(|address| Some(address.to_owned()));
    assert_eq!((state.recipients.as_slice(), state.kilograms, version), (addresses.as_slice(), 7.0, 2));
    let heavy = new.commands.execute::<parcel::Parcel>(id, send(ada.id, "x", 3_500), context(&ada)).await;
    assert!(matches!(heavy, Err(CommandError::Rejected(parcel::TooHeavy))), "{heavy:?}");
    new.commands.execute::<parcel::Parcel>(id, send(ada.id, "3, rue du Port", 2_000), context(&ada)).await.unwrap();

    // So does every reader, of the log as it is recorded: nothing in it was touched.
    let events = new.store.read_stream(StreamId { aggregate_type: "parcel", id }, 0).await.unwrap();
    assert_eq!(events.iter().map(|event| event.schema_version).collect::<Vec<_>>(), [1, 1, 2]);
    let kilograms = events.iter().map(|event| {
        let parcel::ParcelEvent::Sent { recipient, kilograms } = event.decode::<parcel::Parcel>().unwrap();
        assert_eq!((recipient.address.of(), recipient.address.get()), (ada.id, None), "it stays sealed");
        kilograms
    });
    assert_eq!(kilograms.collect::<Vec<_>>(), [4.0, 3.0, 2.0]);
    assert!(events[0].payload.get().contains("grams"));
    let stream = StreamId { aggregate_type: "parcel", id };
    let read = |event: &domain::EventEnvelope| (stream, event.decode::<parcel::Parcel>().unwrap());
    let opened: Vec<Value> = new.store.vault().reveal_as(&events.iter().map(read).collect::<Vec<_>>()).await.unwrap();
    let addresses: Vec<&Value> = opened.iter().map(|event| &event["Sent"]["recipient"]["address"]).collect();
    assert_eq!(addresses, ["1, rue du Port", "2, rue du Port", "3, rue du Port"]);

    // The older build refuses to decide on what it does not understand.
    let other = Node::start(&url).await;
    let refused = other.commands.execute::<parcel::old::Parcel>(id, send(ada.id, "x", 1), context(&ada)).await;
    assert!(matches!(refused, Err(CommandError::Store(StoreError::Broken(_)))), "{refused:?}");
    assert!(events[2].decode::<parcel::old::Parcel>().is_err());
    assert_eq!(new.store.head().await.unwrap(), 3);
}

/// A log of another time, which this build must make its read models of.
async fn replay(name: &str) -> (String, String, Node) {
    let folder = format!("{}/../tests/old_logs", env!("CARGO_MANIFEST_DIR"));
    let url = database_url().await;
    let log = std::fs::read_to_string(format!("{folder}/{name}.sql")).unwrap();
    execute(&url, &log).await;
    let node = Node::start(&url).await;
    (format!("{folder}/{name}.json"), url, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_log_makes_todays_read_models() {
    let (expected, url, node) = replay("2026-11").await;
    let _worker = Process::worker(&url).await;
    assert_models_are_as_made_anew(&node).await;
    let dump: BTreeMap<String, Vec<String>> = dump(&node).await;
    let made = serde_json::to_string_pretty(&dump).unwrap();
    let kept = std::fs::read_to_string(&expected).unwrap_or_default();
    let old: BTreeMap<String, Vec<String>> = serde_json::from_str(&kept).unwrap_or_default();
    for (table, rows) in &old {
        assert_eq!(dump.get(table), Some(rows), "{table}: what it shows of an old log has changed");
    }
    if old.len() < dump.len() {
        let today = std::env::temp_dir().join("old_log.json");
        std::fs::write(&today, made).unwrap();
        panic!("{expected} lacks tables; {} has what they would be today", today.display());
    }
    // What was personal opens still, and what was erased never does.
    let log = whole_log(&node.store).await;
    let dossiers = log.iter().filter(|event| event.is::<Dossier>());
    let sealed: Vec<_> = dossiers
        .map(|event| (StreamId { aggregate_type: "dossier", id: event.aggregate_id }, &event.payload))
        .collect();
    let opened = node.store.vault().reveal(&sealed).await.unwrap();
    let all: String = opened.iter().map(|event| event.get()).collect();
    assert!(all.contains("Three rooms") && all.contains("A page is missing") && !all.contains("$sealed"));
    let erased = log.iter().find(|event| event.event_type == "AccountErased").unwrap();
    let theirs = opened.iter().find(|event| event.get().contains(&erased.aggregate_id.to_string())).unwrap();
    assert!(theirs.get().contains("\"description\":null"), "{theirs}");
    // And it is written on.
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    assert_models_are_as_made_anew(&node).await;
}
