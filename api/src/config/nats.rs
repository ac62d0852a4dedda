//! How a nats-server is reached by its URL.

use async_nats::{ConnectOptions, ServerAddr};

/// Reads the URLs of a NATS cluster, separated by commas, together with the token (`nats://token@host`) or the user and
/// password in the first that has any: the client library itself does not look there. Answers none for what is no URL.
pub fn nats_options(urls: &str) -> Option<(Vec<ServerAddr>, ConnectOptions)> {
    let mut options = ConnectOptions::new();
    let mut authenticated = false;
    let mut servers = Vec::new();
    for url in urls.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        let server: ServerAddr = url.parse().ok()?;
        if let Some(user) = server.username().filter(|_| !authenticated) {
            options = match server.password() {
                Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
                None => options.token(user.to_owned()),
            };
            authenticated = true;
        }
        servers.push(without_credentials(server)?);
    }
    (!servers.is_empty()).then_some((servers, options))
}

/// The client library logs addresses.
fn without_credentials(server: ServerAddr) -> Option<ServerAddr> {
    let mut url = server.into_inner();
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    ServerAddr::from_url(url).ok()
}
