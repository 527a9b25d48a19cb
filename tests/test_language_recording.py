"""Logs as arrays, and statistics for retrievals, against closed forms, scipy and brute force on a Gaussian network."""

import hashlib
import io
import itertools
import json

import numpy as np
import pytest
from scipy import stats

from coevo.network import distance_matrix, distance_norm
from coevo.network.language import recording as rec
from coevo.network.language import study
from coevo.network.language.posts import HumanPost
from coevo.network.language.recorder import FORMAT, Agent, LanguageNetwork, LogError

AGENTS = (Agent("ann", "one"), Agent("bob", "two"))
HUMAN = (HumanPost("Apples fall.", "neutral"), HumanPost("Birds sing.", "positive"))
#: Three steps of two agents, two retrievals of two answers each, from a pool that grows by two.
ANSWERS = [
    [
        [["Cats purr.", "Apples fall."], ["Dogs bark.", "Cats purr."]],
        [["Eels swim.", "Dogs bark."], ["Birds sing."] * 2],
    ],
    [
        [["Cats purr.", "Eels swim."], ["Apples fall."] * 2],
        [["Cats purr.", "Cats purr."], ["Frogs leap.", "Eels swim."]],
    ],
    [[["Cats purr.", "Goats eat."], ["Eels swim."] * 2], [["Cats purr.", "Eels swim."], ["Birds sing.", "Hens lay."]]],
]
RETRIEVED = [
    [[[0], [1]], [[1], [1]]],
    [[[2, 0], [3, 1]], [[3, 2], [0, 1]]],
    [[[4, 2, 0], [1, 3, 5]], [[2, 4, 5], [3, 1, 0]]],
]


