//! The sentences about single fields, in French: the domain writes them in English.

use domain::FieldError;

use super::Language;

/// What to tell a reader of `language` about one field.
pub fn detail(language: Language, error: &FieldError) -> String {
    match language {
        Language::English => error.detail.clone(),
        Language::French => french(error),
    }
}

fn french(error: &FieldError) -> String {
    // The limit is the only number in these sentences.
    let digits = error.detail.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
    let limit: String = digits.collect();
    match error.code.as_str() {
        "field.too_short" if limit.is_empty() => "ne doit pas être vide".to_owned(),
        "field.too_short" => format!("doit avoir au moins {limit} caractères"),
        "field.too_long" if error.detail.contains("bytes") => format!("doit tenir en {limit} octets"),
        "field.too_long" => format!("doit avoir au plus {limit} caractères"),
        "field.too_many" => format!("doit avoir au plus {limit} éléments"),
        "field.nul" => "ne doit pas contenir le caractère NUL".to_owned(),
        "field.email" => "doit être une adresse e-mail".to_owned(),
        "field.time_zone" => "doit être un fuseau horaire IANA, comme Europe/Paris".to_owned(),
        "field.url" => "doit être une adresse http ou https".to_owned(),
        "field.out_of_range" => "est hors limites".to_owned(),
        "field.bad_name" => "n'est pas un nom de champ acceptable".to_owned(),
        "field.unknown" | "parameter.unknown" => "est inconnu ici".to_owned(),
        "field.required" => "est requis".to_owned(),
        "field.duplicate" => "est donné deux fois".to_owned(),
        "cursor.invalid" => "n'appartient pas à cette liste".to_owned(),
        _ => "ne peut pas être accepté".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_the_translation() {
        let error = FieldError::new("/title", "field.too_long", "must have at most 200 characters");
        assert_eq!(detail(Language::French, &error), "doit avoir au plus 200 caractères");
        assert_eq!(detail(Language::English, &error), "must have at most 200 characters");
    }
}
