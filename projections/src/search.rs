//! Searching titles: any part of one, without case and accents.

use sqlx::{Postgres, QueryBuilder};

/// A title has no more characters than this, so a longer search finds nothing.
const LONGEST_TITLE: usize = 200;

/// Narrows the rows to those whose `title_sort` holds the text, whatever characters it is made of.
pub(crate) fn push(query: &mut QueryBuilder<'_, Postgres>, text: Option<&str>) {
    match text {
        None | Some("") => {}
        Some(text) if text.chars().count() > LONGEST_TITLE => {
            query.push(" and false");
        }
        Some(text) => {
            query.push(" and title_sort like searchable(").push_bind(pattern(text)).push(")");
        }
    }
}

fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars().filter(|character| *character != '\0') {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(super::pattern(r"50%_\"), r"%50\%\_\\%");
    }
}
