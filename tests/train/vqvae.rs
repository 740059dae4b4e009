//! Image codes from nothing.

use crate::support::only_drawer;
use burn::tensor::Device;
use ofa::config::{AutoencoderConfig, CodeChoice, VqganConfig};
use ofa::image::{Pixels, crop};
use ofa::predict::ImageCodes;
use ofa::train::{Schedule, VqvaeOptions, VqvaeTrainer, VqvaeUpdated};

const SIDE: u32 = 32;
const UPDATES: u64 = 120;
/// What training has to leave of the first updates' mean difference.
const LEFT: f64 = 0.65;

fn config() -> VqganConfig {
    VqganConfig {
        choice: CodeChoice::VQModel,
        embed_dim: 8,
        n_embed: 64,
        ddconfig: AutoencoderConfig {
            z_channels: 16,
            resolution: SIDE as usize,
            in_channels: 3,
            out_ch: 3,
            ch: 8,
            ch_mult: vec![1, 2, 2, 2],
            num_res_blocks: 1,
            attn_resolutions: vec![4],
            double_z: false,
            num_groups: 4,
        },
    }
}

fn trainer(options: VqvaeOptions) -> VqvaeTrainer {
    let schedule = Schedule { lr: 4e-3, warmup_updates: Some(5), ..options.schedule };
    let options = VqvaeOptions { updates: UPDATES, plain_updates: 1, schedule, ..options };
    VqvaeTrainer::new(config(), options, 3, &Device::flex()).unwrap()
}

/// A rectangle of one colour on another.
fn picture(random: &mut fastrand::Rng) -> Pixels {
    const COLOURS: [[u8; 3]; 5] = [[20, 20, 20], [230, 30, 30], [30, 200, 60], [40, 60, 220], [240, 240, 230]];
    let [ground, shape] = [0, 1].map(|_| COLOURS[random.usize(0..COLOURS.len())]);
    let [left, top] = [0, 1].map(|_| 8 * random.u32(0..SIDE / 8));
    let inside = |x: u32, y: u32| (left..left + 16).contains(&x) && (top..top + 16).contains(&y);
    let places = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (x, y)));
    let rgb = places.flat_map(|(x, y)| if inside(x, y) { shape } else { ground }).collect();
    Pixels::from_rgb(SIDE, SIDE, rgb).unwrap()
}

fn pictures(seed: u64) -> Vec<Pixels> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..8).map(|_| picture(&mut random)).collect()
}

fn update(trainer: &mut VqvaeTrainer, seed: u64) -> VqvaeUpdated {
    pollster::block_on(trainer.update(&pictures(seed))).unwrap()
}

