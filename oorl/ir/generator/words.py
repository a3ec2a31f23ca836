"""Names that people give to functions, parameters and variables."""

from __future__ import annotations

VERBS = {
    "fold": ("sum", "total", "accumulate", "gather", "combine", "score"),
    "count": ("count", "tally", "number_of"),
    "search": ("find", "locate", "position_of", "seek", "first"),
    "best": ("best", "pick", "select", "peak_of", "choose"),
    "change": ("update", "adjust", "rescale", "refresh", "shift", "apply", "settle"),
    "filter": ("keep", "filter", "drop", "compact", "retain", "prune"),
    "copy": ("map", "copy", "convert", "fill", "derive", "expand"),
    "order": ("sort", "arrange", "order", "partition", "rank", "swap"),
    "scan": ("scan", "parse", "read", "measure", "check", "classify", "digest"),
    "compute": ("compute", "mix", "evaluate", "estimate", "weigh", "step", "rate", "blend"),
    "compare": ("compare", "match", "differ", "relate"),
}
NOUNS = {
    "array": ("values", "samples", "scores", "readings", "prices", "heights", "costs", "levels", "series", "marks"),
    "text": ("text", "word", "line", "token", "name", "label", "field", "input"),
    "matrix": ("grid", "matrix", "board", "image", "tiles", "map"),
    "record": ("entry", "state", "item", "record", "object"),
    "records": ("entries", "items", "records", "table", "list"),
    "scalar": ("value", "number", "code", "bits", "amount", "index", "ratio", "key", "level"),
}
ARRAYS = ("xs", "values", "data", "a", "samples", "nums", "scores", "items", "buf", "v", "arr", "levels")
SECOND_ARRAYS = ("ys", "weights", "other", "b", "ref", "limits", "w", "costs")
OUTPUTS = ("out", "dst", "result", "target", "res")
LENGTHS = ("n", "count", "len", "size", "num", "length")
TEXTS = ("s", "text", "str", "word", "line", "src", "name")
SECOND_TEXTS = ("t", "other", "pattern", "suffix", "key")
MATRICES = ("m", "grid", "cells", "mat", "board")
SCALARS = ("a", "b", "c", "x", "y", "z", "k", "limit", "base", "step", "offset", "value", "seed", "factor", "p", "q")
INTEGERS = ("k", "limit", "target", "step", "offset", "bound", "key", "mode", "threshold", "delta", "width", "shift")
FLOATS = ("x", "scale", "ratio", "alpha", "rate", "gain", "tolerance", "cutoff", "y", "t")
FLAGS = ("strict", "invert", "reverse", "wrap", "signed_only", "greedy", "inclusive")
LETTERS = ("c", "ch", "sep", "mark", "letter")
ACCUMULATORS = ("total", "sum", "acc", "score", "result", "r", "balance", "weight", "cost", "sofar")
COUNTS = ("count", "hits", "seen", "matches", "num_found", "cnt", "passed")
BESTS = ("best", "top", "peak", "winner", "extreme")
HASHES = ("h", "hash", "mix", "state", "crc", "digest")
TEMPORARIES = ("d", "t", "cur", "tmp", "gap", "diff", "v", "val", "e", "part", "u", "now")
COUNTERS = ("i", "j", "k", "pos", "idx")
HELPERS = ("weight_of", "clip", "score_of", "norm", "cost_of", "scaled", "distance", "penalty", "adjusted", "level_of")
TABLES = ("table", "weights", "steps", "primes", "lookup", "bonus", "offsets")
