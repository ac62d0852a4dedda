//! Pictures of people: made small and plain, sealed by their own keys, and kept beside the log.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use event_store::{Database, StoreError, Vault};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::auth::{sealed, stream};
use crate::problem::{Problem, codes};

/// The formats that are understood.
const FORMATS: [ImageFormat; 3] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
/// The widest and highest picture that is taken, in pixels, and the memory that it may take meanwhile, in bytes.
const LARGEST: (u32, u64) = (6000, 192 << 20);
/// The side of the square that is kept, in pixels.
const SIDE: u32 = 256;
const QUALITY: u8 = 85;
/// Pictures that are made small at once, and how long one may wait for its turn.
const AT_ONCE: usize = 1;
const PATIENCE: Duration = Duration::from_secs(5);

/// The pictures of an instance.
#[derive(Clone)]
pub struct Avatars {
    reads: PgPool,
    writes: PgPool,
    turns: Arc<Semaphore>,
}

/// A picture that is shown, as JPEG.
pub struct Avatar {
    /// The file.
    pub image: Vec<u8>,
    /// By which a client knows it again.
    pub etag: String,
}

impl Avatars {
    /// The pictures in this database.
    pub fn new(database: &Database) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { reads: database.reads.clone(), writes: database.writes.clone(), turns }
    }

    /// What an uploaded file shows, as it is kept: a small square, upright, without whatever else was in the file.
    ///
    /// # Errors
    /// A 422 for what is no picture or too large a one, a 503 when too many wait.
    pub async fn draw(&self, file: bytes::Bytes) -> Result<Vec<u8>, Problem> {
        let busy = || Problem::new(&codes::SERVER_OVERLOADED).with_retry_after(1);
        let turn = timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let drawn = tokio::task::spawn_blocking(move || {
            let drawn = draw(&file);
            drop(turn);
            drawn
        });
        let drawn = drawn.await.map_err(|_| Problem::new(&codes::INTERNAL))?;
        drawn.map_err(|error| {
            tracing::debug!(%error, "a picture was not taken");
            Problem::new(&codes::AVATAR_INVALID)
        })
    }

    /// Keeps the picture of an account, in the place of another.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or the person is erased.
    pub async fn keep(&self, vault: &Vault, account: Uuid, image: &[u8]) -> Result<(), StoreError> {
        let etag = vault.keyed_hash("avatar", image);
        let etag: String = etag[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let keep = "insert into avatars (account_id, image, etag) values ($1, $2::json, $3)
                    on conflict (account_id) do update set image = excluded.image, etag = excluded.etag";
        sqlx::query(keep)
            .bind(account)
            .bind(sealed(vault, account, &STANDARD.encode(image)).await?)
            .bind(etag)
            .execute(&self.writes)
            .await?;
        Ok(())
    }

    /// The picture of an account.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or when a key does not open what it should.
    pub async fn of(&self, vault: &Vault, account: Uuid) -> Result<Option<Avatar>, StoreError> {
        let query = "select image, etag from avatars where account_id = $1";
        let row: Option<(Json<Box<RawValue>>, String)> =
            sqlx::query_as(query).bind(account).fetch_optional(&self.reads).await?;
        let Some((image, etag)) = row else { return Ok(None) };
        let image: Option<String> = vault.reveal_as(&[(stream(account), image)]).await?.pop().flatten();
        let image = image.and_then(|image| STANDARD.decode(image).ok());
        Ok(image.map(|image| Avatar { image, etag }))
    }

    /// Forgets the picture of an account. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget(&self, account: Uuid) -> Result<(), StoreError> {
        sqlx::query("delete from avatars where account_id = $1").bind(account).execute(&self.writes).await?;
        Ok(())
    }
}

/// Drawn anew, nothing is left of the file: neither where a photograph was taken nor what else somebody hid in it.
fn draw(file: &[u8]) -> Result<Vec<u8>, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format()?;
    let format = reader.format().filter(|format| FORMATS.contains(format));
    reader.set_format(format.ok_or_else(|| ImageError::Unsupported(image::error::ImageFormatHint::Unknown.into()))?);
    let (side, memory) = LARGEST;
    let mut limits = Limits::default();
    limits.max_image_width = Some(side);
    limits.max_image_height = Some(side);
    limits.max_alloc = Some(memory);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let side = image.width().min(image.height());
    let (left, top) = ((image.width() - side) / 2, (image.height() - side) / 2);
    let square = image.crop_imm(left, top, side, side).resize(SIDE, SIDE, FilterType::Lanczos3);
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, QUALITY).encode_image(&on_white(&square))?;
    Ok(file)
}

/// JPEG knows no transparency.
fn on_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0.map(u32::from);
        let blend = |colour: u32| u8::try_from((colour * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX);
        Rgb([blend(red), blend(green), blend(blue)])
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let picture = RgbaImage::from_fn(width, height, |x, _| Rgba([u8::try_from(x % 256).unwrap(), 0, 0, 255]));
        let mut file = Cursor::new(Vec::new());
        let picture = DynamicImage::from(picture);
        let picture = if format == ImageFormat::Jpeg { picture.to_rgb8().into() } else { picture };
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    #[test]
    fn every_format_becomes_a_small_square() {
        for format in FORMATS {
            let drawn = draw(&encoded(600, 300, format)).unwrap();
            let drawn = image::load_from_memory_with_format(&drawn, ImageFormat::Jpeg).unwrap();
            assert_eq!((drawn.width(), drawn.height()), (SIDE, SIDE), "{format:?}");
        }
    }

    #[test]
    fn what_is_transparent_is_white() {
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(RgbaImage::new(8, 8)).write_to(&mut file, ImageFormat::Png).unwrap();
        let drawn = image::load_from_memory(&draw(file.get_ref()).unwrap()).unwrap().to_rgb8();
        assert!(drawn.pixels().all(|pixel| pixel.0.iter().all(|colour| *colour > 250)));
    }

    #[test]
    fn what_else_was_in_the_file_is_not_in_the_picture() {
        let mut file = encoded(300, 300, ImageFormat::Jpeg);
        file.extend_from_slice(b"<script>alert(1)</script>");
        let drawn = draw(&file).unwrap();
        assert!(!String::from_utf8_lossy(&drawn).contains("script"));
    }

    #[test]
    fn what_is_no_picture_or_too_large_a_one_is_refused() {
        let png = encoded(64, 64, ImageFormat::Png);
        for wrong in [&b""[..], b"GIF89a", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", &png[..40]] {
            assert!(draw(wrong).is_err());
        }
        // It says that it is larger than anything that is there: 30,000 by 30,000.
        let mut bomb = png;
        bomb[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&30_000_u32.to_be_bytes());
        assert!(draw(&bomb).is_err());
    }
}
