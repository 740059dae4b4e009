//! Image files to the numbers that the model reads.

use super::vocab::golden;
use ofa::image::{Normalization, Pixels, decode, normalize, resize_aspect, resize_bicubic};
use std::time::{Duration, Instant};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(golden(&format!("data/{name}"))).unwrap()
}

#[test]
fn sizes_keep_their_aspect() {
    assert_eq!(resize_aspect((300, 512), 512, Some(512)), (512, 512));
    assert_eq!(resize_aspect((512, 700), 512, None), (512, 700));
    assert_eq!(resize_aspect((1, 65535), 512, Some(600)), (512, 600));
}

/// The recipe as it is written down: the whole image through one pass, then through the other.
fn two_passes(pixels: &Pixels, width: u32, height: u32) -> Vec<u8> {
    let pass =
        |input: &[u8], lines: usize, from: u32, to: u32, line: usize, step: usize, out_line: usize, out_step: usize| {
            let mut out = vec![0u8; lines * to as usize * 3];
            let scale = f64::from(from) / f64::from(to);
            let stretch = scale.max(1.0);
            for o in 0..to {
                let center = (f64::from(o) + 0.5) * scale;
                let lo = ((center - 2.0 * stretch + 0.5) as i64).max(0);
                let hi = ((center + 2.0 * stretch + 0.5) as i64).min(i64::from(from));
                let cubic = |x: f64| match x.abs() {
                    x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
                    x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
                    _ => 0.0,
                };
                let weights: Vec<f64> = (lo..hi).map(|x| cubic((x as f64 - center + 0.5) / stretch)).collect();
                let total: f64 = weights.iter().sum();
                for l in 0..lines {
                    for channel in 0..3 {
                        let sum: i64 = (lo..hi)
                            .zip(&weights)
                            .map(|(x, weight)| {
                                let fixed = (weight / total * 4_194_304.0).round() as i64;
                                fixed * i64::from(input[(l * line + x as usize * step) * 3 + channel])
                            })
                            .sum();
                        out[(l * out_line + o as usize * out_step) * 3 + channel] =
                            ((sum + (1 << 21)) >> 22).clamp(0, 255) as u8;
                    }
                }
            }
            out
        };
    let (w, h) = pixels.size();
    let mut rgb = pixels.rgb().to_vec();
    if w != width {
        rgb = pass(&rgb, h as usize, w, width, w as usize, 1, width as usize, 1);
    }
    if h != height {
        rgb = pass(&rgb, width as usize, h, height, 1, width as usize, 1, width as usize);
    }
    rgb
}

fn noise(width: u32, height: u32, rng: &mut fastrand::Rng) -> Pixels {
    // Black and white alone make the kernel overshoot.
    let hard = rng.bool();
    let rgb = (0..width * height * 3).map(|_| if hard { 255 * rng.u8(..2) } else { rng.u8(..) }).collect();
    Pixels::from_rgb(width, height, rgb).unwrap()
}

#[test]
fn streaming_the_rows_changes_nothing() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut differing, mut total) = (0, 0);
    for _ in 0..150 {
        let side = |rng: &mut fastrand::Rng| [1, 2, rng.u32(1..9), rng.u32(1..90)][rng.usize(..4)];
        let (w, h, width, height) = (side(&mut rng), side(&mut rng), side(&mut rng), side(&mut rng));
        let image = noise(w, h, &mut rng);
        let resized = resize_bicubic(&image, width, height).unwrap();
        let expected = two_passes(&image, width, height);
        assert_eq!(resized.rgb().len(), expected.len());
        for (ours, theirs) in resized.rgb().iter().zip(&expected) {
            // The kernel is written differently here, so a weight may fall on the other side of a rounding.
            assert!(ours.abs_diff(*theirs) <= 1, "{w}x{h} to {width}x{height}");
            differing += usize::from(ours != theirs);
            total += 1;
        }
    }
    assert!(differing * 1000 < total, "{differing} of {total}");
}

