//! The model of image codes, as JavaScript sees it.

use super::js_error;
use crate::config::VqganConfig;
use crate::error::{Error, Result};
use crate::predict::{Drawing, ImageCodes};
use crate::weights::{Assembler, DeviceWeights};
use wasm_bindgen::prelude::*;

enum Stage {
    Loading {
        weights: DeviceWeights,
        assembler: Assembler,
    },
    Ready(Box<ImageCodes>),
    /// Loading failed; the error has been reported.
    Broken,
}

/// What turns codes into pictures, from its first shard on. It comes from
/// [`Session::open_codes`](super::Session::open_codes).
#[wasm_bindgen]
pub struct Codes {
    config: VqganConfig,
    stage: Stage,
}

impl Codes {
    pub(super) fn new(config: VqganConfig, weights: DeviceWeights) -> Self {
        Self { config, stage: Stage::Loading { weights, assembler: Assembler::new() } }
    }

    pub(super) fn model(&self) -> Result<&ImageCodes> {
        match &self.stage {
            Stage::Ready(codes) => Ok(codes),
            _ => Err(Error::file("vqgan", "the image codes are not loaded")),
        }
    }

    fn build(&mut self) -> Result<()> {
        let Stage::Loading { weights, assembler } = std::mem::replace(&mut self.stage, Stage::Broken) else {
            return Err(Error::file("vqgan", "the image codes are complete already"));
        };
        assembler.finish()?;
        let model = weights.into_vqgan(&self.config)?;
        self.stage = Stage::Ready(Box::new(ImageCodes::new(self.config.clone(), model)));
        Ok(())
    }
}

#[wasm_bindgen]
impl Codes {
    /// Takes a shard's bytes and uploads the tensors that it completes.
    #[wasm_bindgen(js_name = addShard)]
    pub fn add_shard(&mut self, name: &str, bytes: &[u8]) -> std::result::Result<(), JsValue> {
        let Stage::Loading { weights, assembler } = &mut self.stage else {
            return Err(js_error(Error::file(name, "the image codes take no more shards")));
        };
        let added = assembler
            .push(name, bytes)
            .and_then(|tensors| tensors.iter().try_for_each(|(name, tensor)| weights.insert(name, tensor)));
        added.map_err(js_error)
    }

    /// Builds the model. A missing, unused or wrongly shaped tensor is an error.
    pub fn finish(&mut self) -> std::result::Result<(), JsValue> {
        self.build().map_err(js_error)
    }
}

/// A picture that the model drew.
#[wasm_bindgen]
pub struct Picture {
    drawing: Drawing,
}

impl Picture {
    pub(super) fn new(drawing: Drawing) -> Self {
        Self { drawing }
    }
}

#[wasm_bindgen]
impl Picture {
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.drawing.pixels.width()
    }

    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.drawing.pixels.height()
    }

    /// How likely the model thinks it that the caption describes the picture, if it was asked.
    #[wasm_bindgen(getter)]
    pub fn fit(&self) -> Option<f64> {
        self.drawing.fit
    }

    /// Four bytes a pixel, row after row.
    pub fn rgba(&self) -> Vec<u8> {
        let opaque = |rgb: &[u8]| [rgb[0], rgb[1], rgb[2], u8::MAX];
        self.drawing.pixels.rgb().chunks_exact(3).flat_map(opaque).collect()
    }
}
