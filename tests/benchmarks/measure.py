"""Measure what the engine costs, beside a floor and beside other ways to do the same, and store it for the book.

`make bench` runs it (``cd tests && python -m benchmarks.measure``, four minutes). It writes
`book/_data/benchmarks.json`, which the chapter on costs reads. All ways to do one thing are timed in turns in one
process, on one thread, and the fastest of many short repeats counts: what the machine can do when it is left alone.
With ``--large`` it measures only 100,000 runs of 1,000 steps (ten minutes); what is not measured stays in the record as
it was.
"""

import argparse
import datetime
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
from importlib import metadata, util
from pathlib import Path

import numpy as np
from benchmarks import rivals

from coevo import reference
from coevo.simulation import State, System, circle, image_update, macro_step, replicate, simulate, text_update
from coevo.simulation.runs import BLOCK

RECORD = Path(__file__).resolve().parents[2] / "book" / "_data" / "benchmarks.json"
FORMAT = 1
PACKAGES = ("coevo", "numpy", "scipy", "joblib", "numba")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

#: Times the floor that a text update may take, by setting. The corners are all others: they may take so many times the
#: floor and the algebra together, because the precision matrices of many texts cost more than a few images.
LIMITS = {
    "headline": {"numpy": 3.0, "compiled": 2.0},
    "points": {},
    "needles": {},
    "corner": {"numpy": 4.0, "compiled": 4.0},
}
#: A macro step is so many times faster than the literal algorithm, and an image update of N = 10^6 images may take so
#: many times as long as one of 10^2.
FASTER, GROWTH = 500.0, 1.2
#: Memory of 100,000 runs of 1,000 steps, in bytes.
LARGE_LIMIT = 2**30
LARGE_RUNS, LARGE_STEPS = 100_000, 1_000

HEADLINE = (5, 2, 100, 100)  # K, d, M, runs
CORNERS = [(K, d, M) for K in (5, 20, 100) for d in (2, 4, 16) for M in (100, 1_000, 10_000)]
#: Settings between the corners, for the cost model.
GRID = [(K, d, M, runs) for K in (2, 10, 50) for d in (1, 3, 8) for M in (10, 300) for runs in (4, 200)]
ALONE = [(5, 2, 100, runs) for runs in (1, 10, 1_000)]
#: Settings in which the set-up is all: two images a run.
FEW = [(K, d, 2, 20) for K in (20, 50, 100) for d in (2, 6, 12)]
IMAGE_GRID = [(K, d, runs) for K in (5, 50) for d in (1, 2, 4, 8, 16) for runs in (10, 200)]
IMAGE_SAMPLES = [10**k for k in range(1, 9)]
DRAWN = [1_000, 10_000, 100_000]
CROSSING = {"dims": (1, 2, 4, 8, 16), "images": (2, 4, 8, 16, 32, 64, 128, 256)}
#: K, d, M, N, runs: where M is large masses stay as they are for a while, and with 100 images a text and refit so do
#: scales; with 20 or 5 images scales collapse.
REPLICATES = [
    (5, 2, 100, 500, 256),
    (5, 2, 100, 500, 1_024),
    (20, 4, 1_000, 2_000, 64),
    (50, 8, 10_000, 5_000, 4),
    (5, 2, 100, 100, 256),
    (20, 4, 100, 100, 256),
]
PATHS = [(100, 50, 5, 2), (100, 200, 5, 2), (400, 200, 5, 2), (100, 50, 20, 4), (50, 20, 20, 8)]  # runs, steps, K, d
STREAMS = [(256, 50, 5, 2), (1_024, 50, 5, 2), (4_096, 50, 5, 2), (1_024, 200, 5, 2), (256, 50, 20, 4)]


# ---- timing ----------------------------------------------------------------------------------------------------------


def in_turns(contenders, seconds, turns=3):
    """Time functions in turns and return the fastest time of each in ms of the processor, on one thread.

    What other programs take is not counted. Each has an equal share of `seconds`; one that has used its own up has had
    at least `turns` turns.
    """
    for function in contenders.values():
        function()  # caches, compilers, allocators
    best = dict.fromkeys(contenders, np.inf)
    spent = dict.fromkeys(contenders, 0.0)
    share, turn = seconds / len(contenders), 0
    while turn < turns or min(spent.values()) < share:
        for name, function in contenders.items():
            if turn < turns or spent[name] < share:
                start = time.process_time()
                function()
                took = time.process_time() - start
                best[name], spent[name] = min(best[name], took), spent[name] + took
        turn += 1
    return {name: 1e3 * value for name, value in best.items()}