#[test]
fn the_same_size_changes_nothing_and_one_colour_stays_one_colour() {
    let mut rng = fastrand::Rng::with_seed(2);
    let image = noise(37, 23, &mut rng);
    assert_eq!(resize_bicubic(&image, 37, 23).unwrap(), image);
    for (w, h, width, height) in
        [(1, 1, 480, 480), (1, 60_000, 48, 48), (60_000, 1, 48, 48), (3, 5, 1, 1), (500, 2, 3, 90)]
    {
        let image = Pixels::from_rgb(w, h, [7, 200, 255].repeat((w * h) as usize)).unwrap();
        let resized = resize_bicubic(&image, width, height).unwrap();
        assert!(resized.rgb().as_chunks::<3>().0.iter().all(|pixel| *pixel == [7, 200, 255]), "{w}x{h}");
    }
    let pixels = Pixels::from_rgb(1, 2, vec![0, 255, 51, 255, 0, 51]).unwrap();
    assert_eq!(normalize(&pixels, Normalization::Half), [-1.0, 1.0, 1.0, -1.0, -0.6, -0.6]);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    assert!(Pixels::from_rgb(0, 5, vec![]).unwrap_err().to_string().contains("empty"));
    assert!(Pixels::from_rgb(2, 2, vec![0; 11]).unwrap_err().to_string().contains("12 bytes, found 11"));
    assert!(Pixels::from_rgba(2, 2, &[0; 12]).unwrap_err().to_string().contains("16 bytes, found 12"));
    assert!(Pixels::from_rgb(u32::MAX, u32::MAX, vec![]).unwrap_err().to_string().contains("smaller"));
    assert_eq!(Pixels::from_rgba(1, 1, &[1, 2, 3, 0]).unwrap().rgb(), [1, 2, 3]);
    let image = Pixels::from_rgb(1, 1, vec![0; 3]).unwrap();
    assert!(resize_bicubic(&image, 0, 5).is_err() && resize_bicubic(&image, 1 << 20, 1 << 20).is_err());
}

fn encoded(image: impl Into<::image::DynamicImage>, format: ::image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn every_colour_type_becomes_rgb() {
    use ::image::{ImageBuffer, ImageFormat::Png, Luma, LumaA, Rgb, Rgba};
    let one = |bytes: Vec<u8>| decode(&bytes).unwrap().rgb().to_vec();
    assert_eq!(one(encoded(ImageBuffer::from_pixel(1, 1, Luma([9u8])), Png)), [9, 9, 9]);
    assert_eq!(one(encoded(ImageBuffer::from_pixel(1, 1, LumaA([9u8, 0])), Png)), [9, 9, 9]);
    assert_eq!(one(encoded(ImageBuffer::from_pixel(1, 1, Rgba([1u8, 2, 3, 0])), Png)), [1, 2, 3]);
    assert_eq!(one(encoded(ImageBuffer::from_pixel(1, 1, Luma([0x8080u16])), Png)), [128; 3]);
    assert_eq!(one(encoded(ImageBuffer::from_pixel(1, 1, Rgb([0u16, 0xffff, 0x0101])), Png)), [0, 255, 1]);
    let webp = encoded(ImageBuffer::from_pixel(2, 1, Rgba([1u8, 2, 3, 9])), ::image::ImageFormat::WebP);
    assert_eq!(decode(&webp).unwrap().rgb(), [1, 2, 3, 1, 2, 3]);
}

/// A JPEG whose left half is black and whose right half is white.
fn jpeg() -> Vec<u8> {
    let image = ::image::GrayImage::from_fn(32, 16, |x, _| ::image::Luma([if x < 16 { 0 } else { 255 }]));
    encoded(image, ::image::ImageFormat::Jpeg)
}

#[test]
fn photographs_are_turned_upright() {
    let plain = jpeg();
    let image = decode(&plain).unwrap();
    assert_eq!(image.size(), (32, 16));
    assert!(image.rgb()[0] < 10 && image.rgb()[31 * 3] > 245);
    for (orientation, size, first_is_black) in
        [(1, (32, 16), true), (3, (32, 16), false), (6, (16, 32), true), (8, (16, 32), false)]
    {
        // A little-endian TIFF with one entry: tag 0x0112, one SHORT.
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let mut turned = plain[..2].to_vec();
        turned.extend([0xff, 0xe1, 0, exif.len() as u8 + 2]);
        turned.extend(&exif);
        turned.extend(&plain[2..]);
        let image = decode(&turned).unwrap();
        assert_eq!(image.size(), size, "{orientation}");
        assert_eq!(image.rgb()[0] < 10, first_is_black, "{orientation}");
    }
}

#[test]
fn what_is_no_image_is_refused_in_words() {
    let says = |bytes: &[u8], part: &str| {
        let error = decode(bytes).unwrap_err();
        assert_eq!(error.code(), "image");
        assert!(error.to_string().contains(part), "{error} does not say {part:?}");
    };
    says(b"", "empty");
    says(b"hello, I am a text", "not a JPEG, PNG or WebP");
    says(b"GIF89a\x01\0\x01\0\0\0\0", "not a JPEG, PNG or WebP");
    let png = file("img_1.png");
    says(&png[..png.len() / 2], "cut off");
    says(&jpeg()[..60], "cut off");
    let whole = jpeg();
    for end in [whole.len() - 1, whole.len() - 2, whole.len() - 10] {
        says(&whole[..end], "cut off");
    }
    decode(&[whole, b"what phones add behind a photograph".to_vec()].concat()).unwrap();
    // A header that claims 60000 x 60000 pixels, with a matching checksum.
    let mut bomb = png[..33].to_vec();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let checksum = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
    bomb.extend(&png[33..]);
    says(&bomb, "60000 x 60000");
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn thousands_of_mutated_images_never_panic() {
    const MUTATIONS: usize = 4000;
    // A damaged header may claim a large image, which takes a while to fill; this keeps the test short.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut rng = fastrand::Rng::with_seed(5);
    let small = noise(9, 7, &mut rng);
    let rgb = || ::image::RgbImage::from_raw(9, 7, small.rgb().to_vec()).unwrap();
    let seeds = [
        file("img_0.png"),
        file("img_3.png"),
        file("img_4.png"),
        jpeg(),
        encoded(rgb(), ::image::ImageFormat::Jpeg),
        encoded(rgb(), ::image::ImageFormat::WebP),
        encoded(rgb(), ::image::ImageFormat::Png),
    ];
    let (mut decoded, mut tried) = (0, 0);
    while tried < MUTATIONS && Instant::now() < deadline {
        let mut bytes = seeds[tried % seeds.len()].clone();
        for _ in 0..rng.usize(1..5) {
            // Half of the damage goes into the header, where it does most.
            let span = if rng.bool() { bytes.len().min(64) } else { bytes.len() };
            let at = rng.usize(..span);
            match rng.u8(..6) {
                0 => bytes[at] ^= 1 << rng.u8(..8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.usize(..5)],
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, rng.u8(..)),
                4 => drop(bytes.remove(at)),
                _ => bytes[at] = rng.u8(..),
            }
            if bytes.is_empty() {
                break;
            }
        }
        tried += 1;
        // Checksums would stop almost every change to a PNG at the door.
        if rng.bool() {
            repair_png(&mut bytes);
        }
        if let Ok(pixels) = decode(&bytes) {
            decoded += 1;
            assert_eq!(pixels.rgb().len() as u64, u64::from(pixels.width()) * u64::from(pixels.height()) * 3);
        }
    }
    assert!(tried > 500 && (1..tried).contains(&decoded), "{decoded} of {tried} decoded");
}

/// Writes the right checksum into every chunk of a PNG that is still in one piece.
fn repair_png(bytes: &mut [u8]) {
    let mut at = 8;
    while bytes.starts_with(b"\x89PNG") && at + 12 <= bytes.len() {
        let length = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= bytes.len()) else { return };
        let checksum = crc(&bytes[at + 4..end]).to_be_bytes();
        bytes[end..end + 4].copy_from_slice(&checksum);
        at = end + 4;
    }
}

