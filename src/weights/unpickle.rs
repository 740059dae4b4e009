//! The stack machine that a pickle is a program of.

use super::pickle::{Id, Storage, Value, View};
use super::raw::Dtype;
use std::collections::HashMap;

/// More values than any checkpoint has: one of OFA's needs about 25 for each tensor.
const MAX_VALUES: usize = 2_000_000;

/// What one opcode gives, or a reason without a place: the caller knows the place.
pub type Step<T> = std::result::Result<T, String>;

/// A program under way.
#[derive(Default)]
pub struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Everything made so far, by [`Id`].
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// Runs one opcode; gives the root at STOP.
    ///
    /// # Errors
    /// A sentence on what is wrong with the opcode that began at the last [`Machine::position`].
    pub fn step(&mut self) -> Step<Option<Id>> {
        let opcode = self.take(1)?[0];
        match opcode {
            b'.' => return self.pop().map(Some),
            // PROTO, FRAME: nothing to do.
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = *self.stack.last().ok_or("the stack is empty")?;
                self.stack.push(top);
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' => {
                let number = self.unsigned(1)?;
                self.push(Value::Int(number as i64))?;
            }
            b'M' => {
                let number = self.unsigned(2)?;
                self.push(Value::Int(number as i64))?;
            }
            b'J' => {
                let number = self.unsigned(4)? as u32 as i32;
                self.push(Value::Int(number.into()))?;
            }
            b'I' | b'L' => {
                let line = self.line()?;
                let value = match line {
                    "00" => Value::Bool(false),
                    "01" => Value::Bool(true),
                    _ => line.trim_end_matches('L').parse().map_or(Value::Opaque, Value::Int),
                };
                self.push(value)?;
            }
            0x8a | 0x8b => {
                let length = self.unsigned(if opcode == 0x8a { 1 } else { 4 })?;
                let value = long(self.take_u64(length)?);
                self.push(value)?;
            }
            b'F' => {
                let value = self.line()?.parse().map_or(Value::Opaque, Value::Float);
                self.push(value)?;
            }
            b'G' => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                self.push(Value::Float(f64::from_be_bytes(bytes)))?;
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' => {
                let width = match opcode {
                    0x8c | b'U' => 1,
                    0x8d => 8,
                    _ => 4,
                };
                let length = self.unsigned(width)?;
                let bytes = self.take_u64(length)?;
                // Python 2 strings may hold any bytes; no name in a checkpoint does.
                let value = std::str::from_utf8(bytes).map_or(Value::Opaque, |text| Value::Text(text.into()));
                self.push(value)?;
            }
            b'V' | b'S' => {
                let text = self.line()?.trim_matches(['\'', '"']).into();
                self.push(Value::Text(text))?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let width = match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                let length = self.unsigned(width)?;
                self.take_u64(length)?;
                self.push(Value::Opaque)?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push(Value::Opaque)?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let count = (opcode - 0x84) as usize;
                let start = self.stack.len().checked_sub(count).ok_or("the stack is too short for a tuple")?;
                let items = self.stack.split_off(start);
                self.push(Value::Tuple(items))?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Value::Dict(pairs(&items)))?;
            }
            0x91 => {
                self.pop_mark()?;
                self.push(Value::Opaque)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            0x90 => drop(self.pop_mark()?),
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.insert(&items)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                let global = format!("{module} {name}").into();
                self.push(Value::Global(global))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (self.value(module), self.value(name)) else {
                    return Err("a class whose name is not text".into());
                };
                let global = format!("{module} {name}").into();
                self.push(Value::Global(global))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'i' => {
                let class = format!("{} {}", self.line()?, self.line()?).into();
                self.pop_mark()?;
                self.push(Value::Object { class, state: None })?;
            }
            b'o' => {
                let items = self.pop_mark()?;
                let class = items.first().map_or("", |class| self.global(*class)).into();
                self.push(Value::Object { class, state: None })?;
            }
            b'b' => {
                let state = self.pop()?;
                let target = *self.stack.last().ok_or("the stack is empty")?;
                // Only objects keep their state: that of an OrderedDict is torch's `_metadata`.
                if let Some(Value::Object { state: slot, .. }) = self.values.get_mut(target.0 as usize) {
                    *slot = Some(state);
                }
            }
            b'Q' => {
                let reference = self.pop()?;
                self.storage(reference)?;
            }
            b'p' | b'q' | b'r' | 0x94 => {
                let key = match opcode {
                    b'q' => self.unsigned(1)? as u32,
                    b'r' => self.unsigned(4)? as u32,
                    0x94 => self.memo.len() as u32,
                    _ => self.line()?.parse().map_err(|_| "a memo key that is no number")?,
                };
                let top = *self.stack.last().ok_or("the stack is empty")?;
                self.memo.insert(key, top);
            }
            b'g' | b'h' | b'j' => {
                let key = match opcode {
                    b'h' => self.unsigned(1)? as u32,
                    b'j' => self.unsigned(4)? as u32,
                    _ => self.line()?.parse().map_err(|_| "a memo key that is no number")?,
                };
                let value = *self.memo.get(&key).ok_or_else(|| format!("memo {key} was never set"))?;
                self.stack.push(value);
            }
            _ => return Err(format!("opcode {opcode:#04x} does not occur in torch checkpoints")),
        }
        Ok(None)
    }

    /// REDUCE and NEWOBJ: the few callables that carry weights are interpreted, all others become objects.
    fn call(&mut self, callable: Id, arguments: Id) -> Step<()> {
        let class: Box<str> = self.global(callable).into();
        let arguments: Vec<Id> = match self.value(arguments) {
            Value::Tuple(items) => items.clone(),
            _ => Vec::new(),
        };
        match class.as_ref() {
            "torch._utils _rebuild_tensor_v2" | "torch._utils _rebuild_tensor" => {
                let view = self.view(&arguments)?;
                self.push(Value::Tensor(Box::new(view)))
            }
            "torch._utils _rebuild_parameter" => {
                self.stack.push(*arguments.first().ok_or("a parameter without data")?);
                Ok(())
            }
            "collections OrderedDict" | "collections defaultdict" | "builtins dict" | "__builtin__ dict" => {
                let pairs = arguments.last().map_or_else(Vec::new, |items| self.pairs_of(*items));
                self.push(Value::Dict(pairs))
            }
            _ => self.push(Value::Object { class, state: None }),
        }
    }

    /// The entries of `dict(items)`: items are pairs, or a dict already.
    fn pairs_of(&self, items: Id) -> Vec<(Id, Id)> {
        match self.value(items) {
            Value::Dict(pairs) => pairs.clone(),
            Value::List(items) => {
                let pair = |id: &Id| match self.value(*id) {
                    Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
                    _ => None,
                };
                items.iter().filter_map(pair).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `("storage", type, key, device, elements)`
    fn storage(&mut self, reference: Id) -> Step<()> {
        let malformed = "a reference that is not a torch storage";
        let Value::Tuple(items) = self.value(reference) else { return Err(malformed.into()) };
        let [_, kind, key, _, elements] = items.as_slice() else { return Err(malformed.into()) };
        let (Value::Text(key), Some(elements)) = (self.value(*key), self.size(*elements)) else {
            return Err(malformed.into());
        };
        let dtype = match self.global(*kind) {
            "torch DoubleStorage" => Some(Dtype::F64),
            "torch FloatStorage" => Some(Dtype::F32),
            "torch HalfStorage" => Some(Dtype::F16),
            "torch BFloat16Storage" => Some(Dtype::BF16),
            "torch LongStorage" => Some(Dtype::I64),
            "torch IntStorage" => Some(Dtype::I32),
            "torch ShortStorage" => Some(Dtype::I16),
            "torch CharStorage" => Some(Dtype::I8),
            "torch ByteStorage" => Some(Dtype::U8),
            "torch BoolStorage" => Some(Dtype::Bool),
            _ => None,
        };
        let storage = Storage { dtype, key: key.clone(), elements };
        self.push(Value::Storage(Box::new(storage)))
    }

    /// `(storage, offset, size, stride, …)`
    fn view(&self, arguments: &[Id]) -> Step<View> {
        let [storage, offset, shape, strides, ..] = arguments else { return Err("a tensor without shape".into()) };
        let sizes = |id: Id| match self.value(id) {
            Value::Tuple(items) | Value::List(items) => items.iter().map(|id| self.size(*id)).collect::<Option<_>>(),
            _ => None,
        };
        let malformed = "a tensor whose offset, shape or strides are not whole numbers";
        let view = View {
            storage: *storage,
            offset: self.size(*offset).ok_or(malformed)?,
            shape: sizes(*shape).ok_or(malformed)?,
            strides: sizes(*strides).ok_or(malformed)?,
        };
        match self.value(*storage) {
            Value::Storage(_) if view.shape.len() == view.strides.len() => Ok(view),
            Value::Storage(_) => Err("a tensor with other strides than dimensions".into()),
            _ => Err("a tensor without storage".into()),
        }
    }

    fn extend(&mut self, items: Vec<Id>) -> Step<()> {
        let target = *self.stack.last().ok_or("the stack is empty")?;
        // Classes derived from list are objects here, and their items of no interest.
        if let Some(Value::List(list)) = self.values.get_mut(target.0 as usize) {
            list.extend(items);
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Step<()> {
        let target = *self.stack.last().ok_or("the stack is empty")?;
        if let Some(Value::Dict(dict)) = self.values.get_mut(target.0 as usize) {
            dict.extend(pairs(items));
        }
        Ok(())
    }

    fn value(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::Opaque)
    }

    fn global(&self, id: Id) -> &str {
        match self.value(id) {
            Value::Global(name) => name,
            _ => "",
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.value(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    fn push(&mut self, value: Value) -> Step<()> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values: not a checkpoint of this model"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Step<Id> {
        Ok(self.stack.pop().ok_or("the stack is empty")?)
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("no mark was set")?;
        if mark > self.stack.len() {
            return Err("values below the mark are gone".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let taken = rest.get(..count).ok_or("the pickle ends too early")?;
        self.position += count;
        Ok(taken)
    }

    fn take_u64(&mut self, count: u64) -> Step<&'a [u8]> {
        self.take(usize::try_from(count).map_err(|_| "the pickle ends too early")?)
    }

    fn skip(&mut self, count: usize) -> Step<()> {
        self.take(count).map(drop)
    }

    /// A little-endian number of `width` bytes, at most 8.
    fn unsigned(&mut self, width: usize) -> Step<u64> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("the pickle ends too early")?;
        self.position += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "a line that is not text".into())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A little-endian two's-complement number of any length.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Opaque;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