/// The mean difference of bytes between pictures and what their codes draw.
fn difference(trainer: &VqvaeTrainer) -> f64 {
    let codes = ImageCodes::new(trainer.config().clone(), trainer.model());
    let mut sum = 0;
    let unseen = pictures(9_999);
    for picture in &unseen {
        let found = pollster::block_on(codes.encode(picture)).unwrap();
        let drawn = pollster::block_on(codes.decode(&found, 4)).unwrap();
        sum += drawn.rgb().iter().zip(picture.rgb()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    }
    sum as f64 / (unseen.len() * picture(&mut fastrand::Rng::new()).rgb().len()) as f64
}

#[test]
fn pictures_survive_their_codes_after_a_short_training() {
    let _drawing = only_drawer();
    let mut trainer = trainer(VqvaeOptions::default());
    let first = update(&mut trainer, 0);
    let before = difference(&trainer);
    let last = (1..UPDATES).map(|seed| update(&mut trainer, seed)).last().unwrap();
    let after = difference(&trainer);
    assert!(after < LEFT * before, "from {before} to {after}");
    assert!(last.reconstruction < LEFT * first.reconstruction, "{first:?}, {last:?}");
    assert!(last.codes > 4, "{last:?}");
}

#[test]
fn the_same_seed_trains_the_same() {
    let _drawing = only_drawer();
    let tensors = |seeds: std::ops::Range<u64>| {
        let mut trainer = trainer(VqvaeOptions::default());
        seeds.for_each(|seed| {
            update(&mut trainer, seed);
        });
        trainer.tensors().unwrap()
    };
    assert_eq!(tensors(0..2), tensors(0..2));
    assert_ne!(tensors(0..2), tensors(1..3));
}

#[test]
fn what_stopped_goes_on_to_the_last_bit() {
    let _drawing = only_drawer();
    let run = |trainer: &mut VqvaeTrainer, seeds: std::ops::Range<u64>| {
        seeds.for_each(|seed| {
            update(trainer, seed);
        });
    };
    let mut straight = trainer(VqvaeOptions { restart_every: 2, ..VqvaeOptions::default() });
    run(&mut straight, 0..5);
    let mut stopped = trainer(VqvaeOptions { restart_every: 2, ..VqvaeOptions::default() });
    run(&mut stopped, 0..3);
    let state = pollster::block_on(stopped.state()).unwrap();
    let mut resumed = trainer(VqvaeOptions { restart_every: 2, ..VqvaeOptions::default() });
    resumed.restore(&state).unwrap();
    assert_eq!(resumed.updates(), 3);
    run(&mut resumed, 3..5);
    assert_eq!(resumed.tensors().unwrap(), straight.tensors().unwrap());
    assert_eq!(pollster::block_on(resumed.state()).unwrap(), pollster::block_on(straight.state()).unwrap());
    let error = resumed.restore(&state[1..].to_vec()).unwrap_err();
    assert!(error.to_string().contains("values"), "{error}");
}

#[test]
fn rows_that_nothing_chooses_begin_anew() {
    let _drawing = only_drawer();
    let codebook = |least_use: f64| {
        let mut trainer = trainer(VqvaeOptions { least_use, restart_every: 1, ..VqvaeOptions::default() });
        // The codebook begins at the second update.
        for seed in 0..2 {
            update(&mut trainer, seed);
        }
        let before = trainer.model().quantize.codebook();
        update(&mut trainer, 2);
        let moved = (trainer.model().quantize.codebook() - before).abs().max_dim(1);
        let moved: Vec<f32> = moved.into_data().try_into_vec().unwrap();
        moved.iter().filter(|distance| **distance > 0.01).count()
    };
    // With so high a bar nearly every row begins anew, with none only those move that were chosen.
    assert!(codebook(10.0) > codebook(0.0));
}

/// Workers that draw samples share one model of image codes.
#[test]
fn image_codes_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<ImageCodes>();
}

#[test]
fn the_middle_is_coded_as_a_picture_of_its_own() {
    let _drawing = only_drawer();
    let trainer = trainer(VqvaeOptions::default());
    let codes = ImageCodes::new(trainer.config().clone(), trainer.model());
    let picture = picture(&mut fastrand::Rng::with_seed(1));
    let middle = crop(&picture, (8, 8), 16, 16).unwrap();
    let found = pollster::block_on(codes.encode_middle(&picture, 16)).unwrap();
    assert_eq!(found, pollster::block_on(codes.encode(&middle)).unwrap());
    assert_eq!(found, pollster::block_on(codes.encode_square(&middle, 16)).unwrap());
    assert_eq!(found.len(), 4);
    for side in [0, 12] {
        pollster::block_on(codes.encode_square(&picture, side)).unwrap_err();
        pollster::block_on(codes.encode_middle(&picture, side)).unwrap_err();
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let _drawing = only_drawer();
    let mut trainer = trainer(VqvaeOptions::default());
    let odd = Pixels::from_rgb(12, 16, vec![0; 12 * 16 * 3]).unwrap();
    let small = Pixels::from_rgb(16, 16, vec![0; 16 * 16 * 3]).unwrap();
    for images in [vec![], vec![odd], vec![small, pictures(0).remove(0)]] {
        pollster::block_on(trainer.update(&images)).unwrap_err();
    }
    let gumbel = VqganConfig { choice: CodeChoice::GumbelVQ, ..config() };
    assert!(VqvaeTrainer::new(gumbel, VqvaeOptions::default(), 1, &Device::flex()).is_err());
}
