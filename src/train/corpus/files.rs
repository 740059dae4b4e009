//! Draws as files: the original's pre-training rows (reference §6.3), or WebDataset shards.

use super::tell::Told;
use super::world::World;
use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::train::sample::{Example, Target};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use image::{ExtendedColorType, ImageEncoder};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What the rows call their data set.
const DATASET: &str = "scenes";

/// Columns that say nothing of a row's task stay empty.
#[derive(Default)]
struct Row {
    caption: String,
    question: String,
    answer: String,
    kind: &'static str,
}

impl World {
    /// Writes the first `count` draws as `vision_language.tsv` and `detection.tsv`, and their captions as `text.tsv`.
    ///
    /// # Errors
    /// [`Error::File`], and those of [`World::told`].
    pub fn write_tsv(&self, folder: &Path, count: u64) -> Result<()> {
        let mut pairs = create(&folder.join("vision_language.tsv"))?;
        let mut detection = create(&folder.join("detection.tsv"))?;
        let mut texts = create(&folder.join("text.tsv"))?;
        let failed = |error| Error::file(folder.display(), error);
        for index in 0..count {
            let (scene, _) = self.scene(0, index)?;
            let pixels = self.render(&scene)?;
            let image = URL_SAFE.encode(png(&pixels)?);
            let side = self.options().side as f32;
            let objects: Vec<String> = scene.in_reading_order().map(|object| object.label()).collect();
            let objects = objects.join("&&");
            for (place, example) in self.told(0, index, None)?.main.iter().enumerate() {
                let Some(Row { caption, question, answer, kind }) = row(example, side) else { continue };
                let id = format!("{index}-{place}");
                if kind == "caption" {
                    writeln!(texts, "{id}\t{caption}").map_err(failed)?;
                }
                let cells = [&id, &image, &caption, &question, &answer, &objects, DATASET, kind];
                writeln!(pairs, "{}", cells.join("\t")).map_err(failed)?;
            }
            let boxes = scene
                .in_reading_order()
                .enumerate()
                .map(|(number, object)| format!("{},{number},{}", pixel_box(object.region, side), object.label()));
            let boxes: Vec<String> = boxes.collect();
            writeln!(detection, "{index}\t{image}\t{}", boxes.join("&&")).map_err(failed)?;
        }
        [pairs, detection, texts].iter_mut().try_for_each(BufWriter::flush).map_err(failed)
    }

    /// Writes the first `count` draws as `scenes-000000.tar`: a picture, its scene and what is told of it, each.
    ///
    /// # Errors
    /// [`Error::File`], and those of [`World::told`].
    pub fn write_webdataset(&self, folder: &Path, count: u64) -> Result<()> {
        let path = folder.join("scenes-000000.tar");
        let failed = |error| Error::file(path.display(), error);
        let mut shard = tar::Builder::new(create(&path)?);
        for index in 0..count {
            let (scene, _) = self.scene(0, index)?;
            let Told { main, extra, .. } = self.told(0, index, None)?;
            let told: Vec<_> = main.iter().chain(&extra).map(told_json).collect();
            let caption = main.iter().chain(&extra).find_map(|example| match &example.target {
                Target::Text(text) if example.task.name == "caption" => Some(text.as_str()),
                _ => None,
            });
            let json = serde_json::json!({ "scene": scene, "examples": told });
            let text = caption.unwrap_or_default().as_bytes().to_vec();
            let files = [("png", png(&self.render(&scene)?)?), ("txt", text), ("json", json.to_string().into_bytes())];
            for (extension, bytes) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                header.set_cksum();
                let name = format!("{index:08}.{extension}");
                shard.append_data(&mut header, name, bytes.as_slice()).map_err(failed)?;
            }
        }
        shard.into_inner().and_then(|mut file| file.flush()).map_err(failed)
    }
}

fn row(example: &Example, side: f32) -> Option<Row> {
    let text = example.inputs.text.clone().unwrap_or_default();
    match (example.task.name, &example.target) {
        ("caption", Target::Text(caption)) => Some(Row { caption: caption.clone(), kind: "caption", ..Row::default() }),
        ("vqa", Target::Text(answer)) => {
            Some(Row { question: text, answer: format!("1.0|!+{answer}"), kind: "qa", ..Row::default() })
        }
        ("grounding", Target::Region(region)) => {
            let answer = pixel_box(*region, side);
            Some(Row { caption: text, answer, kind: "visual_grounding", ..Row::default() })
        }
        // The original makes the other tasks' samples from these rows itself.
        _ => None,
    }
}

fn told_json(example: &Example) -> serde_json::Value {
    let answer = match &example.target {
        Target::Text(text) => serde_json::json!(text),
        Target::Region(region) => serde_json::json!(region),
        Target::Objects(objects) => serde_json::json!(objects),
        Target::Codes(codes) => serde_json::json!(codes),
    };
    serde_json::json!({ "task": example.task.name, "inputs": example.inputs, "answer": answer })
}

fn pixel_box(region: [f32; 4], side: f32) -> String {
    region.map(|at| format!("{:.1}", at * side)).join(",")
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    File::create(path).map(BufWriter::new).map_err(|error| Error::file(path.display(), error))
}

fn png(pixels: &Pixels) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let written = encoder.write_image(pixels.rgb(), pixels.width(), pixels.height(), ExtendedColorType::Rgb8);
    written.map_err(Error::image)?;
    Ok(bytes)
}
