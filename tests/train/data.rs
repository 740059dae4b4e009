//! Readers and order on small files written here.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ofa::error::Result;
use ofa::train::data::*;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A PNG of one colour.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(width, height, image::Rgb([250, 3, 255]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub fn open_kind(path: &Path, kind: &str) -> Box<dyn Records> {
    let kind = Kind::find(kind).unwrap();
    open(path, kind, kind.columns).unwrap()
}

fn says<T>(result: Result<T>, parts: &[&str]) {
    let error = result.err().expect("an error").to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error} does not say {parts:?}");
}

#[test]
fn tsv_rows_are_read_by_position_in_either_base64() {
    let folder = TempDir::new().unwrap();
    let (standard, url) = (STANDARD.encode(png(7, 5)), URL_SAFE_NO_PAD.encode(png(6, 4)));
    let text = format!("u1\ti1\ta cat&&a dog\t\t{standard}\nu2\ti2\ta cow\t\t{url}");
    let path = write(&folder, "caption.tsv", &text);
    let file = open_kind(&path, "caption");
    assert_eq!(file.len(), 2);
    let second = file.record(1).unwrap();
    assert_eq!((second.text("id").unwrap(), second.pixels().unwrap().size()), ("u2".into(), (6, 4)));
    let first = file.record(0).unwrap();
    assert_eq!((first.texts("caption").unwrap().len(), first.pixels().unwrap().size()), (2, (7, 5)));

    let kind = Kind::find("caption").unwrap();
    let evaluation = open(&path, kind, kind.evaluation.unwrap()).unwrap();
    assert_eq!(evaluation.record(0).unwrap().text("id").unwrap(), "i1");
    assert_eq!(kind.selected("0, 4,2").unwrap(), kind.columns);
    says(kind.selected("0,4"), &["3 column numbers"]);
}

#[test]
fn corrupt_rows_name_file_line_and_reason() {
    let folder = TempDir::new().unwrap();
    let image = URL_SAFE_NO_PAD.encode(png(8, 8));
    let text = format!("1\ti\tphrase\t1,2,x,4\t{image}\n2\ti\n3\ti\tphrase\t5,2,3,4\t***\n4\ti\t\t1,2,3,4\t\n");
    let path = write(&folder, "refcoco.tsv", &text);
    let file = open_kind(&path, "grounding");
    assert_eq!(file.len(), 4);
    says(file.record(0).unwrap().corners("box"), &["refcoco.tsv:1", "`x`"]);
    let outside = open_kind(&write(&folder, "outside.tsv", &format!("1\ti\tphrase\t9,2,12,4\t{image}\n")), "grounding");
    says(outside.record(0).unwrap().corners_in("box", (8, 8)), &["outside.tsv:1", "`box`", "8 x 8"]);
    assert!(outside.record(0).unwrap().corners_in("box", (10, 8)).is_ok(), "in part");
    let marked = open_kind(&write(&folder, "marked.tsv", "\u{feff}u1\ta line\n"), "text");
    assert_eq!(marked.record(0).unwrap().text("id").unwrap(), "u1");
    says(file.record(1), &["refcoco.tsv:2", "`image` is column 4"]);
    let third = file.record(2).unwrap();
    says(third.pixels(), &["refcoco.tsv:3", "base64"]);
    says(third.corners("box"), &["refcoco.tsv:3", "left, top, right, bottom"]);
    let fourth = file.record(3).unwrap();
    says(fourth.text("text"), &["refcoco.tsv:4", "`text` is missing"]);
    says(fourth.pixels(), &["refcoco.tsv:4", "`image` is missing"]);
    says(file.record(4), &["refcoco.tsv:5", "4 lines"]);

    std::fs::write(folder.path().join("latin.tsv"), b"1\ta\xff\n").unwrap();
    says(open_kind(&folder.path().join("latin.tsv"), "text").record(0), &["latin.tsv:1", "UTF-8"]);
    let answers = open_kind(&write(&folder, "v.tsv", "1\ti\tq\t7|!+no\t\tx\n1\ti\tq\tz|!+no\t\tx\n"), "vqa");
    says(answers.record(0).unwrap().answers("answer"), &["v.tsv:1", "from 0 to 1"]);
    says(answers.record(1).unwrap().answers("answer"), &["v.tsv:2", "`z`"]);
    let jsonl = open_kind(&write(&folder, "x.jsonl", "{\"text\": 3, \"image\": \"gone.png\"}\n{\n"), "ocr");
    says(jsonl.record(0).unwrap().pixels(), &["x.jsonl:1", "gone.png"]);
    says(jsonl.record(1), &["x.jsonl:2", "JSON"]);
    says(open(&folder.path().join("x.csv"), Kind::find("text").unwrap(), &[0, 1]).map(|_| ()), &["expected a .tsv"]);
}

#[test]
fn lines_of_white_space_are_no_rows_and_the_others_keep_their_numbers() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "gaps.tsv", "\u{feff}\n1\tone\n \t\r\n\n2\ttwo\n3\n\n");
    let file = open_kind(&path, "text");
    assert_eq!(file.len(), 3);
    let [one, two] = [0, 1].map(|row| file.record(row).unwrap());
    assert_eq!((one.text("text").unwrap(), two.text("text").unwrap()), ("one".into(), "two".into()));
    assert!(one.place.ends_with("gaps.tsv:2") && two.place.ends_with("gaps.tsv:5"), "{} {}", one.place, two.place);
    says(file.record(2), &["gaps.tsv:6", "`text` is column 1"]);
    says(file.record(3), &["the file has 7 lines"]);
    says(open_kind(&write(&folder, "gaps.jsonl", "\n{\n"), "text").record(0), &["gaps.jsonl:2", "JSON"]);
    let kind = Kind::find("text").unwrap();
    says(EpochFiles::open(&[write(&folder, "none.tsv", " \n\n")], kind, kind.columns), &["none.tsv", "no row"]);
}

