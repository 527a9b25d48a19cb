"""Texts as alleles: the exact laws and our simulator against msprime, a simulator of genealogies."""

import numpy as np
import pytest

from coevo import System, circle, simulate
from coevo.theory import immigration, wright_fisher

msprime = pytest.importorskip("msprime")

SIX = 6.1


def texts_of_founders(p: list[float], copies: int, t: int, runs: int, seed: int) -> np.ndarray:
    """Counts (runs, K) after t updates; the images of the first update have texts drawn from p."""
    rng = np.random.default_rng(seed)
    count = np.zeros((runs, len(p)), dtype=int)
    histories = msprime.sim_ancestry(
        copies // 2, population_size=copies // 2, model="dtwf", end_time=t - 1, num_replicates=runs, random_seed=seed
    )
    for row, history in zip(count, histories, strict=True):
        tree = history.first()
        for founder in tree.roots:
            row[rng.choice(len(p), p=p)] += tree.num_samples(founder)
    return count


def test_msprime_chooses_parents_uniformly() -> None:
    """Different parents of M copies: the classical occupancy law, which the genealogy of Law 1.2 uses."""
    m, runs = 12, 3000
    histories = msprime.sim_ancestry(
        m // 2, population_size=m // 2, model="dtwf", end_time=1, num_replicates=runs, random_seed=1
    )
    share = np.bincount([history.first().num_roots for history in histories], minlength=m + 1) / runs
    law = wright_fisher.ancestor_law(m, m, 1)
    assert (np.abs(share - law) <= SIX * np.sqrt(law * (1 - law) / runs) + 1e-3).all()


def test_one_generation_is_a_row_of_the_transition_matrix() -> None:
    """Two updates from one text of mass 1/2: the mean of the rows of the matrix over Binomial(M, 1/2)."""
    m, runs = 10, 3000
    share = np.bincount(texts_of_founders([0.5, 0.5], m, 2, runs, seed=2)[:, 0], minlength=m + 1) / runs
    exact = wright_fisher.law(m, 0.5, 2)
    error = np.sqrt(exact * (1 - exact) / runs)
    assert (np.abs(share - exact) < SIX * error).all()
    # Negative control: one update more or less is another law.
    for other in (1, 3):
        assert (np.abs(share - wright_fisher.law(m, 0.5, other)) > SIX * error).any()


def test_msprime_simulator_and_exact_law_agree() -> None:
    p, m, t, runs = [0.5, 0.3, 0.2], 20, 12, 2000
    genes = texts_of_founders(p, m, t, runs, seed=3) / m
    path = simulate(System(circle(3, 0.02, p=p), m, 1, image_updates=0), t, runs, rng=4, every=t)
    ours = path.p[:, -1]
    law = wright_fisher.surviving_texts_law(m, p, t)
    moments = wright_fisher.text_diversity_moments(m, p, t)
    for masses in (genes, ours):
        alive = (masses > 1e-6).sum(axis=1)
        for n in (1, 2, 3):
            assert abs((alive == n).mean() - law[n]) < SIX * np.sqrt(law[n] * (1 - law[n]) / runs)
        diversity = 1 - (masses**2).sum(axis=1)
        assert abs(diversity.mean() - moments.mean) < SIX * np.sqrt(moments.variance / runs)
        deviation = (diversity - moments.mean) ** 2
        assert abs(deviation.mean() - moments.variance) < SIX * deviation.std() / np.sqrt(runs)
        cubes = (masses**3).sum(axis=1)
        assert abs(cubes.mean() - wright_fisher.power_sum(m, p, 3, t)) < SIX * cubes.std() / np.sqrt(runs)


def test_infinite_alleles() -> None:
    """Law 1.3: msprime's own mutations against the traced-back partitions and Ewens's formula."""
    m, theta, runs = 60, 1.5, 1000
    u = theta / (2 * m)
    seen: list[tuple[int, ...]] = []
    histories = msprime.sim_ancestry(
        2, population_size=m // 2, model="dtwf", num_replicates=runs, random_seed=5, sequence_length=1
    )
    for k, history in enumerate(histories):
        mutated = msprime.sim_mutations(history, rate=-np.log1p(-u), model=msprime.InfiniteAlleles(), random_seed=k + 1)
        alleles = next(mutated.variants()).genotypes if mutated.num_sites else np.zeros(4)
        seen.append(tuple(sorted(np.unique(alleles, return_counts=True)[1].tolist(), reverse=True)))
    exact = immigration.mutant_partitions(m, u, 4)
    ewens = immigration.ewens_partitions(4, theta)
    for sizes, chance in exact.items():
        assert abs(seen.count(sizes) / runs - chance) < SIX * np.sqrt(chance * (1 - chance) / runs)
        assert abs(chance - ewens[sizes]) < 1.5 / m  # the diffusion limit
