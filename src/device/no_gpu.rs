use super::Adapter;
use crate::error::{Error, Result};

pub async fn open() -> Result<Adapter> {
    Err(Error::device("this build has no GPU backend (cargo feature `gpu`)"))
}
