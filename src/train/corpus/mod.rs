//! The corpus that ships: pictures and texts made while training, a pure function of seed and position.
//!
//! Read `words` and `nouns` (what there is), `scene` (a picture as data), `compose` (random scenes), `render`,
//! `describe` (noun phrases), `statement` (captions), `ask` (questions), `tell` (examples of every task),
//! `world` (all of it together), `probe`, `mention` and `infill` (what evaluation asks and expects), `scenes` (as a
//! source of training samples), `files`, `palette` (for a scene maker) and `tokenizer`. `held_out` lists what training never shows.
//!
//! Invariant: every text follows from the scene's data alone, and is true of it.

mod ask;
mod compose;
mod describe;
mod drawing;
mod files;
mod held_out;
mod infill;
mod mention;
mod nouns;
mod options;
mod outline;
mod palette;
mod probe;
mod render;
mod scene;
mod scenes;
mod statement;
mod stickers;
mod tell;
mod tokenizer;
pub mod words;
mod world;

pub use held_out::{COUNT as HELD_OUT_COUNT, HeldOut, pair as is_held_out_pair, relation as held_out_relation};
pub use infill::infilled_shapes;
pub use mention::{mentions, names};
pub use nouns::Noun;
pub use options::{Level, ScenesOptions, TaskWeights};
pub use palette::Palette;
pub use scene::{Kind, Light, Object, Scene};
pub use scenes::Scenes;
pub use stickers::fetched_folder;
pub use tell::{Codes, Told};
pub use tokenizer::TokenizerFiles;
pub use world::World;
