//! From two schemas to a program.

use std::collections::BTreeMap;

use bellhop_core::topology::UnknownFields;

use super::run::{Plan, PlanId, Seek, Step, Transcoder};
use super::{Error, default};
use crate::schema::{Field, Names, Primitive, Schema, Type, TypeId};

/// Some values of the writer that the reader cannot take: a branch, a symbol. Data without them
/// is read; a schema of ours must have none against its own past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Path of field names from the record.
    pub at: String,
    /// What cannot be read.
    pub what: String,
}

/// Compiles the program from `writer` to `reader`, and lists what it cannot read.
///
/// # Errors
/// [`Error::Unresolvable`] when no data of the writer could be read, [`Error::UnknownField`] when
/// `unknown` refuses a field.
pub fn compile(
    writer: &Schema,
    reader: &Schema,
    unknown: UnknownFields,
) -> Result<(Transcoder, Vec<Gap>), Error> {
    let mut compiler = Compiler {
        writer,
        reader,
        unknown,
        empty: empty_types(writer),
        reader_empty: empty_types(reader),
        plans: Vec::new(),
        known: BTreeMap::new(),
        path: Vec::new(),
        gaps: Vec::new(),
    };
    let root = compiler.plan(writer.root(), reader.root())?;
    let Compiler { plans, empty, gaps, .. } = compiler;
    Ok((Transcoder { writer: writer.clone(), empty, plans, root }, gaps))
}

/// For each type whether its values take no bytes at all: nothing bounds how many there are.
fn empty_types(schema: &Schema) -> Vec<bool> {
    let mut empty = vec![false; schema.types().len()];
    loop {
        let before = empty.clone();
        // Parts stand behind what holds them, so one pass in this order nearly always does.
        for index in (0..empty.len()).rev() {
            empty[index] = match &schema.types()[index] {
                Type::Primitive { primitive, .. } => *primitive == Primitive::Null,
                Type::Fixed { size, .. } => *size == 0,
                Type::Record { fields, .. } => fields.iter().all(|field| empty[field.ty.index()]),
                Type::Enum { .. } | Type::Array(_) | Type::Map(_) | Type::Union(_) => false,
            };
        }
        if empty == before {
            return empty;
        }
    }
}

struct Compiler<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    unknown: UnknownFields,
    empty: Vec<bool>,
    reader_empty: Vec<bool>,
    plans: Vec<Plan>,
    /// Also holds what is being compiled, so that recursive types end.
    known: BTreeMap<(TypeId, TypeId), PlanId>,
    path: Vec<String>,
    gaps: Vec<Gap>,
}

