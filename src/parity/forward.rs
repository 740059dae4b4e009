//! Whole passes and one-token-at-a-time passes.

use super::FORWARD_TOLERANCE;
use super::case::{Case, Differences, read};
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::model::{OfaModel, Source, TokenBatch};
use burn::tensor::Tensor;

/// The case's source: tokens and whatever image it has.
pub fn source(model: &OfaModel, case: &Case) -> Result<Source> {
    let mut source = Source::text(case.tokens("in.src_tokens")?);
    if case.find("in.patch_images").is_some() {
        source = source.with_image(model.encode_image(case.tensor("in.patch_images", &model.device())?));
        if case.find("in.patch_masks").is_some() {
            source.patch_masks = case.flags("in.patch_masks")?;
        }
    }
    if case.find("in.patch_order").is_some() {
        let [_, kept] = case.shape("in.patch_order")?;
        let order: Vec<usize> = case.ints("in.patch_order")?.into_iter().map(|patch| patch as usize).collect();
        source.patch_order = Some(order.chunks(kept).map(<[usize]>::to_vec).collect());
    }
    Ok(source)
}

pub async fn run(model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
    let mut differences = Differences::default();
    let source = source(model, case)?;
    let encoded = model.encode(&source);
    let [batch, length, width] = encoded.hidden.dims();

    let padding = case.flags("out.encoder_padding_mask")?;
    if encoded.padding != padding {
        return Err(Error::tensor(
            "out.encoder_padding_mask",
            format!("{padding:?}"),
            format!("{:?}", encoded.padding),
        ));
    }
    let hidden = read(encoded.hidden.clone()).await?;
    let expected = case.floats("out.encoder_out")?;
    differences.compare("out.encoder_out", [&hidden, &expected], width, FORWARD_TOLERANCE, |row| !padding[row])?;
    let positions = read(encoded.positions.clone().expand([batch, length, width])).await?;
    let expected = case.floats("out.position_embeddings")?;
    differences.compare("out.position_embeddings", [&positions, &expected], width, FORWARD_TOLERANCE, |_| true)?;

    let tokens = case.tokens("in.prev_output_tokens")?;
    let codes = if case.find("in.code_masks").is_some() { case.flags("in.code_masks")? } else { Vec::new() };
    let mut cache = model.begin(&encoded, &codes, tokens.len);
    let logits = model.logits(model.decode(&tokens, &mut cache));
    compare_logits(&mut differences, config, case, "out.logits", &tokens, logits).await?;
    Ok(differences.largest)
}

async fn compare_logits(
    differences: &mut Differences,
    config: &OfaConfig,
    case: &Case<'_>,
    name: &str,
    tokens: &TokenBatch,
    logits: Tensor<3>,
) -> Result<()> {
    let [_, _, vocabulary] = logits.dims();
    let (found, expected) = (read(logits).await?, case.floats(name)?);
    let valid = |row: usize| tokens.ids[row] != config.pad_token_id;
    differences.compare(name, [&found, &expected], vocabulary, FORWARD_TOLERANCE, valid)
}

pub async fn incremental(model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
    let mut differences = Differences::default();
    let encoded = model.encode(&source(model, case)?);
    let runs = [
        ("in.prev_output_tokens", "out.logits_incremental", false),
        ("in.prev_codes", "out.logits_incremental_codes", true),
    ];
    for (input, output, codes) in runs {
        let tokens = case.tokens(input)?;
        let mut cache = model.begin(&encoded, &vec![codes; tokens.batch], tokens.len);
        let mut steps = Vec::with_capacity(tokens.len);
        for position in 0..tokens.len {
            let newest = (0..tokens.batch).map(|row| tokens.row(row)[position]).collect();
            let hidden = model.decode(&TokenBatch::new(tokens.batch, 1, newest), &mut cache);
            steps.push(model.logits(hidden));
        }
        compare_logits(&mut differences, config, case, output, &tokens, Tensor::cat(steps, 1)).await?;
    }
    Ok(differences.largest)
}