#[test]
fn boxes_without_an_inside_are_left_out_of_many() {
    let folder = TempDir::new().unwrap();
    let text = "1\t\t0,0,5,4,3,cat&&7,1,7,3,4,dog&&6,9,8,2,5,owl\n2\t\t7,1,7,3,4,dog\n3\t\t0,0,5,x,3,cat\n";
    let file = open_kind(&write(&folder, "boxes.tsv", text), "detection");
    let objects = |row: u64| file.record(row).unwrap().objects("boxes");
    assert_eq!(objects(0).unwrap(), [([0.0, 0.0, 5.0, 4.0], "cat".into())]);
    says(objects(1), &["boxes.tsv:2", "has no box"]);
    says(objects(2), &["boxes.tsv:3", "`x`"]);
}

#[test]
fn json_rows_may_be_structured() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("a.png"), png(9, 3)).unwrap();
    let line =
        r#"{"image":"a.png","answer":{"no":0.5,"yes":1},"boxes":[{"box":[0,1,2,3],"label":"cat, big"}],"codes":[3,4]}"#;
    let record = open_kind(&write(&folder, "d.jsonl", line), "vqa").record(0).unwrap();
    assert_eq!(record.pixels().unwrap().size(), (9, 3));
    assert_eq!(record.answers("answer").unwrap(), [("no".into(), 0.5), ("yes".into(), 1.0)]);
    assert_eq!(record.objects("boxes").unwrap(), [([0.0, 1.0, 2.0, 3.0], "cat, big".into())]);
    assert_eq!(record.numbers("codes").unwrap(), [3, 4]);
}

pub fn shard(path: &Path, members: &[(&str, &[u8])]) {
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.finish().unwrap();
}

#[test]
fn shards_group_members_and_a_broken_one_is_a_bad_row() {
    let folder = TempDir::new().unwrap();
    let image = png(5, 5);
    let members: [(&str, &[u8]); 4] =
        [("d/a.png", &image), ("d/a.txt", b"a cat"), ("d/b.png", &image), ("d/b.json", b"{\"caption\":\"a cow\"}")];
    shard(&folder.path().join("0.tar"), &members);
    shard(&folder.path().join("1.tar"), &members[..2]);
    let file = open_kind(folder.path(), "caption");
    assert_eq!(file.len(), 3);
    let captions: Vec<String> = (0..3).map(|row| file.record(row).unwrap().text("caption").unwrap()).collect();
    assert_eq!(captions, ["a cat", "a cow", "a cat"]);
    assert_eq!(file.record(1).unwrap().pixels().unwrap().size(), (5, 5));
    assert_eq!(file.record(1).unwrap().text("id").unwrap(), "d/b");

    // The second sample's image loses its end.
    let path = folder.path().join("0.tar");
    let end = 512 + image.len().div_ceil(512) * 512 + 1024 + 512 + 10;
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..end]).unwrap();
    let file = open_kind(&path, "caption");
    assert_eq!(file.len(), 2);
    assert!(file.record(0).is_ok());
    says(file.record(1), &["0.tar:d/b", "breaks off"]);
}