def embed(texts, size=384):
    """A random direction for each sentence, the same whenever it is asked for."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
    rows = np.array([np.random.default_rng(seed).standard_normal(size) for seed in seeds]).reshape(len(texts), size)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def network(**changes):
    settings = {"seed": 1, "samples": 4, "retrievals": 2, "steps": 3, "human_posts": HUMAN} | changes
    return LanguageNetwork(AGENTS, **settings)


def write(path, net, answers=ANSWERS, retrieved=RETRIEVED, embed=embed):
    """A log as `recorder.record` writes it."""
    lines = [{"kind": "run", "format": FORMAT, "network": net.identity}, {"kind": "session", "date": "2030-01-02"}]
    for t, (step, read) in enumerate(zip(answers, retrieved, strict=True)):
        means = [embed([text for part in agent for text in part]).mean(axis=0, dtype=float) for agent in step]
        distances = distance_matrix(means)
        entry = {"kind": "step", "t": t, "distance_norm": round(float(np.linalg.norm(distances)), 6)}
        entry |= {"distances": distances.tolist(), "retrieved": read, "answers": step, "requests": [2, 3], "means": []}
        lines.append(entry | {"failures": [{}, {"empty": 1, "busy": t}], "seconds": 0.5})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "a.jsonl", network())
    rec.pack(tmp_path, embed)
    return tmp_path


def toy(rng, runs, steps, *, base, weight, human=20, dim=3, noise=0.6, retrievals=4, answers=5, frozen=False):
    """Gaussian networks: answer = base_i + weight_i * mean of the posts that were read + noise.

    The first answer of each model is posted. Returns answers (runs, steps, n, R, S, dim) and the pools (runs, P, dim).
    """
    pool = rng.standard_normal((runs, human, dim))
    found = np.empty((runs, steps, len(base), retrievals, answers, dim))
    for t in range(steps):
        size = pool.shape[1]
        order = rng.permuted(np.tile(np.arange(size), (runs, len(base), retrievals, 1)), axis=-1)[..., : size // 2]
        read = pool[np.arange(runs)[:, None, None, None], order].mean(axis=-2)
        expected = np.asarray(base)[:, None] + np.asarray(weight)[:, None, None] * read
        found[:, t] = expected[..., None, :] + noise * rng.standard_normal(found[:, t].shape)
        if not frozen:
            pool = np.concatenate([pool, found[:, t, :, 0, 0]], axis=1)
    return found, pool


def test_a_log_comes_back_as_arrays(folder):
    run = rec.load("a", folder)
    assert (run.name, run.steps, run.complete, run.agents) == ("a", 3, True, ("ann", "bob"))
    assert run.network == network()
    assert run.sessions[0]["date"] == "2030-01-02"
    assert run.texts.shape == (3, 2, 2, 2)
    assert run.texts[1, 1, 1, 0] == "Frogs leap."
    assert run.retrieved[2][0][1] == (1, 3, 5)
    np.testing.assert_array_equal(run.requests, [[2, 3]] * 3)
    assert run.failures == ({}, {"busy": 3, "empty": 3})
    np.testing.assert_array_equal(run.seconds, 0.5)
    exact = embed(run.texts.ravel().tolist()).reshape(*run.texts.shape, 384)
    assert np.abs(run.vectors - exact).max() <= rec.STEP / 2 * (1 + 1e-6)
    np.testing.assert_allclose(run.retrieval_means, run.vectors.mean(axis=3))
    np.testing.assert_allclose(run.means, run.vectors.reshape(3, 2, 4, 384).mean(axis=2), atol=1e-15)
    np.testing.assert_array_equal(run.pool_size, [2, 4, 6])
    np.testing.assert_allclose(run.synthetic, [0, 2 / 4, 4 / 6])
    assert [post.text for post in run.pools[1]] == [
        *("Apples fall.", "Birds sing.", "Cats purr.", "Eels swim.", "Cats purr.", "Cats purr.", "Cats purr."),
        "Cats purr.",
    ]
    assert run.pool_vectors[0].shape == (8, 384)


@pytest.mark.parametrize(("sharing", "size"), [("frozen", [2, 2, 2]), ("isolated", [2, 4, 6])])
def test_pools_of_the_controls(tmp_path, sharing, size):
    retrieved = [[[[0], [1]], [[1], [0]]]] * 3
    write(tmp_path / "a.jsonl", network(sharing=sharing), ANSWERS, retrieved)
    rec.pack(tmp_path, embed)
    run = rec.load("a", tmp_path)
    np.testing.assert_array_equal(run.pool_size, size)
    np.testing.assert_allclose(run.synthetic, 1 - 2 / np.array(size))
    if sharing == "isolated":
        assert [post.text for post in run.pools[1][2:4]] == ["Eels swim.", "Birds sing."]
        assert {post.author for post in run.pools[1][2:]} == {"bob"}


def test_a_log_that_is_not_finished(tmp_path):
    write(tmp_path / "a.jsonl", network(), ANSWERS[:2], RETRIEVED[:2])
    with (tmp_path / "a.jsonl").open("a") as log:
        log.write('{"kind": "st')
    rec.pack(tmp_path, embed)
    run = rec.load("a", tmp_path)
    assert run.steps == 2
    assert not run.complete
    assert rec.finished(tmp_path) == []


def test_the_book_is_where_runs_are_looked_for(folder, monkeypatch):
    monkeypatch.setattr(study, "DATA", folder)
    assert rec.load("a").steps == 3
    assert rec.finished() == ["a"]


def test_packing_does_not_depend_on_order(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write(other / "z.jsonl", network())
    backwards = [[agent[::-1] for agent in step] for step in ANSWERS]
    write(other / "b.jsonl", network(seed=2), backwards, RETRIEVED)
    assert rec.pack(other, embed) == len(set(np.array(ANSWERS).ravel()))
    assert (other / rec.EMBEDDINGS).read_bytes() == (folder / rec.EMBEDDINGS).read_bytes()


def test_a_failed_packing_leaves_the_old_file(folder, monkeypatch):
    before = (folder / rec.EMBEDDINGS).read_bytes()
    for wrong, message in (
        (lambda texts: embed(texts)[:-1], "embed must give 8 vectors of unit length, got an array of shape"),
        (lambda texts: 1.1 * embed(texts), "embed must give 8 vectors of unit length"),
        (lambda texts: np.ones(len(texts)), "embed must give 8 vectors of unit length"),
        (lambda texts: np.eye(384)[: len(texts)], "embed must give coordinates of at most 0.496094, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            rec.pack(folder, wrong)
    monkeypatch.setattr(np, "savez_compressed", lambda file, **arrays: file.no_such_thing)
    with pytest.raises(AttributeError):
        rec.pack(folder, embed)
    assert (folder / rec.EMBEDDINGS).read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"a.jsonl", rec.EMBEDDINGS}


def test_packing_again_embeds_what_is_new(folder, monkeypatch):
    monkeypatch.setattr(rec, "_COMPARED", 2)
    file = folder / rec.EMBEDDINGS
    rec.pack(folder, embed)
    whole = file.read_bytes()
    asked = []

    def counted(texts):
        asked.append(len(texts))
        return embed(texts)

    sentences = rec.pack(folder, counted)
    assert sum(asked) <= 4 < sentences  # a few, to see whether they are still the same
    assert file.read_bytes() == whole
    # Without some of its sentences the file is completed; with another encoder, or damaged, it is made anew.
    with np.load(file) as stored:
        np.savez(file, keys=stored["keys"][5:], codes=stored["codes"][5:], step=stored["step"])
    rec.pack(folder, embed)
    assert file.read_bytes() == whole
    rec.pack(folder, lambda texts: -embed(texts))
    with np.load(file) as turned:
        assert np.array_equal(turned["codes"][0], -np.rint(_codes(whole)[0]))
    file.write_bytes(whole[:100])
    rec.pack(folder, embed)
    assert file.read_bytes() == whole


def _codes(data):
    with np.load(io.BytesIO(data)) as file:
        return file["codes"]


def test_packing_nothing(tmp_path):
    with pytest.raises(ValueError, match="folder must hold at least one log"):
        rec.pack(tmp_path, embed)


def test_what_cannot_be_loaded(folder):
    with pytest.raises(LogError, match=r"b\.jsonl does not exist"):
        rec.load("b", folder)
    with pytest.raises(ValueError, match="name must say something"):
        rec.load("", folder)
    write(folder / "b.jsonl", network(), [], [])
    with pytest.raises(LogError, match=r"b\.jsonl holds no step"):
        rec.load("b", folder)
    more = [[[["New one.", "New two."]] * 2] * 2, *ANSWERS[1:]]
    write(folder / "b.jsonl", network(), more, RETRIEVED)
    with pytest.raises(LogError, match=r"lacks 2 sentences of b\.jsonl, such as 'New one\.': pack them again"):
        rec.load("b", folder)
    write(folder / "b.jsonl", network(), embed=lambda texts: embed([text[::-1] for text in texts]))
    with pytest.raises(LogError, match=r"b\.jsonl: at t = 0 the embeddings give a norm that is wrong by 0\.\d+: pack"):
        rec.load("b", folder)
    for content in (b"not a zip file", b""):
        (folder / rec.EMBEDDINGS).write_bytes(content)
        with pytest.raises(LogError, match=r"embeddings\.npz cannot be read \(.*\): pack the embeddings of its folder"):
            rec.load("a", folder)
    np.savez(folder / rec.EMBEDDINGS, keys=np.zeros(1, np.uint64))
    with pytest.raises(LogError, match="cannot be read"):
        rec.load("a", folder)
    (folder / rec.EMBEDDINGS).unlink()
    with pytest.raises(LogError, match="cannot be read"):
        rec.load("a", folder)


def test_rounding_errors_of_the_norm_are_within_the_tolerance(tmp_path):
    """One sentence for all answers of a model is the worst case; many different ones the usual one."""
    ratios = []
    for kind, per_step in (("same", 1), ("different", 20)):
        answers = [
            [[[f"{kind} {t} {i} {(5 * r + s) % per_step}" for s in range(5)] for r in range(4)] for i in range(2)]
            for t in range(40)
        ]
        net = network(samples=20, retrievals=4, steps=40)
        write(tmp_path / f"{kind}.jsonl", net, answers, [[[[0]] * 4] * 2] * 40)
        rec.pack(tmp_path, embed)
        run = rec.load(kind, tmp_path)
        error = distance_norm(run.means) - run.distance_norm
        weight = 2 * 2 / per_step  # ordered pairs, two models
        deviation = rec.STEP * np.sqrt(weight / 12)
        assert np.abs(error).max() < 6 * deviation
        # The scatter of the errors is what the docstring says it is: 40 values, so within a half of it.
        assert 0.5 < error.std() / deviation < 1.5
        assert (rec.norm_tolerance(run) < 0.03).all()
        ratios.append((np.abs(error) / rec.norm_tolerance(run)).max())
    assert max(ratios) < 0.75


def test_null_level_of_identical_models_in_closed_form():
    """Posts are read without replacement: tr C_r = weight^2 (1 - k/P) / k times the pool's covariance."""
    runs, size, models = 20_000, 20, 3
    rng = np.random.default_rng(1)
    found, pool = toy(rng, runs, 1, base=[np.zeros(3)] * models, weight=[0.9] * models, frozen=True)
    within = 3 * 0.36
    between = 0.81 * (1 - 0.5) / 10 * pool.var(axis=1, ddof=1).sum(axis=-1)
    level = 2 * models * (models - 1) * (within / 20 + between / 4)
    norm2 = distance_norm(found[:, 0].mean(axis=(3, 2))) ** 2
    null = rec.null_level(found[:, 0].mean(axis=-2))
    estimate, _ = rec.squared_norm(found[:, 0].mean(axis=-2))
    w, b = rec.traces(found[:, 0])
    for value, truth in ((norm2, level), (null, level), (estimate, 0), (w.mean(1), within), (b.mean(1), between)):
        gap = value - truth
        assert abs(gap.mean()) < 6 * gap.std(ddof=1) / np.sqrt(runs)
    # The level that forgets the shared retrieval is too low by more than any error here.
    assert 2 * models * (models - 1) * within / 20 < 0.8 * level.mean()
    assert size == pool.shape[1]


