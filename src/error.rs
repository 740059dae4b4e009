//! The one error type. Each variant names what it concerns, what was expected and what was found.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong at the boundaries: bytes, files, user input, the GPU.
///
/// Wrong tensor shapes between the crate's own functions are bugs and panic instead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read, written or understood.
    File { path: String, reason: String },
    /// A configuration value is missing, out of range or contradicts another.
    Config { key: String, expected: String, found: String },
    /// A tensor is missing, unused, of the wrong shape or of the wrong type.
    Tensor { name: String, expected: String, found: String },
    /// The tokenizer files are inconsistent or a text cannot be encoded.
    Vocab { reason: String },
    /// The bytes are not an image this crate can use.
    Image { reason: String },
    /// A task was asked for something it cannot do.
    Task { task: String, reason: String },
    /// A command line or API option has an unusable value.
    Option { option: String, expected: String, found: String },
    /// No usable device, or the device failed.
    Device { reason: String },
    /// The caller asked for the work to stop.
    Cancelled,
}

impl Error {
    /// A short stable word for programs: the `code` of `OfaError` in JavaScript and of `--json` errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Config { .. } => "config",
            Self::Tensor { .. } => "tensor",
            Self::Vocab { .. } => "vocab",
            Self::Image { .. } => "image",
            Self::Task { .. } => "task",
            Self::Option { .. } => "option",
            Self::Device { .. } => "device",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn file(path: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::File { path: path.to_string(), reason: reason.to_string() }
    }

    pub fn config(key: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::Config { key: key.to_string(), expected: expected.to_string(), found: found.to_string() }
    }

    pub fn tensor(name: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::Tensor { name: name.to_string(), expected: expected.to_string(), found: found.to_string() }
    }

    pub fn vocab(reason: impl fmt::Display) -> Self {
        Self::Vocab { reason: reason.to_string() }
    }

    pub fn image(reason: impl fmt::Display) -> Self {
        Self::Image { reason: reason.to_string() }
    }

    pub fn task(task: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::Task { task: task.to_string(), reason: reason.to_string() }
    }

    pub fn option(option: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::Option { option: option.to_string(), expected: expected.to_string(), found: found.to_string() }
    }

    pub fn device(reason: impl fmt::Display) -> Self {
        Self::Device { reason: reason.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, reason } => write!(f, "{path}: {reason}"),
            Self::Config { key, expected, found } => {
                write!(f, "config key `{key}`: expected {expected}, found {found}")
            }
            Self::Tensor { name, expected, found } => write!(f, "tensor `{name}`: expected {expected}, found {found}"),
            Self::Vocab { reason } => write!(f, "vocabulary: {reason}"),
            Self::Image { reason } => write!(f, "image: {reason}"),
            Self::Task { task, reason } => write!(f, "task `{task}`: {reason}"),
            Self::Option { option, expected, found } => {
                write!(f, "option `{option}`: expected {expected}, found {found}")
            }
            Self::Device { reason } => write!(f, "device: {reason}"),
            Self::Cancelled => write!(f, "cancelled"),
        }
    }
}

impl std::error::Error for Error {}
