//! Query parameters, strictly read: none unknown, none twice, none with a NUL.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::fault::{Fault, fault};
use crate::problem::{Problem, codes};

/// The parameter that every query takes, and its handler never sees.
const MIN_POSITION: &str = "minPosition";

/// Reads a query string as `T`, and the minimum position in it.
///
/// # Errors
/// A 422 that names the parameter at fault.
pub fn strict_parameters<T: DeserializeOwned>(query: &str) -> Result<(T, Option<u64>), Problem> {
    let mut names = Vec::new();
    let mut min_position = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name.contains('\0') || value.contains('\0') {
            return Err(invalid(&name.replace('\0', ""), "must not hold the NUL character"));
        }
        if names.contains(&name) {
            return Err(invalid(&name, "is given twice"));
        }
        if name == MIN_POSITION {
            let position = parse_position(&value).ok_or_else(|| invalid(&name, "must be a position"))?;
            min_position = Some(position);
        }
        names.push(name);
    }
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != MIN_POSITION);
    let others = form_urlencoded::Serializer::new(String::new()).extend_pairs(others).finish();
    let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(others.as_bytes()));
    let parameters = serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let (fault, field) = fault(error.path(), &error.inner().to_string());
        let code = match fault {
            Fault::Unknown => &codes::PARAMETER_UNKNOWN,
            Fault::Missing | Fault::Invalid => &codes::PARAMETER_INVALID,
        };
        Problem::new(code).with_parameter(field.pointer.trim_start_matches('/'), field.detail)
    })?;
    Ok((parameters, min_position))
}

/// A time as a client writes it in RFC 3339, within the years 1 to 9999. A `+` that was not encoded arrives as a space.
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?.to_utc();
    (1..=9999).contains(&time.year()).then_some(time)
}

/// For serde: a time as [`parse_time`] reads it.
///
/// # Errors
/// When it is none.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let time = parse_time(&String::deserialize(deserializer)?);
    time.map(Some).ok_or_else(|| D::Error::custom("expected a time"))
}

/// For serde: a day such as `2026-11-20`, within the years 1 to 9999.
///
/// # Errors
/// When it is none.
pub fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    let day = NaiveDate::deserialize(deserializer)?;
    Some(day).filter(|day| (1..=9999).contains(&day.year())).map(Some).ok_or_else(|| D::Error::custom("expected a day"))
}

/// A 422 for one parameter.
pub fn invalid(name: &str, detail: &str) -> Problem {
    Problem::new(&codes::PARAMETER_INVALID).with_parameter(name, detail)
}

/// A position as a header or parameter gives it; one that the log can never reach is none.
pub fn parse_position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|position| digits && *position <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Example {
        assigned_to: Option<uuid::Uuid>,
        version: Option<u64>,
        q: Option<String>,
    }

    fn refusal(query: &str) -> (&'static str, String) {
        let problem = strict_parameters::<Example>(query).unwrap_err();
        let rendered = serde_json::to_value(problem.body_for_tests()).unwrap();
        (problem.code().name, rendered["errors"][0]["parameter"].as_str().unwrap_or("-").to_owned())
    }

    #[test]
    fn good_parameters_are_read() {
        let (example, position) = strict_parameters::<Example>("q=a%20b&minPosition=12&version=3").unwrap();
        assert_eq!(example, Example { assigned_to: None, version: Some(3), q: Some("a b".to_owned()) });
        assert_eq!(position, Some(12));
        assert_eq!(strict_parameters::<Example>("").unwrap().1, None);
    }

    #[test]
    fn faults_are_named() {
        let cases = [
            ("role=admin", "parameter.unknown", "role"),
            ("q=a&q=b", "parameter.invalid", "q"),
            ("q=%00", "parameter.invalid", "q"),
            ("version=x", "parameter.invalid", "version"),
            ("version=", "parameter.invalid", "version"),
            ("version=-1", "parameter.invalid", "version"),
            ("assignedTo=me", "parameter.invalid", "assignedTo"),
            ("minPosition=1.5", "parameter.invalid", "minPosition"),
            ("minPosition=99999999999999999999", "parameter.invalid", "minPosition"),
        ];
        for (query, code, parameter) in cases {
            assert_eq!(refusal(query), (code, parameter.to_owned()), "{query}");
        }
    }
}
