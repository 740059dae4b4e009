//! Pixels of small images, and boxes that move with them.

use ofa::image::Pixels;
use ofa::train::augment::*;

/// Bicubic edges ring and blur over about two pixels when an image is enlarged a few times.
const EDGE_PIXELS: f32 = 3.0;

fn grey(width: u32, height: u32, values: &[u8]) -> Pixels {
    Pixels::from_rgb(width, height, values.iter().flat_map(|value| [*value; 3]).collect()).unwrap()
}

fn values(pixels: &Pixels) -> Vec<u8> {
    pixels.rgb().iter().copied().step_by(3).collect()
}

#[test]
fn colours_of_small_images() {
    let steps = grey(4, 1, &[50, 100, 100, 150]);
    assert_eq!(values(&autocontrast(&steps).unwrap()), [0, 127, 127, 255]);
    let flat = grey(2, 1, &[9, 9]);
    assert_eq!(autocontrast(&flat).unwrap(), flat);
    assert_eq!(equalize(&steps).unwrap(), steps);
    let many: Vec<u8> = (0..1024).map(|at| if at < 512 { 10 } else { 20 }).collect();
    let equal = values(&equalize(&grey(32, 32, &many)).unwrap());
    assert_eq!((equal[0], equal[1023]), (0, 255));
    assert_eq!(values(&brightness(&steps, 1.5).unwrap()), [75, 150, 150, 225]);
    assert_eq!(values(&brightness(&steps, 3.0).unwrap()), [150, 255, 255, 255]);
    // The middle is 5 of 13 parts of the blurred image: 50 becomes 19, and moves 0.36 of the way back beyond itself.
    let dot = grey(3, 3, &[0, 0, 0, 0, 50, 0, 0, 0, 0]);
    assert_eq!(values(&sharpness(&dot, 1.36).unwrap()), [0, 0, 0, 0, 61, 0, 0, 0, 0]);
    assert_eq!(sharpness(&dot, 1.0).unwrap(), dot);
}

#[test]
fn warps_of_small_images() {
    let row = grey(4, 1, &[10, 20, 30, 40]);
    assert_eq!(values(&translate_x(&row, 1.0).unwrap()), [20, 30, 40, 128]);
    assert_eq!(values(&translate_x(&row, -1.0).unwrap()), [128, 10, 20, 30]);
    assert_eq!(values(&translate_x(&row, 0.5).unwrap()), [15, 25, 35, 84]);
    let square = grey(2, 2, &[1, 2, 3, 4]);
    assert_eq!(values(&translate_y(&square, 1.0).unwrap()), [3, 4, 128, 128]);
    assert_eq!(values(&shear_x(&square, 1.0).unwrap()), [1, 2, 128, 3]);
    assert_eq!(values(&shear_y(&square, 1.0).unwrap()), [1, 128, 3, 2]);
    assert_eq!(rotate(&square, 0.0).unwrap(), square);
    // A pixel to the right of the middle (2, 2) goes above it.
    let mut dot = [0; 25];
    dot[2 * 5 + 4] = 200;
    let turned = values(&rotate(&grey(5, 5, &dot), 90.0).unwrap());
    assert_eq!(turned.iter().position(|value| *value == 200), Some(5 + 2));
}

/// A red rectangle on grey, and its box.
fn rectangle(width: u32, height: u32, [left, top, right, bottom]: [u32; 4]) -> Picture {
    let inside = |at: u32| {
        let (x, y) = (at % width, at / width);
        (left..right).contains(&x) && (top..bottom).contains(&y)
    };
    let color = |at| if inside(at) { [255, 0, 0] } else { [90, 90, 90] };
    let pixels = Pixels::from_rgb(width, height, (0..width * height).flat_map(color).collect()).unwrap();
    Picture { pixels, boxes: vec![([left, top, right, bottom].map(|side| side as f32), "red".into())] }
}

/// The box of what is clearly red.
fn red(pixels: &Pixels) -> Option<[f32; 4]> {
    let mut found: Option<[f32; 4]> = None;
    for (at, [r, g, _]) in pixels.rgb().as_chunks::<3>().0.iter().enumerate() {
        if *r > 172 && *g < 45 {
            let (x, y) = ((at as u32 % pixels.width()) as f32, (at as u32 / pixels.width()) as f32);
            let [left, top, right, bottom] = found.unwrap_or([f32::MAX, f32::MAX, 0.0, 0.0]);
            found = Some([left.min(x), top.min(y), right.max(x + 1.0), bottom.max(y + 1.0)]);
        }
    }
    found
}

fn tight(picture: &Picture, what: &str) {
    let expected = red(&picture.pixels).unwrap_or_else(|| panic!("{what}: the rectangle is gone"));
    let found = picture.boxes[0].0;
    let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= EDGE_PIXELS);
    assert!(near, "{what}: {found:?}, the rectangle is at {expected:?}");
}

#[test]
fn boxes_move_with_their_pixels() {
    let sizes = ImageSizes { side: 128, short_side: 160, long_side: 224, extra_side: 96 };
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (width, height) = (random.u32(60..300), random.u32(60..300));
        let (left, top) = (random.u32(0..width - 30), random.u32(0..height - 30));
        let picture = rectangle(width, height, [left, top, left + random.u32(20..30), top + random.u32(20..30)]);
        tight(&picture, "as drawn");
        tight(&picture.clone().mirrored().unwrap(), "mirrored");
        let around = sizes.about_region(picture.clone(), &mut random).unwrap();
        assert_eq!(around.pixels.size(), (128, 128));
        tight(&around, "cut around");
        let objects = sizes.of_objects(picture.clone(), &mut random).unwrap();
        assert_eq!(objects.pixels.size(), (96, 96));
        match red(&objects.pixels) {
            Some(_) => tight(&objects, "detection"),
            None => assert!(objects.boxes.iter().all(|([l, t, r, b], _)| (r - l).min(b - t) <= EDGE_PIXELS)),
        }
        let again = |seed| sizes.about_text(picture.pixels.clone(), &mut fastrand::Rng::with_seed(seed)).unwrap();
        assert_eq!(again(seed), again(seed));
        assert_eq!((again(seed).width, again(seed).height), (128, 128));
    }
}

#[test]
fn crops_reach_beyond_the_image_and_drop_what_is_outside() {
    let mut picture = rectangle(10, 10, [2, 2, 4, 4]).cropped(-3, -3, 8, 20).unwrap();
    assert_eq!((picture.pixels.size(), picture.boxes[0].0), ((8, 20), [5.0, 5.0, 7.0, 7.0]));
    assert_eq!(picture.pixels.rgb()[..3], [0, 0, 0]);
    assert_eq!(red(&picture.pixels), Some([5.0, 5.0, 7.0, 7.0]));
    picture = picture.cropped(7, 7, 4, 4).unwrap();
    picture.drop_empty();
    assert!(picture.boxes.is_empty());
}

#[test]
fn the_middle_is_zero_after_normalisation() {
    let sizes = ImageSizes { extra_side: 16, ..ImageSizes::new(32) };
    let image = sizes.without_middle(&grey(16, 16, &[255; 256])).unwrap();
    let zero = |at: usize| (4..12).contains(&(at % 16)) && (4..12).contains(&(at / 16 % 16));
    assert!(image.values.iter().enumerate().all(|(at, value)| *value == if zero(at) { 0.0 } else { 1.0 }));
    assert!(sizes.without_middle(&grey(8, 8, &[0; 64])).is_err());
}