def test_debiased_norm_of_different_models():
    runs = 20_000
    base = [np.array([0.3, 0, 0]), np.array([0, 0.4, 0])]
    found, _ = toy(np.random.default_rng(2), runs, 1, base=base, weight=[0.9, 0.9], frozen=True)
    estimate, error = rec.squared_norm(found[:, 0].mean(axis=-2))
    gap = estimate - 2 * 0.25
    assert abs(gap.mean()) < 6 * gap.std(ddof=1) / np.sqrt(runs)
    # Efron and Stein: the jackknife's variance is not too small on average.
    variance = np.square(error)
    assert variance.mean() + 6 * variance.std() / np.sqrt(runs) > gap.var() > 0.5 * variance.mean()


@pytest.mark.parametrize("models", [2, 3])
def test_jackknife_by_leaving_out(models):
    means = np.random.default_rng(3).standard_normal((models, 4, 5))

    def debiased(groups):
        centre = np.array([group.mean(axis=0) for group in groups])
        excess = sum(group.var(axis=0, ddof=1).sum() / len(group) for group in groups)
        return np.square(distance_matrix(centre)).sum() - 2 * (models - 1) * excess

    estimate, error = rec.squared_norm(means)
    assert estimate == pytest.approx(debiased(list(means)), rel=1e-12)
    variance = 0.0
    for i in range(models):
        left = [debiased([np.delete(g, r, axis=0) if j == i else g for j, g in enumerate(means)]) for r in range(4)]
        variance += 3 / 4 * np.square(left - np.mean(left)).sum()
    assert error == pytest.approx(np.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize(("dim", "gap"), [(3, 0.0), (3, 0.2), (3, 0.8), (30, 0.0)])
def test_coverage_of_the_intervals(dim, gap):
    """The truth is known: the Student interval covers what it promises, the bootstrap not where models are close."""
    runs, window = 400, 5
    base = np.zeros((2, dim))
    base[1, 0] = gap
    weight = [0.9 * np.sqrt(3 / dim)] * 2
    noise = 0.6 * np.sqrt(3 / dim)
    found, _ = toy(np.random.default_rng(4), runs, window, base=base, weight=weight, dim=dim, noise=noise)
    for steps in (1, window):
        inside = [low <= 2 * gap**2 <= high for low, high in map(rec.interval, found[:, :steps].mean(axis=-2))]
        # If it is 95 %, fewer than 91 % of 400 has a chance of one in a thousand.
        assert np.mean(inside) > 0.91
    boot = [rec.bootstrap_interval(one[0], resamples=200, rng=k) for k, one in enumerate(found)]
    covered = np.mean([low <= np.sqrt(2) * gap <= high for low, high in boot])
    assert covered < 0.7 if dim == 30 else covered > 0.8


def test_coverage_where_nearly_all_answers_are_one_sentence():
    """Two sentences, one of them rare: one step's interval is too short, fifteen steps' is not."""
    rng = np.random.default_rng(12)
    share = [rng.dirichlet(5 * np.array(p), size=(300, 15, 4)) for p in ([0.95, 0.05], [0.85, 0.15])]
    means = rng.multinomial(5, np.stack(share, axis=2)) / 5
    for steps, low, high in ((1, 0.0, 0.9), (15, 0.9, 1.0)):
        ends = np.array([rec.interval(one[:steps]) for one in means])
        assert low < np.mean((ends[:, 0] <= 2 * 0.02) & (ends[:, 1] >= 2 * 0.02)) <= high


def test_bootstrap_is_the_basic_one():
    vectors = (
        np.random.default_rng(5).standard_normal((2, 2, 1, 3))
        + np.array([4.0, 0, 0]) * np.arange(2)[:, None, None, None]
    )
    low, high = rec.bootstrap_interval(vectors, 0.5, resamples=40_000, rng=1)
    # Two retrievals of one answer: each model's mean is its first, its second (1/4 each) or their mean (1/2).
    a, b = vectors[:, :, 0]
    choices = [(a[0], 1), (a[1], 1), (a.mean(axis=0), 2)], [(b[0], 1), (b[1], 1), (b.mean(axis=0), 2)]
    norms = sorted((np.sqrt(2) * np.linalg.norm(x - y), u * v) for (x, u), (y, v) in itertools.product(*choices))
    law = np.repeat([norm for norm, _ in norms], [count for _, count in norms])
    observed = np.sqrt(2) * np.linalg.norm(a.mean(axis=0) - b.mean(axis=0))
    # A quarter of the law lies at or below its fourth of sixteen values.
    assert law[3] - 1e-9 <= 2 * observed - high <= law[4] + 1e-9
    assert law[11] - 1e-9 <= 2 * observed - low <= law[12] + 1e-9
    assert rec.bootstrap_interval(np.zeros((2, 2, 2, 1)), rng=1) == (0.0, 0.0)


def test_splits_of_one_step_are_those_of_scipy():
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((1, 4, 1)), rng.standard_normal((1, 4, 1)) + 1
    law = stats.permutation_test(
        (a.ravel(), b.ravel()), lambda x, y: (x.mean() - y.mean()) ** 2, n_resamples=np.inf, alternative="greater"
    )
    assert rec.split_test(a, b, posted=0) == pytest.approx(law.pvalue, abs=1e-12)


def test_splits_keep_what_was_posted():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 2, 3, 4))
    b[..., 0] += 0.5
    everyone = np.concatenate([a, b], axis=1)
    sums = [[], []]
    for step, blocks in enumerate(everyone):
        for picked in itertools.combinations((1, 2, 4, 5), 2):  # 0 and 3 were posted from
            mine = [0, *picked]
            others = [k for k in range(6) if k not in mine]
            sums[step].append(np.square(blocks[mine].mean(axis=0) - blocks[others].mean(axis=0)).sum())
    totals = np.add.outer(*sums).ravel()
    observed = sum(np.square(x.mean(axis=0) - y.mean(axis=0)).sum() for x, y in zip(a, b, strict=True))
    assert rec.split_test(a, b) == pytest.approx((totals >= observed - 1e-12).mean(), abs=1e-12)
    assert rec.split_test(a, b, posted=2) in (0.25, 0.5, 0.75, 1.0)  # two ways to deal the last pair, two steps
    assert rec.split_test(np.zeros((3, 4, 2)), np.zeros((3, 4, 2))) == 1.0


