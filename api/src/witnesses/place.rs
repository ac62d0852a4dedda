//! Where heads are kept, as the settings say it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::object_place;

const PATIENCE: Duration = Duration::from_secs(10);

/// A place that keeps heads.
#[derive(Clone)]
pub enum Place {
    /// An object store or a directory.
    Store {
        /// Where it is.
        url: Url,
        /// The store.
        store: Arc<dyn ObjectStore>,
        /// Below which heads are kept.
        prefix: Path,
    },
    /// Somebody who is told.
    Webhook {
        /// Who.
        url: Url,
        /// The way there.
        client: Client,
    },
}

impl Place {
    /// Reads URLs separated by spaces; none when one of them is none of a place.
    pub fn parse_all(text: &str) -> Option<Vec<Self>> {
        text.split_whitespace().map(Self::parse).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        match url.scheme() {
            "https" | "http" => {
                let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build().ok()?;
                Some(Self::Webhook { url, client })
            }
            "file" | "s3" => {
                let (store, prefix) = object_place::open(&url)?;
                Some(Self::Store { url, store, prefix })
            }
            _ => None,
        }
    }

    /// Its address, which may hold secrets.
    pub fn url(&self) -> &Url {
        match self {
            Self::Store { url, .. } | Self::Webhook { url, .. } => url,
        }
    }

    /// What it may be called in logs.
    pub fn name(&self) -> String {
        let url = self.url();
        let host = url.host_str().unwrap_or_default();
        match (self, url.port()) {
            // Who it is, and not by which secret path or parameter.
            (Self::Webhook { .. }, Some(port)) => format!("{}://{host}:{port}", url.scheme()),
            (Self::Webhook { .. }, None) => format!("{}://{host}", url.scheme()),
            (Self::Store { .. }, _) => format!("{}://{host}{}", url.scheme(), url.path()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}
