//! A build without the trainer has no losses.

use super::case::Case;
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::model::OfaModel;

pub async fn run(_: &OfaModel, _: &OfaConfig, case: &Case<'_>) -> Result<f32> {
    Err(Error::task(case.name, "this build has no trainer (cargo feature `train`)"))
}
