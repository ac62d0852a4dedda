use std::fs;
use std::net::IpAddr;

use super::source::Source;
use super::{AddressRange, Config, ConfigError, LogFormat, MasterKey, Origin, RateLimits, SETTINGS, Servers};
use super::{markdown, nats_options};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn environment(settings: &[(&str, &str)]) -> Result<Source, ConfigError> {
    Source::environment(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn config(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_source(&environment(settings)?)
}

fn refusal(settings: &[(&str, &str)]) -> String {
    config(settings).unwrap_err().to_string()
}

#[test]
fn without_any_setting_the_defaults_count() {
    let config = config(&[("PATH", "/bin")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3001");
    assert!(matches!(config.servers, Servers::Embedded));
    assert_eq!(config.rate_limits, RateLimits { auth: 10, general: 100, upload: 1 });
    assert_eq!((config.request_timeout.as_secs(), config.body_limit), (30, 262_144));
    assert_eq!((config.log.as_str(), config.log_format), ("info", LogFormat::Text));
    assert!(config.cors_origins.is_empty() && config.max_requests == 1024);
    assert!(config.master_key.is_none() && config.admin.is_none() && config.trusted_proxies.is_empty());
    assert!(!config.unsafe_durability && !config.require_verified_email);
}

#[test]
fn an_empty_setting_counts_as_none() {
    assert!(config(&[("CAPITUNE_LISTEN", ""), ("DATABASE_URL", " ")]).is_ok());
}

#[test]
fn an_unknown_setting_is_refused_by_its_name() {
    assert!(refusal(&[("CAPITUNE_LISTN", "127.0.0.1:1")]).contains("no setting CAPITUNE_LISTN"));
}

#[test]
fn a_wrong_value_is_refused_with_what_is_accepted() {
    let refused = [
        ("CAPITUNE_LISTEN", "3001", "an address and a port"),
        ("CAPITUNE_RATE_LIMIT_AUTH", "-1", "a whole number"),
        ("CAPITUNE_UNSAFE_DURABILITY", "yes", "true or false"),
        ("CAPITUNE_LOG_FORMAT", "xml", "text or json"),
        ("CAPITUNE_LOG", "info,=x=y", "a filter"),
        ("CAPITUNE_TRUSTED_PROXIES", "10.0.0.0/33", "ranges"),
        ("CAPITUNE_CORS_ORIGINS", "*", "origins such as"),
        ("CAPITUNE_MAX_REQUESTS", "0", "from 1 to 1000000"),
        ("CAPITUNE_REQUEST_TIMEOUT_SECONDS", "0", "from 1 to 3600"),
        ("CAPITUNE_DATABASE_CONNECTIONS", "0", "from 1 to 10000"),
        ("CAPITUNE_ADMIN_EMAIL", "admin", "an e-mail address"),
    ];
    for (name, value, accepted) in refused {
        let refusal = refusal(&[(name, value)]);
        assert!(refusal.contains(name) && refusal.contains(value) && refusal.contains(accepted), "{refusal}");
    }
}

#[test]
fn a_secret_is_in_no_refusal_and_no_debug_output() {
    let wrong = [("CAPITUNE_MASTER_KEY", "hunter2"), ("DATABASE_URL", "hunter2"), ("NATS_URL", "ftp://hunter2@host")];
    for setting in wrong {
        let refusal = refusal(&[setting]);
        assert!(refusal.contains(setting.0) && !refusal.contains("hunter2"), "{refusal}");
    }
    let secret = [
        ("DATABASE_URL", "postgres://user:hunter2@host/db"),
        ("NATS_URL", "nats://hunter2@host"),
        ("CAPITUNE_MASTER_KEY", KEY),
        ("CAPITUNE_ADMIN_EMAIL", "hunter2@example.org"),
        ("CAPITUNE_SMTP_URL", "smtps://ada:hunter2@mail.example"),
        ("CAPITUNE_ADMIN_PASSWORD", "hunter2"),
    ];
    assert!(!format!("{:?}", config(&secret).unwrap()).contains("hunter2"));
}

#[test]
fn a_password_for_mail_goes_over_no_network_in_clear() {
    let smtp = |url: &str| config(&[("CAPITUNE_SMTP_URL", url)]);
    for clear in ["smtp://ada:hunter2@mail.example", "smtp://ada:hunter2@mail.example:587?tls=opportunistic"] {
        let refusal = smtp(clear).unwrap_err().to_string();
        assert!(refusal.contains("CAPITUNE_SMTP_URL") && !refusal.contains("hunter2"), "{refusal}");
    }
    for safe in [
        "smtps://ada:hunter2@mail.example",
        "smtp://ada:hunter2@mail.example:587?tls=required",
        "smtp://ada:hunter2@127.0.0.1:1025",
        "smtp://mail.example",
    ] {
        assert!(smtp(safe).is_ok(), "{safe}");
    }
}

#[test]
fn servers_are_given_both_or_not_at_all_and_need_a_master_key() {
    let database = ("DATABASE_URL", "postgres://localhost/capitune");
    let nats = ("NATS_URL", "nats://one:4222,nats://two:4222");
    assert!(refusal(&[database]).contains("NATS_URL is not"));
    assert!(refusal(&[nats]).contains("DATABASE_URL is not"));
    assert!(matches!(config(&[database, nats]), Err(ConfigError::MasterKeyMissing)));
    let config = config(&[database, nats, ("CAPITUNE_MASTER_KEY", KEY)]).unwrap();
    assert!(matches!(config.servers, Servers::Given { .. }));
}

#[test]
fn an_administrator_needs_an_address_and_a_password() {
    assert!(refusal(&[("CAPITUNE_ADMIN_EMAIL", "a@b")]).contains("CAPITUNE_ADMIN_PASSWORD is not"));
}

#[test]
fn a_master_key_is_hexadecimal_or_base64() {
    let key = MasterKey::parse(KEY).unwrap();
    assert_eq!(key.bytes()[31], 31);
    assert_eq!(MasterKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), Some(key.clone()));
    assert_eq!(MasterKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"), Some(key));
    let several = MasterKey::parse(&format!("{KEY}, {}\n{KEY}", KEY.replace("00", "ff"))).unwrap();
    assert_eq!(several.bytes(), MasterKey::parse(KEY).unwrap().bytes());
    assert!(several != MasterKey::parse(KEY).unwrap());
    for wrong in [
        "",
        ",",
        "00",
        &format!("{KEY},00"),
        &KEY[1..],
        &KEY.replace('0', "g"),
        "+0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert!(MasterKey::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn an_own_master_key_is_made_once_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("capitune-key-{}", uuid::Uuid::now_v7()));
    let made = MasterKey::read_or_create(&path).unwrap();
    assert!(made == MasterKey::read_or_create(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_file_gives_what_the_environment_does_not() {
    let path = std::env::temp_dir().join(format!("capitune-config-{}.toml", uuid::Uuid::now_v7()));
    let text = "listen = \"[::1]:80\"\nrate_limit_auth = 5\nrate_limit_general = 0\nunsafe_durability = true\n\
                trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n";
    fs::write(&path, text).unwrap();
    let mut source = environment(&[("CAPITUNE_RATE_LIMIT_AUTH", "7")]).unwrap();
    source.add_file(&path).unwrap();
    let config = Config::from_source(&source).unwrap();
    assert_eq!((config.listen.port(), config.rate_limits.auth, config.rate_limits.general), (80, 7, 0));
    assert!(config.unsafe_durability);
    assert_eq!(config.trusted_proxies.len(), 2);
    let origins = |name| source.effective().into_iter().find(|it| it.setting.name == name).unwrap().origin;
    assert_eq!(origins("CAPITUNE_RATE_LIMIT_AUTH"), Origin::Environment);
    assert_eq!(origins("CAPITUNE_LISTEN"), Origin::File);

    for (text, part) in
        [("listn = 1", "`listn`"), ("config = \"x\"", "`config`"), ("listen.port = 1", "CAPITUNE_LISTEN")]
    {
        fs::write(&path, text).unwrap();
        let refusal = environment(&[]).unwrap().add_file(&path).unwrap_err().to_string();
        assert!(refusal.contains(part), "{refusal}");
    }
    fs::write(&path, "admin_password = \"hunter2").unwrap();
    let refusal = environment(&[]).unwrap().add_file(&path).unwrap_err().to_string();
    assert!(refusal.contains("line 1") && !refusal.contains("hunter2"), "{refusal}");
    fs::remove_file(path).unwrap();
}

#[test]
fn what_is_shown_hides_secrets() {
    let source = environment(&[("CAPITUNE_ADMIN_PASSWORD", "hunter2"), ("CAPITUNE_LISTEN", "0.0.0.0:1")]).unwrap();
    let shown: Vec<String> = source.effective().into_iter().map(|it| it.value).collect();
    assert!(shown.contains(&"0.0.0.0:1".to_owned()) && shown.contains(&"********".to_owned()));
    assert!(!shown.contains(&"hunter2".to_owned()));
}

#[test]
fn every_setting_is_in_the_documentation() {
    let table = markdown();
    assert!(SETTINGS.iter().all(|setting| table.contains(setting.name) && !setting.description.is_empty()));
}

#[test]
fn an_address_range_holds_what_starts_alike() {
    let contains = |range: &str, address: &str| {
        range.parse::<AddressRange>().unwrap().contains(address.parse::<IpAddr>().unwrap())
    };
    assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
    assert!(contains("192.168.1.7", "192.168.1.7") && !contains("192.168.1.7", "192.168.1.8"));
    assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "::1"));
    assert!(contains("::/0", "::1") && contains("2001:db8::/32", "2001:db8:1::") && !contains("::1", "::2"));
    assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
}

#[test]
fn an_origin_is_written_as_browsers_send_it() {
    let read = |text: &str| config(&[("CAPITUNE_CORS_ORIGINS", text)]).map(|config| config.cors_origins.len()).ok();
    assert_eq!(read("https://app.example, http://localhost:5173"), Some(2));
    assert_eq!(read("https://xn--bcher-kva.example"), Some(1));
    for wrong in [
        "null",
        "app.example",
        "https://*.example",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example:443",
        "https://APP.example",
        "https://user@app.example",
        "https://bücher.example",
        "ftp://app.example",
        "file:///etc",
        "http://[::1]:80000",
        "https://app.example,*",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn the_credentials_of_a_nats_url_are_taken_out_of_it() {
    let (servers, _) = nats_options("nats://secret@one:4222, nats://two").unwrap();
    assert_eq!(servers.len(), 2);
    assert!(!format!("{servers:?}").contains("secret"));
    assert!(nats_options("").is_none() && nats_options("http://one").is_none());
}

#[test]
fn a_data_directory_that_is_given_counts_whoever_runs() {
    let config = config(&[("CAPITUNE_DATA_DIR", ".capitune")]).unwrap();
    assert_eq!(config.data_dir, std::path::Path::new(".capitune"));
}
