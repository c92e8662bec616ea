"""Attribution by its formulas in NumPy, and leave-one-out by refitting."""

import numpy as np
import pytest

import dntk
from dntk.attribution import (
    Attribution,
    AttributionFit,
    Functional,
    LeftOut,
    Losses,
    Margins,
    Ranking,
    Smoother,
    label_margins,
    leave_one_out,
)
from tests.jacobians import float_of, points, random_network, tanh_model
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
RIDGE = 0.3
PULLS = [1.0, -2.0, 0.5, 3.0, 0.1, 0.0, -1.0]


def data(c=2, n=7, k=4, q=3, seed=0):
    """Features of points and queries, and targets."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(c, n, k)), rng.normal(size=(c, q, k)), rng.normal(size=(n, c))


def refitted(phi, query, y, ridge, basis=None):
    """Predictions (q, c) of ridge regression, in the span of ``basis`` where it is given."""
    if basis is not None:
        phi, query = phi @ basis.swapaxes(1, 2), query @ basis.swapaxes(1, 2)
    k = phi.shape[2]
    weights = [np.linalg.solve(p.T @ p + ridge * np.eye(k), p.T @ y[:, c]) for c, p in enumerate(phi)]
    return np.stack([query[c] @ w for c, w in enumerate(weights)], axis=1)


def near(library, terms=200):
    """Rounding of a few solves of condition below a hundred."""
    return {"rtol": 0, "atol": terms * np.finfo(float_of(library)).eps * 50}


@pytest.mark.parametrize("k", [4, 12])
def test_leave_one_out_is_refitting_without_each_point(library, k):
    phi, query, y = data(k=k)
    dtype = float_of(library)
    left = leave_one_out(dntk.TangentFeatures(library.array(phi, dtype)), library.array(y, dtype), ridge=RIDGE)
    asked = dntk.TangentFeatures(library.array(query, dtype))
    whole = refitted(phi, query, y, RIDGE)
    without = [refitted(np.delete(phi, i, 1), query, np.delete(y, i, 0), RIDGE) for i in range(7)]
    expected = np.stack([whole - other for other in without])
    np.testing.assert_allclose(host(left.change(asked)).transpose(2, 1, 0), expected, **near(library))
    np.testing.assert_allclose(host(left.predict(asked)), whole, **near(library))
    np.testing.assert_allclose(host(left.contributions(asked)).sum(2).T, whole, **near(library))
    assert isinstance(left, LeftOut)
    assert isinstance(left.smoother, Smoother)
    assert float(left.errors(asked)) == 0  # nothing was distilled


def margins_by_refitting(phi, labels, classes, ridge):
    """Of every label, from the regression on centred one-hot labels of all other points."""
    y = np.eye(classes)[labels] - 1 / classes
    phi = np.broadcast_to(phi, (classes, *phi.shape[1:]))
    margins = []
    for i, own in enumerate(labels):
        others = np.delete(phi, i, 1), phi[:, i : i + 1], np.delete(y, i, 0)
        said = refitted(*others, ridge)[0]
        margins.append(said[own] - np.max(np.delete(said, own)))
    return np.array(margins)


@pytest.mark.parametrize("k", [4, 12])
@pytest.mark.parametrize("sets", [1, 3])
def test_margins_of_labels_are_those_of_refitting_without_each_point(library, k, sets):
    phi, labels = data(c=sets, k=k)[0], np.array([0, 1, 2, 0, 1, 2, 2])
    dtype = float_of(library)
    features = dntk.TangentFeatures(library.array(phi, dtype))
    found = label_margins(features, library.array(labels, np.int64), ridge=RIDGE)
    np.testing.assert_allclose(host(found), margins_by_refitting(phi, labels, 3, RIDGE), **near(library))


def test_the_label_that_all_others_speak_against_has_the_least_margin():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    phi = dntk.TangentFeatures(np.eye(3)[labels][None] + 0.1 * rng.normal(size=(1, 60, 3)))
    labels[[7, 20]] = (labels[[7, 20]] + 1) % 3
    margins = label_margins(phi, labels)
    assert set(np.flatnonzero(margins < 0)) == {7, 20}
    assert np.all(margins == label_margins(phi, labels, n_classes=3))
    with pytest.raises(ValueError, match="`labels` has 59 entries, but there are 60 points"):
        label_margins(phi, labels[1:])
    with pytest.raises(ValueError, match="labels from 0 to 2, but the classes are 0 to 1"):
        label_margins(phi, labels, n_classes=2)
    with pytest.raises(ValueError, match="of one class"):
        label_margins(phi, np.zeros_like(labels))


@pytest.mark.parametrize("spanned", [False, True])
def test_groups_are_left_out_exactly(library, spanned):
    phi, query, y = data(k=12)
    dtype = float_of(library)
    features = dntk.TangentFeatures(library.array(phi, dtype))
    grads = dntk.distill.gradients.Principal(3).distill(features, library.array(y, dtype)) if spanned else None
    left = leave_one_out(features, library.array(y, dtype), ridge=RIDGE, gradients=grads)
    basis = host(grads.basis).astype(np.float64) if spanned else None
    asked = dntk.TangentFeatures(library.array(query, dtype))
    found = left.without(asked, library.array([1, 4], "int64" if library.has_float64 else "int32"))
    expected = refitted(np.delete(phi, [1, 4], 1), query, np.delete(y, [1, 4], 0), RIDGE, basis)
    np.testing.assert_allclose(host(found), expected, **near(library))


def test_many_targets_on_one_set_of_features():
    phi, query, y = data(c=1)
    y = np.concatenate([y, 2 * y[::-1]], axis=1)
    left = leave_one_out(dntk.TangentFeatures(phi), y, ridge=RIDGE)
    one = leave_one_out(dntk.TangentFeatures(phi), y[:, 1:], ridge=RIDGE)
    asked = dntk.TangentFeatures(query)
    np.testing.assert_allclose(left.change(asked)[1:], one.change(asked), atol=1e-12)
    np.testing.assert_allclose(left.without(asked, [0, 2])[:, 1:], one.without(asked, [0, 2]), atol=1e-12)


def test_what_distillation_changed_is_within_its_bound(library):
    phi, query, y = data(n=9, k=14, seed=3)
    phi = phi * np.logspace(0, -2, 14)
    dtype = float_of(library)
    features, targets = dntk.TangentFeatures(library.array(phi, dtype)), library.array(y, dtype)
    grads = dntk.distill.gradients.Principal(5).distill(features, targets)
    asked = dntk.TangentFeatures(library.array(query, dtype))
    exact = leave_one_out(dntk.TangentFeatures(phi), y, ridge=RIDGE).change(dntk.TangentFeatures(query))
    left = leave_one_out(features, targets, ridge=RIDGE, gradients=grads)
    lost, bound = np.abs(host(left.change(asked)) - exact), host(left.errors(asked).value)
    assert np.all(lost <= bound)
    assert np.median(bound) < (30 if library.has_float64 else 3000) * np.median(lost)  # it says something


class Scene:
    """Two networks with labelled points, and the features of their margins in NumPy."""

    def __init__(self, library):
        self.library, self.dtype = library, float_of(library)
        sizes = (3, 4, 3)
        self.x, self.y = points(7), np.resize([0, 2, 1], 7)
        self.test, self.asked = points(4, seed=5), np.asarray([1, 0, 2, 1])
        self.models = [tanh_model(library, *random_network(sizes, seed=s), self.dtype) for s in (0, 1)]
        self.wide = [tanh_model(NUMPY, *random_network(sizes, seed=s), np.float64) for s in (0, 1)]

    def labelled(self, x, y):
        return dntk.outputs.labelled(self.library.array(x, self.dtype), self.library.array(y, "int32"))

    @property
    def train(self):
        return self.labelled(self.x, self.y)

    @property
    def queries(self):
        return self.labelled(self.test, self.asked)

    def expected(self, ridge, functional=dntk.outputs.margin):
        """Scores and self-influences by their definition."""
        train, test = dntk.outputs.labelled(self.x, self.y), dntk.outputs.labelled(self.test, self.asked)
        smooth, own, pulls = [], [], []
        for model in self.wide:
            h = functional(model)
            phi, query = (dntk.tangent_features(h, v, sketch=None).values[0] for v in (train, test))
            kernel = phi @ phi.T
            weights = np.linalg.inv(kernel + ridge * np.trace(kernel) / 7 * np.eye(7))
            smooth.append(query @ phi.T @ weights)
            own.append(np.diag(kernel @ weights))
            probability = np.exp(dntk.outputs.log_softmax(model)(self.x))[np.arange(7), self.y]
            pulls.append(1 - probability if functional is dntk.outputs.margin else np.ones(7))
        pull = np.mean(pulls, axis=0)
        return np.mean(smooth, axis=0) * pull, np.mean(own, axis=0) * pull


@pytest.mark.parametrize("functional", [Margins(), Losses()], ids=["margins", "losses"])
def test_scores_are_those_of_their_definition(library, functional):
    scene = Scene(library)
    assert isinstance(functional, Functional)
    fit = Attribution(scene.models, sketch=None, ridge=dntk.solve.Relative(0.1), functional=functional).fit(scene.train)
    assert isinstance(fit, AttributionFit)
    expected, own = scene.expected(0.1, dntk.outputs.margin if functional == Margins() else dntk.outputs.loss)
    scores = host(fit.scores(scene.queries))
    np.testing.assert_allclose(scores, expected, **near(library))
    np.testing.assert_allclose(host(fit.self_influence()), own, **near(library))
    top = fit.top(scene.queries, 3)
    assert isinstance(top, Ranking)
    assert host(top.indices).tolist() == np.argsort(-scores, axis=1)[:, :3].tolist()
    np.testing.assert_array_equal(host(top.scores), -np.sort(-scores, axis=1)[:, :3])
    least = fit.top(scene.queries, 1, largest=False)
    assert host(least.indices)[:, 0].tolist() == np.argmin(scores, axis=1).tolist()
    sums = fit.groups(scene.queries, library.array(scene.y, "int32"))
    np.testing.assert_allclose(host(sums), expected @ np.eye(3)[scene.y], **near(library))
    assert "7 training points, 2 models" in repr(fit)
    assert len(fit) == 7


def test_stored_features_give_the_scores_of_inputs(library):
    scene = Scene(library)
    sketch = dntk.sketch.SparseSign(64, seed=3)
    spec = Attribution(scene.models, sketch=sketch, ridge=0.2)
    margins = [dntk.outputs.margin(model) for model in scene.models]
    stored = [dntk.tangent_features(m, scene.train, sketch=sketch) for m in margins]
    pulls = [Margins().pulls(m(scene.train)) for m in margins]
    asked = [dntk.tangent_features(m, scene.queries, sketch=sketch) for m in margins]
    fit = spec.fit_features(stored, pulls)
    np.testing.assert_array_equal(host(fit.scores(asked)), host(spec.fit(scene.train).scores(scene.queries)))
    np.testing.assert_array_equal(host(fit.top(asked, 2).scores), host(fit.top(scene.queries, 2).scores))


def test_scores_come_in_blocks_that_change_nothing(monkeypatch):
    scene = Scene(NUMPY)
    fit = Attribution(scene.models[0], sketch=None).fit(scene.train)
    whole = fit.top(scene.queries, 3)
    monkeypatch.setattr("dntk.attribution.fit._ENTRIES", 14)  # two queries at a time
    assert fit.top(scene.queries, 3).indices.tolist() == whole.indices.tolist()


def test_distilled_scores_are_within_their_bound(library):
    scene = Scene(library)
    spec = {"sketch": None, "ridge": dntk.solve.Relative(0.5)}
    exact, _ = scene.expected(0.5)
    fit = Attribution(scene.models, gradients=dntk.distill.gradients.Principal(5), **spec).fit(scene.train)
    assert "5, 5 numbers a point" in repr(fit)
    lost, bound = np.abs(host(fit.scores(scene.queries)) - exact), host(fit.errors(scene.queries).value)
    assert np.all(lost <= bound)
    assert np.all(bound < 1)


@pytest.mark.parametrize("gradients", [None, dntk.distill.gradients.Principal(3)])
def test_scores_do_not_depend_on_the_unit_of_gradients_and_its_extremes_are_refused(library, gradients):
    rng, model = np.random.default_rng(0), Scene(library).models[0]
    phi, queries, y = (library.array(rng.normal(size=size), "f4") for size in ((1, 20, 6), (1, 5, 6), (20, 1)))

    def found(unit):
        train, asked = dntk.TangentFeatures(phi * unit), dntk.TangentFeatures(queries * unit)
        kept = None if gradients is None else gradients.distill(train, y)
        left = leave_one_out(train, y, ridge=unit * unit, gradients=kept)
        fit = Attribution(model, sketch=None, gradients=gradients).fit_features([train], [y[:, 0]])
        return fit.scores([asked]), fit.self_influence(), left.change(asked)

    plain = found(1.0)
    for unit in (2.0**-34, 2.0**50):
        for one, other in zip(plain, found(unit), strict=True):
            np.testing.assert_allclose(host(other), host(one), atol=1e-4)
    for unit in (2.0**-66, 2.0**66):
        with pytest.raises(ValueError, match="products (over|under)flow .*: scale the network's outputs"):
            found(unit)


@pytest.mark.parametrize("unit", [1.0, 2.0**-50, 2.0**50])
def test_scores_of_16_bits_are_those_of_the_same_numbers_in_32(unit):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    model = dntk.as_model(torch.nn.Linear(2, 2).eval())
    short = [torch.asarray(rng.normal(size=s)).bfloat16() * unit for s in ((1, 20, 6), (1, 5, 6))]
    pull = torch.asarray(rng.uniform(size=20)).bfloat16()
    both = [[dntk.TangentFeatures(v) for v in short], [dntk.TangentFeatures(v.float()) for v in short]]
    pulls = (pull, pull.float())
    fits = [Attribution(model, sketch=None).fit_features([b[0]], [p]) for b, p in zip(both, pulls, strict=True)]
    found, expected = (host(fit.scores([asked])) for fit, (_, asked) in zip(fits, both, strict=True))
    np.testing.assert_allclose(found, expected, atol=3 * 2.0**-8 * np.abs(expected).max())


def test_pulls_of_extreme_margins_do_not_overflow():
    assert Margins().pulls(np.asarray([[-1000.0], [0.0], [1000.0]])).tolist() == [1.0, 0.5, 0.0]


def test_mislabelled_points_influence_themselves_most():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(40, 2)) + 2, rng.normal(size=(40, 2)) - 2])
    y = np.repeat([0, 1], 40)
    y[[3, 50]] = [1, 0]
    weights = (np.asarray([[1.0, 1.0], [-1.0, -1.0]]),)
    model = dntk.MLP(weights=weights, biases=(np.zeros(2),), activation="tanh")
    own = Attribution(model, sketch=None).fit(dntk.outputs.labelled(x, y)).self_influence()
    assert set(np.argsort(-own)[:2].tolist()) == {3, 50}


def wrong(action, error, text):
    with pytest.raises(error, match=text):
        action()


@pytest.mark.usefixtures("unchecked")
def test_mistakes_are_told():
    scene = Scene(NUMPY)
    one = Attribution(scene.models[0], sketch=None)
    fit = one.fit(scene.train)
    wrong(lambda: Attribution([]), ValueError, "`models` is empty")
    wrong(lambda: Attribution("net"), TypeError, "wrap the network first")
    wrong(lambda: Attribution(scene.models, functional="loss"), TypeError, r"Margins\(\) or Losses\(\)")
    wrong(lambda: Attribution(scene.models, gradients=5), TypeError, "a distiller")
    wrong(lambda: Attribution(scene.models, ridge=-1), ValueError, "`ridge`")
    wrong(lambda: dntk.solve.Relative(0), ValueError, "`share`")
    wrong(lambda: one.fit(scene.x), ValueError, "has no labels")
    wrong(lambda: fit.scores(scene.test), ValueError, "has no labels")
    wrong(lambda: fit.top(scene.queries, 8), ValueError, "8 points are asked of 7")
    wrong(lambda: fit.groups(scene.queries, np.arange(6)), ValueError, "6 entries")
    wrong(lambda: fit.groups(scene.queries, np.arange(7), 3), ValueError, "numbers from 0 to 6")
    wrong(lambda: fit.errors(scene.queries), ValueError, "nothing was distilled")
    phi = dntk.TangentFeatures(np.ones((1, 7, 5)))
    wrong(lambda: one.fit_features([phi, phi], [np.ones(7)]), ValueError, "1 models")
    wrong(lambda: one.fit_features([phi], [np.ones(6)]), ValueError, "each of the 7 points")
    wrong(lambda: one.fit_features([dntk.TangentFeatures(np.ones((2, 7, 5)))], [np.ones(7)]), ValueError, "2 outputs")
    wrong(lambda: fit.scores([phi, phi]), ValueError, "features of 2 models")
    wrong(lambda: fit.scores([phi]), ValueError, "features")


@pytest.mark.usefixtures("unchecked")
def test_mistakes_of_leave_one_out_are_told():
    phi, query, y = data()
    features, asked = dntk.TangentFeatures(phi), dntk.TangentFeatures(query)
    left = leave_one_out(features, y)
    other = dntk.distill.gradients.Principal(2).distill(features[:5], y[:5])
    wrong(lambda: leave_one_out(features, y, gradients=other), ValueError, "of 5 points")
    wrong(lambda: leave_one_out(features, y, gradients=phi), TypeError, "DistilledGradients")
    wrong(lambda: leave_one_out(phi, y), TypeError, "dntk.TangentFeatures")
    wrong(lambda: leave_one_out(features, y, ridge=dntk.solve.PerOutput([1.0, 2.0])), ValueError, "own λ")
    wrong(lambda: left.without(asked, [1, 1]), ValueError, "twice")
    wrong(lambda: left.without(asked, [7]), IndexError, "from 7 to 7")
    wrong(lambda: left.change(dntk.TangentFeatures(query[:1])), ValueError, "outputs")
