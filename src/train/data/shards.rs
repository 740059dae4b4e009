//! WebDataset: tar files in which the members of a sample stand together and share a name up to its first dot.

use super::{ImageData, Kind, Record, Records};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const IMAGES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Members with the number of a class or its name, and the field that says that the label came from one.
pub const CLASS: &str = "cls";
/// What files begin with that gzip packed.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The largest member that is read.
const MAX_MEMBER: u64 = 256 << 20;

/// Shards read as one file; where each member lies is found out once.
#[derive(Debug)]
pub struct Shards {
    kind: &'static Kind,
    paths: Vec<PathBuf>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    shard: usize,
    key: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Members(Vec<Member>),
    /// The shard ends or breaks here. It counts as one bad row, so that a damaged shard does not go unnoticed.
    Broken(String),
}

#[derive(Debug)]
struct Member {
    extension: String,
    start: u64,
    size: u64,
}

impl Shards {
    /// Reads the headers of all shards.
    ///
    /// # Errors
    /// [`Error::File`] if a shard cannot be opened or is no tar file; one that breaks off ends in a row that cannot be
    /// read.
    pub fn open(paths: Vec<PathBuf>, kind: &'static Kind) -> Result<Self> {
        let mut samples = Vec::new();
        for (shard, path) in paths.iter().enumerate() {
            index(path, shard, &mut samples)?;
        }
        Ok(Self { kind, paths, samples })
    }

    /// Whether a member is part of its sample; what other programs keep beside it is not this crate's.
    fn is_used(&self, extension: &str) -> bool {
        let has = |field: &str| self.kind.fields.contains(&field);
        match extension {
            "json" | "txt" => true,
            CLASS => has("label"),
            "image" => false,
            _ if IMAGES.contains(&extension) => has("image"),
            _ => has(extension),
        }
    }

    fn read(&self, sample: &Sample, member: &Member) -> Result<Vec<u8>> {
        let fail = |reason: String| Error::file(self.place(sample), format!(".{}: {reason}", member.extension));
        if member.size > MAX_MEMBER {
            return Err(fail(format!("{} bytes; at most {MAX_MEMBER} are read", member.size)));
        }
        let mut file = File::open(&self.paths[sample.shard]).map_err(|error| fail(error.to_string()))?;
        file.seek(SeekFrom::Start(member.start)).map_err(|error| fail(error.to_string()))?;
        let mut bytes = vec![0; member.size as usize];
        file.read_exact(&mut bytes).map_err(|error| fail(error.to_string()))?;
        Ok(bytes)
    }

    fn place(&self, sample: &Sample) -> String {
        format!("{}:{}", self.paths[sample.shard].display(), sample.key)
    }
}

impl Records for Shards {
    fn len(&self) -> u64 {
        self.samples.len() as u64
    }

    fn record(&self, row: u64) -> Result<Record> {
        let total = self.samples.len();
        let sample = usize::try_from(row).ok().and_then(|row| self.samples.get(row));
        let sample = sample.ok_or_else(|| Error::file("shards", format!("no sample {row} of {total}")))?;
        let mut record = Record { place: self.place(sample), fields: Vec::new(), image: None };
        let members = match &sample.content {
            Content::Members(members) => members,
            Content::Broken(reason) => return Err(record.fail(reason)),
        };
        for member in members.iter().filter(|member| self.is_used(&member.extension)) {
            let bytes = self.read(sample, member)?;
            let extension = member.extension.as_str();
            if IMAGES.contains(&extension) {
                record.image = Some(ImageData::Bytes(bytes));
                continue;
            }
            let text = String::from_utf8(bytes).map_err(|error| record.fail(format!(".{extension}: {error}")))?;
            match extension {
                "json" => {
                    let object: Map<String, Value> =
                        serde_json::from_str(&text).map_err(|error| record.fail(format!(".json: {error}")))?;
                    record.fields.extend(object);
                }
                "txt" => record.fields.push((self.kind.text.to_owned(), Value::String(text))),
                CLASS => {
                    let class = Value::String(text.trim().to_owned());
                    record.fields.extend(["label", CLASS].map(|name| (name.to_owned(), class.clone())));
                }
                field => record.fields.push((field.to_owned(), Value::String(text))),
            }
        }
        if record.optional("id").is_none() {
            record.fields.push(("id".to_owned(), Value::String(sample.key.clone())));
        }
        Ok(record)
    }
}

fn index(path: &Path, shard: usize, samples: &mut Vec<Sample>) -> Result<()> {
    let fail = |error| Error::file(path.display(), error);
    let mut file = File::open(path).map_err(fail)?;
    let mut first = [0; GZIP.len()];
    if file.read_exact(&mut first).is_ok() && first == GZIP {
        return Err(Error::file(path.display(), "expected a tar file, found one packed with gzip: unpack it first"));
    }
    file.rewind().map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    let broken = |key: &str, reason: String| Sample { shard, key: key.to_owned(), content: Content::Broken(reason) };
    let mut last = String::from("start");
    for (number, entry) in archive.entries_with_seek().map_err(fail)?.enumerate() {
        let member = entry.and_then(|entry| Ok((entry.path()?.into_owned(), entry.raw_file_position(), entry.size())));
        let (name, start, size) = match member {
            Ok(member) => member,
            Err(error) if number == 0 => {
                return Err(Error::file(path.display(), format!("expected a tar file: {error}")));
            }
            Err(error) => {
                samples.push(broken(&last, format!("the shard breaks off after this sample: {error}")));
                return Ok(());
            }
        };
        let name = name.display().to_string();
        // Directories and the like have names without an extension.
        let base = name.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = name[base..].find('.').map(|dot| base + dot).filter(|dot| *dot > base) else { continue };
        let (key, extension) = (&name[..dot], name[dot + 1..].to_lowercase());
        last = key.to_owned();
        let newest = samples.last_mut().filter(|sample| sample.shard == shard && sample.key == key);
        if start + size > length {
            let reason = format!("the shard breaks off within .{extension}");
            match newest {
                Some(sample) => sample.content = Content::Broken(reason),
                None => samples.push(broken(key, reason)),
            }
            return Ok(());
        }
        let member = Member { extension, start, size };
        match newest {
            Some(Sample { content: Content::Members(members), .. }) => members.push(member),
            _ => samples.push(Sample { shard, key: key.to_owned(), content: Content::Members(vec![member]) }),
        }
    }
    Ok(())
}