#[test]
fn order_is_a_shuffle_of_its_own_each_epoch() {
    for len in [1, 2, 3, 5, 64, 1000, 4097] {
        let rows = |seed, epoch| -> Vec<u64> { (0..len).map(|at| Order::new(len, seed, epoch).at(at)).collect() };
        let mut sorted = rows(7, 0);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..len), "{len}");
        assert_eq!(rows(7, 3), rows(7, 3));
        if len >= 64 {
            assert_ne!(rows(7, 0), rows(7, 1));
            assert_ne!(rows(7, 0), rows(8, 0));
            assert!(rows(7, 0).iter().zip(0..).filter(|(row, at)| **row == *at).count() < 10);
        }
    }
}

#[test]
fn a_list_gives_each_epoch_its_file_and_keeps_the_last_for_evaluation() {
    let list = DataList::parse("a.tsv, b.tsv,v.tsv").unwrap();
    assert_eq!(list.training, [PathBuf::from("a.tsv"), PathBuf::from("b.tsv")]);
    assert_eq!(list.evaluation, Some(PathBuf::from("v.tsv")));
    assert_eq!(DataList::parse("a.tsv").unwrap().evaluation, None);
    assert!(DataList::parse("a,,b").is_err());

    let folder = TempDir::new().unwrap();
    let paths = [write(&folder, "a.tsv", "1\ta\n"), write(&folder, "b.tsv", "1\tb\n2\tb\n")];
    let kind = Kind::find("text").unwrap();
    let files = EpochFiles::open(&paths, kind, kind.columns).unwrap();
    assert_eq!(files.len(), 2);
    let texts = |epoch| [0, 1].map(|at| files.drawn(1, epoch, at).unwrap().text("text").unwrap());
    assert_eq!((texts(0), texts(1), texts(2)), (["a", "a"].map(Into::into), ["b", "b"].map(Into::into), texts(0)));
}

#[test]
fn numbers_are_texts_and_answers_as_well() {
    let folder = TempDir::new().unwrap();
    let lines = "{\"answer\": 3, \"objects\": [1, \"cat\", 2.5]}\n{\"answer\": [3, \"four\"], \"objects\": [true]}\n";
    let file = open_kind(&write(&folder, "n.jsonl", lines), "vqa");
    let [one, list] = [0, 1].map(|row| file.record(row).unwrap());
    assert_eq!(one.answers("answer").unwrap(), [("3".into(), 1.0)]);
    assert_eq!(one.texts("answer").unwrap(), ["3"]);
    assert_eq!(one.texts("objects").unwrap(), ["1", "cat", "2.5"]);
    assert_eq!(list.answers("answer").unwrap(), [("3".into(), 1.0), ("four".into(), 1.0)]);
    says(list.texts("objects"), &["n.jsonl:2", "`objects`"]);
}

#[test]
fn what_stands_beside_a_sample_is_not_read() {
    let folder = TempDir::new().unwrap();
    let (image, binary) = (png(5, 5), [0xff_u8, 0xfe, 0x00]);
    let members: [(&str, &[u8]); 6] = [
        ("a.png", &image),
        ("a.npy", &binary),
        ("a.cls", &binary),
        ("a.image", &binary),
        ("a.txt", b"a cat"),
        ("b.txt", &binary),
    ];
    let path = folder.path().join("beside.tar");
    shard(&path, &members);
    let file = open_kind(&path, "caption");
    let record = file.record(0).unwrap();
    assert_eq!((record.text("caption").unwrap(), record.pixels().unwrap().size()), ("a cat".into(), (5, 5)));
    assert!(record.optional("label").is_none() && record.optional("npy").is_none());
    says(file.record(1), &["beside.tar:b", ".txt"]);
    let without = open_kind(&path, "text").record(0).unwrap();
    assert!(without.image.is_none(), "texts have none");
}

#[test]
fn files_that_are_no_shards_are_refused_when_they_are_opened() {
    let folder = TempDir::new().unwrap();
    let kind = Kind::find("caption").unwrap();
    let packed = [[0x1f, 0x8b, 8, 0].as_slice(), &[7; 2000]].concat();
    for (name, bytes, why) in [
        ("packed.tar", packed, "gzip"),
        ("text.tar", vec![b'a'; 2000], "a tar file"),
        ("short.tar", vec![b'a'; 9], "a tar"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        says(open(&path, kind, kind.columns), &[name, why]);
    }
}