impl Compiler<'_> {
    fn at(&self) -> String {
        if self.path.is_empty() { "the record".to_owned() } else { self.path.join(".") }
    }

    fn refuse<T>(&self, what: impl Into<String>) -> Result<T, Error> {
        Err(Error::Unresolvable { at: self.at(), what: what.into() })
    }

    fn plan(&mut self, writer: TypeId, reader: TypeId) -> Result<PlanId, Error> {
        if let Some(id) = self.known.get(&(writer, reader)) {
            return Ok(*id);
        }
        let id = PlanId(self.plans.len());
        let (gap_count, depth) = (self.gaps.len(), self.path.len());
        self.plans.push(Plan::Broken);
        self.known.insert((writer, reader), id);
        match self.build(writer, reader) {
            Ok(plan) => {
                self.plans[id.0] = plan;
                Ok(id)
            }
            Err(error) => {
                // What was compiled on the way may lead to this plan, which there is not.
                self.known.retain(|_, known| known.0 < id.0);
                self.gaps.truncate(gap_count);
                self.path.truncate(depth);
                Err(error)
            }
        }
    }

    fn build(&mut self, writer_id: TypeId, reader_id: TypeId) -> Result<Plan, Error> {
        let (writer, reader) = (self.writer.get(writer_id), self.reader.get(reader_id));
        if let (Some(wrote), Some(read)) = (writer.logical(), reader.logical())
            && wrote != read
        {
            return self.refuse(format!("{wrote} was written, {read} is read"));
        }
        match (writer, reader) {
            (Type::Union(branches), _) => self.union_written(branches, reader_id),
            (_, Type::Union(branches)) => self.union_read(writer_id, branches),
            _ if self.empty[writer_id.index()] && self.reader_empty[reader_id.index()] => {
                self.same_shape(writer, reader).map(|()| Plan::Nothing)
            }
            (Type::Primitive { primitive: wrote, .. }, Type::Primitive { primitive: read, .. }) => {
                match promote(*wrote, *read) {
                    Some(plan) => Ok(plan),
                    None => self.mismatch(writer, reader),
                }
            }
            (
                Type::Fixed { name, size, .. },
                Type::Fixed { name: read_name, size: read_size, .. },
            ) => {
                self.same_name(name, read_name)?;
                if size != read_size {
                    return self.mismatch(writer, reader);
                }
                Ok(Plan::Fixed(*size))
            }
            (
                Type::Enum { name, symbols, .. },
                Type::Enum { name: read_name, symbols: read, default },
            ) => {
                self.same_name(name, read_name)?;
                self.symbols(symbols, read, default.as_deref())
            }
            (Type::Array(items), Type::Array(read)) => {
                if self.empty[items.index()] {
                    return self.refuse("items that take no bytes, so that nothing bounds them");
                }
                Ok(Plan::Array(self.plan(*items, *read)?))
            }
            (Type::Map(values), Type::Map(read)) => Ok(Plan::Map(self.plan(*values, *read)?)),
            (Type::Record { name, fields }, Type::Record { name: read_name, fields: read }) => {
                self.same_name(name, read_name)?;
                self.record(fields, read)
            }
            _ => self.mismatch(writer, reader),
        }
    }

    fn mismatch<T>(&self, writer: &Type, reader: &Type) -> Result<T, Error> {
        let (wrote, read) = (writer.describe(), reader.describe());
        self.refuse(format!("{wrote} was written, {read} is read"))
    }

    fn same_name(&self, writer: &Names, reader: &Names) -> Result<(), Error> {
        let renamed = reader.aliases.contains(&writer.full);
        if renamed || writer.short() == reader.short() {
            return Ok(());
        }
        self.refuse(format!("{} was written, {} is read", writer.full, reader.full))
    }

    fn same_shape(&self, writer: &Type, reader: &Type) -> Result<(), Error> {
        match (writer.names(), reader.names()) {
            (Some(wrote), Some(read)) => self.same_name(wrote, read),
            (None, None) => Ok(()),
            (Some(_), None) | (None, Some(_)) => self.mismatch(writer, reader),
        }
    }

    fn symbols(
        &mut self,
        writer: &[String],
        reader: &[String],
        default: Option<&str>,
    ) -> Result<Plan, Error> {
        let number = |symbol: &str| reader.iter().position(|read| read == symbol);
        // The default would stand for what is not known.
        let default = default.filter(|_| self.unknown == UnknownFields::Skipped);
        let mut numbers = Vec::new();
        for symbol in writer {
            let read = number(symbol).or_else(|| number(default?));
            if read.is_none() {
                let what = format!("the symbol {symbol} was written, which the reader lacks");
                self.gaps.push(Gap { at: self.at(), what });
            }
            numbers.push(read);
        }
        Ok(Plan::Enum(numbers))
    }

    fn union_written(&mut self, branches: &[TypeId], reader: TypeId) -> Result<Plan, Error> {
        let mut plans = Vec::new();
        for branch in branches {
            match self.plan(*branch, reader) {
                Ok(plan) => plans.push(Some(plan)),
                Err(Error::Unresolvable { at, what }) => {
                    self.gaps.push(Gap { at, what });
                    plans.push(None);
                }
                Err(error @ (Error::Writer(_) | Error::Reader(_) | Error::UnknownField { .. })) => {
                    return Err(error);
                }
            }
        }
        if plans.iter().all(Option::is_none) {
            let read = self.reader.get(reader).describe();
            return self.refuse(format!("no branch of the writer's union can be read as {read}"));
        }
        Ok(Plan::FromUnion(plans))
    }

    /// The branch that is alike, or else the first that can take the value.
    fn union_read(&mut self, writer: TypeId, branches: &[TypeId]) -> Result<Plan, Error> {
        let likeness = |branch: TypeId| match (self.writer.get(writer), self.reader.get(branch)) {
            (Type::Primitive { primitive: wrote, .. }, Type::Primitive { primitive: read, .. }) => {
                usize::from(wrote != read)
            }
            (wrote, read) => match (wrote.names(), read.names()) {
                (Some(wrote), Some(read)) => usize::from(wrote.full != read.full),
                (None, None) | (Some(_), None) | (None, Some(_)) => 1,
            },
        };
        let mut order: Vec<(usize, TypeId)> = branches.iter().copied().enumerate().collect();
        order.sort_by_key(|(_, branch)| likeness(*branch));
        let mut closest = None;
        for (index, branch) in order {
            match self.plan(writer, branch) {
                Ok(value) => return Ok(Plan::IntoUnion { branch: index, value }),
                Err(error @ Error::UnknownField { .. }) => return Err(error),
                // The deepest complaint is the one about the branch that was meant.
                Err(error) => closest = deeper(closest, error, self.path.len()),
            }
        }
        match closest {
            Some(error) => Err(error),
            None => {
                let wrote = self.writer.get(writer).describe();
                self.refuse(format!("{wrote} was written, which the reader's union lacks"))
            }
        }
    }

    fn record(&mut self, writer: &[Field], reader: &[Field]) -> Result<Plan, Error> {
        let mut sources = Vec::new();
        for field in reader {
            let named = |name: &str| writer.iter().position(|wrote| wrote.name == name);
            let aliases = || field.aliases.iter().find_map(|alias| named(alias));
            self.path.push(field.name.clone());
            let source = match named(&field.name).or_else(aliases) {
                Some(index) => Seek::Read(index, self.plan(writer[index].ty, field.ty)?),
                None => Seek::Write(self.default_of(field)?),
            };
            self.path.pop();
            sources.push(source);
        }
        let read = sources.iter().filter_map(Seek::index).collect::<Vec<_>>();
        let dropped = (0..writer.len()).find(|index| !read.contains(index));
        if let Some(index) = dropped.filter(|_| self.unknown == UnknownFields::Refused) {
            self.path.push(writer[index].name.clone());
            return Err(Error::UnknownField { at: self.at() });
        }
        if !read.is_sorted_by(|before, after| before < after) {
            let fields = writer.iter().map(|field| field.ty).collect();
            return Ok(Plan::Seek { fields, steps: sources });
        }
        let mut steps = Vec::new();
        let mut next = 0;
        for source in sources {
            match source {
                Seek::Write(bytes) => steps.push(Step::Write(bytes)),
                Seek::Read(index, plan) => {
                    steps.extend(writer[next..index].iter().map(|field| Step::Skip(field.ty)));
                    steps.push(Step::Read(plan));
                    next = index + 1;
                }
            }
        }
        steps.extend(writer[next..].iter().map(|field| Step::Skip(field.ty)));
        Ok(Plan::Stream(steps))
    }

    fn default_of(&self, field: &Field) -> Result<Vec<u8>, Error> {
        let Some(json) = &field.default else {
            return self.refuse("the writer has no such field, and it has no default");
        };
        let mut bytes = Vec::new();
        match default::encode(self.reader, field.ty, json, 0, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(what) => self.refuse(what),
        }
    }
}