def significant(value, digits=4):
    """Round a number to four digits for the record."""
    return float(f"{value:.{digits - 1}e}")


def has_compiled():
    """Whether the compiled text update is there: the keyword, and numba to serve it."""
    return "compiled" in inspect.signature(text_update).parameters and util.find_spec("numba") is not None


def start(n_texts, dim, runs, kind="corner"):
    """Return a state to start from: the circle, or random means in other dimensions, after one image update.

    The image update makes every covariance full and every run another one. In two late states the images have collapsed
    to a millionth of the distances: in all directions to ``"points"``, and in all but one to ``"needles"`` that cross.
    """
    mean = circle(n_texts).mean[0] if dim == 2 else np.random.default_rng(7).standard_normal((n_texts, dim))
    scale = np.full(dim, 1.0 if kind in ("headline", "corner") else 1e-6)
    if kind == "needles":
        scale[0] = 1.0
    state = State.create(np.full(n_texts, 1 / n_texts), mean, np.diag(scale**2), runs)
    return image_update(state, 100 * n_texts, np.random.default_rng(8))


def runs_of(n_texts, dim, text_samples):
    """Return the runs for which a text update takes some 10 ms: 1, 2 or 5 times a power of ten."""
    microseconds = text_samples * (13 * dim + 5 * n_texts) * 3e-3 + n_texts * dim**2 * 0.02
    wanted = max(1.0, 10_000 / microseconds)
    steps = [base * 10**k for k in range(4) for base in (1, 2, 5)]
    return max(step for step in steps if step <= wanted)


def time_text_update(n_texts, dim, text_samples, runs, *, seconds, kind="corner", everyone=True):
    """Time one text update of all runs in each way, in ms; what goes image by image is timed on one run."""
    state = start(n_texts, dim, runs, kind)
    p, mean, cov = state.p, state.mean, state.cov
    shape = (n_texts, runs, text_samples)
    rng = np.random.default_rng(9)
    n_features = 1 + dim + dim * (dim + 1) // 2
    coefficients, features = np.ones((runs, n_texts, n_features)), np.ones((runs, n_features, text_samples))
    contenders = {
        "floor": lambda: rivals.floor(shape, dim, rng),
        "bare_floor": lambda: rivals.bare_floor(shape, dim, rng),
        "algebra": lambda: rivals.algebra(cov, coefficients, features),
        "numpy": lambda: text_update(state, text_samples, rng),
    }
    if has_compiled():
        contenders["compiled"] = lambda: text_update(state, text_samples, rng, compiled=True)
    if everyone:
        contenders["vectorised"] = lambda: rivals.text_update_vectorised(p, mean, cov, text_samples, rng)
    ms = in_turns(contenders, seconds)
    if everyone and text_samples <= 100:
        slow = {
            "library": lambda: rivals.text_update_library(p[:1], mean[:1], cov[:1], text_samples, rng),
            "literal": lambda: reference.text_update(p[0], mean[0], cov[0], text_samples, rng),
        }
        if kind == "needles":
            del slow["library"]  # it takes these covariances for singular, and refuses
        ms |= {name: runs * value for name, value in in_turns(slow, seconds / 4, turns=2).items()}
    setting = {"K": n_texts, "d": dim, "M": text_samples, "runs": runs}
    return {**setting, "ms": {name: significant(value) for name, value in ms.items()}}


def time_macro_step(seconds):
    """Time one macro step of the paper's system, S_T = S_I = 1, N = M."""
    n_texts, dim, samples, runs = HEADLINE
    state, system, rng = start(n_texts, dim, runs), System(circle(n_texts), samples, samples), np.random.default_rng(9)
    p, mean, cov = state.p[0], state.mean[0], state.cov[0]
    contenders = {"floor": lambda: rivals.floor((n_texts, runs, samples), dim, rng)}
    contenders["numpy"] = lambda: macro_step(state, system, rng)
    if "compiled" in inspect.signature(macro_step).parameters and has_compiled():
        contenders["compiled"] = lambda: macro_step(state, system, rng, compiled=True)
    ms = in_turns(contenders, seconds)
    one = in_turns({"literal": lambda: reference.algorithm_1(p, mean, cov, 1, samples, samples, 1, 1, rng)}, seconds)
    ms["literal"] = runs * one["literal"]
    setting = {"K": n_texts, "d": dim, "M": samples, "N": samples, "runs": runs}
    return {**setting, "ms": {name: significant(value) for name, value in ms.items()}}


