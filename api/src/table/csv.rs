//! Comma-separated values, as RFC 4180 has them.

use csv::{Terminator, Writer, WriterBuilder};
use projections::analytics::Cell;

use super::{Table, TableError};

/// A table as comma-separated values.
pub struct Csv {
    writer: Writer<Vec<u8>>,
}

impl Csv {
    /// A table with these columns.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be begun.
    pub fn begin(columns: impl IntoIterator<Item = &'static str>) -> Result<Self, TableError> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        writer.write_record(columns).map_err(TableError::of)?;
        Ok(Self { writer })
    }
}

impl Table for Csv {
    fn add(&mut self, row: Vec<Cell>) -> Result<(), TableError> {
        self.writer.write_record(row.into_iter().map(written)).map_err(TableError::of)
    }

    fn take(&mut self) -> Vec<u8> {
        // Into memory, which takes all of it.
        self.writer.flush().ok();
        let rest = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        std::mem::replace(&mut self.writer, rest).into_inner().unwrap_or_default()
    }

    fn waiting(&self) -> usize {
        self.writer.get_ref().len()
    }

    fn end(mut self: Box<Self>) -> Result<Vec<u8>, TableError> {
        Ok(self.take())
    }
}

/// A value as text; words are never a formula.
fn written(cell: Cell) -> String {
    match cell {
        Cell::None => String::new(),
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Cell::Text(text) => text,
        Cell::Id(id) => id.to_string(),
        Cell::Integer(number) => number.to_string(),
        Cell::Number(number) => number.to_string(),
        Cell::Day(day) => day.to_string(),
        Cell::Time(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        Cell::Flag(flag) => flag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_must_be_and_are_no_formula() {
        let mut table = Box::new(Csv::begin(["a", "b"]).unwrap());
        table.add(vec![Cell::Text("Ada \"L\", x".to_owned()), Cell::Text("=1+1".to_owned())]).unwrap();
        table.add(vec![Cell::None, Cell::Integer(-7)]).unwrap();
        let begun = table.take();
        table.add(vec![Cell::Text("@cmd\r\n".to_owned()), Cell::Flag(true)]).unwrap();
        let text = String::from_utf8([begun, table.end().unwrap()].concat()).unwrap();
        assert_eq!(text, "a,b\r\n\"Ada \"\"L\"\", x\",'=1+1\r\n,-7\r\n\"'@cmd\r\n\",true\r\n");
    }
}