def test_equal_answers_are_ties():
    """A collapsed model: sums that are equal but for rounding count as equal."""
    rng = np.random.default_rng(13)
    for steps in (1, 3, 5, 8) * 5:
        one = np.tile(rng.standard_normal(384) / 20, (steps, 4, 1))
        assert rec.split_test(one, one, draws=200) == 1.0
    for _ in range(40):
        sentences = np.rint(rng.standard_normal((2, 384)) * 13).astype(int)
        exact = rng.multinomial(5, [0.6, 0.4], size=8) @ sentences  # whole numbers: no rounding
        sums = []
        for picked in itertools.combinations((1, 2, 3, 5, 6, 7), 3):
            mine = exact[[0, *picked]].sum(axis=0)
            sums.append(np.square(2 * mine - exact.sum(axis=0)).sum())
        observed = np.square(exact[:4].sum(axis=0) - exact[4:].sum(axis=0)).sum()
        means = exact[None] / 1280
        assert rec.split_test(means[:, :4], means[:, 4:]) == pytest.approx(np.mean(np.array(sums) >= observed))


def test_drawn_splits_agree_with_enumerated_ones(monkeypatch):
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4, 2)) + 0.4
    exact = rec.split_test(a, b)  # 20^3 sums
    sums = rec.split_test(np.concatenate([a] * 2), np.concatenate([b] * 2), draws=999, rng=1)  # 20^6: drawn
    assert sums * 1000 == pytest.approx(round(sums * 1000))
    for most in (5_000, 10):  # first the sums are drawn, then the splits themselves
        monkeypatch.setattr(rec, "_ENUMERATED", most)
        drawn = rec.split_test(a, b, draws=20_000, rng=2)
        assert abs(drawn - exact) < 6 * np.sqrt(exact / 20_000)


