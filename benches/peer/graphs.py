"""What a user would run instead: OFA-Tiny as two ONNX graphs, from the same weights, in f32 and with 8-bit weights.

usage: graphs.py WEIGHTS.safetensors OUT    (numpy, onnx, onnxruntime, safetensors)

encoder.onnx  image [1, 3, 256, 256], source [1, S] -> for each layer its cross keys and values [1, H, L, D],
              and the keys of the cross position bias [1, H, L, D]
step.onnx     tokens [K, 1], position [1], parents [K], own keys and values [J, H, t, D] and the encoder's outputs
              -> logits [K, V], own keys and values [K, H, t + 1, D]
"""

import math
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

WIDTH, HEADS, LAYERS, VOCABULARY = 256, 4, 4, 59457
DEPTH = WIDTH // HEADS
# Content and position scores share one temperature, since they are added.
SCALE = (2 * DEPTH) ** -0.5
SIDE, STRIDE, IMAGE_BUCKETS, TOKEN_BUCKETS = 256, 16, 42, 256
GRID = SIDE // STRIDE
PATCHES = GRID * GRID
STAGES = [(3, 1), (4, 2), (6, 2)]
# Answers of the bench are shorter than this; the linear buckets near the diagonal are all that they need.
LONGEST = 128


class Graph:
    """Nodes in the order in which they are written, and the weights that they name."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name, values):
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def ints(self, *values):
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def float(self, value):
        return self.constant(f"float_{value}", np.array(value, np.float32))

    def weight(self, name, change=None, suffix=""):
        values = self.weights[name]
        return self.constant(name + suffix, values if change is None else change(values))

    def op(self, kind, *inputs, output=None, **attributes):
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def linear(self, x, path):
        product = self.op("MatMul", x, self.weight(f"{path}.weight", np.transpose, ".transposed"))
        return self.op("Add", product, self.weight(f"{path}.bias"))

    def norm(self, x, path):
        return self.op("LayerNormalization", x, self.weight(f"{path}.weight"), self.weight(f"{path}.bias"), axis=-1, epsilon=1e-5)

    def split_heads(self, x, output=None):
        x = self.op("Reshape", x, self.ints(0, 0, HEADS, DEPTH))
        return self.op("Transpose", x, perm=[0, 2, 1, 3], output=output)

    def queries(self, x, path):
        return self.split_heads(self.op("Mul", self.linear(x, path), self.float(SCALE)))

    def keys(self, x, path, output=None):
        return self.split_heads(self.linear(x, path), output)

    def scores(self, q, k):
        return self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))

    def attention(self, q, k, v, bias, path):
        weights = self.op("Softmax", self.op("Add", self.scores(q, k), bias), axis=-1)
        context = self.op("MatMul", weights, v)
        context = self.op("Mul", context, self.weight(f"{path}.c_attn", lambda c: c.reshape(1, HEADS, 1, 1)))
        context = self.op("Transpose", context, perm=[0, 2, 1, 3])
        return self.linear(self.op("Reshape", context, self.ints(0, 0, WIDTH)), f"{path}.out_proj")

    def feed_forward(self, x, path):
        y = self.linear(self.norm(x, f"{path}.final_layer_norm"), f"{path}.fc1")
        erf = self.op("Add", self.op("Erf", self.op("Mul", y, self.float(math.sqrt(0.5)))), self.float(1.0))
        y = self.op("Mul", self.op("Mul", y, erf), self.float(0.5))
        y = self.linear(self.norm(y, f"{path}.ffn_layernorm"), f"{path}.fc2")
        return self.op("Add", x, y)

    def convolution(self, x, conv, norm, stride):
        scale, shift, mean, variance = (
            self.weights[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + 1e-5)
        weight = self.weights[f"{conv}.weight"]
        size = weight.shape[-1]
        return self.op(
            "Conv", x,
            self.constant(f"{conv}.folded", weight * factor[:, None, None, None]),
            self.constant(f"{conv}.shift", shift - mean * factor),
            kernel_shape=[size, size], strides=[stride, stride], pads=[size // 2] * 4,
        )

    def relu(self, x):
        return self.op("Relu", x)

    def table_rows(self, name, rows):
        """Rows of a relative table as a bias [1, H, queries, keys]."""
        found = self.op("Gather", self.weight(name), rows, axis=0)
        return self.op("Unsqueeze", self.op("Transpose", found, perm=[2, 0, 1]), self.ints(0))

    def corner(self, x, rows, columns):
        """The square of a table of pairs that short sequences need."""
        x = self.op("Slice", x, self.ints(0), rows, self.ints(0))
        return self.op("Slice", x, self.ints(0), columns, self.ints(1))

    def save(self, path, inputs, outputs):
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def integers(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.INT64, list(shape))


def token_rows():
    position = np.arange(LONGEST)
    return position[:, None] - position[None] + TOKEN_BUCKETS - 1


def image_rows():
    row, column = np.divmod(np.arange(PATCHES), GRID)
    offset = lambda place: place[:, None] - place[None] + IMAGE_BUCKETS - 1
    return offset(row) * (2 * IMAGE_BUCKETS - 1) + offset(column)


def stem(g, path):
    x = g.relu(g.convolution("image", f"{path}conv1", f"{path}bn1", 2))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, (blocks, first_stride) in enumerate(STAGES, 1):
        for index in range(blocks):
            block, stride = f"{path}layer{stage}.{index}.", first_stride if index == 0 else 1
            y = g.relu(g.convolution(x, f"{block}conv1", f"{block}bn1", 1))
            y = g.relu(g.convolution(y, f"{block}conv2", f"{block}bn2", stride))
            y = g.convolution(y, f"{block}conv3", f"{block}bn3", 1)
            if index == 0:
                x = g.convolution(x, f"{block}downsample.0", f"{block}downsample.1", stride)
            x = g.relu(g.op("Add", x, y))
    return g.op("Transpose", g.op("Reshape", x, g.ints(0, 0, -1)), perm=[0, 2, 1])


def encoder(weights, untied):
    g, e = Graph(weights), "encoder."
    kinds = weights[f"{e}type_embedding.weight"]
    typed = lambda x, kind: g.op("Add", x, g.constant(f"type_{kind}", kinds[kind]))
    patches = g.linear(stem(g, f"{e}embed_images."), f"{e}image_proj")
    patches = g.norm(typed(patches, 1), f"{e}patch_layernorm_embedding")
    text = g.op("Gather", g.weight(f"{e}embed_tokens.weight"), "source", axis=0)
    text = g.norm(typed(text, 0), f"{e}layernorm_embedding")
    x = g.op("Concat", patches, text, axis=1)

    length = g.op("Gather", g.op("Shape", "source"), g.ints(1), axis=0)
    row, column = np.divmod(np.arange(PATCHES), GRID)
    image_positions = weights[f"{e}embed_image_positions.weight"][row * IMAGE_BUCKETS + column + 1]
    image_positions = g.norm(g.constant("image_positions", image_positions), f"{e}image_pos_ln")
    positions = g.op("Slice", g.weight(f"{e}embed_positions.weight"), g.ints(0), length, g.ints(0))
    positions = g.op("Concat", image_positions, g.norm(positions, f"{e}pos_ln"), axis=0)
    positions = g.op("Unsqueeze", positions, g.ints(0))
    absolute = g.scores(g.queries(positions, f"{e}pos_q_linear"), g.keys(positions, f"{e}pos_k_linear"))

    rows = g.corner(g.constant("token_rows", token_rows()), length, length)
    behind = g.op("Concat", g.ints(0, 0, 0, 0, 0, 0), length, length, axis=0)
    before = g.ints(0, 0, PATCHES, PATCHES, 0, 0, 0, 0)
    for layer in range(LAYERS):
        path = f"{e}layers.{layer}."
        of_image = weights[f"{e}image_rel_pos_table_list.{layer}.weight"][image_rows()]
        of_image = g.op("Pad", g.constant(f"image_bias_{layer}", of_image.transpose(2, 0, 1)[None]), behind)
        of_text = g.op("Pad", g.table_rows(f"{e}token_rel_pos_table_list.{layer}.weight", rows), before)
        bias = g.op("Add", g.op("Add", absolute, of_image), of_text)
        attn, y = f"{path}self_attn", g.norm(x, f"{path}self_attn_layer_norm")
        k, v = g.keys(y, f"{attn}.k_proj"), g.keys(y, f"{attn}.v_proj")
        y = g.attention(g.queries(y, f"{attn}.q_proj"), k, v, bias, attn)
        x = g.op("Add", x, g.norm(y, f"{path}attn_ln"))
        x = g.feed_forward(x, path[:-1])
    x = g.norm(x, f"{e}layer_norm")

    outputs = ["cross_positions"]
    g.keys(positions, "decoder.cross_pos_k_linear", output="cross_positions")
    for layer in range(LAYERS):
        for kind in "kv":
            outputs.append(f"cross_{kind}{layer}")
            g.keys(x, f"decoder.layers.{layer}.encoder_attn.{kind}_proj", output=outputs[-1])
    inputs = [floats("image", 1, 3, SIDE, SIDE), integers("source", 1, "S")]
    return g, inputs, [floats(name, 1, HEADS, "L", DEPTH) for name in outputs]


def step(weights, untied):
    g, d = Graph(weights), "decoder."
    end = g.op("Add", "position", g.ints(1))
    table = g.weight("encoder.embed_tokens.weight")
    x = g.norm(g.op("Gather", table, "tokens", axis=0), f"{d}layernorm_embedding")
    past = g.op("Slice", g.weight(f"{d}embed_positions.weight"), g.ints(0), end, g.ints(0))
    past = g.norm(past, f"{d}pos_ln")
    here = g.op("Unsqueeze", g.op("Slice", past, "position", end, g.ints(0)), g.ints(0))
    past = g.op("Unsqueeze", past, g.ints(0))
    own_bias = g.scores(g.queries(here, f"{d}self_pos_q_linear"), g.keys(past, f"{d}self_pos_k_linear"))
    cross_bias = g.scores(g.queries(here, f"{d}cross_pos_q_linear"), "cross_positions")
    rows = g.op("Slice", g.constant("token_rows", token_rows()), "position", end, g.ints(0))
    rows = g.op("Slice", rows, g.ints(0), end, g.ints(1))
    for layer in range(LAYERS):
        path = f"{d}layers.{layer}."
        relative = g.table_rows(f"{d}token_rel_pos_table_list.{layer}.weight", rows)
        attn, y = f"{path}self_attn", g.norm(x, f"{path}self_attn_layer_norm")
        for kind in "kv":
            kept = g.op("Gather", f"own_{kind}{layer}", "parents", axis=0)
            g.op("Concat", kept, g.keys(y, f"{attn}.{kind}_proj"), axis=2, output=f"new_{kind}{layer}")
        q, bias = g.queries(y, f"{attn}.q_proj"), g.op("Add", own_bias, relative)
        y = g.attention(q, f"new_k{layer}", f"new_v{layer}", bias, attn)
        x = g.op("Add", x, g.norm(y, f"{path}self_attn_ln"))
        attn, y = f"{path}encoder_attn", g.norm(x, f"{path}encoder_attn_layer_norm")
        q = g.queries(y, f"{attn}.q_proj")
        y = g.attention(q, f"cross_k{layer}", f"cross_v{layer}", cross_bias, attn)
        x = g.op("Add", x, g.norm(y, f"{path}cross_attn_ln"))
        x = g.feed_forward(x, path[:-1])
    x = g.op("Reshape", g.norm(x, f"{d}layer_norm"), g.ints(-1, WIDTH))
    # A tied table is stored once; only a constant of its own can be quantised.
    projection = g.weight("encoder.embed_tokens.weight", np.transpose, ".transposed") if untied else g.op("Transpose", table, perm=[1, 0])
    g.op("MatMul", x, projection, output="logits")

    inputs = [integers("tokens", "K", 1), integers("position", 1), integers("parents", "K")]
    inputs.append(floats("cross_positions", 1, HEADS, "L", DEPTH))
    outputs = [floats("logits", "K", VOCABULARY)]
    for name in (f"{kind}{layer}" for layer in range(LAYERS) for kind in "kv"):
        inputs += [floats(f"own_{name}", "J", HEADS, "t", DEPTH), floats(f"cross_{name}", 1, HEADS, "L", DEPTH)]
        outputs.append(floats(f"new_{name}", "K", HEADS, "u", DEPTH))
    return g, inputs, outputs


def main():
    weights, out = load_file(sys.argv[1]), pathlib.Path(sys.argv[2])
    for name, build in (("encoder", encoder), ("step", step)):
        for kind in ("f32", "q8"):
            (out / kind).mkdir(parents=True, exist_ok=True)
            g, inputs, outputs = build(weights, untied=kind == "q8")
            g.save(out / kind / f"{name}.onnx", inputs, outputs)
        # The 8-bit way that its WebAssembly build runs fast: weights in 8 bits, activations quantised on the fly.
        # Convolutions stay as they are: quantised ones are slower there.
        quantize_dynamic(
            out / "q8" / f"{name}.onnx", out / "q8" / f"{name}.onnx", weight_type=QuantType.QUInt8,
            op_types_to_quantize=["MatMul", "Gather"], extra_options={"MatMulConstBOnly": True},
        )


if __name__ == "__main__":
    main()
