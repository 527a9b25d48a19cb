"""Every public entry point of the engine refuses what it cannot use, and says which argument, and what it got."""

import re

import numpy as np
import pytest
from scipy import stats

from coevo import measures, reference
from coevo.simulation import (
    CorpusInjection,
    State,
    System,
    UserContent,
    circle,
    image_update,
    inject_text,
    macro_step,
    replicate,
    simulate,
    text_update,
)

I2 = np.eye(2)
MEAN = np.zeros((2, 2))
COV = np.array([I2, I2])
HALF = [0.5, 0.5]
NEGATIVE = np.diag([1.0, -0.5])
STATE = circle(2)
SYSTEM = System(STATE, 5, 6)
GROWING = CorpusInjection(0.5, 0.1, [0.0, 0.0], I2)
USERS = reference.UserImages(2, MEAN, COV)
ALL = (HALF, MEAN, COV)


def create(p=HALF, mean=MEAN, cov=COV, runs=1):
    return State.create(p, mean, cov, runs)


def system(initial=STATE, text_samples=5, image_samples=6, **options):
    return System(initial, text_samples, image_samples, **options)


def corpus(injection_prob=0.5, injection_fraction=0.1, mean=(0.0, 0.0), cov=I2, mean_cov=None):
    return CorpusInjection(injection_prob, injection_fraction, mean, cov, mean_cov)


def sim(steps=2, runs=3, rng=1, initial=SYSTEM, **options):
    return simulate(initial, steps, runs, rng=rng, **options)


def rep(steps=2, runs=3, rng=1, initial=SYSTEM, **options):
    return replicate(initial, steps, runs, rng=rng, **options)


def one(p=HALF, mean=MEAN, cov=COV, steps=1, m=5, n=5, s_t=1, s_i=1, rng=1):
    return reference.algorithm_1(p, mean, cov, steps, m, n, s_t, s_i, rng)


def two(prob=0.5, fraction=0.1, mean=(0.0, 0.0), cov=I2, steps=1, rng=1):
    return reference.algorithm_2(*ALL, steps, 5, 5, 1, 1, prob, fraction, mean, cov, rng)


def three(user=USERS):
    return reference.algorithm_3(*ALL, 1, 5, 5, 1, 1, user, 1)


