//! The corpus that ships: pictures and texts made while training, a pure function of seed and position.
//!
//! Read `words` and `nouns` (what there is), `scene` (a picture as data), `compose` (random scenes), `render`,
//! `describe` (noun phrases), `statement` (captions), `ask` (questions), `tell` (examples of every task),
//! `world` (all of it together) and `scenes` (as a source of training samples). `held_out` lists what training never
//! shows.
//!
//! Invariant: every text follows from the scene's data alone, and is true of it.

mod ask;
mod compose;
mod describe;
mod drawing;
mod held_out;
mod nouns;
mod options;
mod outline;
mod render;
mod scene;
mod scenes;
mod statement;
mod stickers;
mod tell;
pub mod words;
mod world;

pub use held_out::{HeldOut, pair as is_held_out_pair, pairs as held_out_pairs, relation as held_out_relation};
pub use nouns::Noun;
pub use options::{Level, ScenesOptions, TaskWeights};
pub use scene::{Kind, Light, Object, Scene};
pub use scenes::Scenes;
pub use stickers::fetched_folder;
pub use tell::{Codes, Told};
pub use world::World;