def test_false_alarms_on_a_network_that_feeds_on_itself():
    """Two identical models that read and write one pool: retrievals as units keep the level, answers do not."""
    runs, steps = 300, 6
    found, _ = toy(np.random.default_rng(9), runs, steps, base=[np.zeros(3)] * 2, weight=[0.95] * 2, noise=0.2)
    means = found.mean(axis=-2)
    single = found.reshape(runs, steps, 2, 20, 3)
    by_retrieval = [rec.split_test(m[:, 0], m[:, 1], draws=400, rng=k) for k, m in enumerate(means)]
    by_answer = [rec.split_test(m[:, 0], m[:, 1], posted=0, draws=200, rng=k) for k, m in enumerate(single)]
    # 5 % of 300: more than 36 has a chance below 1e-6.
    assert np.sum(np.array(by_retrieval) <= 0.05) <= 36
    assert np.mean(np.array(by_answer) <= 0.05) > 0.5
    # A difference of half a standard deviation of an answer is found.
    other, _ = toy(np.random.default_rng(10), 50, steps, base=[np.zeros(3), [0.3, 0, 0]], weight=[0.95] * 2, noise=0.2)
    found = [rec.split_test(m[:, 0], m[:, 1], draws=400, rng=k) for k, m in enumerate(other.mean(axis=-2))]
    assert np.mean(np.array(found) <= 0.05) > 0.5