# What is called, the name the message must hold, the value it must hold.
CASES = [
    # measures
    (lambda: measures.text_diversity([0.5, 0.6]), "p", "1.1"),
    (lambda: measures.text_diversity([-0.5, 1.5]), "p", "-0.5"),
    (lambda: measures.text_diversity([0.5, 1.5]), "p", "1.5"),
    (lambda: measures.text_diversity([0.5, np.nan]), "p", "nan"),
    (lambda: measures.text_diversity(1.0), "p", "()"),
    (lambda: measures.text_diversity([]), "p", "(0,)"),
    (lambda: measures.text_diversity(["a"]), "p", "<U1"),
    (lambda: measures.text_diversity([True, False]), "p", "bool"),
    (lambda: measures.text_diversity([[0.5, 0.5], [1.0]]), "p", "[1.0]"),
    (lambda: measures.image_diversity([1.0, 2.0]), "cov", "(2,)"),
    (lambda: measures.image_diversity(np.ones((2, 3))), "cov", "(2, 3)"),
    (lambda: measures.image_diversity(np.ones((0, 0))), "cov", "(0, 0)"),
    (lambda: measures.image_diversity(NEGATIVE), "cov", "-0.5"),
    (lambda: measures.image_diversity([[1.0, 0.3], [0.1, 1.0]]), "cov", "0.2"),
    (lambda: measures.image_diversity(np.full((2, 2), np.inf)), "cov", "inf"),
    (lambda: measures.image_diversity(1j * I2), "cov", "complex"),
    (lambda: measures.fidelity(1.0, [1.0]), "reference", "(1,)"),
    (lambda: measures.fidelity([1.0, 2.0], [1.0]), "reference", "(1,)"),
    (lambda: measures.fidelity(np.ones((3, 2)), np.ones((4, 2))), "reference", "(4, 2)"),
    (lambda: measures.fidelity([np.nan, 0.0], [1.0, 0.0]), "mean", "nan"),
    (lambda: measures.fidelity([0.0], [None]), "reference", "object"),
    # states
    (lambda: create(p=[0.5, 0.4]), "p", "0.9"),
    (lambda: create(p=[1.2, -0.2]), "p", "-0.2"),
    (lambda: create(p=[[0.5, 0.5]]), "p", "(1, 2)"),
    (lambda: create(p=[]), "p", "(0,)"),
    (lambda: create(p="half"), "p", "<U4"),
    (lambda: create(mean=np.zeros((3, 2))), "mean", "(3, 2)"),
    (lambda: create(mean=np.zeros(2)), "mean", "(2,)"),
    (lambda: create(mean=np.zeros((2, 0))), "mean", "(2, 0)"),
    (lambda: create(mean=[[0.0], [0.0, 1.0]]), "mean", "[0.0, 1.0]"),
    (lambda: create(mean=np.full((2, 2), -np.inf)), "mean", "-inf"),
    (lambda: create(cov=np.eye(3)), "cov", "(3, 3)"),
    (lambda: create(cov=np.array([I2] * 3)), "cov", "(3, 2, 2)"),
    (lambda: create(cov=1.0), "cov", "()"),
    (lambda: create(cov=NEGATIVE), "cov", "-0.5"),
    (lambda: create(cov=I2 > 0), "cov", "bool"),
    (lambda: create(runs=0), "runs", "0"),
    (lambda: create(runs=2.0), "runs", "2.0"),
    (lambda: create(runs=True), "runs", "True"),
    (lambda: circle(0), "n_texts", "0"),
    (lambda: circle(2.5), "n_texts", "2.5"),
    (lambda: circle(2, 0.0), "sigma", "0"),
    (lambda: circle(2, np.nan), "sigma", "nan"),
    (lambda: circle(2, "wide"), "sigma", "wide"),
    (lambda: circle(2, True), "sigma", "True"),
    (lambda: circle(2, dim=1), "dim", "1"),
    (lambda: circle(2, radius=-1.0), "radius", "-1"),
    (lambda: circle(2, p=[1.0]), "mean", "(2, 2)"),
    (lambda: circle(2, runs=-1), "runs", "-1"),
    # parameters
    (lambda: system(initial="state"), "initial", "state"),
    (lambda: system(text_samples=0), "text_samples", "0"),
    (lambda: system(text_samples=1.5), "text_samples", "1.5"),
    (lambda: system(image_samples=-3), "image_samples", "-3"),
    (lambda: system(text_updates=-1), "text_updates", "-1"),
    (lambda: system(image_updates=None), "image_updates", "None"),
    (lambda: system(corpus="posts"), "corpus", "posts"),
    (lambda: system(corpus=corpus(mean=[0.0], cov=[[1.0]])), "corpus.mean", "(1,)"),
    (lambda: system(user=3), "user", "3"),
    (lambda: system(user=UserContent(2, np.zeros(3))), "user.mean", "(3,)"),
    (lambda: system(user=UserContent(2, np.zeros((3, 2)))), "user.mean", "(3, 2)"),
    (lambda: system(user=UserContent(2, None, np.eye(3))), "user.cov", "(3, 3)"),
    (lambda: system(user=UserContent(2, MEAN), corpus=GROWING), "user.mean", "(2, 2)"),
    (lambda: corpus(injection_prob=1.2), "injection_prob", "1.2"),
    (lambda: corpus(injection_prob=np.nan), "injection_prob", "nan"),
    (lambda: corpus(injection_prob="often"), "injection_prob", "often"),
    (lambda: corpus(injection_fraction=-0.1), "injection_fraction", "-0.1"),
    (lambda: corpus(mean=1.0), "mean", "()"),
    (lambda: corpus(cov=NEGATIVE), "cov", "-0.5"),
    (lambda: corpus(cov=COV), "cov", "(2, 2, 2)"),
    (lambda: corpus(cov=np.eye(3)), "cov", "(3, 3)"),
    (lambda: corpus(mean_cov=NEGATIVE), "mean_cov", "-0.5"),
    (lambda: corpus(mean=np.zeros((1, 1, 2))), "mean", "(1, 1, 2)"),
    (lambda: corpus(mean=np.zeros((0, 2))), "mean", "(0, 2)"),
    (lambda: corpus(mean=MEAN), "cov", "(2, 2)"),
    (lambda: corpus(mean=np.zeros((3, 2)), cov=COV), "cov", "(2, 2, 2)"),
    (lambda: corpus(mean=MEAN, cov=np.array([I2, NEGATIVE])), "cov", "-0.5"),
    (lambda: corpus(mean=MEAN, cov=COV, mean_cov=I2), "mean_cov", "[1., 0.]"),
    (lambda: corpus(mean_cov=np.eye(3)), "mean_cov", "(3, 3)"),
    (lambda: system(corpus=corpus(mean=np.zeros((2, 3)), cov=np.array([np.eye(3)] * 2))), "corpus.mean", "(2, 3)"),
    (lambda: UserContent(-1), "user_images", "-1"),
    (lambda: UserContent(2.0), "user_images", "2.0"),
    (lambda: UserContent(stats.norm(3)), "user_images", "rv_continuous_frozen"),
    (lambda: UserContent(stats.poisson(3, loc=-1)), "user_images", "[-1, inf]"),
    (lambda: UserContent(stats.geom(1e-9)), "user_images", "[1, inf]"),
    (lambda: UserContent(stats.zipf(2.5)), "user_images", "[1, inf]"),  # its quantiles would take hours
    (lambda: UserContent(stats.randint(0, 10**6 + 1)), "user_images", "[0, 1e+06]"),
    (lambda: UserContent(True), "user_images", "True"),
    (lambda: UserContent(stats.poisson), "user_images", "poisson_gen"),
    (lambda: UserContent(stats.poisson([1, 2])), "user_images", "(2,)"),
    (lambda: UserContent(stats.poisson(np.nan)), "user_images", "[nan, nan]"),
    (lambda: UserContent(stats.poisson(3, loc=0.5)), "user_images", "0 in all"),
    (lambda: UserContent(stats.rv_discrete(values=([0, 2.5], [0.5, 0.5]))), "user_images", "0.5 in all"),
    (lambda: UserContent(2, 1.0), "mean", "()"),
    (lambda: UserContent(2, [np.nan]), "mean", "nan"),
    (lambda: UserContent(2, None, NEGATIVE), "cov", "-0.5"),
    (lambda: UserContent(2, None, COV[None]), "cov", "(1, 2, 2, 2)"),
    (lambda: UserContent(2, MEAN, images=MEAN), "mean", "(2, 2)"),
    (lambda: UserContent(2, cov=I2, images=MEAN), "cov", "(2, 2)"),
    (lambda: UserContent(2, images=[]), "images", "none"),
    (lambda: UserContent(2, images=np.zeros((3, 4, 2))), "images", "(3, 4, 2)"),
    (lambda: UserContent(2, images=np.zeros(2)), "images", "(2,)"),
    (lambda: UserContent(2, images=np.zeros((0, 2))), "images", "(0, 2)"),
    (lambda: UserContent(2, images=np.full((3, 2), np.nan)), "images", "nan"),
    (lambda: UserContent(2, images="pictures"), "images", "<U8"),
    (lambda: UserContent(2, images=[MEAN, [[0.0, np.inf]]]), "images[1]", "inf"),
    (lambda: UserContent(2, images=[MEAN, np.zeros((0, 2))]), "images[1]", "(0, 2)"),
    (lambda: UserContent(2, images=([0.0, 1.0],)), "images[0]", "(2,)"),
    (lambda: UserContent(2, images=[MEAN, np.zeros((5, 3))]), "images", "[2, 3]"),
    (lambda: system(user=UserContent(2, images=np.zeros((5, 3)))), "user.images", "3"),
    (lambda: system(user=UserContent(2, images=[np.zeros((5, 3))] * 2)), "user.images", "3"),
    (lambda: system(user=UserContent(2, images=[MEAN])), "user.images", "a list of 1"),
    (lambda: system(user=UserContent(2, images=[MEAN, MEAN]), corpus=GROWING), "user.images", "a list of 2"),
    (lambda: image_update(STATE, 5, 1, UserContent(2, images=[MEAN] * 3)), "user.images", "a list of 3"),
    # updates
    (lambda: text_update(None, 5, 1), "state", "None"),
    (lambda: text_update(STATE, 0, 1), "text_samples", "0"),
    (lambda: text_update(STATE, 5, -1), "rng", "-1"),
    (lambda: text_update(STATE, 5, 1.5), "rng", "1.5"),
    (lambda: text_update(STATE, 5, None), "rng", "None"),
    (lambda: image_update([], 5, 1), "state", "[]"),
    (lambda: image_update(STATE, 5.0, 1), "image_samples", "5.0"),
    (lambda: image_update(STATE, 5, "seed"), "rng", "seed"),
    (lambda: image_update(STATE, 5, 1, "me"), "user", "me"),
    (lambda: image_update(STATE, 5, 1, UserContent(2, np.zeros(3))), "user.mean", "(3,)"),
    (lambda: inject_text(0, GROWING, 1), "state", "0"),
    (lambda: inject_text(STATE, 0.5, 1), "corpus", "0.5"),
    (lambda: inject_text(STATE, corpus(mean=[0.0], cov=[[1.0]]), 1), "corpus.mean", "(1,)"),
    (lambda: inject_text(STATE, GROWING, 1, 1.0), "drop_below", "1"),
    (lambda: inject_text(STATE, GROWING, 1, "little"), "drop_below", "little"),
    (lambda: macro_step(1, SYSTEM, 1), "state", "1"),
    (lambda: macro_step(STATE, 1, 1), "system", "1"),
    (lambda: macro_step(STATE, SYSTEM, True), "rng", "True"),
    # runs
    (lambda: sim(initial=STATE), "system", "State"),
    (lambda: sim(steps=-1), "steps", "-1"),
    (lambda: sim(steps=2.0), "steps", "2.0"),
    (lambda: sim(runs=0), "runs", "0"),
    (lambda: sim(rng=None), "rng", "None"),
    (lambda: sim(rng=-5), "rng", "-5"),
    (lambda: sim(every=0), "every", "0"),
    (lambda: sim(initial=system(initial=circle(2, runs=4))), "runs", "3"),
    (lambda: rep(initial=None), "system", "None"),
    (lambda: rep(steps=True), "steps", "True"),
    (lambda: rep(runs="many"), "runs", "many"),
    (lambda: rep(workers=0), "workers", "0"),
    (lambda: rep(rng=2.5), "rng", "2.5"),
    (lambda: rep(statistics=["purity"]), "statistics", "purity"),
    (lambda: rep(statistics=[3]), "statistics", "3"),
    (lambda: rep(statistics=3), "statistics", "3"),
    (lambda: rep(statistics=[]), "statistics", "none"),
    (lambda: rep(statistics={"x": 4}), "statistics", "4"),
    (lambda: rep(statistics={"x": lambda s: 1.0}), "statistics", "()"),
    (lambda: rep(statistics={"x": lambda s: s.p[0]}), "statistics", "(2,)"),
    (lambda: rep(times=[2, 1]), "times", "[2 1]"),
    (lambda: rep(times=[]), "times", "[]"),
    (lambda: circle(2, runs=3).repeat(2), "runs", "3"),
    (lambda: rep(times=[3]), "times", "[3]"),
    (lambda: rep(times=[0.5]), "times", "float64"),
    (lambda: rep(times=[-1]), "times", "-1"),
    (lambda: rep(times=[[0, 1]]), "times", "[[0 1]]"),
    (lambda: rep(times=[[0, 1], [1]]), "times", "[1]"),
    (lambda: rep(quantiles=[1.5]), "quantiles", "1.5"),
    (lambda: rep(quantiles=0.5), "quantiles", "0.5"),
    (
        lambda: rep(initial=system(corpus=corpus(1.0)), statistics={"x": lambda s: s.p}),
        "statistics",
        "(3,)",
    ),
    # reference
    (lambda: one(p=[0.5, 0.6]), "p", "1.1"),
    (lambda: one(p=[0.5, 0.5, 0.0]), "mean", "(2, 2)"),
    (lambda: one(mean=np.full((2, 2), np.nan)), "mean", "nan"),
    (lambda: one(cov=I2), "cov", "(2, 2)"),
    (lambda: one(cov=np.array([NEGATIVE, I2])), "cov", "-0.5"),
    (lambda: one(steps=-1), "steps", "-1"),
    (lambda: one(m=0), "text_samples", "0"),
    (lambda: one(n=0.5), "image_samples", "0.5"),
    (lambda: one(s_t=-1), "text_updates", "-1"),
    (lambda: one(s_i=-2), "image_updates", "-2"),
    (lambda: one(rng="x"), "rng", "x"),
    (lambda: reference.text_update(*ALL, 0, 1), "text_samples", "0"),
    (lambda: reference.text_update(*ALL, 5, None), "rng", "None"),
    (lambda: reference.image_update(*ALL, "n", 1), "image_samples", "n"),
    (lambda: reference.image_update(*ALL, 5, 1, (2, MEAN, COV)), "user", "(2,"),
    (lambda: reference.inject_text(*ALL, 2, 0.1, [0.0, 0.0], I2, 1), "injection_prob", "2"),
    (lambda: two(prob=-1.0), "injection_prob", "-1"),
    (lambda: two(fraction=1.1), "injection_fraction", "1.1"),
    (lambda: two(mean=[0.0]), "new_mean", "(1,)"),
    (lambda: two(cov=NEGATIVE), "new_cov", "-0.5"),
    (lambda: two(steps=1.0), "steps", "1.0"),
    (lambda: two(rng=-1), "rng", "-1"),
    (lambda: three(None), "user", "None"),
    (lambda: three(reference.UserImages(-1, MEAN, COV)), "user_images", "-1"),
    (lambda: three(reference.UserImages(1, MEAN[0], COV)), "user_mean", "(2,)"),
    (lambda: three(reference.UserImages(1, MEAN, I2)), "user_cov", "(2, 2)"),
    (lambda: three(reference.UserImages(1, MEAN, np.array([I2, NEGATIVE]))), "user_cov", "-0.5"),
]


