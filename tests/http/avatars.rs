//! Pictures of people: whatever comes in, a small and plain one goes out.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use super::*;

fn picture(format: ImageFormat, shade: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(RgbImage::from_pixel(400, 300, image::Rgb([shade; 3]))).write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn path(person: &Client) -> String {
    format!("/api/users/{}/avatar", person.user_id)
}

async fn upload(person: &Client, path: &str, media_type: &str, file: Vec<u8>) -> Answer {
    // No more than one in a second.
    let forget = format!("delete from uploads where account_id = '{}'", person.user_id);
    execute(&system().await.database_url, &forget).await;
    person.send(person.request(Method::PUT, path).header("content-type", media_type).body(file)).await
}

/// The picture that somebody sees, with its entity tag.
async fn shown(person: &Client, path: &str) -> (Vec<u8>, String) {
    let response = person.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    (response.bytes().await.unwrap().to_vec(), etag)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_shown_to_all_changed_and_taken_away_by_its_owner() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = path(&ada);
    eve.get(&path).await.expect_problem(404, "avatar.not_found");
    let changed = upload(&ada, &path, "image/png", picture(ImageFormat::Png, 10)).await.expect(200);
    let (first, etag) = shown(&eve, &path).await;
    let drawn = image::load_from_memory_with_format(&first, ImageFormat::Jpeg).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (256, 256));
    get_with(&eve, &path, &[("if-none-match", &etag)]).await.expect(304);
    let card = eve.get(&format!("/api/users/{}?minPosition={}", ada.user_id, changed.position())).await.expect(200);
    assert_eq!(
        (&card.body["avatarUrl"], &ada.get("/api/users/me").await.body["avatarUrl"]),
        (&json!(path), &json!(path))
    );
    for (media_type, format) in [("image/jpeg", ImageFormat::Jpeg), ("image/webp", ImageFormat::WebP)] {
        upload(&ada, &path, media_type, picture(format, 200)).await.expect(200);
    }
    let (second, other) = shown(&eve, &path).await;
    assert!(second != first && other != etag);
    get_with(&eve, &path, &[("if-none-match", &etag)]).await.expect(200);
    // Neither somebody else nor nobody changes it.
    upload(&eve, &path, "image/png", picture(ImageFormat::Png, 0)).await.expect_problem(403, "access.forbidden");
    eve.delete(&path).await.expect_problem(403, "access.forbidden");
    nobody().await.get(&path).await.expect_problem(401, "auth.required");
    let removed = ada.delete(&path).await.expect(200);
    eve.get(&path).await.expect_problem(404, "avatar.not_found");
    assert_eq!(ada.delete(&path).await.expect(200).body["version"], removed.body["version"]);
    assert_eq!(ada.get("/api/users/me").await.expect(200).body["avatarUrl"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_is_refused_and_uploads_are_counted() {
    let ada = applicant().await;
    let path = path(&ada);
    let unsupported = "avatar.unsupported_media_type";
    for media_type in ["image/svg+xml", "image/gif", "text/html", "application/octet-stream"] {
        let refused = upload(&ada, &path, media_type, picture(ImageFormat::Png, 0)).await;
        refused.expect_problem(415, unsupported);
    }
    for file in [Vec::new(), b"<script>".to_vec(), b"<svg/>".to_vec(), picture(ImageFormat::Png, 0)[..60].to_vec()] {
        upload(&ada, &path, "image/png", file).await.expect_problem(422, "avatar.invalid");
    }
    upload(&ada, &path, "image/png", vec![0; (5 << 20) + 1]).await.expect_problem(413, "body.too_large");
    assert_eq!(ada.get("/api/users/me").await.expect(200).body["version"], 1, "nothing was recorded");
    // Two at once are one too many.
    let send = async || {
        let request = ada.request(Method::PUT, &path).header("content-type", "image/png");
        ada.send(request.body(picture(ImageFormat::Png, 0))).await
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (one, other) = tokio::join!(send(), send());
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429]);
    crate::support::eventually("the next may come", async || send().await.status == 200).await;
}