def test_traces_by_analysis_of_variance():
    vectors = np.random.default_rng(11).standard_normal((4, 5, 1))
    groups = vectors[..., 0]
    within, between = rec.traces(vectors)
    mean_within = groups.var(axis=1, ddof=1).mean()
    ratio = 5 * groups.mean(axis=1).var(ddof=1) / mean_within
    assert within == pytest.approx(mean_within)
    assert ratio == pytest.approx(stats.f_oneway(*groups).statistic)
    assert between == pytest.approx((ratio - 1) * mean_within / 5)


def test_distinct_sentences(folder):
    number, diversity = rec.distinct(rec.load("a", folder))
    np.testing.assert_array_equal(number, [[3, 3], [3, 3], [3, 4]])
    np.testing.assert_allclose(diversity, [[1 - 6 / 16] * 2, [1 - 6 / 16] * 2, [1 - 6 / 16, 3 / 4]])


def test_where_an_answer_stands(folder):
    found, unread = rec.sources(rec.load("a", folder))
    ann, bob, human, new = 0, 1, 2, rec.NEW
    # t = 0: "Apples fall." and "Birds sing." are the pool.
    np.testing.assert_array_equal(found[0], [[[new, human], [new, new]], [[new, new], [human, human]]])
    np.testing.assert_array_equal(unread[0], np.zeros((2, 2, 2)))
    # t = 1: two human posts, ann's "Cats purr.", bob's "Eels swim.".
    np.testing.assert_array_equal(found[1, 0], [[ann, new], [new, new]])
    np.testing.assert_array_equal(unread[1, 0], [[False, True], [True, True]])
    np.testing.assert_array_equal(found[1, 1], [[ann, ann], [new, new]])
    np.testing.assert_array_equal(unread[1, 1], [[False, False], [False, True]])
    # t = 2: "Cats purr." was posted by ann, ann and bob (places 2, 4, 5); the oldest that was read names the author.
    np.testing.assert_array_equal(found[2, 0], [[ann, new], [bob, bob]])
    np.testing.assert_array_equal(unread[2, 0], [[True, False], [False, False]])
    np.testing.assert_array_equal(found[2, 1], [[ann, new], [human, new]])
    np.testing.assert_array_equal(unread[2, 1], [[False, True], [False, False]])


