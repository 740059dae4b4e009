//! Writes fairseq checkpoints the way `torch.save` does: a zip of raw storages and a pickle that points at them.

use ofa::weights::RawTensor;
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;

/// Writes `{"model": {name: tensor}}` with f32 tensors.
pub fn write_checkpoint(path: &Path, tensors: &[(String, RawTensor<'_>)]) {
    write_dict(path, "model", tensors);
}

/// Writes `{key: {name: tensor}}` with f32 tensors.
pub fn write_dict(path: &Path, key: &str, tensors: &[(String, RawTensor<'_>)]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(&pickle(key, tensors)).unwrap();
    for (index, (_, tensor)) in tensors.iter().enumerate() {
        zip.start_file(format!("archive/data/{index}"), stored).unwrap();
        zip.write_all(&tensor.data).unwrap();
    }
    zip.start_file("archive/version", stored).unwrap();
    zip.write_all(b"3\n").unwrap();
    zip.finish().unwrap();
}

/// Opcodes of pickle protocol 2, spelled out: this is a second, independent description of the format.
fn pickle(key: &str, tensors: &[(String, RawTensor<'_>)]) -> Vec<u8> {
    let mut out = vec![0x80, 2, b'}', b'('];
    text(&mut out, "args");
    out.push(b'N');
    text(&mut out, key);
    out.extend(b"ccollections\nOrderedDict\n)R(");
    for (index, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        integer(&mut out, tensor.elements());
        out.extend(b"tQ");
        integer(&mut out, 0);
        out.push(b'(');
        tensor.shape.iter().for_each(|side| integer(&mut out, *side));
        out.extend(b"t(");
        (1..=tensor.shape.len()).for_each(|from| integer(&mut out, tensor.shape[from..].iter().product()));
        out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"uu.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn integer(out: &mut Vec<u8>, value: usize) {
    out.push(b'J');
    out.extend((value as u32).to_le_bytes());
}