#[test]
fn text_keeps_its_shape_and_its_edges_go_on() {
    let line: Vec<u8> = (0..40u8).flat_map(|row| (0..120u8).flat_map(move |column| [row, column, 7])).collect();
    for (pixels, turned) in [(Pixels::from_rgb(120, 40, line.clone()).unwrap(), false), (turned(&line, 120, 40), true)]
    {
        let padded = ofa::image::fit_and_pad(&pixels, 240).unwrap();
        assert_eq!(padded.size(), (240, 240));
        let at = |along: usize, across: usize| {
            let (x, y) = if turned { (across, along) } else { (along, across) };
            &padded.rgb()[3 * (y * 240 + x)..][..3]
        };
        // 240 by 80, so 80 pixels of each edge.
        for along in [0, 99, 239] {
            assert!((0..80).all(|across| at(along, across) == at(along, 80)), "the upper edge goes on");
            assert!((160..240).all(|across| at(along, across) == at(along, 159)), "and the lower one");
        }
        assert_ne!(at(0, 80), at(0, 159));
    }
    // A thin line keeps 64 pixels, and a square needs nothing.
    let thin = ofa::image::fit_and_pad(&Pixels::from_rgb(300, 2, vec![9; 1800]).unwrap(), 96).unwrap();
    assert!(thin.rgb().iter().all(|value| *value == 9));
    let square = Pixels::from_rgb(40, 40, line[..4800].to_vec()).unwrap();
    assert_eq!(ofa::image::fit_and_pad(&square, 80).unwrap(), ofa::image::resize_bicubic(&square, 80, 80).unwrap());
}

fn turned(rgb: &[u8], width: usize, height: usize) -> Pixels {
    let pixel = |x: usize, y: usize| rgb[3 * (y * width + x)..][..3].to_vec();
    let values = (0..width).flat_map(|x| (0..height).flat_map(move |y| pixel(x, y))).collect();
    Pixels::from_rgb(height as u32, width as u32, values).unwrap()
}

#[test]
fn the_middle_that_is_to_be_drawn_is_hidden() {
    let side = 256;
    let mut planes = vec![1.0f32; 3 * side * side];
    ofa::image::hide_middle(&mut planes, side as u32);
    // The square of the original's pre-training (reference §5.3).
    let middle = 64..192;
    for (at, value) in planes.iter().enumerate() {
        let hidden = middle.contains(&(at / side % side)) && middle.contains(&(at % side));
        assert_eq!(*value, if hidden { 0.0 } else { 1.0 });
    }
}
