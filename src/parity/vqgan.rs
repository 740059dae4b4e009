//! Images to codes and back.

use super::case::{Case, Differences, read};
use super::{FORWARD_TOLERANCE, IMAGE_TOLERANCE, Outcome};
use crate::config::VqganConfig;
use crate::error::{Error, Result};
use crate::image::from_planes;
use crate::kernels::integers;
use crate::model::Vqgan;
use crate::weights::{DeviceWeights, infer_vqgan_config, read_shard, vqgan_tensors};
use burn::tensor::{Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// The goldens of one directory `vqgan`; its files.
pub struct VqganGoldens<'a> {
    pub config: &'a str,
    pub weights: &'a [u8],
    pub cases: &'a [u8],
}

impl VqganGoldens<'_> {
    pub const CASES: [&'static str; 5] = ["config", "encoder", "codes", "decode_a", "decode_b"];

    pub async fn run(&self, name: &str, device: &Device) -> Outcome {
        match self.run_case(name, device).await {
            Ok(difference) => Outcome::Passed { difference },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        }
    }

    async fn run_case(&self, name: &str, device: &Device) -> Result<f32> {
        let shared = BTreeMap::new();
        let case = Case::at("cases.safetensors", name, self.cases, &Value::Null, &shared)?;
        let config = VqganConfig::from_json(self.config)?;
        if name == "config" {
            return self.shapes_show_it(config);
        }
        let mut weights = DeviceWeights::plain(device.clone());
        for (name, tensor) in read_shard("model.safetensors", self.weights)? {
            weights.insert(&name, &tensor)?;
        }
        let model = weights.into_vqgan(&config)?;
        match name {
            "encoder" => encoder(&model, &case).await,
            "codes" => codes(&model, &case).await,
            _ => decode(&model, &case, name.trim_start_matches("decode_")).await,
        }
    }

    /// What the tensors' shapes tell is what the configuration says, up to the numbers that nothing depends on.
    fn shapes_show_it(&self, config: VqganConfig) -> Result<f32> {
        let tensors = read_shard("model.safetensors", self.weights)?;
        let tensors = vqgan_tensors(tensors.into_iter().map(|(name, tensor)| (name, tensor.into_owned())).collect());
        let found = infer_vqgan_config(&tensors.into_iter().map(|(name, tensor)| (name, tensor.shape)).collect())?;
        let attention = |config: &VqganConfig| -> Vec<bool> {
            (0..config.ddconfig.ch_mult.len()).map(|level| config.ddconfig.has_attention(level)).collect()
        };
        let mut alike = found.clone();
        alike.ddconfig.resolution = config.ddconfig.resolution;
        alike.ddconfig.attn_resolutions = config.ddconfig.attn_resolutions.clone();
        if alike != config || attention(&found) != attention(&config) {
            return Err(Error::config("vqgan", format!("{config:?}"), format!("{found:?}")));
        }
        Ok(0.0)
    }
}

async fn encoder(model: &Vqgan, case: &Case<'_>) -> Result<f32> {
    let encoded = model.encode(case.tensor("in.image", &model.device())?);
    let features = model.features(encoded.clone());
    let scores = model.quantize.scores(features.clone());
    let mut differences = Differences::default();
    for (name, found) in [("out.encoder", encoded), ("out.prequant", features), ("out.code_logits", scores)] {
        compare(&mut differences, case, name, found, FORWARD_TOLERANCE).await?;
    }
    Ok(differences.largest)
}

/// The same code for every square.
async fn codes(model: &Vqgan, case: &Case<'_>) -> Result<f32> {
    let codes = model.codes(case.tensor("in.image", &model.device())?);
    let data = codes.into_data_async().await.map_err(Error::device)?;
    let expected = case.ints("out.codes_argmax")?;
    for (at, (found, expected)) in data.iter::<i64>().zip(&expected).enumerate() {
        if found != *expected {
            return Err(Error::tensor("out.codes_argmax", format!("{expected} at {at}"), found));
        }
    }
    Ok(0.0)
}

/// Codes to rows to images to bytes. The bytes are made of the original's numbers: a difference in the last digit
/// could take ours to the other side of a whole number.
async fn decode(model: &Vqgan, case: &Case<'_>, grid: &str) -> Result<f32> {
    let name = |what: &str| format!("{what}_{grid}");
    let shape: [usize; 3] = case.shape(&name("in.codes"))?;
    let codes: Vec<i32> = case.ints(&name("in.codes"))?.into_iter().map(|code| code as i32).collect();
    let codes = integers(codes, shape, &model.device());
    let rows = model.quantize.look_up(codes.clone());
    let mut differences = Differences::default();
    compare(&mut differences, case, &name("out.z"), rows, 0.0).await?;
    compare(&mut differences, case, &name("out.image"), model.decode(codes), IMAGE_TOLERANCE).await?;

    let [_, _, height, width] = case.shape(&name("out.image"))?;
    let (planes, bytes) = (case.floats(&name("out.image"))?, case.ints(&name("out.uint8"))?);
    let size = 3 * height * width;
    for (planes, expected) in planes.chunks(size).zip(bytes.chunks(size)) {
        let pixels = from_planes(planes, width as u32, height as u32)?;
        let found = pixels.rgb().iter().map(|byte| i64::from(*byte));
        if let Some(at) = found.zip(expected).position(|(found, expected)| found != *expected) {
            return Err(Error::tensor(name("out.uint8"), format!("{} at {at}", expected[at]), pixels.rgb()[at]));
        }
    }
    Ok(differences.largest)
}

async fn compare(
    differences: &mut Differences,
    case: &Case<'_>,
    name: &str,
    found: Tensor<4>,
    tolerance: f32,
) -> Result<()> {
    let [_, _, _, width] = found.dims();
    let (found, expected) = (read(found).await?, case.floats(name)?);
    differences.compare(name, [&found, &expected], width, tolerance, |_| true)
}
