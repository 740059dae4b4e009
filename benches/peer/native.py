"""Ours beside onnxruntime on the CPU, in turns: the same weights and picture, one thread and all.

usage: native.py OFA GRAPHS BUNDLES    the last line is one JSON object of ours ÷ theirs
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from PIL import Image

PICTURE = "tests/golden/tiny/resized_0_256x256.png"
SOURCE = [0, 99, 473, 5, 2274, 6190, 116, 2]
HEADS, DEPTH, LAYERS, EOS = 4, 64, 4, 2
ROUNDS, RUNS, LENGTH = 3, 3, 12
EACH = [f"{kind}{layer}" for layer in range(LAYERS) for kind in "kv"]
STAGES = ("encoder", "token", "beam5")


class Peer:
    def __init__(self, directory, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        load = lambda name: onnxruntime.InferenceSession(directory / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        self.encoder, self.step = load("encoder"), load("step")
        pixels = np.asarray(Image.open(PICTURE).convert("RGB"), np.float32).transpose(2, 0, 1)[None]
        self.inputs = {"image": pixels / 127.5 - 1, "source": np.array([SOURCE], np.int64)}

    def run(self):
        started = time.perf_counter()
        outputs = self.encoder.run(None, self.inputs)
        encoder = time.perf_counter() - started
        encoded = dict(zip([output.name for output in self.encoder.get_outputs()], outputs))
        return {"encoder": 1e3 * encoder, "token": self.decode(encoded, 1), "beam5": self.decode(encoded, 5)}

    def decode(self, encoded, beams):
        own = {f"own_{name}": np.zeros((beams, HEADS, 0, DEPTH), np.float32) for name in EACH}
        tokens, parents, scores = [0] * beams, range(beams), np.array([0.0] + [-1e9] * (beams - 1), np.float32)
        times = []
        for position in range(LENGTH):
            started = time.perf_counter()
            logits, *new = self.step.run(None, {
                "tokens": np.array(tokens, np.int64)[:, None], "position": np.array([position], np.int64),
                "parents": np.array(parents, np.int64), **encoded, **own,
            })
            own = {f"own_{name}": values for name, values in zip(EACH, new)}
            logits[:, : EOS + 1] = -np.inf
            if beams == 1:
                tokens = [int(logits.argmax())]
            else:
                greatest = logits.max(axis=1, keepdims=True)
                shift = greatest + np.log(np.exp(logits - greatest).sum(axis=1, keepdims=True))
                candidates = (logits - shift + scores[:, None]).ravel()
                best = np.argpartition(candidates, -2 * beams)[-2 * beams :]
                best = best[np.argsort(-candidates[best])][:beams]
                parents, tokens = np.divmod(best, logits.shape[1])
                scores = candidates[best]
            times.append(1e3 * (time.perf_counter() - started))
        return statistics.median(times[1:])


def ours(binary, bundle, threads):
    command = [binary, "bench", "answer", "--model", bundle, "--image", PICTURE, "--runs", str(RUNS), "--length", str(LENGTH), "--device", "cpu"]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def main():
    binary, graphs, bundles = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    ratios = {}
    cores = len(os.sched_getaffinity(0))
    for precision in ("f32", "q8"):
        for threads, name in ((1, "cpu"), (cores, "cpu_all")):
            peer = Peer(graphs / precision, threads)
            peer.run()
            mine, other = [], []
            for _ in range(ROUNDS):
                mine += ours(binary, bundles / precision, threads)
                other += [peer.run() for _ in range(RUNS)]
            print(f"\n{precision}, {threads} threads: milliseconds".ljust(34) + "ours      theirs       ratio")
            found = ratios[name if precision == "f32" else f"{name}_{precision}"] = {}
            for stage in STAGES:
                a, b = (statistics.median(run[stage] for run in runs) for runs in (mine, other))
                found[stage] = round(a / b, 3)
                print(f"{stage:<26}{a:>12.1f}{b:>12.1f}{a / b:>12.3f}")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
