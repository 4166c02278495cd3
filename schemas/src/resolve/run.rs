//! The program and how it runs.

use bellhop_core::avro::{Avro, DecodeError, Reader, write_bytes, write_long};
use bellhop_core::topology::Transcode;

use crate::schema::{Primitive, Schema, Type, TypeId};

/// Deepest nesting of a datum; ours are five deep.
const DEPTH_MAX: usize = 64;
/// Bytes that defaults may add to any datum.
const ADDED_BYTES_MAX: usize = 4096;
/// How many times as long as the input the rest of the output may be.
const GROWTH_MAX: usize = 8;

/// A plan within its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlanId(pub(super) usize);

/// What to do with one value of the writer.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// It takes no bytes, here or there.
    Nothing,
    /// Copies a byte that is 0 or 1.
    Boolean,
    /// Copies an integer of 32 bits, also where 64 are read.
    Int,
    /// Copies an integer.
    Long,
    IntegerToFloat,
    IntegerToDouble,
    FloatToDouble,
    /// Copies a length and bytes.
    Bytes,
    /// Copies a length and bytes that are UTF-8.
    Text,
    /// Copies so many bytes.
    Fixed(usize),
    /// The reader's number of each symbol.
    Enum(Vec<Option<usize>>),
    Array(PlanId),
    Map(PlanId),
    /// A record whose fields come in the order in which they are read.
    Stream(Vec<Step>),
    /// A record whose fields come in another order: all are found first, then read.
    Seek {
        /// Types of the writer's fields.
        fields: Vec<TypeId>,
        steps: Vec<Seek>,
    },
    /// The plan of each branch of the writer.
    FromUnion(Vec<Option<PlanId>>),
    IntoUnion {
        branch: usize,
        value: PlanId,
    },
    /// Stands where a plan is being compiled.
    Broken,
}

/// One step through a record in the writer's order.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Read(PlanId),
    Skip(TypeId),
    Write(Vec<u8>),
}

/// One field of the reader.
#[derive(Debug, Clone)]
pub(super) enum Seek {
    /// The writer's field of that index.
    Read(usize, PlanId),
    Write(Vec<u8>),
}

impl Seek {
    pub(super) fn index(&self) -> Option<usize> {
        match self {
            Self::Read(index, _) => Some(*index),
            Self::Write(_) => None,
        }
    }
}

/// A program from one schema to another.
#[derive(Debug, Clone)]
pub struct Transcoder {
    pub(super) writer: Schema,
    /// For each type of the writer whether its values take no bytes.
    pub(super) empty: Vec<bool>,
    pub(super) plans: Vec<Plan>,
    pub(super) root: PlanId,
}

impl Transcoder {
    /// Bytes after which a datum of `input_bytes` is refused.
    #[must_use]
    pub fn output_bytes_max(input_bytes: usize) -> usize {
        ADDED_BYTES_MAX.saturating_add(input_bytes.saturating_mul(GROWTH_MAX))
    }
}

impl Transcode for Transcoder {
    fn transcode(&self, datum: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let out_max = out.len().saturating_add(Self::output_bytes_max(datum.len()));
        let reader = Reader::new(datum);
        let mut run = Run { program: self, reader, out, out_max, starts: Vec::new() };
        run.value(self.root, 0)?;
        run.reader.finish()
    }
}

struct Run<'a> {
    program: &'a Transcoder,
    reader: Reader<'a>,
    out: &'a mut Vec<u8>,
    out_max: usize,
    /// Where the fields of the records begin that are read in another order; a stack.
    starts: Vec<Reader<'a>>,
}

