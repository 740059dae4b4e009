//! `cargo bench`: what an answer costs natively, stage by stage, for the shape of OFA-Tiny with random weights.
//!
//! `OFA_BENCH_DEVICE=cpu|gpu|auto` chooses the device; the default is the CPU and, where there is a real one, the GPU.

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ofa::config::{Decoding, OfaConfig, Size};
use ofa::device::DeviceChoice;
use ofa::generate::{Step, StepRequest};
use ofa::image::Pixels;
use ofa::model::{EncoderOutput, OfaModel, Random, Source, TokenBatch};
use ofa::predict::ModelStep;
use ofa::vocab::Vocab;
use pollster::block_on;
use std::hint::black_box;

const SIDE: usize = 256;
/// ` what does the image describe?` with BOS and EOS.
const INSTRUCTION: [u32; 8] = [0, 99, 473, 5, 2274, 6190, 116, 2];
const MAX_LEN: usize = 16;

fn devices() -> Vec<(&'static str, Device)> {
    let open = |choice: DeviceChoice| block_on(choice.open()).map(|(device, report)| (report.kind, device));
    match std::env::var("OFA_BENCH_DEVICE") {
        Ok(name) => DeviceChoice::from_name(&name).and_then(open).into_iter().collect(),
        Err(_) => {
            let mut devices: Vec<_> = open(DeviceChoice::Cpu).into_iter().collect();
            devices.extend(open(DeviceChoice::Auto).ok().filter(|(kind, _)| *kind == "gpu"));
            devices
        }
    }
}

/// Waits until everything that leads to `x` is done.
fn wait<const D: usize>(x: Tensor<D>) {
    black_box(x.into_data());
}

fn model(criterion: &mut Criterion) {
    for (kind, device) in devices() {
        let config = Size::Tiny.config();
        let mut random = Random { device: device.clone(), pad_token_id: config.pad_token_id, gain: 1.0 };
        let model = OfaModel::new(&config, &mut random).expect("random weights fit");
        let pixels = vec![0.5f32; 3 * SIDE * SIDE];
        let image = Tensor::<4>::from_data(TensorData::new(pixels, [1, 3, SIDE, SIDE]), &device);
        let mut group = criterion.benchmark_group(format!("tiny/{kind}"));
        group.sample_size(10);
        group.bench_function("stem", |bencher| bencher.iter(|| wait(model.encode_image(image.clone()).patches)));

        let tokens = TokenBatch::new(1, INSTRUCTION.len(), INSTRUCTION.to_vec());
        let source = Source::text(tokens).with_image(model.encode_image(image));
        group.bench_function("encoder", |bencher| bencher.iter(|| wait(model.encode(&source).hidden)));

        let encoded = model.encode(&source);
        for (name, beams) in [("greedy step", 1), ("beam-5 step", 5)] {
            group.bench_function(name, |bencher| {
                bencher.iter_batched(
                    || started(&model, &config, &encoded, beams),
                    |mut step| black_box(block_on(step.step(request(beams, (0..beams).collect())))),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// An answer that has taken its first steps.
fn started<'a>(model: &'a OfaModel, config: &OfaConfig, encoded: &EncoderOutput, beams: usize) -> ModelStep<'a> {
    let mut step = ModelStep::new(model, config, encoded, &Decoding::default(), MAX_LEN);
    for rows in [Vec::new(), vec![0; beams], (0..beams).collect()] {
        let count = if rows.is_empty() { 1 } else { beams };
        block_on(step.step(request(count, rows))).expect("a step");
    }
    step
}

fn request(rows: usize, parents: Vec<usize>) -> StepRequest {
    StepRequest { tokens: vec![5; rows], rows: parents, samples: None, count: 16, probes: Vec::new() }
}

fn preparation(criterion: &mut Criterion) {
    let photo: Vec<u8> = (0..640 * 480 * 3).map(|byte| (byte * 7 % 251) as u8).collect();
    let photo = Pixels::from_rgb(640, 480, photo).expect("a photo's size");
    let caption = ofa::task::find("caption").expect("a task");
    let rule = ofa::task::ImageRule { side: SIDE as u32, ..caption.image.expect("of an image") };
    criterion.bench_function("preprocessing 640x480 to 256", |bencher| {
        bencher.iter(|| rule.view(black_box(&photo)));
    });
    let golden = |name: &str| std::fs::read_to_string(format!("tests/golden/{name}")).expect("a golden");
    let config = OfaConfig::from_json(&golden("micro/config.json")).expect("the golden's configuration");
    let tokenizer = ofa::vocab::tokenizer_json_from_hf(
        &golden("tokenizer/vocab.json"),
        &golden("tokenizer/merges.txt"),
        config.num_codes,
        config.num_bins,
    );
    let vocab = Vocab::from_tokenizer_json(&tokenizer.expect("a tokenizer"), &config).expect("a vocabulary");
    criterion.bench_function("tokenizer, one instruction", |bencher| {
        bencher.iter(|| vocab.encode(black_box(" what colour is the small bird on the left of the red house?")));
    });
}

criterion_group!(benches, model, preparation);
criterion_main!(benches);
