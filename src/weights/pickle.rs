//! The part of Python's pickle format that torch checkpoints use, read as data: nothing is ever called.
//!
//! Values live in one arena and refer to each other by index, so that neither deep nesting nor cycles can exhaust the
//! stack, and every opcode makes at most one value, so that memory stays in proportion to the input.

use super::raw::Dtype;
use super::unpickle::Machine;
use crate::error::{Error, Result};

/// A value's place in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub(super) u32);

/// What a pickle can hold, as far as a checkpoint's reader cares.
#[derive(Debug)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, as "module name".
    Global(Box<str>),
    Storage(Box<Storage>),
    Tensor(Box<View>),
    /// An instance of a class that is not interpreted, with the state it was given.
    Object {
        class: Box<str>,
        state: Option<Id>,
    },
    /// Bytes, sets and numbers beyond 64 bits, which no weight depends on.
    Opaque,
}

/// A storage kept in a file of the archive. `dtype` is `None` for types that this crate does not read.
#[derive(Debug)]
pub struct Storage {
    pub dtype: Option<Dtype>,
    pub key: Box<str>,
    pub elements: usize,
}

/// A tensor as a view of a storage; offset and strides count elements.
#[derive(Debug)]
pub struct View {
    pub storage: Id,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A pickle's values.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// # Errors
    /// [`Error::File`] naming `file_name` and the position of the first opcode that is unknown, incomplete or does
    /// not fit what came before it.
    pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Self> {
        let mut machine = Machine::new(bytes);
        loop {
            let at = machine.position();
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(Self { values: machine.into_values(), root }),
                Err(reason) => return Err(Error::file(file_name, format!("pickle, byte {at}: {reason}"))),
            }
        }
    }

    pub fn root(&self) -> Id {
        self.root
    }

    pub fn value(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::Opaque)
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Entries with text keys, of a dict or of an object's attributes (argparse's Namespace, OmegaConf's containers).
    pub fn entries(&self, id: Id) -> Option<Vec<(&str, Id)>> {
        let pairs = match self.value(id) {
            Value::Dict(pairs) => pairs,
            Value::Object { state: Some(state), .. } => match self.value(*state) {
                Value::Dict(pairs) => pairs,
                _ => return None,
            },
            _ => return None,
        };
        let entries: Vec<_> = pairs.iter().filter_map(|(key, value)| Some((self.text(*key)?, *value))).collect();
        // OmegaConf keeps a container's entries one level deeper.
        match entries.iter().find(|(key, _)| *key == "_content") {
            Some((_, content)) if matches!(self.value(id), Value::Object { .. }) => match self.value(*content) {
                Value::Dict(pairs) => {
                    Some(pairs.iter().filter_map(|(key, value)| Some((self.text(*key)?, *value))).collect())
                }
                _ => None,
            },
            _ => Some(entries),
        }
    }

    /// The entry `key`; the last one when it occurs twice, as in Python.
    pub fn get(&self, id: Id, key: &str) -> Option<Id> {
        self.entries(id)?.into_iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A number, text or flag as JSON; `None` for everything else. OmegaConf's leaves are opened.
    pub fn scalar(&self, id: Id) -> Option<serde_json::Value> {
        let id = match self.value(id) {
            Value::Object { .. } => self.get(id, "_val")?,
            _ => id,
        };
        match self.value(id) {
            Value::Bool(flag) => Some((*flag).into()),
            Value::Int(number) => Some((*number).into()),
            Value::Float(number) => serde_json::Number::from_f64(*number).map(Into::into),
            Value::Text(text) => Some(text.as_ref().into()),
            _ => None,
        }
    }
}
