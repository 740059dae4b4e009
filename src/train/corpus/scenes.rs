//! The world as a source of training samples.

use super::tell::{Codes, Told};
use super::world::World;
use crate::error::Result;
use crate::train::sample::{Draw, Draws, Sample, samples};
use crate::vocab::Vocab;
use std::collections::HashMap;
use std::sync::Arc;

/// Samples about scenes, in ids.
pub struct Scenes {
    world: Arc<World>,
    vocab: Arc<Vocab>,
    codes: Option<Codes>,
}

impl Scenes {
    /// Tasks with image codes are drawn if there is something to make them with.
    pub fn new(world: Arc<World>, vocab: Arc<Vocab>, codes: Option<Codes>) -> Self {
        Self { world, vocab, codes }
    }

    pub fn world(&self) -> &World {
        &self.world
    }
}

impl Draws for Scenes {
    fn len(&self) -> Option<u64> {
        self.world.options().epoch
    }

    fn draw(&self, epoch: u64, index: u64) -> Result<Draw> {
        let Told { main, extra, patches } = self.world.told(epoch, index, self.codes.as_ref())?;
        let side = self.world.options().side;
        let (main, extra) = (samples(&main, &self.vocab, side)?, samples(&extra, &self.vocab, side)?);
        let mut named: HashMap<&str, Vec<u32>> = HashMap::new();
        for name in &patches {
            if !named.contains_key(name.as_str()) {
                named.insert(name, self.vocab.encode(&format!(" {name}"))?);
            }
        }
        let names = Arc::new(patches.iter().map(|name| named[name.as_str()].clone()).collect::<Vec<_>>());
        let with_names = |sample: Sample| {
            // A picture that is coded is another cut of the scene.
            let shown = sample.image.is_some() && !sample.codes;
            Sample { patch_names: shown.then(|| names.clone()), ..sample }
        };
        let [main, extra] = [main, extra].map(|samples| samples.into_iter().map(with_names).collect());
        Ok(Draw { main, extra, ..Draw::default() })
    }
}
