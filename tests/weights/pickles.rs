//! Hand-written pickles: views, nesting, unknown classes.

use super::*;
use std::io::Write;

/// A file of torch.save with one F32 storage of `values` and a hand-written pickle.
fn torch_file(pickle: &[u8], values: &[f32]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("archive/data.pkl", stored).unwrap();
    writer.write_all(pickle).unwrap();
    writer.start_file("archive/data/0", stored).unwrap();
    values.iter().for_each(|value| writer.write_all(&value.to_le_bytes()).unwrap());
    writer.finish().unwrap().into_inner()
}

/// Opcodes of `_rebuild_tensor_v2` over storage 0 of `elements`.
fn tensor(elements: u8, offset: u8, shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
    let mut code = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n".to_vec();
    code.extend(b"X\x01\0\0\x000X\x03\0\0\0cpu");
    code.extend([b'K', elements, b't', b'Q', b'K', offset, b'K', shape[0], b'K', shape[1], 0x86]);
    code.extend([b'K', strides[0], b'K', strides[1], 0x86, 0x89, b'}', b't', b'R']);
    code
}

fn dict(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut code = b"\x80\x02}(".to_vec();
    for (name, tensor) in tensors {
        code.push(b'X');
        code.extend((name.len() as u32).to_le_bytes());
        code.extend(name.as_bytes());
        code.extend(tensor);
    }
    code.extend(b"u.");
    code
}

#[test]
fn strides_and_offsets_are_honoured() {
    let values: Vec<f32> = (0..12).map(|k| k as f32).collect();
    let tensors = [
        ("rows", tensor(12, 0, [3, 4], [4, 1])),
        ("transposed", tensor(12, 0, [4, 3], [1, 4])),
        ("corner", tensor(12, 5, [2, 2], [4, 1])),
    ];
    // The corner spans six stored elements for four of its own.
    let file = torch_file(&dict(&tensors), &values);
    let read = read_torch_bytes("test.pt", &file, false).unwrap();
    let numbers = |k: usize| read[k].1.to_f32("").unwrap();
    assert_eq!(numbers(0), values);
    assert_eq!(numbers(1), [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
    assert_eq!(numbers(2), [5., 6., 9., 10.]);
}

#[test]
fn views_outside_their_storage_are_refused() {
    let values = [1.0; 4];
    for view in [
        tensor(4, 1, [2, 2], [2, 1]),
        tensor(4, 0, [2, 3], [2, 1]),
        // An expanded row: 200 elements out of two.
        tensor(4, 0, [100, 2], [0, 1]),
        tensor(200, 0, [2, 2], [2, 1]),
    ] {
        let file = torch_file(&dict(&[("x", view)]), &values);
        read_torch_bytes("test.pt", &file, false).unwrap_err();
    }
}

#[test]
fn many_views_of_one_storage_cannot_multiply_it() {
    let values: Vec<f32> = (0..200).map(|k| k as f32).collect();
    let names: Vec<String> = (0..2000).map(|k| format!("t{k}")).collect();
    let views: Vec<_> = names.iter().map(|name| (name.as_str(), tensor(200, 0, [50, 4], [4, 1]))).collect();
    let file = torch_file(&dict(&views), &values);
    let error = read_torch_bytes("test.pt", &file, false).unwrap_err().to_string();
    assert!(error.contains("overlap"), "{error}");
}

#[test]
fn deep_nesting_and_cycles_are_data() {
    let mut deep = b"\x80\x02N".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 1_000_000));
    deep.push(b'.');
    Pickle::parse("deep", &deep).unwrap();
    // A list that contains itself, and an object that is its own state.
    let cycle = Pickle::parse("cycle", b"\x80\x02]q\0h\0a.").unwrap();
    assert!(matches!(cycle.value(cycle.root()), Value::List(items) if items.as_slice() == [cycle.root()]));
    let own = Pickle::parse("own", b"\x80\x02cargparse\nNamespace\n)\x81q\0h\0b.").unwrap();
    assert!(own.entries(own.root()).is_none());
    assert!(own.scalar(own.root()).is_none());
}

#[test]
fn unknown_classes_become_objects_with_their_attributes() {
    let code = b"\x80\x02cargparse\nNamespace\n)\x81}(X\x04\0\0\0archX\x08\0\0\0ofa_tinyX\x01\0\0\0nK\x07ub.";
    let pickle = Pickle::parse("args", code).unwrap();
    let arch = pickle.get(pickle.root(), "arch").unwrap();
    assert_eq!(pickle.scalar(arch), Some("ofa_tiny".into()));
    assert!(matches!(pickle.value(pickle.root()), Value::Object { class, .. } if class.ends_with("Namespace")));
}

#[test]
fn wrong_programs_are_named_by_position() {
    let programs: [&[u8]; 8] = [
        b"",
        b".",
        b"\x80\x02t.",
        b"X\xff\xff\xff\xff",
        b"h\x05.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff",
        b"c",
    ];
    for program in programs {
        let error = Pickle::parse("x.pkl", program).unwrap_err().to_string();
        assert!(error.contains("x.pkl") && error.contains("byte"), "{error}");
    }
}
