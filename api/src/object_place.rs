//! Places for objects, as the settings say them: a directory, or a bucket of an object store.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, parse_url_opts};
use reqwest::Url;

/// A store, and below which path of it objects are kept.
pub type ObjectPlace = (Arc<dyn ObjectStore>, Path);

/// The place at `url`: `file:///directory`, which is made, or `s3://bucket/prefix` with the usual `AWS_…` variables; none
/// when it is neither.
pub fn open(url: &Url) -> Option<ObjectPlace> {
    match url.scheme() {
        "file" => {
            let directory = url.to_file_path().ok()?;
            std::fs::create_dir_all(&directory).ok()?;
            let store = LocalFileSystem::new_with_prefix(directory).ok()?;
            Some((Arc::new(store), Path::default()))
        }
        "s3" => {
            let (store, prefix) = parse_url_opts(url, std::env::vars()).ok()?;
            Some((Arc::from(store), prefix))
        }
        _ => None,
    }
}
