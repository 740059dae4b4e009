//! A model's parameters as one row of numbers: what the optimiser, the moving average, checkpoints and other ranks
//! work on. Names and order are those of checkpoints.

use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{PackedWeight, floats};
use crate::model::{OfaModel, Parameters, Stored};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor};
use std::collections::HashMap;
use std::ops::Range;

/// Which of a model's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// What gradients reach.
    Parameters,
    /// Running statistics of batch norms, which forward passes observe.
    Statistics,
}

/// A named stretch of its section's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub shape: Vec<usize>,
    pub section: Section,
    pub range: Range<usize>,
}

/// Where each parameter lies in the row.
#[derive(Debug, Clone, Default)]
pub struct ParameterMap {
    entries: Vec<Entry>,
    by_id: HashMap<ParamId, usize>,
    frozen: Vec<bool>,
}

/// A gradient over the whole row.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// `[n]`, 0 where none arrived.
    pub values: Tensor<1>,
    /// For each entry of [`Section::Parameters`], in order, whether one arrived.
    pub reached: Vec<bool>,
}

impl ParameterMap {
    /// Builds the model from `parameters` on their device and notes where each of them went.
    ///
    /// # Errors
    /// Those of [`OfaModel::new`].
    pub fn build(config: &OfaConfig, parameters: &mut dyn Parameters) -> Result<(OfaModel, Self)> {
        config.validate()?;
        Self::record(parameters, |parameters| OfaModel::new(config, parameters))
    }

    /// The same for what `build` builds.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn record<M>(
        parameters: &mut dyn Parameters,
        build: impl FnOnce(&mut dyn Parameters) -> Result<M>,
    ) -> Result<(M, Self)> {
        let mut recorder = Recorder { parameters, map: Self::default(), ends: [0; 2], shape: Vec::new() };
        let model = build(&mut recorder)?;
        let mut map = recorder.map;
        map.frozen = vec![false; map.entries.len()];
        Ok((model, map))
    }

    pub fn entries(&self, section: Section) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.section == section)
    }

    /// Numbers in a section's row.
    pub fn len(&self, section: Section) -> usize {
        self.entries(section).map(|entry| entry.range.len()).sum()
    }

    /// Stops training the parameters whose names `frozen` accepts, and computing what only their gradients need.
    pub fn freeze<M: Module>(&mut self, model: M, frozen: impl Fn(&str) -> bool) -> M {
        self.frozen = self.entries.iter().map(|entry| frozen(&entry.name)).collect();
        model.map(&mut Freeze(self))
    }

    /// Whether a parameter is trained.
    pub fn is_trained(&self, name: &str) -> bool {
        self.entries
            .iter()
            .zip(&self.frozen)
            .any(|(entry, frozen)| entry.name == name && entry.section == Section::Parameters && !frozen)
    }

    /// A section of the model's numbers, without gradients, `[n]`. Statistics are those of all passes so far.
    pub fn values(&self, model: &impl Module, section: Section) -> Tensor<1> {
        let model = model.valid();
        let mut collect = Collect { map: self, found: vec![None; self.entries.len()], gradients: None };
        model.visit(&mut collect);
        let found = collect.found;
        let parts: Vec<Tensor<1>> = self
            .entries
            .iter()
            .zip(found)
            .filter(|(entry, _)| entry.section == section)
            .map(|(_, values)| values.expect("the model has every parameter that it was built from"))
            .collect();
        if parts.is_empty() { Tensor::zeros([0], &device_of(&model)) } else { Tensor::cat(parts, 0) }
    }

    /// The model with a section of its numbers replaced.
    ///
    /// # Shapes
    /// `[n]`, without gradients
    pub fn load<M: Module>(&self, model: M, section: Section, values: &Tensor<1>) -> M {
        model.map(&mut Scatter { map: self, section, values })
    }

    /// What arrived at the parameters.
    pub fn gradient(&self, model: &impl Module, gradients: &mut Gradients) -> Gradient {
        let device = device_of(model).without_autodiff();
        let mut collect = Collect { map: self, found: vec![None; self.entries.len()], gradients: Some(gradients) };
        model.visit(&mut collect);
        let found = collect.found.into_iter().zip(&self.entries);
        let parts = found.filter(|(_, entry)| entry.section == Section::Parameters);
        let (values, reached) = parts
            .map(|(found, entry)| match found {
                Some(values) => (values, true),
                None => (Tensor::zeros([entry.range.len()], &device), false),
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        Gradient { values: Tensor::cat(values, 0), reached }
    }

    /// What arrives where nothing was judged.
    pub fn no_gradient(&self, model: &impl Module) -> Gradient {
        let (count, entries) = (self.len(Section::Parameters), self.entries(Section::Parameters).count());
        let device = device_of(model).without_autodiff();
        Gradient { values: Tensor::zeros([count], &device), reached: vec![false; entries] }
    }

    /// 1 at the numbers of the entries that were reached, 0 elsewhere; `None` if all were.
    pub fn mask(&self, reached: &[bool], device: &Device) -> Option<Tensor<1>> {
        if reached.iter().all(|reached| *reached) {
            return None;
        }
        let stretch = |(entry, reached): (&Entry, &bool)| {
            if *reached {
                Tensor::ones([entry.range.len()], device)
            } else {
                Tensor::zeros([entry.range.len()], device)
            }
        };
        Some(Tensor::cat(self.entries(Section::Parameters).zip(reached).map(stretch).collect(), 0))
    }
}

impl Gradient {
    /// Adds what another pass brought.
    pub fn plus(self, other: Gradient) -> Self {
        let reached = self.reached.iter().zip(&other.reached).map(|(a, b)| *a || *b).collect();
        Self { values: self.values + other.values, reached }
    }

    /// Its length as a vector.
    ///
    /// # Errors
    /// The device's, when the number cannot be read back.
    pub async fn norm(&self) -> Result<f32> {
        let sum = floats(self.values.clone().square().sum()).await?;
        Ok(sum.first().copied().unwrap_or(0.0).sqrt())
    }
}

fn device_of(model: &impl Module) -> Device {
    model.devices().into_iter().next().expect("a model has parameters")
}

/// Writes the map down while the model takes its parameters.
struct Recorder<'a> {
    parameters: &'a mut dyn Parameters,
    map: ParameterMap,
    /// Ends of the two sections' rows.
    ends: [usize; 2],
    /// Of the parameter taken last.
    shape: Vec<usize>,
}

