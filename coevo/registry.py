"""The results of the book: where each is implemented, told and tested.

One row per result. The book's results page is generated from these rows, and ``tests/test_registry.py`` checks
that every name in them exists.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RESULTS", "Result"]


@dataclass(frozen=True)
class Result:
    """One theorem or corollary and its three homes.

    Attributes
    ----------
    label : str
        Name and number in the source, e.g. ``"Theorem 3.1"``; the docstring of each function contains it.
    title : str
        The result in a few words.
    source : str
        Key of the source in ``book/references.bib``.
    functions : tuple of str
        Dotted names of the functions that implement it.
    chapter : str
        Path of its chapter from the project root, without suffix.
    anchor : str
        Label of its box in that chapter.
    tests : tuple of str
        Its tests, as ``"tests/test_file.py::test_name"``.
    beyond : tuple of str
        Dotted names of functions for what this project adds: sharper, exact or limiting forms of the result.
    """

    label: str
    title: str
    source: str
    functions: tuple[str, ...]
    chapter: str
    anchor: str
    tests: tuple[str, ...]
    beyond: tuple[str, ...] = ()


RESULTS: tuple[Result, ...] = (
    Result(
        label="Theorem 3.1",
        title="With a frozen image model the text model loses diversity and ends at a single text",
        source="gao2025",
        functions=(
            "coevo.theory.text.expected_text_diversity",
            "coevo.theory.text.expected_posterior_diversity",
            "coevo.theory.text.posterior_diversity_estimate",
            "coevo.theory.text.fixation_probabilities",
        ),
        chapter="notebooks/theorem-3-1",
        anchor="thm-3-1",
        tests=(
            "tests/test_theory_text.py::test_expected_text_diversity_against_one_simulated_update",
            "tests/test_theory_text.py::test_different_covariances_against_simulation",
            "tests/test_theory_text.py::test_fixation_probabilities_against_simulation",
        ),
        beyond=(
            "coevo.theory.text.bhattacharyya_coefficients",
            "coevo.theory.text.effective_text_samples",
        ),
    ),
    Result(
        label="Corollary 3.2",
        title="Text diversity falls by at most the fraction 1/M per update",
        source="gao2025",
        functions=(
            "coevo.theory.text.text_diversity_floor",
            "coevo.theory.text.half_life",
            "coevo.theory.wright_fisher.transition_matrix",
            "coevo.theory.wright_fisher.expected_diversity",
        ),
        chapter="notebooks/corollary-3-2",
        anchor="cor-3-2",
        tests=(
            "tests/test_theory_text.py::test_floor_is_reached_by_separated_texts",
            "tests/test_theory_wright_fisher.py::test_law_against_simulation",
            "tests/test_theory_wright_fisher.py::test_expected_diversity_of_many_texts_against_simulation",
        ),
        beyond=(
            "coevo.theory.wright_fisher.law",
            "coevo.theory.wright_fisher.absorption_probability",
            "coevo.theory.wright_fisher.mean_absorption_time",
            "coevo.theory.wright_fisher.diffusion_absorption_time",
            "coevo.theory.wright_fisher.diversity_moments",
        ),
    ),
    Result(
        label="Theorem 3.3",
        title="With a frozen text model image diversity shrinks exponentially",
        source="gao2025",
        functions=(
            "coevo.theory.image.image_diversity_bounds",
            "coevo.theory.image.image_diversity_bounds_random",
            "coevo.theory.image.mean_rate",
        ),
        chapter="notebooks/theorem-3-3",
        anchor="thm-3-3",
        tests=(
            "tests/test_theory_image.py::test_image_diversity_bounds_against_simulation",
            "tests/test_theory_image.py::test_bounds_with_random_counts",
            "tests/test_theory_image.py::test_plane_against_simulation",
        ),
        beyond=(
            "coevo.theory.image.expected_image_diversity_plane",
            "coevo.theory.image.expected_image_diversity_plane_random",
            "coevo.theory.image.late_time_amplitude",
            "coevo.theory.image.expected_root_determinant",
            "coevo.theory.image.typical_rate",
            "coevo.theory.image.lyapunov_exponents",
        ),
    ),
    Result(
        label="Theorem 3.4",
        title="The drift of the image means stays bounded",
        source="gao2025",
        functions=(
            "coevo.theory.fidelity.fidelity_bound",
            "coevo.theory.fidelity.fidelity_bound_exact_counts",
        ),
        chapter="notebooks/theorem-3-4",
        anchor="thm-3-4",
        tests=(
            "tests/test_theory_fidelity.py::test_bound_holds_in_simulation",
            "tests/test_theory_fidelity.py::test_drift_law_against_simulated_refits_in_two_dimensions",
        ),
        beyond=(
            "coevo.theory.fidelity.expected_squared_drift",
            "coevo.theory.fidelity.student_drift_mean",
            "coevo.theory.fidelity.student_drift_median",
            "coevo.theory.fidelity.student_drift_cdf",
            "coevo.theory.fidelity.tail_constant",
            "coevo.theory.fidelity.drift_law",
        ),
    ),
    Result(
        label="Theorem 5.1",
        title="The contraction rate of image diversity when a text is drawn often",
        source="gao2025",
        functions=("coevo.theory.image.approximate_rate",),
        chapter="notebooks/theorem-3-3",
        anchor="thm-5-1",
        tests=(
            "tests/test_theory_image.py::test_rates_for_many_images_and_rare_texts",
            "tests/test_theory_image.py::test_first_step_rate_against_simulation",
        ),
        beyond=("coevo.theory.image.first_step_rate",),
    ),
)