def test_nearest_posts(folder):
    run = rec.load("a", folder)
    read, unread = rec.nearest(run)
    assert read.shape == unread.shape == (3, 2, 2, 2)
    found, missed = rec.sources(run)
    for cosine, verbatim in ((read, found != rec.NEW), (unread, missed)):
        np.testing.assert_allclose(cosine[verbatim], 1.0, atol=1e-12)
        assert (cosine[~verbatim & np.isfinite(cosine)] < 0.5).all()
    pair = run.vectors[0, 0, 0, 0], run.pool_vectors[0][0]
    assert read[0, 0, 0, 0] == pytest.approx(pair[0] @ pair[1] / np.linalg.norm(pair[0]) / np.linalg.norm(pair[1]))


def test_no_nearest_post_where_all_or_none_were_read(tmp_path):
    retrieved = [[[[0, 1], []], [[1], [0]]]]
    write(tmp_path / "a.jsonl", network(steps=1), ANSWERS[:1], retrieved)
    rec.pack(tmp_path, embed)
    read, unread = rec.nearest(rec.load("a", tmp_path))
    assert np.isnan(unread[0, 0, 0]).all()
    assert np.isnan(read[0, 0, 1]).all()
    assert np.isfinite(read[0, 1]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rec.null_level(np.zeros((2, 1, 3))), r"means must have shape \(..., n, R, m\) with R >= 2, got"),
        (lambda: rec.null_level(np.zeros((4, 3))), "means must have shape"),
        (lambda: rec.null_level(np.zeros((2, 4, 0))), "means must have shape"),
        (lambda: rec.squared_norm(np.zeros((2, 2, 3))), "with R >= 3, got"),
        (lambda: rec.interval(np.zeros((2, 4, 3))), r"means must have shape \(any, any, any, any\)"),
        (lambda: rec.interval(np.zeros((1, 2, 4, 3)), 1.0), r"level must lie in \(0, 1\), got 1"),
        (lambda: rec.bootstrap_interval(np.zeros((2, 4, 3))), "vectors must have shape"),
        (lambda: rec.bootstrap_interval(np.zeros((2, 4, 3, 1)), 0), r"level must lie in \(0, 1\)"),
        (lambda: rec.bootstrap_interval(np.zeros((2, 4, 3, 1)), resamples=0), "resamples must be"),
        (lambda: rec.split_test(np.zeros((1, 4, 2)), np.zeros((1, 3, 2))), "second must have shape"),
        (lambda: rec.split_test(np.zeros((4, 2)), np.zeros((4, 2))), "first must have shape"),
        (lambda: rec.split_test(*np.zeros((2, 1, 4, 2)), posted=4), "posted must be at most 3"),
        (lambda: rec.split_test(*np.zeros((2, 1, 4, 2)), draws=0), "draws must be"),
        (lambda: rec.traces(np.zeros((1, 5, 2))), r"vectors must have shape \(..., R, S, m\) with R, S >= 2, got"),
        (lambda: rec.traces(np.zeros((4, 1, 2))), "vectors must have shape"),
        (lambda: rec.traces(np.zeros((5, 2))), "vectors must have shape"),
        (lambda: rec.traces(np.zeros((2, 5, 0))), "vectors must have shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_book_holds_its_embeddings():
    """Every recorded run of the book can be replayed without weights."""
    if set(rec.finished()) < set(study.STUDY):
        pytest.skip("runs of the book are still being recorded")
    for name in rec.finished():
        run = rec.load(name)
        assert run.network == study.STUDY[name]
        assert np.abs(distance_norm(run.means) - run.distance_norm).max() < 0.02
