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
            "coevo.theory.phases.limit_image_diversity",
            "coevo.theory.phases.half_life_clock",
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
        label="Theorem 4.1",
        title="Blurred images make the collapse of the text model as slow as you like",
        source="gao2025",
        functions=(
            "coevo.theory.slow_collapse.widest_gap",
            "coevo.theory.slow_collapse.relative_loss",
            "coevo.theory.slow_collapse.least_sigma",
        ),
        chapter="notebooks/theorem-4-1",
        anchor="thm-4-1",
        tests=(
            "tests/test_theory_slow_collapse.py::test_loss_of_one_update_against_simulation",
            "tests/test_theory_slow_collapse.py::test_least_sigma_is_the_root_and_the_guarantee_lies_above",
            "tests/test_theory_slow_collapse.py::test_floor_that_knows_the_blur_in_whole_runs",
        ),
        beyond=(
            "coevo.theory.slow_collapse.guaranteed_sigma",
            "coevo.theory.slow_collapse.relative_loss_bound",
            "coevo.theory.slow_collapse.diffuse_floor",
            "coevo.theory.slow_collapse.leading_loss",
            "coevo.theory.slow_collapse.diffuse_limit",
        ),
    ),
    Result(
        label="Theorem 4.2",
        title="A collapsing image model drives the text model to its floor",
        source="gao2025",
        functions=(
            "coevo.theory.acceleration.expected_text_diversity_bounds",
            "coevo.theory.acceleration.separated_overlap_bound",
            "coevo.theory.acceleration.sufficient_image_updates_separated",
        ),
        chapter="notebooks/theorem-4-2",
        anchor="thm-4-2",
        tests=(
            "tests/test_theory_acceleration.py::test_posterior_diversity_bound_against_quadrature",
            "tests/test_theory_acceleration.py::test_separated_bound_holds_for_the_worst_law_of_the_spread",
            "tests/test_theory_acceleration.py::test_promise_is_kept_by_the_simulator_from_equal_laws",
            "tests/test_theory_acceleration.py::test_overlap_bound_in_several_dimensions_against_simulation",
            "tests/test_theory_acceleration.py::test_relative_loss_vanishes_for_a_rare_text",
        ),
        beyond=(
            "coevo.theory.acceleration.posterior_diversity_bound",
            "coevo.theory.acceleration.expected_overlap_bound",
            "coevo.theory.acceleration.sufficient_image_updates",
            "coevo.theory.phases.crossover",
            "coevo.theory.phases.limit_share",
        ),
    ),
    Result(
        label="Theorem 5.1",
        title="The contraction rate of image diversity when a text is drawn often",
        source="gao2025",
        functions=(
            "coevo.theory.image.approximate_rate",
            "coevo.theory.image.first_step_rate",
            "coevo.theory.image.first_step_rate_bounds",
        ),
        chapter="notebooks/theorem-5-1",
        anchor="thm-5-1",
        tests=(
            "tests/test_theory_image.py::test_rates_for_many_images_and_rare_texts",
            "tests/test_theory_image.py::test_first_step_rate_against_simulation",
            "tests/test_theory_image.py::test_error_of_the_approximate_rate",
            "tests/test_theory_image.py::test_the_fastest_text_gets_about_three_images",
        ),
        beyond=(
            "coevo.theory.image.contraction_bounds",
            "coevo.theory.image.typical_rate",
            "coevo.theory.image.lyapunov_exponents",
        ),
    ),
    Result(
        label="Theorem 5.2",
        title="As the text model collapses, rare texts lose image diversity faster than the dominant one",
        source="gao2025",
        functions=(
            "coevo.theory.matthew.largest_rarest_mass",
            "coevo.theory.matthew.matthew_bound",
            "coevo.theory.matthew.rate_ratio",
        ),
        chapter="notebooks/theorem-5-2",
        anchor="thm-5-2",
        tests=(
            "tests/test_theory_matthew.py::test_bounds_hold_for_random_text_models",
            "tests/test_theory_matthew.py::test_no_random_text_model_has_a_larger_rarest_mass",
            "tests/test_theory_matthew.py::test_exact_ratio_against_simulated_refits",
        ),
        beyond=(
            "coevo.theory.matthew.sharp_matthew_bound",
            "coevo.theory.matthew.least_unequal_text_model",
            "coevo.theory.matthew.rate_ratio_ceiling",
            "coevo.theory.matthew.largest_rate_ratio",
        ),
    ),
    Result(
        label="Theorem 6.1",
        title="New texts that keep entering the corpus keep the text diversity above a floor",
        source="gao2025",
        functions=("coevo.theory.corpus.injection_floor",),
        chapter="notebooks/theorem-6-1",
        anchor="thm-6-1",
        tests=(
            "tests/test_theory_corpus.py::test_mean_and_variance_against_all_outcomes",
            "tests/test_theory_corpus.py::test_separated_texts_follow_the_sharp_law",
            "tests/test_theory_corpus.py::test_overlapping_and_moving_images_stay_between_floor_and_ceiling",
            "tests/test_theory_corpus.py::test_best_fraction_against_an_optimiser",
        ),
        beyond=(
            "coevo.theory.corpus.sharp_floor",
            "coevo.theory.corpus.limiting_ceiling",
            "coevo.theory.corpus.diversity_floor",
            "coevo.theory.corpus.diversity_ceiling",
            "coevo.theory.corpus.convergence_time",
            "coevo.theory.corpus.best_injection_fraction",
            "coevo.theory.corpus.best_floor",
            "coevo.theory.corpus.least_injection_prob",
            "coevo.theory.corpus.diversity_moments",
            "coevo.theory.corpus.stationary_moments",
            "coevo.theory.corpus.expected_next_diversity",
            "coevo.theory.corpus.kept_texts_bound",
        ),
    ),
    Result(
        label="Theorem 6.2",
        title="User images keep the image diversity above a floor",
        source="gao2025",
        functions=("coevo.theory.user_diversity.diversity_floor",),
        chapter="notebooks/theorem-6-2",
        anchor="thm-6-2",
        tests=(
            "tests/test_theory_user_diversity.py::test_floors_and_ceiling_against_pooled_images",
            "tests/test_theory_user_diversity.py::test_random_counts_against_pooled_images",
            "tests/test_theory_user_diversity.py::test_the_conditional_mean_of_random_m_is_not_a_floor",
        ),
        beyond=(
            "coevo.theory.user_diversity.pythagorean_floor",
            "coevo.theory.user_diversity.direction_floor",
            "coevo.theory.user_diversity.best_floor",
            "coevo.theory.user_diversity.concave_floor",
            "coevo.theory.user_diversity.rank_one_floor",
            "coevo.theory.user_diversity.diversity_ceiling",
        ),
    ),
    Result(
        label="Theorem 6.3",
        title="User images keep the drift of the image means bounded",
        source="gao2025",
        functions=(
            "coevo.theory.user_moments.moments",
            "coevo.theory.user_moments.fidelity_bound",
            "coevo.theory.user_moments.update_matrix",
        ),
        chapter="notebooks/theorem-6-3",
        anchor="thm-6-3",
        tests=(
            "tests/test_theory_user_moments.py::test_moments_against_pooled_images",
            "tests/test_theory_user_moments.py::test_moments_against_the_engine",
            "tests/test_theory_user_moments.py::test_limits",
            "tests/test_theory_user_moments.py::test_the_bound_holds_at_every_time_from_the_users_law",
            "tests/test_theory_user_moments.py::test_fourth_moments_with_one_user_image_are_infinite",
        ),
        beyond=(
            "coevo.theory.user_moments.limit_factors",
            "coevo.theory.user_moments.spectral_radius",
            "coevo.theory.user_moments.fourth_moment",
            "coevo.theory.user_moments.limit_law",
            "coevo.theory.user_moments.limit_mean_drift",
            "coevo.theory.user_moments.critical_user_share",
        ),
    ),
    Result(
        label="Algorithm 2",
        title="The recursive update of mixture weights, with weights that sum to one",
        source="wang2025",
        functions=("coevo.network.mixtures.update_weights", "coevo.reference.mixture_weight_update"),
        chapter="notebooks/network-measure",
        anchor="alg-lwd-2",
        tests=(
            "tests/test_network_mixtures.py::test_update_is_the_literal_one",
            "tests/test_network_mixtures.py::test_printed_rule_leaves_an_excess",
        ),
    ),
    Result(
        label="Algorithm 3",
        title="A network of mixtures that share one pool",
        source="wang2025",
        functions=(
            "coevo.network.mixtures.simulate",
            "coevo.reference.mixture_network",
        ),
        chapter="notebooks/network-measure",
        anchor="alg-lwd-3",
        tests=(
            "tests/test_network_mixtures.py::test_network_has_the_law_of_the_literal_one",
            "tests/test_network_mixtures.py::test_points_are_drawn_without_replacement_in_random_order",
        ),
    ),
    Result(
        label="eqs. 2 and 4",
        title="The distance norm is the part of the diversity between the models",
        source="wang2025",
        functions=("coevo.network.geometry.distance_matrix", "coevo.network.geometry.distance_norm"),
        chapter="notebooks/network-measure",
        anchor="prop-lwd-norm",
        tests=(
            "tests/test_network_geometry.py::test_distances_are_those_of_scipy",
            "tests/test_network_geometry.py::test_norm_counts_every_pair_twice",
        ),
    ),
    Result(
        label="Appendix A",
        title="The models of a network come to agree; the rate, and what they agree on",
        source="wang2025",
        functions=(
            "coevo.theory.consensus.push_sums",
            "coevo.theory.consensus.weight_moments",
            "coevo.theory.consensus.mean_difference_factor",
            "coevo.theory.consensus.second_moments",
        ),
        chapter="notebooks/network-consensus",
        anchor="thm-lwd-a",
        tests=(
            "tests/test_theory_consensus.py::test_one_step_against_all_draws",
            "tests/test_theory_consensus.py::test_second_moments_against_all_outcomes",
            "tests/test_theory_consensus.py::test_second_moments_and_martingale_against_simulation",
            "tests/test_theory_consensus.py::test_limit_and_rate",
        ),
        beyond=(
            "coevo.theory.consensus.scaled_distance_limit",
            "coevo.theory.consensus.pool_vote",
            "coevo.theory.consensus.pool_diversity_floor",
            "coevo.theory.consensus.accumulated_diversity",
        ),
    ),
    Result(
        label="Appendix A, eq. (7)",
        title="With overlapping components models forget more slowly, and end about as far apart",
        source="wang2025",
        functions=("coevo.theory.overlap.expected_ownership",),
        chapter="notebooks/network-overlap",
        anchor="prop-lwd-overlap",
        tests=(
            "tests/test_theory_overlap.py::test_expected_ownership_against_adaptive_quadrature",
            "tests/test_theory_overlap.py::test_one_push_of_the_network_has_the_drift",
        ),
        beyond=(
            "coevo.theory.overlap.information_rates",
            "coevo.theory.overlap.overlap_distance",
            "coevo.theory.overlap.scaled_distance_limit",
        ),
    ),
    Result(
        label="Section 6",
        title="The distance that equal language models show, and an exact test by retrievals",
        source="wang2025",
        functions=(
            "coevo.network.language.recording.null_level",
            "coevo.network.language.recording.squared_norm",
            "coevo.network.language.recording.split_test",
        ),
        chapter="notebooks/language-network",
        anchor="prop-lwd-null",
        tests=(
            "tests/test_language_recording.py::test_null_level_of_identical_models_in_closed_form",
            "tests/test_language_recording.py::test_false_alarms_on_a_network_that_feeds_on_itself",
        ),
        beyond=(
            "coevo.network.language.recording.interval",
            "coevo.network.language.recording.traces",
        ),
    ),
)