impl Run<'_> {
    fn value(&mut self, plan: PlanId, depth: usize) -> Result<(), DecodeError> {
        self.check(depth)?;
        match &self.program.plans[plan.0] {
            Plan::Nothing => {}
            Plan::Boolean => bool::decode(&mut self.reader)?.encode(self.out),
            Plan::Int => i32::decode(&mut self.reader)?.encode(self.out),
            Plan::Long => self.reader.long()?.encode(self.out),
            Plan::IntegerToFloat => {
                let value = self.reader.long()? as f32;
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Plan::IntegerToDouble => {
                let value = self.reader.long()? as f64;
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Plan::FloatToDouble => {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(self.reader.take(4)?);
                self.out.extend_from_slice(&f64::from(f32::from_le_bytes(bytes)).to_le_bytes());
            }
            Plan::Bytes => write_bytes(self.reader.bytes()?, self.out),
            Plan::Text => write_bytes(self.reader.str()?.as_bytes(), self.out),
            Plan::Fixed(size) => self.out.extend_from_slice(self.reader.take(*size)?),
            Plan::Enum(numbers) => match numbers.get(self.index()?) {
                Some(Some(number)) => write_long(*number as i64, self.out),
                Some(None) => {
                    return Err(self.reader.invalid("a symbol that this program does not know"));
                }
                None => return Err(self.reader.invalid("an enum symbol that does not exist")),
            },
            Plan::Array(items) => self.blocks(|run| run.value(*items, depth + 1))?,
            Plan::Map(values) => self.blocks(|run| {
                write_bytes(run.reader.str()?.as_bytes(), run.out);
                run.value(*values, depth + 1)
            })?,
            Plan::Stream(steps) => {
                for step in steps {
                    match step {
                        Step::Read(plan) => self.value(*plan, depth + 1)?,
                        Step::Skip(ty) => self.skip(*ty, depth + 1)?,
                        Step::Write(bytes) => self.out.extend_from_slice(bytes),
                    }
                }
            }
            Plan::Seek { fields, steps } => self.seek(fields, steps, depth)?,
            Plan::FromUnion(branches) => match branches.get(self.index()?) {
                Some(Some(value)) => self.value(*value, depth + 1)?,
                Some(None) => {
                    return Err(self.reader.invalid("a branch that this program does not know"));
                }
                None => return Err(self.reader.invalid("a union branch that does not exist")),
            },
            Plan::IntoUnion { branch, value } => {
                write_long(*branch as i64, self.out);
                self.value(*value, depth + 1)?;
            }
            Plan::Broken => return Err(self.reader.invalid("a value that cannot be resolved")),
        }
        Ok(())
    }

    fn check(&self, depth: usize) -> Result<(), DecodeError> {
        if depth > DEPTH_MAX {
            return Err(self.reader.invalid("a value nested too deep"));
        }
        if self.out.len() > self.out_max {
            return Err(self.reader.invalid("a record that grows too large by its defaults"));
        }
        Ok(())
    }

    /// The number of a symbol or a branch; what is none is one too large.
    fn index(&mut self) -> Result<usize, DecodeError> {
        Ok(usize::try_from(self.reader.long()?).unwrap_or(usize::MAX))
    }

    fn seek(&mut self, fields: &[TypeId], steps: &[Seek], depth: usize) -> Result<(), DecodeError> {
        let base = self.starts.len();
        for field in fields {
            self.starts.push(self.reader.clone());
            self.skip(*field, depth + 1)?;
        }
        let end = self.reader.clone();
        for step in steps {
            match step {
                Seek::Read(index, plan) => {
                    self.reader = self.starts[base + index].clone();
                    self.value(*plan, depth + 1)?;
                }
                Seek::Write(bytes) => self.out.extend_from_slice(bytes),
            }
        }
        self.reader = end;
        self.starts.truncate(base);
        Ok(())
    }

    /// Copies the blocks of an array or a map.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        loop {
            let count = self.block_count()?;
            write_long(count as i64, self.out);
            if count == 0 {
                return Ok(());
            }
            if count > self.reader.rest().len() {
                return Err(self.reader.invalid("an array longer than the record"));
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    fn block_count(&mut self) -> Result<usize, DecodeError> {
        let mut count = self.reader.long()?;
        if count < 0 {
            self.reader.long()?;
            count = count.checked_neg().ok_or_else(|| self.reader.invalid("an array count"))?;
        }
        usize::try_from(count).map_err(|_| self.reader.invalid("an array count"))
    }

    /// Steps over a value that nobody reads.
    fn skip(&mut self, ty: TypeId, depth: usize) -> Result<(), DecodeError> {
        self.check(depth)?;
        if self.program.empty[ty.index()] {
            return Ok(());
        }
        let program = self.program;
        match program.writer.get(ty) {
            Type::Primitive { primitive, .. } => match primitive {
                Primitive::Null => {}
                Primitive::Boolean => drop(self.reader.take(1)?),
                Primitive::Int | Primitive::Long => drop(self.reader.long()?),
                Primitive::Float => drop(self.reader.take(4)?),
                Primitive::Double => drop(self.reader.take(8)?),
                Primitive::Bytes | Primitive::String => drop(self.reader.bytes()?),
            },
            Type::Fixed { size, .. } => drop(self.reader.take(*size)?),
            Type::Enum { .. } => drop(self.reader.long()?),
            Type::Array(items) => self.skip_blocks(*items, false, depth)?,
            Type::Map(values) => self.skip_blocks(*values, true, depth)?,
            Type::Union(branches) => {
                let branch = branches.get(self.index()?).copied();
                let missing = || self.reader.invalid("a union branch that does not exist");
                let branch = branch.ok_or_else(missing)?;
                self.skip(branch, depth + 1)?;
            }
            Type::Record { fields, .. } => {
                for field in fields {
                    self.skip(field.ty, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn skip_blocks(&mut self, item: TypeId, keyed: bool, depth: usize) -> Result<(), DecodeError> {
        loop {
            let count = self.block_count()?;
            if count == 0 {
                return Ok(());
            }
            if !keyed && self.program.empty[item.index()] {
                continue;
            }
            if count > self.reader.rest().len() {
                return Err(self.reader.invalid("an array longer than the record"));
            }
            for _ in 0..count {
                if keyed {
                    self.reader.bytes()?;
                }
                self.skip(item, depth + 1)?;
            }
        }
    }
}
