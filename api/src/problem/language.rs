//! Which of the two languages a client reads.

/// A language that the product speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// The default.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// The language that an `Accept-Language` header prefers; English when it says nothing about either.
    pub fn preferred(header: Option<&str>) -> Self {
        let quality = |name: &str| header.map_or(0, |header| quality_of(header, name));
        if quality("fr") > quality("en") { Self::French } else { Self::English }
    }

    /// Its tag for `Content-Language`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}

/// How much a header wants a language, in thousandths: the best of the ranges that name it, else that of `*`.
fn quality_of(header: &str, language: &str) -> u16 {
    let mut named = None;
    let mut any = 0;
    for range in header.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let primary = tag.split('-').next().unwrap_or_default();
        if primary.eq_ignore_ascii_case(language) {
            named = named.max(Some(quality));
        } else if tag == "*" {
            any = quality;
        }
    }
    named.unwrap_or(any)
}

/// `0.8` as 800; what is no number between 0 and 1 counts as 0.
fn thousandths(quality: &str) -> u16 {
    let value: f32 = quality.trim().parse().unwrap_or_default();
    if (0.0..=1.0).contains(&value) { (value * 1000.0).round() as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::Language::{English, French};
    use super::*;

    #[test]
    fn the_preferred_language_is_chosen_by_quality() {
        let cases = [
            (None, English),
            (Some(""), English),
            (Some("fr"), French),
            (Some("FR-ca"), French),
            (Some("en, fr"), English),
            (Some("fr;q=0.9, en;q=0.8"), French),
            (Some("fr;q=0.8, en;q=0.9"), English),
            (Some("en;q=0, *"), French),
            (Some("de, *;q=0.5"), English),
            (Some("fr;q=nonsense"), English),
            (Some("fr;q=2"), English),
            (Some("de-DE,de;q=0.9,fr;q=0.1"), French),
        ];
        for (header, expected) in cases {
            assert_eq!(Language::preferred(header), expected, "{header:?}");
        }
    }
}
