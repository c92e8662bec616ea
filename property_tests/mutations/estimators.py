"""The estimators of scikit-learn: labels, columns, scales, seeds, places."""

from property_tests.mutations.mutant import Mutant

ROOM = "dntk/sklearn/"
TESTS = "tests/test_scikit_learn_estimators.py::"
CLASSIFIER = TESTS + "TestTheClassifier::"
REGRESSOR = TESTS + "TestTheRegressor::"
FEATURES = TESTS + "TestTheFeatureMap::"
NETWORK = TESTS + "TestTheNetwork::"
STATES = TESTS + "TestRandomStates::"
SHARE = TESTS + "test_the_share_that_is_mixed_in_is_that_of_random_labels_with_the_same_error"
NEAREST = TESTS + "test_probabilities_are_the_nearest_of_the_simplex_mixed_with_the_uniform_ones[numpy-5]"
DISPATCH = TESTS + "test_arrays_of_other_libraries_stay_where_they_are_when_scikit_learn_dispatches"

MUTANTS = [
    Mutant(
        ROOM + "_fitting.py",
        "regression=SEPARATE if estimator.regression is None else estimator.regression,",
        "regression=SEPARATE,",
        "outputs are regressed apart whatever was asked for",
        "tests/test_scikit_learn_estimators.py::TestTheRegressor::test_targets_may_be_one_regression",
    ),
    Mutant(
        ROOM + "classifier.py",
        "self.classes_, codes = np.unique(labels, return_inverse=True)",
        "self.classes_, codes = np.array(list(dict.fromkeys(labels))), np.unique(labels, return_inverse=True)[1]",
        "labels are decoded in the order in which they came",
        CLASSIFIER + "test_is_the_distilled_regression_on_places_of_sorted_labels",
    ),
    Mutant(
        ROOM + "classifier.py",
        "outputs[:, -1] - outputs[:, 0] if outputs.shape[1] == 2",
        "outputs[:, 0] - outputs[:, -1] if outputs.shape[1] == 2",
        "the decision for the second of two classes is that for the first",
        CLASSIFIER + "test_of_two_classes_and_two_outputs_says_the_difference",
    ),
    Mutant(
        ROOM + "classifier.py",
        "codes[:, None] - 0.5",
        "0.5 - codes[:, None]",
        "a single output learns the first class",
        CLASSIFIER + "test_of_two_classes_has_one_output_positive_for_the_second",
    ),
    Mutant(
        ROOM + "classifier.py",
        "if known is not None and not np.array_equal(known, self.classes_):",
        "if known is not None and len(known) != len(self.classes_):",
        "a network of other labels is taken where there are as many",
        CLASSIFIER + "test_refuses_a_network_of_other_labels",
    ),
    Mutant(
        ROOM + "classifier.py",
        'require_points_of_the_data(self.data, "a single output learns ∓½")',
        "pass",
        "at inputs that are made a single output learns the network's own",
        CLASSIFIER + "test_makes_inputs_only_where_their_labels_are_known",
    ),
    Mutant(
        ROOM + "regressor.py",
        'require_points_of_the_data(self.data, "the regression would be on the network\'s outputs")',
        "pass",
        "targets are passed over at inputs that are made",
        REGRESSOR + "test_refuses_inputs_at_which_there_are_no_targets",
    ),
    Mutant(
        ROOM + "regressor.py",
        "outputs[:, place] * spread + mean",
        "outputs[:, place] + mean",
        "predictions are in units of the targets' deviation",
        REGRESSOR + "test_is_the_distilled_regression_on_standardised_targets",
    ),
    Mutant(
        ROOM + "regressor.py",
        "np.where(spread > 0, spread, 1.0)",
        "spread",
        "constant targets are divided by zero",
        REGRESSOR + "test_of_constant_targets_predicts_them",
    ),
    Mutant(
        ROOM + "feature_map.py",
        "phi.joined()",
        "phi.joined()[:, ::-1]",
        "features are in another order than the outputs'",
        FEATURES + "test_makes_features_whose_products_are_the_kernel",
    ),
    Mutant(
        ROOM + "feature_map.py",
        "outputs=self.outputs, seed=seed)",
        "outputs=self.outputs)",
        "the random state does not reach the sketch of features",
        FEATURES + "test_settles_the_sketch_when_it_is_fitted",
    ),
    Mutant(
        ROOM + "feature_map.py",
        "sketch=self.sketch_, outputs",
        "sketch=self.sketch, outputs",
        "the sketch is chosen anew for every set of points",
        FEATURES + "test_settles_the_sketch_when_it_is_fitted",
    ),
    Mutant(
        ROOM + "_fitting.py",
        "        seed=seed,\n",
        "",
        "the random state does not reach the distillation",
        STATES + "test_reach_the_distillation",
    ),
    Mutant(
        ROOM + "_networks.py",
        "        net.set_params(random_state=seed)\n",
        "        pass\n",
        "a network that is made is another one at every call",
        STATES + "test_repeat_the_result[DistilledNTKRegressor]",
    ),
    Mutant(
        ROOM + "_networks.py",
        'return isinstance(net, _PERCEPTRONS) and not hasattr(net, "coefs_")',
        "return isinstance(net, _PERCEPTRONS)",
        "a fitted network is trained again",
        NETWORK + "test_that_is_fitted_is_used_as_it_is",
    ),
    Mutant(
        ROOM + "_networks.py",
        "net = clone(default if given is None else given)",
        "net = default if given is None else given",
        "the user's network is trained in its place",
        NETWORK + "test_that_is_not_fitted_is_left_alone_and_warned_of",
    ),
    Mutant(
        ROOM + "_places.py",
        "arrays.is_floating(here) or isinstance(model, MLP)",
        "True",
        "tokens become real numbers",
        NETWORK + "test_may_take_tokens",
    ),
    Mutant(
        ROOM + "_places.py",
        "    if fitted != here:\n",
        "    if False:\n",
        "arrays of another library than fit's pass unseen",
        DISPATCH,
    ),
    Mutant(
        ROOM + "_probabilities.py",
        "mixed = min(1.0, error * classes**2 / (2 * (classes - 1)))",
        "mixed = min(1.0, error)",
        "the error of an output is taken for a share of labels",
        SHARE,
    ),
    Mutant(
        ROOM + "_probabilities.py",
        "(xp.cumulative_sum(largest, axis=1) - 1) / sizes, axis=1",
        "(xp.cumulative_sum(largest, axis=1) - 1) / sizes[-1], axis=1",
        "the threshold of the simplex is that of all entries",
        NEAREST,
    ),
]
