//! JSON, as one document or as one per line.

use chrono::SecondsFormat;
use projections::analytics::{Cell, ReadModel};
use serde_json::{Map, Value};

use super::{Table, TableError};

/// A row as an object.
pub fn object(model: &ReadModel, row: Vec<Cell>) -> Value {
    let members = model.columns.iter().zip(row).map(|(column, cell)| (column.name.to_owned(), value(cell)));
    members.collect::<Map<_, _>>().into()
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::None => Value::Null,
        Cell::Text(text) => text.into(),
        Cell::Id(id) => id.to_string().into(),
        Cell::Integer(number) => number.into(),
        Cell::Number(number) => number.into(),
        Cell::Day(day) => day.to_string().into(),
        Cell::Time(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
        Cell::Flag(flag) => flag.into(),
    }
}

/// One document per line.
pub struct Ndjson {
    model: &'static ReadModel,
    written: Vec<u8>,
}

impl Ndjson {
    pub fn begin(model: &'static ReadModel) -> Self {
        Self { model, written: Vec::new() }
    }
}

impl Table for Ndjson {
    fn add(&mut self, row: Vec<Cell>) -> Result<(), TableError> {
        serde_json::to_writer(&mut self.written, &object(self.model, row)).map_err(TableError::of)?;
        self.written.push(b'\n');
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    fn waiting(&self) -> usize {
        self.written.len()
    }

    fn end(mut self: Box<Self>) -> Result<Vec<u8>, TableError> {
        Ok(self.take())
    }
}

/// A page that holds all items.
pub struct Json {
    model: &'static ReadModel,
    written: Vec<u8>,
    first: bool,
}

impl Json {
    pub fn begin(model: &'static ReadModel) -> Self {
        Self { model, written: b"{\"items\":[".to_vec(), first: true }
    }
}

impl Table for Json {
    fn add(&mut self, row: Vec<Cell>) -> Result<(), TableError> {
        if !std::mem::take(&mut self.first) {
            self.written.push(b',');
        }
        serde_json::to_writer(&mut self.written, &object(self.model, row)).map_err(TableError::of)
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    fn waiting(&self) -> usize {
        self.written.len()
    }

    fn end(mut self: Box<Self>) -> Result<Vec<u8>, TableError> {
        self.written.extend_from_slice(b"],\"nextCursor\":null}");
        Ok(self.take())
    }
}