impl Parameters for Recorder<'_> {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        self.shape = shape.to_vec();
        match self.parameters.take(name, shape)? {
            Stored::Rows(parts) => {
                // Training works on whole tables; only tabs need them in parts.
                let count: usize = shape.iter().product();
                Ok(Stored::Flat(Tensor::cat(parts, 0).reshape([count])))
            }
            Stored::Packed(parts) => {
                let count: usize = shape.iter().product();
                let parts = parts.iter().map(PackedWeight::unpacked).collect();
                Ok(Stored::Flat(Tensor::cat(parts, 0).reshape([count])))
            }
            stored => Ok(stored),
        }
    }

    fn placed(&mut self, name: &str, id: ParamId) {
        let statistic = name.ends_with(".running_mean") || name.ends_with(".running_var");
        let section = if statistic { Section::Statistics } else { Section::Parameters };
        let end = &mut self.ends[usize::from(statistic)];
        let start = *end;
        *end += self.shape.iter().product::<usize>();
        self.map.by_id.insert(id, self.map.entries.len());
        let entry = Entry { name: name.to_owned(), shape: self.shape.clone(), section, range: start..*end };
        self.map.entries.push(entry);
    }
}

/// Values of parameters, or their gradients.
struct Collect<'a> {
    map: &'a ParameterMap,
    found: Vec<Option<Tensor<1>>>,
    gradients: Option<&'a mut Gradients>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let index = self.map.by_id[&param.id];
        let count = self.map.entries[index].range.len();
        let values = match &mut self.gradients {
            Some(gradients) => param.val().grad_remove(gradients),
            None => Some(param.val().without_autodiff()),
        };
        self.found[index] = values.map(|values| values.reshape([count]));
    }
}

struct Scatter<'a> {
    map: &'a ParameterMap,
    section: Section,
    values: &'a Tensor<1>,
}

impl ModuleMapper for Scatter<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.map.by_id[&param.id];
        let entry = &self.map.entries[index];
        if entry.section != self.section {
            return param;
        }
        let trained = self.section == Section::Parameters && !self.map.frozen[index];
        param.map(|old| {
            #[allow(clippy::single_range_in_vec_init)]
            let new = self.values.clone().slice([entry.range.clone()]).reshape(old.dims());
            // A model for answering has no gradients to ask for.
            if old.is_autodiff() { new.autodiff().set_require_grad(trained) } else { new }
        })
    }
}

struct Freeze<'a>(&'a ParameterMap);

impl ModuleMapper for Freeze<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.0.by_id[&param.id];
        let trained = self.0.entries[index].section == Section::Parameters && !self.0.frozen[index];
        param.set_require_grad(trained)
    }
}
