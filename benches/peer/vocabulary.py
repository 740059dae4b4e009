"""A vocabulary of the right size in which the bench's instruction has the ids that it has in the original's.

usage: vocabulary.py OUT    writes vocab.json and merges.txt; the other pieces are filling
"""

import json
import pathlib
import sys

SIZE = 50264
SPECIALS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": SIZE}
# ` what does the image describe?`; a space is written as the byte-level tokenizers write it.
WORDS = {"Ġwhat": 99, "Ġdoes": 473, "Ġthe": 5, "Ġimage": 2274, "Ġdescribe": 6190, "?": 116}


def main():
    out = pathlib.Path(sys.argv[1])
    # The characters that stand for single bytes: the printable ones for themselves, the others from 256 on.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in printable] + [chr(256 + extra) for extra in range(256 - len(printable))]
    merges, parts = [], []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            pair = (word[: end - 1], word[end - 1])
            if pair not in merges:
                merges.append(pair)
                parts.append(word[:end])
    pieces = iter(dict.fromkeys(piece for piece in letters + parts if piece not in WORDS))
    vocabulary, taken = SPECIALS | WORDS, set((SPECIALS | WORDS).values())
    for number in range(SIZE):
        if number not in taken:
            vocabulary[next(pieces, f"filling{number}")] = number
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(json.dumps(vocabulary))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))


if __name__ == "__main__":
    main()
