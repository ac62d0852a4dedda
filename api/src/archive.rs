//! A ZIP file that is sent while it is written.

use std::io::{self, Write};

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Files that wait to be packed, and packed pieces that wait to be sent: what is held in memory.
const AHEAD: usize = 4;
const PIECE: usize = 64 * 1024;

/// Takes the files.
pub struct Archive {
    files: mpsc::Sender<Packed>,
}

enum Packed {
    File(String, Vec<u8>),
    End,
}

/// The archive is no longer wanted: its reader has gone.
#[derive(Debug)]
pub struct Unwanted;

impl Archive {
    /// An archive, and the body that it is sent as. A body whose archive is dropped before its end is cut off.
    pub fn new() -> (Self, Body) {
        let (files, packed) = mpsc::channel(AHEAD);
        let (pieces, sent) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let writer = Pieces { pieces: pieces.clone(), piece: Vec::with_capacity(PIECE) };
            if let Err(error) = pack(packed, writer) {
                pieces.blocking_send(Err(error)).ok();
            }
        });
        let body = stream::unfold(sent, |mut sent| async { Some((sent.recv().await?, sent)) });
        (Self { files }, Body::from_stream(body))
    }

    /// Packs a file.
    ///
    /// # Errors
    /// [`Unwanted`] when its reader has gone.
    pub async fn add(&self, name: impl Into<String>, content: Vec<u8>) -> Result<(), Unwanted> {
        self.files.send(Packed::File(name.into(), content)).await.map_err(|_| Unwanted)
    }

    /// Says that nothing is missing.
    ///
    /// # Errors
    /// [`Unwanted`] when its reader has gone.
    pub async fn end(self) -> Result<(), Unwanted> {
        self.files.send(Packed::End).await.map_err(|_| Unwanted)
    }
}

fn pack(mut files: mpsc::Receiver<Packed>, pieces: Pieces) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(pieces);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    loop {
        match files.blocking_recv() {
            Some(Packed::File(name, content)) => {
                archive.start_file(name, options)?;
                archive.write_all(&content)?;
            }
            Some(Packed::End) => return archive.finish()?.into_inner().flush(),
            // Without its directory nobody takes it for whole.
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What is packed, on its way to the client.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_packed_is_unpacked() {
        let (archive, body) = Archive::new();
        let large = vec![7; 1_000_000];
        let content = large.clone();
        tokio::spawn(async move {
            archive.add("a/small.json", b"{}".to_vec()).await.unwrap();
            archive.add("large", content).await.unwrap();
            archive.end().await.unwrap();
        });
        let bytes = body.collect().await.unwrap().to_bytes();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut read = |name: &str| {
            let mut content = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut content).unwrap();
            content
        };
        assert_eq!(read("a/small.json"), b"{}");
        assert_eq!(read("large"), large);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_not_ended_is_cut_off() {
        let (archive, body) = Archive::new();
        archive.add("only", b"half".to_vec()).await.unwrap();
        drop(archive);
        body.collect().await.unwrap_err();
    }
}
