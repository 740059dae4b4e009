//! In place of `pretraining` in builds that do not train.

use crate::error::{Error, Result};
use crate::vocab::Vocab;
use serde_json::Value;

pub fn run(_name: &str, _golden: &Value, _vocab: &Vocab) -> Result<usize> {
    Err(Error::option("features", "train", "a build without it"))
}
