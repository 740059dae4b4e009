//! How the model asks for its parameters: by path and shape, from anything that has them.

use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::kernels::{
    ApartProjections, BatchNorm, ConvNorm, Convolution, GroupNorm, LayerNorm, Linear, PackedWeight, Seen,
    SelfProjections, SplitWeight, Table, WatchedWeight, Weight,
};
use burn::module::{Param, ParamId, RunningState};
use burn::tensor::{Device, Distribution, Tensor};

/// A parameter on its device, before it has its place.
#[allow(clippy::large_enum_variant)] // Lives for one call.
pub enum Stored {
    /// All values in row-major order.
    Flat(Tensor<1>),
    /// Rows of a table too large for one binding, from top to bottom.
    Rows(Vec<Tensor<2>>),
    /// Whole rows of a packed matrix, in parts that fit a binding each.
    Packed(Vec<PackedWeight>),
    /// A matrix in two parts.
    Split(SplitWeight),
    /// A matrix of which is noted what it is multiplied with.
    Watched(Tensor<2>, Seen),
    /// Only the shape matters: a value that takes no memory stands in.
    Shape(Device),
}

/// A source of parameters: a checkpoint, a random initialisation, a list of names.
pub trait Parameters {
    /// Hands over the parameter called `name`.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it is missing or not of this shape.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored>;

    /// Whether matrices that read the same input may be laid out as one. Not where parameters are addressed one by one.
    fn joins(&self) -> bool {
        false
    }

    /// Told which id the parameter called `name` has in the model. A table split by rows has one a part.
    fn placed(&mut self, _name: &str, _id: ParamId) {}
}

/// A place in the tree of parameters; the tree's paths are the keys of checkpoints.
pub struct Path<'a> {
    parameters: &'a mut dyn Parameters,
    prefix: String,
}

impl<'a> Path<'a> {
    pub fn root(parameters: &'a mut dyn Parameters) -> Self {
        Self { parameters, prefix: String::new() }
    }

    pub fn child(&mut self, name: impl std::fmt::Display) -> Path<'_> {
        Path { prefix: self.join(name), parameters: self.parameters }
    }

    fn join(&self, name: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    /// The parameter `name` below this path.
    pub fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Param<Tensor<D>>> {
        let path = self.join(name);
        let tensor = match self.parameters.take(&path, &shape)? {
            Stored::Flat(values) => values.reshape(shape),
            Stored::Shape(device) => Tensor::<D>::zeros([1; D], &device).expand(shape),
            Stored::Rows(_) => return Err(Error::tensor(path, "one tensor", "a table split by rows")),
            Stored::Split(_) => return Err(Error::tensor(path, "plain values", "a matrix in parts")),
            Stored::Watched(..) => return Err(Error::tensor(path, "plain values", "a matrix that is watched")),
            Stored::Packed(_) => return Err(Error::tensor(path, "plain values", "a packed matrix")),
        };
        let param = Param::from_tensor(tensor);
        self.parameters.placed(&path, param.id);
        Ok(param)
    }

    /// A statistic that training observes and no gradient reaches.
    fn statistic(&mut self, name: &str, channels: usize) -> Result<RunningState<Tensor<1>>> {
        let param = self.tensor(name, [channels])?;
        Ok(RunningState::with_id(param.id, param.val().set_require_grad(false)))
    }

    /// `name.weight` `[rows, width]`, which may be larger than one binding.
    pub fn table(&mut self, name: &str, shape: [usize; 2]) -> Result<Table> {
        Ok(Table::new(self.matrix(&format!("{name}.weight"), &shape)?))
    }

    /// The parameter `name` as a matrix of `shape[0]` rows, in parts that fit a binding each.
    fn matrix(&mut self, name: &str, shape: &[usize]) -> Result<Vec<Weight>> {
        let path = self.join(name);
        let matrix = [shape[0], shape[1..].iter().product()];
        let plain = |values: Tensor<2>| Weight::Plain(Param::from_tensor(values));
        let parts: Vec<Weight> = match self.parameters.take(&path, shape)? {
            Stored::Flat(values) => vec![plain(values.reshape(matrix))],
            Stored::Rows(parts) => parts.into_iter().map(plain).collect(),
            Stored::Packed(parts) => parts.into_iter().map(Weight::Packed).collect(),
            Stored::Split(weight) => vec![Weight::Split(weight)],
            Stored::Watched(values, seen) => {
                vec![Weight::Watched(WatchedWeight { weight: Param::from_tensor(values), seen })]
            }
            Stored::Shape(device) => vec![plain(Tensor::<2>::zeros([1, 1], &device).expand(matrix))],
        };
        parts.iter().filter_map(Weight::id).for_each(|id| self.parameters.placed(&path, id));
        Ok(parts)
    }

    /// The parameter `name` as a matrix of `shape[0]` rows.
    fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Weight> {
        let mut parts = self.matrix(name, shape)?;
        if parts.len() > 1 {
            return Err(Error::tensor(self.join(name), "one matrix", "a table split by rows"));
        }
        Ok(parts.remove(0))
    }

    pub fn linear(&mut self, name: &str, input: usize, output: usize) -> Result<Linear> {
        let mut path = self.child(name);
        Ok(Linear { weight: path.weight("weight", &[output, input])?, bias: Some(path.tensor("bias", [output])?) })
    }

    /// The projections `q_proj`, `k_proj` and `v_proj` of a self-attention.
    pub fn self_projections(&mut self, width: usize) -> Result<SelfProjections> {
        let q_proj = self.linear("q_proj", width, width)?;
        let k_proj = self.linear("k_proj", width, width)?;
        let v_proj = self.linear("v_proj", width, width)?;
        let joined = if self.parameters.joins() { Linear::join(&[&q_proj, &k_proj, &v_proj]) } else { None };
        Ok(match joined {
            Some(joined) => SelfProjections::Joined(joined),
            None => SelfProjections::Apart(ApartProjections { q_proj, k_proj, v_proj }),
        })
    }

    pub fn layer_norm(&mut self, name: &str, width: usize) -> Result<LayerNorm> {
        let mut path = self.child(name);
        Ok(LayerNorm { weight: path.tensor("weight", [width])?, bias: path.tensor("bias", [width])? })
    }

    pub fn layer_norm_if(&mut self, present: bool, name: &str, width: usize) -> Result<Option<LayerNorm>> {
        present.then(|| self.layer_norm(name, width)).transpose()
    }

    /// A convolution `[out, in, k, k]` and the norm called `norm` behind it.
    pub fn conv_norm(
        &mut self,
        conv: &str,
        norm: &str,
        shape: [usize; 4],
        stride: usize,
        config: &OfaConfig,
    ) -> Result<ConvNorm> {
        let folded = config.batch_norm_folded;
        let channels = shape[0];
        let mut path = self.child(conv);
        let weight = path.weight("weight", &shape)?;
        let bias = folded.then(|| path.tensor("bias", [channels])).transpose()?;
        let norm = (!folded).then(|| self.batch_norm(norm, channels, config.freeze_resnet)).transpose()?;
        Ok(ConvNorm { weight, bias, norm, kernel: shape[2], stride })
    }

    /// A square convolution of `kernel` x `kernel` with a bias.
    pub fn convolution(&mut self, name: &str, input: usize, output: usize, kernel: usize) -> Result<Convolution> {
        let mut path = self.child(name);
        let weight = path.tensor("weight", [output, input, kernel, kernel])?;
        Ok(Convolution { weight, bias: path.tensor("bias", [output])? })
    }

    pub fn group_norm(&mut self, name: &str, channels: usize, groups: usize) -> Result<GroupNorm> {
        let mut path = self.child(name);
        Ok(GroupNorm { weight: path.tensor("weight", [channels])?, bias: path.tensor("bias", [channels])?, groups })
    }

    fn batch_norm(&mut self, name: &str, channels: usize, frozen: bool) -> Result<BatchNorm> {
        let mut path = self.child(name);
        Ok(BatchNorm {
            weight: path.tensor("weight", [channels])?,
            bias: path.tensor("bias", [channels])?,
            running_mean: path.statistic("running_mean", channels)?,
            running_var: path.statistic("running_var", channels)?,
            frozen,
        })
    }
}

