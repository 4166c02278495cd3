//! Functions that SQL over the lake has besides those of DataFusion.
//!
//! `id_text` shows the 16 bytes of an id as text; the views apply it, so that nobody has to.
//! `json_get` and `json_sum` read the body of an event.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray, Int64Builder, StringViewArray, StringViewBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use serde_json::Value;
use uuid::Uuid;

use crate::column::ID_BYTES;

/// Characters of an id.
const TEXT_BYTES: u32 = 36;

/// All of them.
pub(crate) fn all() -> [ScalarUDF; 3] {
    [id_text(), Json::udf("json_get", Reads::Text), Json::udf("json_sum", Reads::Sum)]
}

/// The 16 bytes of an id as 36 characters.
pub(crate) fn id_text() -> ScalarUDF {
    let bytes = vec![DataType::FixedSizeBinary(ID_BYTES)];
    IdText { signature: Signature::exact(bytes, Volatility::Immutable) }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IdText {
    signature: Signature,
}

impl ScalarUDFImpl for IdText {
    fn name(&self) -> &'static str {
        "id_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = arrays.first().map(|ids| Arc::new(texts(ids)) as ArrayRef);
        Ok(ColumnarValue::Array(texts.unwrap_or_else(|| Arc::new(StringViewArray::new_null(0)))))
    }

    /// An id as text has one id behind it, so a comparison with text becomes one of bytes, which the
    /// statistics of files and row groups answer.
    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        _: &SimplifyContext,
    ) -> Result<PreimageResult> {
        let ([expr], Expr::Literal(value, _)) = (args, literal) else {
            return Ok(PreimageResult::None);
        };
        let text = value.try_as_str().flatten();
        let id = text.and_then(|text| {
            Uuid::parse_str(text).ok().filter(|id| id.hyphenated().to_string() == text)
        });
        let next = id.and_then(|id| id.as_u128().checked_add(1));
        let Some((id, next)) = id.zip(next) else { return Ok(PreimageResult::None) };
        let bytes =
            |id: u128| ScalarValue::FixedSizeBinary(ID_BYTES, Some(id.to_be_bytes().to_vec()));
        let interval = Interval::try_new(bytes(id.as_u128()), bytes(next))?;
        Ok(PreimageResult::Range { expr: expr.clone(), interval: Box::new(interval) })
    }
}

/// Rows of one property or event lie side by side: a text is written once for each run of an id.
fn texts(ids: &ArrayRef) -> StringViewArray {
    let ids = ids.as_fixed_size_binary();
    let mut block = Vec::new();
    let mut offsets = Vec::with_capacity(ids.len());
    let mut last: Option<(&[u8], u32)> = None;
    let mut text = [0; 36];
    for id in ids {
        let offset = id.map(|id| match last {
            Some((same, offset)) if same == id => offset,
            _ => {
                // A batch has some thousand rows of 36 bytes each.
                let offset = u32::try_from(block.len()).unwrap_or(u32::MAX);
                let uuid = Uuid::from_slice(id).unwrap_or_default();
                block.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
                last = Some((id, offset));
                offset
            }
        });
        offsets.push(offset);
    }
    let mut builder = StringViewBuilder::with_capacity(offsets.len());
    let block = builder.append_block(block.into());
    for offset in offsets {
        let view = offset.map(|offset| builder.try_append_view(block, offset, TEXT_BYTES));
        if !matches!(view, Some(Ok(()))) {
            builder.append_null();
        }
    }
    builder.finish()
}

/// What is read at a path of a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reads {
    /// The first value, as text.
    Text,
    /// The sum of all whole numbers.
    Sum,
}

/// A function of a JSON text and a path like `lines.0.product`; `*` stands for every item.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Json {
    name: &'static str,
    reads: Reads,
    signature: Signature,
}

impl Json {
    fn udf(name: &'static str, reads: Reads) -> ScalarUDF {
        let texts = vec![DataType::Utf8View, DataType::Utf8View];
        Self { name, reads, signature: Signature::exact(texts, Volatility::Immutable) }.into()
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.reads {
            Reads::Text => DataType::Utf8View,
            Reads::Sum => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = arrays.iter().map(|array| cast(array, &DataType::Utf8View));
        let texts = texts.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut strings = texts.iter().map(|array| array.as_string_view().iter());
        let (Some(bodies), Some(paths)) = (strings.next(), strings.next()) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Null));
        };
        let values = bodies.zip(paths).map(|(body, path)| {
            let body: Value = serde_json::from_str(body?).ok()?;
            let mut found = Vec::new();
            at(&body, path?, &mut found);
            Some(found.into_iter().cloned().collect::<Vec<_>>())
        });
        Ok(ColumnarValue::Array(match self.reads {
            Reads::Text => {
                let mut builder = StringViewBuilder::new();
                values.for_each(|values| builder.append_option(values.and_then(first_text)));
                Arc::new(builder.finish())
            }
            Reads::Sum => {
                let mut builder = Int64Builder::new();
                values.for_each(|values| builder.append_option(values.and_then(sum)));
                Arc::new(builder.finish())
            }
        }))
    }
}

fn at<'v>(value: &'v Value, path: &str, found: &mut Vec<&'v Value>) {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let mut go = |value: &'v Value| match rest {
        Some(rest) => at(value, rest, found),
        None => found.push(value),
    };
    match value {
        Value::Object(fields) if step == "*" => fields.values().for_each(go),
        Value::Array(items) if step == "*" => items.iter().for_each(go),
        Value::Object(fields) => fields.get(step).into_iter().for_each(go),
        Value::Array(items) => {
            let item = step.parse().ok().and_then(|index: usize| items.get(index));
            item.into_iter().for_each(go);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            if path.is_empty() {
                go(value);
            }
        }
    }
}

fn first_text(values: Vec<Value>) -> Option<String> {
    match values.into_iter().next()? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(other.to_string())
        }
    }
}

fn sum(values: Vec<Value>) -> Option<i64> {
    let numbers: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
    let first = numbers.first().copied()?;
    numbers.iter().skip(1).try_fold(first, |sum, number| sum.checked_add(*number))
}
