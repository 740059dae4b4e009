//! One launch of a shader: its bindings and constants are declared in Rust and written into the WGSL text, so that a
//! shader's file holds nothing but what it computes.

use super::steady;
use burn::tensor::{Int, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::ir::metadata::Info;
use burn_cubecl::cubecl::ir::{ElemType, UIntKind};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn_cubecl::cubecl::{CubeKernel, PrecompiledSource};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use std::fmt::Write;

/// What a binding holds, as WGSL names it.
pub type Element = &'static str;

pub const F32: Element = "f32";
pub const F32X4: Element = "vec4<f32>";
pub const U32: Element = "u32";

/// A shader and what it is launched with.
pub struct Launch {
    shader: Shader,
    tensors: Vec<CubeTensor>,
    numbers: Vec<u32>,
}

/// Everything that the text of a shader depends on, and so its key among the compiled ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shader {
    name: &'static str,
    parts: Vec<&'static str>,
    constants: Vec<(&'static str, u32)>,
    bindings: Vec<Binding>,
    numbers: Vec<&'static str>,
    workgroup: [u32; 3],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Binding {
    name: &'static str,
    element: Element,
    written: bool,
}

impl Launch {
    /// `part` is WGSL; it finds its bindings, constants and numbers under the names they are given below, and its
    /// entry point is `main`.
    pub fn new(name: &'static str, part: &'static str, workgroup: [u32; 3]) -> Self {
        let shader = Shader {
            name,
            parts: vec![part],
            constants: Vec::new(),
            bindings: Vec::new(),
            numbers: Vec::new(),
            workgroup,
        };
        Self { shader, tensors: Vec::new(), numbers: Vec::new() }
    }

    /// More WGSL: functions that the others call.
    pub fn with(mut self, part: &'static str) -> Self {
        self.shader.parts.push(part);
        self
    }

    /// A number known when the shader is compiled; each value makes a pipeline of its own.
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.shader.constants.push((name, value));
        self
    }

    /// A number that may differ from launch to launch, `numbers.name` in the shader.
    pub fn number(mut self, name: &'static str, value: usize) -> Self {
        self.shader.numbers.push(name);
        self.numbers.push(value as u32);
        self
    }

    /// A tensor that is read.
    pub fn reads<const D: usize>(self, name: &'static str, element: Element, tensor: Tensor<D>) -> Self {
        self.binds(name, element, false, primitive(tensor))
    }

    /// Integers that are read.
    pub fn reads_words(self, name: &'static str, element: Element, tensor: Tensor<1, Int>) -> Self {
        self.binds(name, element, false, primitive_words(tensor))
    }

    /// Integers that are written where they lie, as in [`Launch::writes`].
    pub fn writes_words(self, name: &'static str, element: Element, tensor: Tensor<1, Int>) -> Self {
        self.binds(name, element, true, primitive_words(tensor))
    }

    /// A tensor that is written where it lies. Every clone of it changes.
    pub fn writes<const D: usize>(self, name: &'static str, element: Element, tensor: Tensor<D>) -> Self {
        self.binds(name, element, true, primitive(tensor))
    }

    fn binds(mut self, name: &'static str, element: Element, written: bool, tensor: CubeTensor) -> Self {
        self.shader.bindings.push(Binding { name, element, written });
        self.tensors.push(tensor);
        self
    }

    /// A new tensor that is written, all of it.
    pub fn makes<const D: usize>(self, name: &'static str, element: Element, shape: [usize; D]) -> (Self, Tensor<D>) {
        let beside = self.tensors.first().expect("a kernel reads something");
        let new = steady::made(beside, Shape::from(shape.to_vec()));
        let tensor = Tensor::from_primitive::<CubeBackend>(new.clone());
        (self.binds(name, element, true, new), tensor)
    }

    /// Runs `groups` workgroups, which write all of a new tensor bound under `name`.
    pub fn into_new<const D: usize>(
        self,
        name: &'static str,
        element: Element,
        shape: [usize; D],
        groups: [usize; 3],
    ) -> Tensor<D> {
        let (launch, tensor) = self.makes(name, element, shape);
        launch.run(groups);
        tensor
    }

    /// Runs `groups` workgroups.
    pub fn run(self, groups: [usize; 3]) {
        let Self { shader, tensors, numbers } = self;
        let client = tensors.first().expect("a kernel reads something").client.clone();
        let words =
            numbers.chunks(2).map(|pair| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32);
        let mut arguments = KernelArguments::new().with_info(MetadataBindingInfo::custom(words.collect()));
        for (tensor, binding) in tensors.into_iter().zip(&shader.bindings) {
            // No kernel reads what it writes, and so none is kept from writing where an earlier one did not come to.
            let io = if binding.written { BufferIOAttr::WriteOnly } else { BufferIOAttr::ReadOnly };
            arguments = arguments.with_buffer_io(tensor.handle.binding(), io);
        }
        let [x, y, z] = groups.map(|count| count as u32);
        client.launch(Box::new(shader), CubeCount::Static(x, y, z), arguments);
    }
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    let tensor = tensor.try_into_primitive::<CubeBackend>().expect("the kernels of GPUs get tensors of GPUs");
    into_contiguous(tensor)
}

pub fn primitive_words(tensor: Tensor<1, Int>) -> CubeTensor {
    let tensor = tensor.try_into_primitive::<CubeBackend>().expect("the kernels of GPUs get tensors of GPUs");
    into_contiguous(tensor)
}

/// In a browser every tensor has a buffer of its own. Elsewhere tensors share buffers, and one buffer may not be both
/// read-only and writable in a dispatch.
const READ: &str = if cfg!(target_family = "wasm") { "read" } else { "read_write" };

impl Shader {
    fn dim(&self) -> CubeDim {
        let [x, y, z] = self.workgroup;
        CubeDim::new_3d(x, y, z)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.constants {
            let _ = writeln!(text, "const {name}: u32 = {value}u;");
        }
        for (index, Binding { name, element, written }) in self.bindings.iter().enumerate() {
            let access = if *written { "read_write" } else { READ };
            let _ = writeln!(text, "@group(0) @binding({index}) var<storage, {access}> {name}: array<{element}>;");
        }
        let fields = self.numbers.iter().map(|name| format!("{name}: u32")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "struct Numbers {{ {fields} }}");
        let index = self.bindings.len();
        let _ = writeln!(text, "@group(0) @binding({index}) var<storage, read> numbers: Numbers;");
        let [x, y, z] = self.workgroup;
        let _ = writeln!(text, "const WIDTH: u32 = {x}u; const HEIGHT: u32 = {y}u; const DEPTH: u32 = {z}u;");
        self.parts.iter().for_each(|part| text.push_str(part));
        text
    }
}

impl KernelMetadata for Shader {
    fn name(&self) -> &'static str {
        self.name
    }

    fn id(&self) -> KernelId {
        // The shaders check their own bounds.
        KernelId::new::<Self>().info(self.clone()).cube_dim(self.dim().0).mode(ExecutionMode::Unchecked)
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl CubeKernel for Shader {
    /// A text has no representation in the compiler's language.
    fn define(&self) -> KernelDefinition {
        let settings = KernelSettings::new(self.dim().0, ExecutionMode::Unchecked, AddressType::U32);
        KernelDefinition { body: Scope::root(settings.clone()), settings, info: Info::default() }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        Some(PrecompiledSource { source: self.text(), entrypoint_name: "main".into(), lang: "wgsl" })
    }
}