/// Name and shape of every parameter of a model, in the order in which the model runs. Takes no memory to speak of.
///
/// # Errors
/// [`Error::Config`] for an unusable configuration.
pub fn parameter_shapes(config: &OfaConfig, device: &Device) -> Result<Vec<(String, Vec<usize>)>> {
    config.validate()?;
    shapes_asked_for(device, |parameters| super::OfaModel::new(config, parameters))
}

/// What `build` asks for, in its order.
pub(super) fn shapes_asked_for<M>(
    device: &Device,
    build: impl FnOnce(&mut dyn Parameters) -> Result<M>,
) -> Result<Vec<(String, Vec<usize>)>> {
    struct Names(Device, Vec<(String, Vec<usize>)>);
    impl Parameters for Names {
        fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
            self.1.push((name.to_string(), shape.to_vec()));
            Ok(Stored::Shape(self.0.clone()))
        }
    }
    let mut names = Names(device.clone(), Vec::new());
    build(&mut names)?;
    Ok(names.1)
}

/// Fresh parameters by the original's rule (reference §1.12): linear and embedding weights N(0, 0.02), norms 1 and
/// 0, convolutions Kaiming by fan-out. Seed the device for a repeatable model.
pub struct Random {
    pub device: Device,
    pub pad_token_id: u32,
    /// Multiplies the deviation of linear and embedding weights; 1 is the original's.
    pub gain: f64,
}

const INIT_STD: f64 = 0.02;

impl Parameters for Random {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let count: usize = shape.iter().product();
        let constant = |value: f32| Tensor::<1>::full([count], value, &self.device);
        let normal = |std: f64| Tensor::<1>::random([count], Distribution::Normal(0.0, std), &self.device);
        let last = name.rsplit('.').next().unwrap_or(name);
        Ok(Stored::Flat(match (last, shape) {
            ("bias" | "running_mean", _) => constant(0.0),
            ("running_var" | "c_attn" | "w_resid", _) | ("weight", [_]) => constant(1.0),
            (_, [out, _, height, width]) => normal((2.0 / (out * height * width) as f64).sqrt()),
            _ if name.ends_with("embed_tokens.weight") => {
                let width = shape[1];
                let pad = self.pad_token_id as usize * width;
                let zeros = Tensor::<1>::zeros([width], &self.device);
                #[allow(clippy::single_range_in_vec_init)]
                normal(INIT_STD * self.gain).slice_assign([pad..pad + width], zeros)
            }
            _ => normal(INIT_STD * self.gain),
        }))
    }
}