/// Whichever error lies further below the union, and the earlier one of equals.
fn deeper(known: Option<Error>, new: Error, path_length: usize) -> Option<Error> {
    let depth = |error: &Error| match error {
        Error::Unresolvable { at, .. } => at.split('.').count().saturating_sub(path_length),
        Error::Writer(_) | Error::Reader(_) | Error::UnknownField { .. } => usize::MAX,
    };
    match known {
        Some(known) if depth(&known) >= depth(&new) => Some(known),
        Some(_) | None => Some(new),
    }
}

fn promote(writer: Primitive, reader: Primitive) -> Option<Plan> {
    use Primitive::{Boolean, Bytes, Double, Float, Int, Long, Null, String};
    Some(match (writer, reader) {
        (Null, Null) => Plan::Nothing,
        (Boolean, Boolean) => Plan::Boolean,
        (Int, Int | Long) => Plan::Int,
        (Long, Long) => Plan::Long,
        (Int | Long, Float) => Plan::IntegerToFloat,
        (Int | Long, Double) => Plan::IntegerToDouble,
        (Float, Float) => Plan::Fixed(4),
        (Float, Double) => Plan::FloatToDouble,
        (Double, Double) => Plan::Fixed(8),
        (Bytes | String, Bytes) => Plan::Bytes,
        (Bytes | String, String) => Plan::Text,
        (Null | Boolean | Int | Long | Float | Double | Bytes | String, _) => return None,
    })
}
