"""Updates of a model of the same shape in PyTorch, beside `ofa bench train`.

    pip install torch
    python benches/train_torch.py [--threads 1] [--updates 20]

The defaults are the shapes of recipes/scenes-cpu.toml: so many pictures, samples, and tokens of a sample on average, all of
one length, which spares PyTorch the padding. Everything of a step is there: the stem with live batch norms, position
biases, the norms and head scales of OFA, cross-entropy over the tied vocabulary, clipping, AdamW, a moving average.
Values are random; time does not depend on them.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional as F


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shapes = dict(
        width=128, heads=4, ffn=512, encoder_layers=3, decoder_layers=2, vocabulary=2585, channels=16, side=64,
        images=26, samples=86, source=11, target=5, buckets=32, threads=1, updates=20,
    )
    for name, value in shapes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 2, 1])
    return parser.parse_args()


class Block(nn.Module):
    def __init__(self, inputs, planes, stride, first):
        super().__init__()

        def convolution(inputs, outputs, side, stride=1):
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs)
            )

        self.narrow = convolution(inputs, planes, 1)
        self.middle = convolution(planes, planes, 3, stride)
        self.widen = convolution(planes, 4 * planes, 1)
        self.shortcut = convolution(inputs, 4 * planes, 1, stride) if first else nn.Identity()

    def forward(self, x):
        branch = self.widen(F.relu(self.middle(F.relu(self.narrow(x)))))
        return F.relu(branch + self.shortcut(x))


def stem(channels, blocks):
    layers = [nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = channels
    for stage, count in enumerate(blocks):
        planes = channels << stage
        for at in range(count):
            layers.append(Block(inputs, planes, 2 if stage > 0 and at == 0 else 1, at == 0))
            inputs = 4 * planes
    return nn.Sequential(*layers), inputs


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.scale = nn.Parameter(torch.ones(heads))
        self.heads = heads

    def forward(self, x, memory, bias):
        def split(values):
            return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(memory)), split(self.v(memory))
        scores = q @ k.transpose(2, 3) / (2 * q.shape[-1]) ** 0.5 + bias
        found = scores.softmax(-1) @ v * self.scale[:, None, None]
        return self.out(found.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, o, crosses):
        super().__init__()
        attentions = 1 + crosses
        self.attentions = nn.ModuleList(Attention(o.width, o.heads) for _ in range(attentions))
        self.before, self.after = (nn.ModuleList(nn.LayerNorm(o.width) for _ in range(attentions)) for _ in range(2))
        self.up, self.down = nn.Linear(o.width, o.ffn), nn.Linear(o.ffn, o.width)
        self.norm, self.inner = nn.LayerNorm(o.width), nn.LayerNorm(o.ffn)

    def forward(self, x, memories, biases):
        for at, attention in enumerate(self.attentions):
            read = self.before[at](x)
            memory = read if memories[at] is None else memories[at]
            x = x + self.after[at](attention(read, memory, biases[at]))
        return x + self.down(self.inner(F.gelu(self.up(self.norm(x)))))


class Positions(nn.Module):
    """The absolute bias from projected embeddings, and a layer's own table of relative ones."""

    def __init__(self, o, queries, keys, layers):
        super().__init__()
        self.queries, self.keys = (nn.Parameter(0.02 * torch.randn(count, o.width)) for count in (queries, keys))
        self.q, self.k = nn.Linear(o.width, o.width), nn.Linear(o.width, o.width)
        self.relative = nn.ModuleList(nn.Embedding(4 * o.buckets**2, o.heads) for _ in range(layers))
        self.register_buffer("places", torch.randint(4 * o.buckets**2, (queries, keys)))
        self.heads = o.heads

    def forward(self):
        """The absolute bias, and what each layer reads."""
        sides = (self.q, self.queries), (self.k, self.keys)
        q, k = (linear(x).unflatten(-1, (self.heads, -1)).transpose(0, 1) for linear, x in sides)
        absolute = q @ k.transpose(1, 2) / (2 * q.shape[-1]) ** 0.5
        return absolute, [absolute + table(self.places).permute(2, 0, 1) for table in self.relative]


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.stem, features = stem(o.channels, o.blocks)
        patches = (-(-o.side // 16)) ** 2
        self.patches = nn.Linear(features, o.width)
        self.tokens = nn.Embedding(o.vocabulary, o.width)
        length = patches + o.source
        self.encoder = nn.ModuleList(Layer(o, 0) for _ in range(o.encoder_layers))
        self.decoder = nn.ModuleList(Layer(o, 1) for _ in range(o.decoder_layers))
        self.encoding = Positions(o, length, length, o.encoder_layers)
        self.decoding = Positions(o, o.target, o.target, o.decoder_layers)
        self.crossing = Positions(o, o.target, length, 0)
        self.norms = nn.ModuleList(nn.LayerNorm(o.width) for _ in range(4))

    def forward(self, images, of, source, previous):
        patches = self.patches(self.stem(images).flatten(2).transpose(1, 2))
        x = torch.cat([self.norms[0](patches)[of], self.norms[1](self.tokens(source))], 1)
        for layer, bias in zip(self.encoder, self.encoding()[1]):
            x = layer(x, [None], [bias])
        memory, (cross, _) = self.norms[2](x), self.crossing()
        y = self.tokens(previous)
        hidden = torch.full((previous.shape[1],) * 2, float("-inf")).triu(1)
        for layer, bias in zip(self.decoder, self.decoding()[1]):
            y = layer(y, [None, memory], [bias + hidden, cross])
        return self.norms[3](y) @ self.tokens.weight.T


def main():
    o = options()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    model = Model(o)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    images = torch.randn(o.images, 3, o.side, o.side)
    of = torch.arange(o.samples) % o.images
    source, previous, target = (
        torch.randint(o.vocabulary, (o.samples, length)) for length in (o.source, o.target, o.target)
    )

    def update():
        logits = model(images, of, source, previous)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(model.parameters()), 0.002)

    for _ in range(3):
        update()
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(o.updates):
        update()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(json.dumps({
        "torch": torch.__version__, "threads": o.threads,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "samples_per_second": round(o.samples * o.updates / wall, 1),
        "tokens_per_second": round(o.samples * o.target * o.updates / wall, 1),
        "samples_per_processor_second": round(o.samples * o.updates / processor, 1),
    }))


main()