@pytest.mark.parametrize(("call", "name", "value"), CASES, ids=[f"{i}-{c[1]}-{c[2]}" for i, c in enumerate(CASES)])
def test_message_names_the_argument_and_the_value(call, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message), message
    assert "got" in message
    assert value in message.split("got", 1)[1], message


def test_definite_covariances_can_be_demanded():
    from coevo import _validation as check

    with pytest.raises(ValueError, match="cov must be positive definite"):
        check.covariance("cov", np.diag([1.0, 0.0]), definite=True)
    np.testing.assert_array_equal(check.covariance("cov", I2, definite=True), I2)


def test_laws_of_counts_keep_what_matters():
    from coevo import _validation as check

    for law in (stats.poisson(3), stats.poisson(1e5), stats.logser(0.99), stats.nbinom(3, 0.2), stats.zipf(9.0)):
        values, weight = check.count_law("m", law, minimum=0)
        assert law.sf(values[-1]) < 1e-15
        assert weight.min() > 1e-22
        np.testing.assert_array_equal(weight, law.pmf(values))
    # The length of the support counts, not where it lies.
    values, _ = check.count_law("m", stats.randint(10**9, 10**9 + 5), minimum=0)
    np.testing.assert_array_equal(values, 10**9 + np.arange(5))
    values, _ = check.count_law("m", stats.poisson(2, loc=10**7), minimum=0)
    assert values[0] == 10**7
    # Most of a wide law is negligible.
    values, weight = check.count_law("m", stats.binom(999_999, 0.5), minimum=0)
    assert values.size < 12_000
    assert weight.sum() == pytest.approx(1, abs=1e-8)
