"""The results of the book: where each is implemented, told and tested.

One row per result. The book's results page and its table of laws are generated from these rows, and
``tests/test_registry.py`` checks that every name in them exists.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RESULTS", "Result"]


@dataclass(frozen=True)
class Result:
    """One theorem, corollary or law and its three homes.

    Attributes
    ----------
    label : str
        Name and number in the source, e.g. ``"Theorem 3.1"``; the docstring of each function contains it.
    title : str
        The result in a few words.
    source : str
        Key of the source in ``book/references.bib``; empty for a law of this book.
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
    Result(
        label="Law 1.1",
        title="For any images, each group of texts spreads at most as a Wright–Fisher allele does, for ever",
        source="",
        functions=(
            "coevo.theory.text.effective_text_samples",
            "coevo.theory.wright_fisher.expected_surviving_texts",
            "coevo.theory.wright_fisher.power_sum",
        ),
        chapter="notebooks/law-genetic-drift",
        anchor="law-1-1",
        tests=(
            "tests/test_theory_wright_fisher.py::test_drift_is_the_worst_case",
            "tests/test_theory_wright_fisher.py::test_drift_is_the_worst_case_for_a_run_with_moving_images",
            "tests/test_theory_wright_fisher.py::test_drift_is_the_worst_case_when_the_images_depend_on_the_past",
        ),
    ),
    Result(
        label="Law 1.2",
        title="For separated images the number of texts left and all collapse times follow from the two-allele matrix",
        source="",
        functions=(
            "coevo.theory.wright_fisher.law",
            "coevo.theory.wright_fisher.expected_surviving_texts",
            "coevo.theory.wright_fisher.surviving_texts_law",
            "coevo.theory.wright_fisher.collapse_time",
            "coevo.theory.wright_fisher.diffusion_collapse_time",
            "coevo.theory.wright_fisher.winning_times",
            "coevo.theory.wright_fisher.ancestor_law",
            "coevo.theory.wright_fisher.power_sum",
            "coevo.theory.wright_fisher.text_diversity_moments",
        ),
        chapter="notebooks/law-genetic-drift",
        anchor="law-1-2",
        tests=(
            "tests/test_theory_wright_fisher.py::test_any_number_of_texts_against_the_listed_law",
            "tests/test_theory_wright_fisher.py::test_collapse_times_against_simulation",
            "tests/test_genetics.py::test_msprime_simulator_and_exact_law_agree",
        ),
    ),
    Result(
        label="Law 1.3",
        title="Injected texts are immigrants with an exact spectrum, near Ewens's if each is small",
        source="",
        functions=(
            "coevo.theory.immigration.stationary_spectrum",
            "coevo.theory.immigration.sample_partitions",
            "coevo.theory.immigration.ewens_partitions",
            "coevo.theory.immigration.ewens_spectrum",
            "coevo.theory.immigration.burst_spectrum",
            "coevo.theory.immigration.mutant_partitions",
        ),
        chapter="notebooks/law-genetic-drift",
        anchor="law-1-3",
        tests=(
            "tests/test_theory_immigration.py::test_spectrum_and_partitions_against_simulation",
            "tests/test_theory_immigration.py::test_samples_tend_to_ewens_for_small_injections_whatever_m_eps",
            "tests/test_genetics.py::test_infinite_alleles",
        ),
    ),
    Result(
        label="Law 1.4",
        title="Overlap abolishes extinction: a losing text follows a random product of likelihood ratios",
        source="",
        functions=(
            "coevo.theory.wright_fisher.rare_text_exponent",
            "coevo.theory.text.effective_text_samples",
        ),
        chapter="notebooks/law-genetic-drift",
        anchor="law-1-4",
        tests=(
            "tests/test_theory_wright_fisher.py::test_a_rare_text_fades_at_the_exponent",
            "tests/test_theory_wright_fisher.py::test_rare_text_exponent",
            "tests/test_theory_wright_fisher.py::test_effective_size_near_a_vertex",
        ),
    ),
    Result(
        label="Law 2.1",
        title="The mean diversity of images falls between two lines, at the rate $c_1$ in every dimension",
        source="",
        functions=(
            "coevo.theory.image.image_diversity_bounds",
            "coevo.theory.image.image_diversity_bounds_random",
            "coevo.theory.image.late_time_amplitude",
        ),
        chapter="notebooks/law-three-rates",
        anchor="law-2-1",
        tests=(
            "tests/test_theory_image.py::test_image_diversity_bounds_against_simulation",
            "tests/test_theory_image.py::test_bounds_with_random_counts",
            "tests/test_theory_image.py::test_late_time_amplitude",
        ),
    ),
    Result(
        label="Law 2.2",
        title="The mean image diversity in the plane, exactly, at every time and from every start",
        source="",
        functions=(
            "coevo.theory.image.expected_image_diversity_ellipse",
            "coevo.theory.image.expected_image_diversity_ellipse_random",
            "coevo.theory.image.expected_image_diversity_plane",
            "coevo.theory.image.expected_image_diversity_plane_random",
        ),
        chapter="notebooks/law-three-rates",
        anchor="law-2-2",
        tests=(
            "tests/test_theory_image.py::test_ellipse_against_mpmath_legendre_functions",
            "tests/test_theory_image.py::test_ellipse_against_simulation",
        ),
    ),
    Result(
        label="Law 2.3",
        title="The start is forgotten like the width of an ellipse given its length, in every dimension",
        source="",
        functions=(
            "coevo.theory.image.late_image_diversity_bounds",
            "coevo.theory.image.late_image_diversity_bounds_random",
            "coevo.theory.late_means.late_excess",
            "coevo.theory.late_means.late_excess_bounds",
            "coevo.theory.late_means.settling_rate",
        ),
        chapter="notebooks/law-three-rates",
        anchor="law-2-3",
        tests=(
            "tests/test_theory_image.py::test_late_bounds_in_every_dimension",
            "tests/test_theory_image.py::test_the_sandwich_behind_the_late_bounds",
            "tests/test_theory_late_means.py::test_bounds_on_the_excess_hold_and_close_in",
        ),
    ),
    Result(
        label="Law 2.4",
        title="The typical run fades faster than the mean, with a normal logarithm of known variance",
        source="",
        functions=(
            "coevo.theory.image.lyapunov_exponents",
            "coevo.theory.image.typical_rate",
            "coevo.theory.late_means.log_diversity_bounds",
            "coevo.theory.late_means.log_diversity_variance",
        ),
        chapter="notebooks/law-three-rates",
        anchor="law-2-4",
        tests=(
            "tests/test_theory_late_means.py::test_log_diversity_between_its_bounds",
            "tests/test_theory_late_means.py::test_variance_of_a_log_chi",
            "tests/test_theory_image.py::test_lyapunov_exponents",
        ),
    ),
    Result(
        label="Law 2.5",
        title="An average over $R$ runs sees the mean up to $\\ln R/I$, about $4\\nu\\ln R$",
        source="",
        functions=(
            "coevo.theory.late_means.information_rate",
            "coevo.theory.late_means.last_time_seen",
            "coevo.theory.late_means.log_weight_tail",
            "coevo.theory.late_means.runs_needed",
            "coevo.theory.late_means.share_of_top_runs",
        ),
        chapter="notebooks/law-three-rates",
        anchor="law-2-5",
        tests=(
            "tests/test_theory_late_means.py::test_information_is_the_divergence_of_chi_laws",
            "tests/test_theory_late_means.py::test_the_weighted_tail_is_the_mean_of_the_weights",
            "tests/test_theory_late_means.py::test_bounds_on_averages",
        ),
    ),
    Result(
        label="Law 2.6",
        title="A hundred weighted runs see the mean at any time, without bias",
        source="",
        functions=("coevo.simulation.tilted.tilted_refits",),
        chapter="notebooks/law-three-rates",
        anchor="law-2-6",
        tests=(
            "tests/test_tilted.py::test_one_step_on_a_line_against_quadrature",
            "tests/test_tilted.py::test_functionals_of_the_path_against_honest_runs",
            "tests/test_tilted.py::test_late_means_in_the_plane",
        ),
    ),
    Result(
        label="Law 3.1",
        title="The final drift is a normal vector times one random scale, the same for every dimension",
        source="",
        functions=("coevo.theory.fidelity.drift_law",),
        chapter="notebooks/law-student",
        anchor="law-3-1",
        tests=(
            "tests/test_theory_fidelity.py::test_scale_law_against_the_brute_force_sum",
            "tests/test_theory_fidelity.py::test_drift_law_against_simulated_refits_in_two_dimensions",
        ),
    ),
    Result(
        label="Law 3.2",
        title="For many images per update the final drift is multivariate Student t with two degrees of freedom",
        source="",
        functions=(
            "coevo.theory.fidelity.student_drift_cdf",
            "coevo.theory.fidelity.student_drift_mean",
            "coevo.theory.fidelity.student_drift_median",
        ),
        chapter="notebooks/law-student",
        anchor="law-3-2",
        tests=(
            "tests/test_theory_fidelity.py::test_student_drift_is_scipys_f_law",
            "tests/test_theory_fidelity.py::test_drift_law_approaches_the_student_law_from_below",
        ),
    ),
    Result(
        label="Law 3.3",
        title="With $n$ images per update the mean drift is $1 - \\frac{7}{24n} + O(n^{-2})$ times its limit",
        source="",
        functions=(
            "coevo.theory.fidelity.moment_correction",
            "coevo.theory.fidelity.quantile_correction",
        ),
        chapter="notebooks/law-student",
        anchor="law-3-3",
        tests=(
            "tests/test_theory_fidelity.py::test_moment_correction_is_the_stated_covariance",
            "tests/test_theory_fidelity.py::test_moment_correction_against_the_exact_laws",
            "tests/test_theory_fidelity.py::test_quantile_correction_against_the_exact_laws",
        ),
    ),
    Result(
        label="Law 3.4",
        title="The drift has tail index 2 at every $n$: no variance, and a mean square that grows for ever",
        source="",
        functions=(
            "coevo.theory.fidelity.tail_constant",
            "coevo.theory.fidelity.expected_squared_drift",
        ),
        chapter="notebooks/law-student",
        anchor="law-3-4",
        tests=(
            "tests/test_theory_fidelity.py::test_tail_of_the_scale_follows_goldies_constant",
            "tests/test_theory_fidelity.py::test_tail_constant_for_random_counts",
        ),
    ),
    Result(
        label="Law 3.5",
        title="Covariances divided by $n - 1 + b$ give Student t with $2 + 2b$ degrees of freedom",
        source="",
        functions=(
            "coevo.theory.fidelity.tail_index",
            "coevo.theory.fidelity.tail_bias",
        ),
        chapter="notebooks/law-student",
        anchor="law-3-5",
        tests=(
            "tests/test_theory_fidelity.py::test_tail_bias_and_tail_index",
            "tests/test_theory_fidelity.py::test_drift_law_with_a_bias_against_simulated_refits",
            "tests/test_theory_fidelity.py::test_drift_law_with_a_bias_has_the_exact_moments",
        ),
    ),
    Result(
        label="Law 4.1",
        title="The rate of a text has one valley, at more than two expected images",
        source="",
        functions=("coevo.theory.freezing.worst_text",),
        chapter="notebooks/law-freezing",
        anchor="law-4-1",
        tests=(
            "tests/test_theory_freezing.py::test_one_valley_by_brute_force",
            "tests/test_theory_freezing.py::test_levels_are_taken_at_most_twice_for_any_such_sequence",
            "tests/test_theory_freezing.py::test_the_factors_increase",
        ),
    ),
    Result(
        label="Law 4.2",
        title="For many images the rate is a Poisson mean, with an explicit error and a known bottom",
        source="",
        functions=(
            "coevo.theory.freezing.poisson_rate",
            "coevo.theory.freezing.poisson_error_bound",
        ),
        chapter="notebooks/law-freezing",
        anchor="law-4-2",
        tests=(
            "tests/test_theory_freezing.py::test_poisson_rate_is_the_limit_and_its_error_is_bounded",
            "tests/test_theory_freezing.py::test_second_order_of_the_poisson_limit",
            "tests/test_theory_freezing.py::test_poisson_bottom_in_high_precision",
        ),
    ),
    Result(
        label="Law 4.3",
        title="Exactly when the rarer of two texts fades slower",
        source="",
        functions=("coevo.theory.freezing.partner",),
        chapter="notebooks/law-freezing",
        anchor="law-4-3",
        tests=(
            "tests/test_theory_freezing.py::test_partner_decides_which_text_is_slower",
            "tests/test_theory_freezing.py::test_partner_at_the_ends",
        ),
    ),
    Result(
        label="Law 4.4",
        title="What a text keeps that dies out: one linear system, and a power of the number of images",
        source="",
        functions=(
            "coevo.theory.freezing.frozen_diversity",
            "coevo.theory.freezing.frozen_log_diversity",
            "coevo.theory.freezing.expected_refits",
            "coevo.theory.freezing.frozen_diversity_exponent",
            "coevo.theory.freezing.winner_diversity_diffusion",
        ),
        chapter="notebooks/law-freezing",
        anchor="law-4-4",
        tests=(
            "tests/test_theory_freezing.py::test_frozen_diversity_by_paths",
            "tests/test_theory_freezing.py::test_against_literal_runs_in_the_plane",
            "tests/test_theory_freezing.py::test_against_algorithm_one",
            "tests/test_theory_freezing.py::test_diffusion_against_the_chain",
        ),
    ),
    Result(
        label="Law 5.1",
        title="For random, divided injections: an exact account, a floor plus what overlap gives back",
        source="",
        functions=(
            "coevo.theory.sufficiency.injection_bounds",
            "coevo.theory.sufficiency.injection_limits",
            "coevo.theory.corpus.sharp_floor",
            "coevo.theory.corpus.diversity_floor",
            "coevo.theory.corpus.limiting_ceiling",
            "coevo.theory.corpus.diversity_ceiling",
        ),
        chapter="notebooks/law-floors",
        anchor="law-5-1",
        tests=(
            "tests/test_theory_sufficiency.py::test_one_step_against_all_outcomes",
            "tests/test_theory_sufficiency.py::test_single_texts_are_the_laws_of_theorem_6_1",
            "tests/test_theory_sufficiency.py::test_one_text_is_the_worst_division_and_a_steady_drip_the_best_timing",
        ),
    ),
    Result(
        label="Law 5.2",
        title="The fewest new texts and the least mass that guarantee a wanted text diversity, among all injections",
        source="",
        functions=(
            "coevo.theory.sufficiency.fewest_new_texts",
            "coevo.theory.sufficiency.least_injected_mass",
            "coevo.theory.sufficiency.highest_floor",
            "coevo.theory.corpus.best_floor",
            "coevo.theory.corpus.least_injection_prob",
        ),
        chapter="notebooks/law-floors",
        anchor="law-5-2",
        tests=(
            "tests/test_theory_sufficiency.py::test_fewest_new_texts_are_enough_and_no_fewer_are",
            "tests/test_theory_sufficiency.py::test_highest_floor_and_least_mass_against_scipy",
            "tests/test_theory_sufficiency.py::test_the_price_where_one_text_in_every_step_is_just_enough",
            "tests/test_theory_sufficiency.py::test_divided_injections_by_simulation",
        ),
    ),
    Result(
        label="Law 5.3",
        title="Floor and ceiling of the users' image diversity meet like $1 + O(d/m)$, for all $n$",
        source="",
        functions=(
            "coevo.theory.sufficiency.level_share_bounds",
            "coevo.theory.user_diversity.best_floor",
            "coevo.theory.user_diversity.diversity_ceiling",
        ),
        chapter="notebooks/law-floors",
        anchor="law-5-3",
        tests=(
            "tests/test_theory_sufficiency.py::test_level_shares_hold_for_all_numbers_of_own_images",
            "tests/test_theory_sufficiency.py::test_the_loss_of_one_refit_is_bounded_uniformly",
        ),
    ),
    Result(
        label="Law 5.4",
        title="For many own images the image model's law is inverse Wishart, and its level is known",
        source="",
        functions=("coevo.theory.sufficiency.limit_level",),
        chapter="notebooks/law-floors",
        anchor="law-5-4",
        tests=(
            "tests/test_theory_sufficiency.py::test_limit_law_is_annihilated_by_the_adjoint_generator",
            "tests/test_theory_sufficiency.py::test_limit_level_in_one_dimension_against_the_inverse_gamma_law",
            "tests/test_theory_sufficiency.py::test_limit_level_in_the_plane_against_scipys_inverse_wishart",
            "tests/test_theory_sufficiency.py::test_users_diversity_is_exceeded_in_the_plane_and_not_in_six_dimensions",
        ),
    ),
    Result(
        label="Law 5.5",
        title="How many user images guarantee a share of diversity, and the fewest for a wanted drift",
        source="",
        functions=(
            "coevo.theory.sufficiency.least_user_images",
            "coevo.theory.sufficiency.least_user_images_for_drift",
        ),
        chapter="notebooks/law-floors",
        anchor="law-5-5",
        tests=(
            "tests/test_theory_sufficiency.py::test_least_user_images_against_a_plain_search",
            "tests/test_theory_sufficiency.py::test_least_user_images_for_drift_against_theorem_6_3",
        ),
    ),
    Result(
        label="Law 6.1",
        title="A text model of frozen images keeps its diversity if and only if new data's squared shares are summable",
        source="",
        functions=(
            "coevo.theory.keeping.new_data_share",
            "coevo.theory.keeping.kept_text_diversity",
            "coevo.theory.keeping.text_rate",
        ),
        chapter="notebooks/law-keeping",
        anchor="law-6-1",
        tests=(
            "tests/test_theory_keeping.py::test_text_laws_against_all_paths",
            "tests/test_theory_keeping.py::test_dichotomy",
            "tests/test_keeping.py::test_text_law",
        ),
    ),
    Result(
        label="Law 6.2",
        title="If all texts are kept, at least the share $W/(W + 1)$ of the mean diversity of $W$ human data survives",
        source="",
        functions=(
            "coevo.theory.keeping.accumulated_text_diversity",
            "coevo.theory.keeping.never_drawn_probability",
            "coevo.theory.consensus.accumulated_diversity",
        ),
        chapter="notebooks/law-keeping",
        anchor="law-6-2",
        tests=(
            "tests/test_theory_keeping.py::test_accumulated_text_diversity",
            "tests/test_theory_keeping.py::test_no_choice_of_batches_beats_the_urn",
        ),
    ),
    Result(
        label="Law 6.3",
        title="Images keep their diversity under the same condition, and their second moments are exact",
        source="",
        functions=(
            "coevo.theory.keeping.pool_moments",
            "coevo.theory.keeping.kept_deviation",
            "coevo.theory.keeping.image_rate",
            "coevo.theory.keeping.accumulated_limits",
            "coevo.theory.keeping.final_squared_error",
        ),
        chapter="notebooks/law-keeping",
        anchor="law-6-3",
        tests=(
            "tests/test_theory_keeping.py::test_pool_moments_against_all_images",
            "tests/test_theory_keeping.py::test_kept_deviation",
            "tests/test_keeping.py::test_against_stored_images",
        ),
    ),
    Result(
        label="Law 6.4",
        title="If a fixed part is kept, the drift of many images is Student's t with 2 to 3 degrees of freedom",
        source="",
        functions=(
            "coevo.theory.keeping.student_dof",
            "coevo.theory.keeping.kept_drift_cdf",
            "coevo.theory.keeping.kept_drift_mean",
            "coevo.theory.keeping.drift_tail_index",
        ),
        chapter="notebooks/law-keeping",
        anchor="law-6-4",
        tests=(
            "tests/test_theory_keeping.py::test_student_law",
            "tests/test_theory_keeping.py::test_tail_index",
            "tests/test_theory_keeping.py::test_final_squared_error",
        ),
    ),
    Result(
        label="Law 6.5",
        title="If everything is kept, human data alone insure both models of the coupled loop",
        source="",
        functions=("coevo.theory.keeping.accumulation_guarantees",),
        chapter="notebooks/law-keeping",
        anchor="law-6-5",
        tests=(
            "tests/test_theory_keeping.py::test_guarantees_hold_for_every_batch",
            "tests/test_keeping.py::test_guarantees_of_the_coupled_loop",
        ),
    ),
    Result(
        label="Law 7.1",
        title="Pairs that share data obey one recursion for every graph, and end at one text",
        source="",
        functions=(
            "coevo.theory.pairs.text_moments",
            "coevo.theory.pairs.consensus_law",
            "coevo.theory.pairs.stationary_law",
        ),
        chapter="notebooks/law-pairs",
        anchor="law-7-1",
        tests=(
            "tests/test_theory_pairs.py::test_text_moments_against_enumeration",
            "tests/test_theory_pairs.py::test_text_moments_against_msprime",
            "tests/test_network_pairs.py::test_true_labels_have_the_exact_moments",
        ),
    ),
    Result(
        label="Law 7.2",
        title="A network is worth one over the sum of squared influences, in pairs; bounds at every size",
        source="",
        functions=(
            "coevo.theory.pairs.leading_factor",
            "coevo.theory.pairs.effective_pairs",
            "coevo.theory.pairs.factor_bounds",
            "coevo.theory.pairs.ring_factor",
        ),
        chapter="notebooks/law-pairs",
        anchor="law-7-2",
        tests=(
            "tests/test_theory_pairs.py::test_leading_factor",
            "tests/test_theory_pairs.py::test_bounds_and_rings",
            "tests/test_theory_pairs.py::test_bounds_of_any_network",
        ),
    ),
    Result(
        label="Law 7.3",
        title="Two pairs, and pairs that mix alike, are solved by the quadratic formula",
        source="",
        functions=(
            "coevo.theory.pairs.two_pairs",
            "coevo.theory.pairs.island_factors",
            "coevo.theory.pairs.island_disagreement",
        ),
        chapter="notebooks/law-pairs",
        anchor="law-7-3",
        tests=(
            "tests/test_theory_pairs.py::test_two_pairs",
            "tests/test_theory_pairs.py::test_islands",
            "tests/test_theory_pairs.py::test_wrights_formula_is_the_limit",
        ),
    ),
    Result(
        label="Law 7.4",
        title="Shared images fade like texts under maximum likelihood, and swell under unbiased refits",
        source="",
        functions=(
            "coevo.theory.pairs.image_moments",
            "coevo.theory.pairs.image_factors",
            "coevo.theory.pairs.fair_divisor",
        ),
        chapter="notebooks/law-pairs",
        anchor="law-7-4",
        tests=(
            "tests/test_theory_pairs.py::test_images_fitted_by_maximum_likelihood_are_texts",
            "tests/test_theory_pairs.py::test_image_factors",
            "tests/test_network_pairs.py::test_images_have_the_exact_moments",
        ),
    ),
    Result(
        label="Law 7.5",
        title="Honest labels keep the floor on a network; own labels pull it to the surer pair",
        source="",
        functions=(
            "coevo.theory.pairs.text_moments",
            "coevo.network.pairs.simulate_pairs",
        ),
        chapter="notebooks/law-pairs",
        anchor="law-7-5",
        tests=(
            "tests/test_network_pairs.py::test_honest_labels_keep_the_mean_and_the_floor",
            "tests/test_network_pairs.py::test_uncoupled_pairs_are_algorithm_1",
        ),
    ),
)
