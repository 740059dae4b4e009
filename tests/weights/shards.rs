//! Safetensors in memory, and tensors in parts.

use super::*;

#[test]
fn a_shard_is_read_as_it_was_written() {
    let golden: Vec<_> = golden_model().into_iter().collect();
    let bytes = encode_shard("x.safetensors", &golden).unwrap();
    let read: BTreeMap<_, _> = read_shard("x.safetensors", &bytes).unwrap().into_iter().collect();
    assert_eq!(read.len(), golden.len());
    golden.iter().for_each(|(name, tensor)| assert_eq!(read[name], *tensor));
}

#[test]
fn large_tensors_are_split_and_joined() {
    let values: Vec<f32> = (0..7 * 11).map(|k| k as f32).collect();
    let tensor = RawTensor::from_f32("big", vec![7, 11], &values).unwrap();
    let parts = split("big".into(), tensor.clone(), 3 * 44);
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2].0, "big#00003-of-00003");
    assert_eq!(parts[2].1.shape, [1, 11]);

    // The first two parts in one shard with a small tensor, the last in another.
    let small = ("small".to_owned(), RawTensor::from_f32("small", vec![2], &[1.0, 2.0]).unwrap());
    let first = encode_shard("a", &[parts[1].clone(), small.clone(), parts[0].clone()]).unwrap();
    let second = encode_shard("b", &parts[2..]).unwrap();
    let mut assembler = Assembler::new();
    assert_eq!(assembler.push("a", &first).unwrap(), [small]);
    assert_eq!(assembler.push("b", &second).unwrap(), [("big".to_owned(), tensor)]);
    assembler.finish().unwrap();

    let mut half = Assembler::new();
    half.push("a", &first).unwrap();
    assert!(half.push("a", &first).is_err(), "the same names again");
    let mut half = Assembler::new();
    half.push("a", &first).unwrap();
    let error = half.finish().unwrap_err().to_string();
    assert!(error.contains("3 parts") && error.contains("2 parts"), "{error}");
    assert!(Assembler::new().push("b", &second).is_err(), "the last part first");
}

fn with_header(header: &str, body: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + body, 0);
    bytes
}

#[test]
fn hostile_headers_are_refused() {
    let max = u64::MAX;
    let half = 1u64 << 61;
    let nested = format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#.to_owned(),
        r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#.to_owned(),
        r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#.to_owned(),
        r#"{"x":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#.to_owned(),
        r#"{"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#.to_owned(),
        r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#.to_owned(),
        r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#.to_owned(),
        format!(r#"{{"x":{{"dtype":"U8","shape":[{max},2],"data_offsets":[0,8]}}}}"#),
        format!(r#"{{"x":{{"dtype":"U8","shape":[{half}],"data_offsets":[0,{half}]}}}}"#),
        format!(r#"{{"x":{{"dtype":"F64","shape":[{half}],"data_offsets":[0,{max}]}}}}"#),
        nested,
        "{".to_owned(),
        "[]".to_owned(),
        String::new(),
    ];
    for header in cases {
        let error = read_shard("x.safetensors", &with_header(&header, 8)).unwrap_err().to_string();
        assert!(error.contains("x"), "{error}");
    }
    for length in [9, 1 << 40, u64::MAX] {
        read_shard("x", &[&u64::to_le_bytes(length)[..], b"{}      "].concat()).unwrap_err();
    }
    assert!(read_shard("x", &with_header("{}", 0)).unwrap().is_empty());
}
