//! Apache Parquet: typed columns, compressed, in groups of rows that are written as soon as they are full.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::types::Date32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use projections::analytics::{Cell, Column, Kind, ReadModel};

use super::{Table, TableError};

/// Rows that are turned into columns together.
const BATCH: usize = 4_096;
/// Rows in a group, which is held in memory until it is whole.
const GROUP: usize = 65_536;

/// A table as Parquet.
pub struct Parquet {
    writer: ArrowWriter<Sink>,
    schema: SchemaRef,
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
    written: Sink,
}

/// Memory that the writer fills and that is emptied from outside.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Parquet {
    /// A table of this read model; what its columns say stands beside them.
    pub fn begin(model: &'static ReadModel) -> Result<Self, TableError> {
        let fields: Vec<Field> = model.columns.iter().map(field).collect();
        let about = HashMap::from([("about".to_owned(), model.about.to_owned())]);
        let schema = Arc::new(Schema::new_with_metadata(fields, about));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP))
            .build();
        let written = Sink::default();
        let writer = ArrowWriter::try_new(written.clone(), schema.clone(), Some(properties)).map_err(TableError::of)?;
        Ok(Self { writer, schema, columns: model.columns, rows: Vec::with_capacity(BATCH), written })
    }

    fn flush(&mut self) -> Result<(), TableError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let arrays = self.columns.iter().enumerate().map(|(index, column)| array(column, index, &rows)).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(TableError::of)?;
        self.writer.write(&batch).map_err(TableError::of)
    }
}

impl Table for Parquet {
    fn add(&mut self, row: Vec<Cell>) -> Result<(), TableError> {
        self.rows.push(row);
        if self.rows.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn take(&mut self) -> Vec<u8> {
        self.written.take()
    }

    fn waiting(&self) -> usize {
        self.written.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn end(mut self: Box<Self>) -> Result<Vec<u8>, TableError> {
        self.flush()?;
        let Self { writer, written, .. } = *self;
        writer.close().map_err(TableError::of)?;
        Ok(written.take())
    }
}

fn field(column: &Column) -> Field {
    let kind = match column.kind {
        Kind::Text | Kind::Id => DataType::Utf8,
        Kind::Integer => DataType::Int64,
        Kind::Number => DataType::Float64,
        Kind::Day => DataType::Date32,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Flag => DataType::Boolean,
    };
    let about = HashMap::from([("about".to_owned(), column.about.to_owned())]);
    Field::new(column.name, kind, true).with_metadata(about)
}

/// One column of these rows. A value of another kind than the column's cannot come: both stand in the read model.
fn array(column: &Column, index: usize, rows: &[Vec<Cell>]) -> ArrayRef {
    let cells = rows.iter().map(|row| row.get(index).unwrap_or(&Cell::None));
    match column.kind {
        Kind::Text | Kind::Id => {
            let mut builder = StringBuilder::new();
            cells.for_each(|cell| match cell {
                Cell::Text(text) => builder.append_value(text),
                Cell::Id(id) => builder.append_value(id.to_string()),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }
        Kind::Integer => {
            let mut builder = Int64Builder::new();
            cells.for_each(|cell| {
                builder.append_option(if let Cell::Integer(value) = cell { Some(*value) } else { None })
            });
            Arc::new(builder.finish())
        }
        Kind::Number => {
            let mut builder = Float64Builder::new();
            cells.for_each(|cell| {
                builder.append_option(if let Cell::Number(value) = cell { Some(*value) } else { None })
            });
            Arc::new(builder.finish())
        }
        Kind::Day => {
            let mut builder = Date32Builder::new();
            let day =
                |cell: &Cell| if let Cell::Day(day) = cell { Some(Date32Type::from_naive_date(*day)) } else { None };
            cells.for_each(|cell| builder.append_option(day(cell)));
            Arc::new(builder.finish())
        }
        Kind::Time => {
            let mut builder = TimestampMicrosecondBuilder::new();
            let time = |cell: &Cell| if let Cell::Time(time) = cell { Some(time.timestamp_micros()) } else { None };
            cells.for_each(|cell| builder.append_option(time(cell)));
            Arc::new(builder.finish().with_timezone("UTC"))
        }
        Kind::Flag => {
            let mut builder = BooleanBuilder::new();
            cells
                .for_each(|cell| builder.append_option(if let Cell::Flag(value) = cell { Some(*value) } else { None }));
            Arc::new(builder.finish())
        }
    }
}