def time_image_updates(seconds):
    """Time image updates of N = 10, ..., 10^8 images in turns, and N images drawn and fitted as far as memory goes."""
    n_texts, dim, _, runs = HEADLINE
    state, rng = start(n_texts, dim, runs), np.random.default_rng(9)
    exact = in_turns({n: lambda n=n: image_update(state, n, rng) for n in IMAGE_SAMPLES}, seconds)
    few = circle(n_texts, runs=10)  # the images of 10 runs at a time
    drawn = in_turns({n: lambda n=n: rivals.refit_drawn(few.mean, few.cov, n // n_texts, rng) for n in DRAWN}, seconds)
    setting = {"K": n_texts, "d": dim, "runs": runs}
    rows = [{**setting, "N": n, "way": "exact", "ms": significant(value)} for n, value in exact.items()]
    return rows + [{**setting, "N": n, "way": "drawn", "ms": significant(10 * value)} for n, value in drawn.items()]


def time_crossing(dim, seconds):
    """Time one image update of 500 models, from the exact law and by drawing n images for each model."""
    n_texts, _, _, runs = HEADLINE
    state, rng = start(n_texts, dim, runs), np.random.default_rng(9)
    mean, cov = state.mean, state.cov
    contenders = {0: lambda: image_update(state, 50 * n_texts, rng)}  # whatever n
    contenders |= {n: lambda n=n: rivals.refit_drawn(mean, cov, n, rng) for n in CROSSING["images"]}
    ms = in_turns(contenders, seconds)
    return {
        "d": dim,
        "models": runs * n_texts,
        "exact_ms": significant(ms.pop(0)),
        "n": list(ms),
        "drawn_ms": [significant(value) for value in ms.values()],
    }


def time_replicate(n_texts, dim, text_samples, image_samples, runs, steps=10):
    """Time a whole call of `replicate`, the last step recorded, in ms."""
    system = System(start(n_texts, dim, 1), text_samples, image_samples)
    call = {"ms": lambda: replicate(system, steps, runs, rng=1, times=[steps])}
    ms = in_turns(call, 0.5, turns=2)["ms"]
    setting = {"K": n_texts, "d": dim, "M": text_samples, "N": image_samples, "runs": runs, "steps": steps}
    return {**setting, "ms": significant(ms)}


# ---- memory ----------------------------------------------------------------------------------------------------------


def peak(function):
    """Bytes that Python and numpy hold at most during a call, beyond what they held before."""
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def memory_of_paths(runs, steps, n_texts, dim):
    """Peak memory of `simulate`, and the bytes of the arrays it returns."""
    system = System(start(n_texts, dim, 1), 20, 100 * n_texts)
    top, path = peak(lambda: simulate(system, steps, runs, rng=1))
    kept = sum(value.nbytes for value in vars(path).values())
    return {"way": "simulate", "runs": runs, "steps": steps, "K": n_texts, "d": dim, "kept": kept, "peak": top}


def memory_of_stream(runs, steps, n_texts, dim):
    """Peak memory of `replicate`, eleven times recorded, four statistics."""
    system = System(start(n_texts, dim, 1), 20, 100 * n_texts)
    names = ("text_diversity", "image_diversity", "log_image_diversity", "fidelity")
    times = np.linspace(0, steps, 11).astype(int)
    top, _ = peak(lambda: replicate(system, steps, runs, rng=1, statistics=names, times=times))
    return {"way": "replicate", "runs": runs, "steps": steps, "K": n_texts, "d": dim, "peak": top}


CHILD = """
import json, resource, sys, time
from pathlib import Path
from joblib import Parallel, delayed
from coevo.simulation import System, circle, replicate

def text_diversity(state):
    return 1 - (state.p**2).sum(axis=1)

def image_diversity(state):
    return (state.p * state.images.diversity).sum(axis=1)

def peak():
    status = Path("/proc/self/status")  # a child's ru_maxrss on Linux starts from that of its parent
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def rounded(values):
    return [float(f"{value:.6g}") for value in values]

runs, steps, workers, compiled, store = json.loads(sys.argv[1])
before = peak()
begin = time.perf_counter()
result = replicate(
    System(circle(5, 1e-5), 100, 100), steps, runs, rng=1, quantiles=(0.05, 0.5, 0.95), workers=workers, store=store,
    statistics={"text_diversity": text_diversity, "image_diversity": image_diversity}, compiled=compiled,
)
seconds = time.perf_counter() - begin
others = Parallel(n_jobs=workers)(delayed(peak)() for _ in range(8 * workers))  # by the workers, which are still there
print(json.dumps({
    "seconds": round(seconds, 1), "imported": before, "peak": peak(), "peak_of_a_worker": max(others),
    "text_diversity": {
        "t": result.t[::10].tolist(),
        "mean": rounded(result.mean["text_diversity"][::10]),
        "standard_error": rounded(result.standard_error["text_diversity"][::10]),
        "skewness": rounded(result.skewness["text_diversity"][::10]),
        "levels": result.levels.tolist(),
        "quantile": [rounded(row[::10]) for row in result.quantile["text_diversity"]],
    },
}))
"""


def measure_large(runs=LARGE_RUNS, steps=LARGE_STEPS, workers=2, compiled=None):
    """Run `replicate` in a process of its own; seconds and peak resident memory in bytes.

    Every step is recorded, with quantiles, and the finished blocks are kept on the disk. Kernels are compiled where
    they can be, unless `compiled` says otherwise. Of the text diversity every tenth step goes into the record. The
    images are so small that the texts stay separated while they drift, and its mean has an exact law.
    """
    compiled = has_compiled() if compiled is None else compiled
    with tempfile.TemporaryDirectory() as folder:
        given = json.dumps([runs, steps, workers, compiled, str(Path(folder) / "store")])
        answer = subprocess.run([sys.executable, "-c", CHILD, given], check=True, capture_output=True, text=True)
    setting = {"K": 5, "d": 2, "M": 100, "N": 100, "sigma": 1e-5, "runs": runs, "steps": steps, "statistics": 2}
    return {**setting, "workers": workers, "compiled": compiled, **json.loads(answer.stdout)}


# ---- the record ------------------------------------------------------------------------------------------------------


def processor():
    """Return the name of the processor, as well as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def provenance():
    """Return machine, versions and date."""
    versions = {name: metadata.version(name) for name in PACKAGES if name != "numba" or util.find_spec("numba")}
    return {
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "os": f"{platform.system()} {platform.machine()}",
            "threads": 1,
        },
        "versions": {"python": platform.python_version(), **versions},
        "date": datetime.date.today().isoformat(),
    }


def measure(scale=1.0, say=print):
    """Measure everything but the large case; `scale` shortens or stretches the time that each setting gets."""
    began = time.perf_counter()
    say("text updates: the headline, late states, the corners")
    settings = [(kind, (*HEADLINE, 6 * scale)) for kind in LIMITS if kind != "corner"]
    settings += [("corner", (*corner, runs_of(*corner), 1.6 * scale)) for corner in CORNERS]
    text = [{"name": kind, **time_text_update(*s, seconds=t, kind=kind)} for kind, (*s, t) in settings]
    say("text updates: between the corners")
    grid = [time_text_update(*s, seconds=0.8 * scale, everyone=False) for s in GRID + ALONE + FEW]
    say("image updates")
    image = time_image_updates(4 * scale)
    image_grid = []
    for n_texts, dim, runs in IMAGE_GRID:
        state, rng = start(n_texts, dim, runs), np.random.default_rng(9)
        call = {"ms": lambda state=state, rng=rng: image_update(state, 100 * state.n_texts, rng)}
        row = {"K": n_texts, "d": dim, "N": 100 * n_texts, "runs": runs}
        image_grid.append({**row, "ms": significant(in_turns(call, 0.4 * scale)["ms"])})
    crossing = [time_crossing(dim, 2 * scale) for dim in CROSSING["dims"]]
    say("macro steps, whole calls, memory")
    macro = time_macro_step(4 * scale)
    whole = [time_replicate(*setting) for setting in REPLICATES]
    memory = [memory_of_paths(*s) for s in PATHS] + [memory_of_stream(*s) for s in STREAMS]
    return {
        "format": FORMAT,
        **provenance(),
        "seconds": round(time.perf_counter() - began),
        "block": BLOCK,
        "limits": {"text": LIMITS, "faster": FASTER, "growth": GROWTH, "large": LARGE_LIMIT},
        "text": text,
        "grid": grid,
        "image": image,
        "image_grid": image_grid,
        "crossing": crossing,
        "macro": macro,
        "replicate": whole,
        "memory": memory,
    }


def store(record, path=RECORD):
    """Write a record in one piece, one setting a line."""
    parts = []
    for key, value in record.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            parts.append(f' "{key}": [\n  {rows}\n ]')
        else:
            parts.append(f' "{key}": {json.dumps(value)}')
    new = path.with_name(path.name + ".new")
    new.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    os.replace(new, path)


def load(path=RECORD):
    """Read the record; an empty one if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def check(record):
    """Return what is wrong with a record, one line each: what is missing, and the limits that are not kept."""
    if record.get("format") != FORMAT:
        return [f"format must be {FORMAT}, got {record.get('format')!r}"]
    expected = {"date", "seconds", "block", "machine", "versions", "limits", "text", "grid", "image", "image_grid"}
    missing = sorted((expected | {"crossing", "macro", "replicate", "memory", "large"}) - set(record))
    if missing:
        return [f"{name} is missing" for name in missing]
    wrong = [f"versions must name {name}" for name in ("python", *PACKAGES[:-1]) if name not in record["versions"]]
    wrong += [f"machine must name {name}" for name in ("cpu", "cores", "os") if not record["machine"].get(name)]
    if record["limits"] != {"text": LIMITS, "faster": FASTER, "growth": GROWTH, "large": LARGE_LIMIT}:
        wrong.append("limits must be those of this script")
    seen = {(row["name"], row["K"], row["d"], row["M"]) for row in record["text"]}
    wanted = {(name, *HEADLINE[:3]) for name in LIMITS if name != "corner"}
    wanted |= {("corner", *corner) for corner in CORNERS}
    wrong += [f"text must have the setting {setting}" for setting in sorted(wanted - seen)]
    ways = {"floor", "bare_floor", "algebra", "numpy", "vectorised"} | (
        {"compiled"} if "numba" in record["versions"] else set()
    )
    for row in record["text"]:
        name = f"{row['name']} K = {row['K']}, d = {row['d']}, M = {row['M']}"
        ms = row["ms"]
        needed = ways | ({"literal"} if row["M"] <= 100 else set())
        needed |= {"library"} if row["M"] <= 100 and row["name"] != "needles" else set()
        wrong += [f"{name}: {way} is missing" for way in sorted(needed - set(ms))]
        for way, limit in LIMITS[row["name"]].items():
            if not {way, "floor", "algebra"} <= set(ms):
                continue
            corner = row["name"] == "corner"
            of, least = ("the floor and the algebra", ms["algebra"]) if corner else ("the floor", 0.0)
            times = ms[way] / (ms["floor"] + least)
            if not times <= limit:
                wrong.append(f"{name}: {way} takes {times:.2f} times {of}, the limit is {limit:g}")
    faster = record["macro"]["ms"]["literal"] / record["macro"]["ms"]["numpy"]
    if not faster >= FASTER:
        wrong.append(f"macro step: {faster:.0f} times faster than the literal algorithm, the limit is {FASTER:g}")
    of = {row["N"]: row["ms"] for row in record["image"] if row["way"] == "exact"}
    if not of[1_000_000] <= GROWTH * of[100]:
        wrong.append(f"image update: N = 10^6 takes {of[1_000_000] / of[100]:.2f} times as long as 10^2")
    large = record["large"]
    if (large["runs"], large["steps"]) != (LARGE_RUNS, LARGE_STEPS) or not large["peak"] <= LARGE_LIMIT:
        wrong.append(f"large: {large['runs']} runs of {large['steps']} steps with a peak of {large['peak']} bytes")
    return wrong


def table(record):
    """Return the text updates as lines: times the floor."""
    ways = ("bare_floor", "algebra", "numpy", "compiled", "vectorised", "library", "literal")
    lines = ["times the floor".ljust(42) + "floor, ms" + "".join(way.rjust(12) for way in ways)]
    for row in record["text"]:
        ms = row["ms"]
        name = f"{row['name']:8s} K = {row['K']}, d = {row['d']}, M = {row['M']:,}, R = {row['runs']}"
        cells = (f"{ms[way] / ms['floor']:,.2f}" if way in ms else "-" for way in ways)
        lines.append(f"{name:42s}{ms['floor']:9.3f}" + "".join(cell.rjust(12) for cell in cells))
    return lines


def main(arguments=None):
    """Measure, store and say what is wrong; 1 if something is."""
    parser = argparse.ArgumentParser(description="Measure the cost of the engine and store it for the book.")
    parser.add_argument("--large", action="store_true", help="only 100,000 runs of 1,000 steps, in its own process")
    chosen = parser.parse_args(arguments)
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("one thread is what is measured; run `make bench`, or set " + ", ".join(f"{n}=1" for n in THREADS))
    found = {"large": {**measure_large(), **provenance()}} if chosen.large else measure()
    old = load()
    new = {**old, **found} if chosen.large else {**found, **({"large": old["large"]} if "large" in old else {})}
    store(new)
    wrong = check(new)
    if "text" in new:
        print("\n".join(table(new)))
    print("\n".join(wrong) or f"all limits are kept; stored in {RECORD.name}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
