"""Bad input and what it is told: the one table that tests run and that docs/errors.md shows (tests/error_page.py).

Messages have the words of each library in braces.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """What somebody writes, and the whole message, of an error of some class."""

    given: str
    message: str
    error: str = "TypeError"
    needs: str = ""
    """A library without which it cannot be tried, beside the one whose arrays are passed."""
    but: tuple[str, ...] = ()
    """Libraries that it means nothing in."""

    def told(self, words: dict[str, str]) -> str:
        """The message in the words of a library."""
        return self.message.format_map(words)


WORDS: dict[str, dict[str, str]] = {
    "numpy": {
        "lib": "numpy",
        "dtype": "",
        "kind": "a numpy ndarray",
        "make": "numpy.asarray(",
        "made": ", dtype=numpy.float32)",
        "cast": "x.astype('float32')",
        "network": "a function",
        "wrap": "fn, params",
        "size": "56",
        "other": "torch",
        "no_logits": "the function returns a dict, not a NumPy array: return the outputs (n, C) alone, computed with "
        "autograd.numpy; for functions of JAX arrays pass JAX parameters, for PyTorch a torch.nn.Module.",
    },
    "torch": {
        "lib": "torch",
        "dtype": "torch.",
        "kind": "a torch Tensor",
        "make": "torch.as_tensor(",
        "made": ")",
        "cast": "x.to(torch.float32)",
        "network": "a torch Sequential",
        "wrap": "net",
        "size": "66",
        "other": "numpy",
        "no_logits": "the network returns a dict, not a tensor: say which part of it are the outputs, for example "
        "dntk.as_model(net, forward=lambda net, batch: net(batch)['hidden']).",
    },
    "jax": {
        "lib": "jax.numpy",
        "dtype": "",
        "kind": "a jaxlib ArrayImpl",
        "make": "jax.numpy.asarray(",
        "made": ")",
        "cast": "x.astype('float32')",
        "network": "a function",
        "wrap": "fn, params",
        "size": "56",
        "other": "torch",
        "no_logits": "the network returns a dict, not an array: pass a function that returns the outputs alone, for "
        "example lambda params, x: fn(params, x)['hidden'].",
    },
    "array_api_strict": {
        "lib": "array_api_strict",
        "dtype": "array_api_strict.",
        "kind": "an array_api_strict Array",
        "make": "array_api_strict.asarray(",
        "made": ")",
        "cast": "array_api_strict.astype(x, array_api_strict.float32)",
        "network": "a function",
        "wrap": "fn, params",
        "size": "56",
        "other": "torch",
    },
}
"""Words of the messages that depend on whose arrays the model takes."""

TABLE: dict[str, tuple[Row, ...]] = {
    "A model": (
        Row("dntk.ntk(net, x)", "`model` is {network}: wrap the network first, model = dntk.as_model({wrap})."),
        Row(
            "dntk.tangent_features(net, x, sketch=None)",
            "`model` is {network}: wrap the network first, model = dntk.as_model({wrap}).",
        ),
        Row("dntk.NTKOperator(net, x)", "`model` is {network}: wrap the network first, model = dntk.as_model({wrap})."),
        Row("dntk.DistilledNTK(net)", "`model` is {network}: wrap the network first, model = dntk.as_model({wrap})."),
        Row(
            "dntk.load(path, model=net)", "`model` is {network}: wrap the network first, model = dntk.as_model({wrap})."
        ),
        Row(
            "dntk.ntk(parallel, x)",
            "`model` is a torch DataParallel: wrap the network first, model = dntk.as_model(net).",
            needs="torch",
        ),
        Row("dntk.ntk(dntk.MLP, x)", "`model` is the class MLP: wrap the network first, model = dntk.as_model(net)."),
        Row("dntk.outputs.margin(net)", "`model` is {network}: wrap the network first, model = dntk.as_model({wrap})."),
    ),
    "Inputs": (
        Row("dntk.ntk(model, None)", "`x1` holds no array: pass the inputs of the network.", error="ValueError"),
        Row(
            "dntk.ntk(model, ['a.png', 'b.png'])",
            "examples are of type str, which become no array by themselves: pass dntk.points(source, "
            "collate=...), for texts with collate=lambda texts: tokenizer(texts, padding=True, "
            'return_tensors="np").',
        ),
        Row("dntk.ntk(model, 'x.npy')", "`x1` is a str: pass an array with one point per row."),
        Row(
            "model(row for row in host)",
            "`x` is a generator: it can be read only once: make one array of it first, {make}x{made}.",
        ),
        Row(
            "model(np.ma.masked_array(host, host > 1))",
            "`x` is a numpy MaskedArray: fill what is masked, x.filled(0.0), or leave those rows out.",
        ),
        Row("model(np.asmatrix(host))", "`x` is a numpy matrix: pass a plain array, numpy.asarray(x)."),
        Row("model(host.astype(object))", "`x` has dtype object: pass an array of numbers, all rows of one length."),
        Row("model(sparse)", "`x` is a scipy csr_matrix: make it dense, x.toarray()."),
        Row("fit.score(x, bunch)", "`y` is a sklearn Bunch: pass its array, y.data; labels are y.target."),
        Row("model(frame)", "`x` is a pandas DataFrame: pass its values, x.to_numpy(dtype='float32').", needs="pandas"),
        Row("model(polars_frame)", "`x` is a polars DataFrame: pass its values, x.to_numpy().", needs="polars"),
        Row(
            "fit.score(x, hf_dataset)",
            "`y` is a datasets Dataset: pass one column as an array, y.with_format('numpy')['...'].",
            needs="datasets",
        ),
        Row(
            "fit.score(x, encoding)",
            "`y` is a transformers BatchEncoding: pass one of its arrays, y['input_ids'], made with return_tensors.",
            needs="transformers",
        ),
        Row(
            "fit.score(x, loader)",
            "`y` is a torch DataLoader: put its batches together first, torch.cat([batch[0] for batch in y]).",
            needs="torch",
        ),
        Row(
            "fit.score(x, tensor_dataset)",
            "`y` is a torch TensorDataset: pass its inputs, y.tensors[0]; labels are y.tensors[1].",
            needs="torch",
        ),
        Row("model(sparse_tensor)", "`x` is a sparse torch Tensor: make it dense, x.to_dense().", needs="torch"),
        Row(
            "model(nested_tensor)",
            "`x` is a nested torch Tensor: pad it, x.to_padded_tensor(0.0), for a network that ignores padding.",
            needs="torch",
        ),
        Row(
            "model(other)",
            "`x` is a {other} array, but the model computes with {lib}: convert it, {make}x{made}.",
        ),
        Row(
            "model(x[:, :4])",
            "`x` has shape (12, 4), but the model takes 5 features: pass shape (n, 5).",
            error="ValueError",
            but=("torch", "jax"),
        ),
        Row(
            "model(x[:0, :])",
            "`x` is empty (shape (0, 5)): pass at least one point of at least one feature.",
            error="ValueError",
        ),
        Row("model(x[0, 0])", "`x` is a single number: pass an array with one point per row.", error="ValueError"),
        Row(
            "model(with_nan)",
            "`x` has NaN or infinite values in 1 of its 12 rows (first: row 1). Remove or impute them before calling.",
            error="ValueError",
        ),
        Row(
            "model(double)",
            "`x` has dtype {dtype}float64, but the parameters have {dtype}float32: convert it with {cast}.",
            but=("jax",),
        ),
        Row(
            "model(integers)",
            "`x` has dtype {dtype}int32, but derivatives need floating point: convert it, for images for "
            "example with {cast} / 255, scaled as in training.",
            but=("jax",),
        ),
    ),
    "Batches of several arrays, and sources of points": (
        Row(
            "dntk.ntk(pair, {'x': x, 'y': x[:3, :]})",
            "`x1['y']` has 3 entries along its first axis, but `x1['x']` has 12: every part of a batch has one entry "
            "per input.",
            error="ValueError",
            needs="autograd",
            but=("array_api_strict",),
        ),
        Row(
            "dntk.ntk(pair, {})",
            "`x1` holds no array: pass the inputs of the network.",
            error="ValueError",
            needs="autograd",
            but=("array_api_strict",),
        ),
        Row(
            "dntk.ntk(pair, [{'x': host[0], 'y': host[0]}, {'x': host[1]}])",
            "examples have different parts: the first one is a mapping of ['x', 'y'], another one (number 1 of those "
            "read together) a mapping of ['x']. Give all of them the same parts, or pass dntk.points(source, "
            "collate=...).",
            error="ValueError",
            needs="autograd",
            but=("array_api_strict",),
        ),
        Row("hidden(x)", "{no_logits}", error="ValueError", needs="autograd", but=("array_api_strict",)),
        Row(
            "dntk.ntk(model, stream)",
            "`x1` is a tests Stream: it can be read only once: collect its points first, list(x1).",
            needs="torch",
        ),
        Row(
            "dntk.ntk(model, record)",
            "`x1` is a Record, but the network takes one array: pass the array alone, of a data set with labels by "
            "dntk.points(data, collate=...) that leaves them out.",
            but=("torch", "jax"),
        ),
        Row(
            "dntk.ntk(model, labelled_loader)",
            "`x1` is a list, but the network takes one array: pass the array alone, of a data set with labels by "
            "dntk.points(data, collate=...) that leaves them out.",
            but=("torch", "jax"),
            needs="torch",
        ),
        Row("dntk.ntk(model, zarr_group)", "`x1` is a zarr Group: pass one of its arrays, x1['...'].", needs="zarr"),
        Row(
            "dntk.DistilledNTK(model).fit(x, zarr_array)",
            "`y` is a zarr Array: convert it to one array first, numpy.asarray(y[:], dtype=numpy.float32).",
        ),
        Row(
            "dntk.ntk(model, estimator)", "`x1` is a sklearn LogisticRegression: pass an array with one point per row."
        ),
        Row("model(dntk.points(list(host)))", "`x` is a dntk Points: pass an array with one point per row."),
        Row(
            "dntk.points(row for row in host)",
            "a generator is no source of points: expected something with len(source) and source[i], as a data set, a "
            "list of examples or an array. What can be read once only has to become a list first.",
        ),
        Row(
            "dntk.points({'train': host})",
            "a dict is no source of points: expected something with len(source) and source[i], as a data set, a "
            "list of examples or an array. What can be read once only has to become a list first.",
        ),
        Row("dntk.points([])", "the source of points is empty: pass at least one point.", error="ValueError"),
        Row(
            "dntk.ntk(model, dntk.points([[1, 2, 3], [4, 5]]))",
            "examples have several shapes ((2,), (3,)): pass dntk.points(source, collate=...) with a collate that pads "
            "them, and a mask where the network takes one.",
            error="ValueError",
        ),
        Row(
            "dntk.ntk(model, dntk.points(list(host), collate=lambda rows: np.stack(rows[1:])))",
            "`collate` made batch of shape (3, 5) of 4 examples: every array of a batch must have one entry per "
            "example along its first axis.",
            error="ValueError",
        ),
        Row(
            "dntk.ntk(model, dntk.points(list(spoilt)))",
            "the source of points has NaN or infinite values in 1 of the 4 points that were read together (first: "
            "point 1 of the source). Remove or impute them before calling.",
            error="ValueError",
        ),
        Row(
            "dntk.ntk(model, dntk.points(shrinking()), batch_size=2)",
            "the source of points has 8 points, but had 12 when it was first read: pass a source that does not change "
            "while it is used.",
            error="ValueError",
        ),
    ),
    "Targets and labels": (
        Row(
            "fit.score(x, [0, 1, 2])",
            "`y` is a list: convert it to one array of integers first, numpy.asarray(y).",
        ),
        Row(
            "dntk.DistilledNTK(model).fit(x, targets[:11, :])",
            "`y` has shape (11, 3), but there are 12 points and 3 outputs: expected (12, 3), for class "
            "labels for example from dntk.targets.one_hot(labels, 3, like=...).",
            error="ValueError",
        ),
        Row(
            "dntk.DistilledNTK(model).fit(x, y + 1)",
            "`y` has labels from 1 to 3, but the classes are 0 to 2: subtract 1.",
            error="ValueError",
        ),
        Row(
            "fit.score(x, y + 1)",
            "`y` has labels from 1 to 3, but the classes are 0 to 2: subtract 1.",
            error="ValueError",
        ),
        Row(
            "fit.score(x, y - 1)",
            "`y` has labels from -1 to 1, but the classes are 0 to 2: pass one of them for each point.",
            error="ValueError",
        ),
        Row(
            "fit.score(x, y[:11])",
            "`y` has 11 entries, but there are 12 points: pass one label per point.",
            error="ValueError",
        ),
        Row(
            "fit.score(x, targets)",
            "`y` has dtype {dtype}float32, shape (12, 3): expected integer classes, shape (n,), of rows of "
            "scores xp.argmax(y, axis=1).",
        ),
        Row(
            "dntk.solve.ridge(phi, y)",
            "`targets` has dtype {dtype}int64, shape (12,), as class labels have: pass one column per "
            "class, dntk.targets.one_hot(targets, 3, like=...).",
            but=("jax",),
        ),
        Row(
            "dntk.solve.ridge(phi, targets[:, :2])",
            "`targets` has shape (12, 2), but there are 12 points and 3 outputs: expected (12, 3), for "
            "class labels for example from dntk.targets.one_hot(labels, 3, like=...).",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, None)",
            "`targets` is missing: pass one row per point and one column per output.",
            error="ValueError",
        ),
        Row(
            "dntk.metrics.accuracy(targets, y - 1)",
            "`labels` has labels from -1 to 1, but the classes are 0 to 2: pass one of them for each point.",
            error="ValueError",
        ),
        Row(
            "dntk.targets.one_hot(y, 2, like=targets)",
            "`labels` has labels from 0 to 2, but the classes are 0 to 1: pass one of them for each point.",
            error="ValueError",
        ),
    ),
    "Features": (
        Row(
            "dntk.distill.data.RPCholesky(4).select(values)",
            "`phi` is {kind}: expected dntk.TangentFeatures; wrap an array (n, k) or (C, n, k), "
            "dntk.TangentFeatures(phi).",
        ),
        Row(
            "dntk.distill.gradients.Principal(4).distill(values, targets)",
            "`phi` is {kind}: expected dntk.TangentFeatures; wrap an array (n, k) or (C, n, k), "
            "dntk.TangentFeatures(phi).",
        ),
        Row(
            "dntk.solve.ridge(values, targets)",
            "`features` is {kind}: expected dntk.TangentFeatures. Wrap an array (n, k) or (C, n, k) in "
            "dntk.TangentFeatures(values); StreamedGradients have solvers of their own, .solve(ridge) and "
            ".same_span(chunks, ridge); NormalEquations go to dntk.solve.solve_statistics(statistics, "
            "ridge=...); DistilledGradients only to dntk.solve.ridge and dntk.solve.same_span.",
        ),
        Row(
            "dntk.certify(values, grads)",
            "`reference` is {kind}: expected dntk.TangentFeatures; wrap an array (n, k) or (C, n, k), "
            "dntk.TangentFeatures(reference).",
        ),
        Row(
            "dntk.certify(phi, 5)",
            "`approximation` is an int: expected DistilledGradients, a Selection, TangentFeatures of the "
            "same points, or a fit of a DistilledNTK.",
        ),
        Row(
            "dntk.TangentFeatures([[0.1, 0.2]])",
            "`values` is a list: convert it to one array first, numpy.asarray(values, dtype=numpy.float32).",
        ),
        Row(
            "dntk.TangentFeatures(values[:0, ...])",
            "`values` has shape (0, 12, {size}): expected (outputs, points, features), none 0.",
            error="ValueError",
        ),
        Row(
            "dntk.spectrum.eigenvalues([[1.0, 0.0], [0.0, 1.0]])",
            "`kernel` is a list: convert it to one array first, numpy.asarray(kernel, dtype=numpy.float32).",
        ),
        Row(
            "dntk.spectrum.truncation_rank([3.0, 2.0, 1.0])",
            "`kernel` is a list: convert it to one array first, numpy.asarray(kernel, dtype=numpy.float32).",
        ),
        Row(
            "dntk.spectrum.truncation_rank(ascending)",
            "`kernel` has eigenvalues that are not in descending order: pass xp.flip(xp.sort(values)).",
            error="ValueError",
        ),
        Row(
            "dntk.spectrum.eigenvalues(values[0, ...])",
            "`kernel` has shape (12, {size}): expected symmetric matrices (..., n, n), or TangentFeatures.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.nystrom(phi, targets, [0, 99])",
            "`points` has indices from 0 to 99, but there are 12 points: pass indices from 0 to 11.",
            error="IndexError",
        ),
        Row(
            "dntk.solve.ridge_out_of_core([(nan_values, targets)], ridge=0.1)",
            "`features of chunk 0` has NaN or infinite values in 1 of its 12 rows (first: row 1). Remove "
            "or impute them before calling.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge_out_of_core([values], ridge=0.1)",
            "`chunks` gave {kind} as chunk 0: expected a pair of arrays, (features, targets).",
        ),
    ),
    "Numbers": (
        Row(
            "dntk.solve.ridge(phi, targets, ridge=10**400)",
            "`ridge` must be positive and finite, got an int: use a small one such as 1e-6 times the kernel's mean "
            "diagonal, or 'loo'.",
            error="ValueError",
        ),
        Row(
            "dntk.ntk(model, x, memory_limit='1GB')",
            "`memory_limit` must be a number of at least 0, got '1GB': a number of bytes, or None.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge=0)",
            "`ridge` must be positive and finite, got 0: use a small one such as 1e-6 times the kernel's "
            "mean diagonal, or 'loo'.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge=True)",
            "`ridge` must be positive and finite, got True: use a small one such as 1e-6 times the "
            "kernel's mean diagonal, or 'loo'.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge=None)",
            "`ridge` must be positive and finite, got None: use a small one such as 1e-6 times the "
            "kernel's mean diagonal, or 'loo'.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge=b'1')",
            "`ridge` is a bytes: expected a number, a sequence of them, 'loo' or a rule.",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge='gcv')",
            "`ridge`='gcv': expected a positive number, a sequence of them, 'loo', or a rule such as "
            "dntk.solve.GeneralisedCrossValidation().",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge=[])",
            "`ridge` is an empty grid: pass at least one positive number, or 'loo'.",
            error="ValueError",
        ),
        Row(
            "dntk.solve.ridge(phi, targets, ridge=dntk.solve.LeaveOneOut)",
            "`ridge` is the class LeaveOneOut: pass an instance, LeaveOneOut(...). Expected a number, a "
            "sequence of them, 'loo' or a rule.",
        ),
        Row(
            "dntk.ntk(model, x, batch_size=0)",
            "`batch_size` must be a positive integer, got 0: leave it out to have it chosen.",
            error="ValueError",
        ),
        Row(
            "dntk.ntk(model, x, batch_size=-1)",
            "`batch_size` must be a positive integer, got -1: leave it out to have it chosen.",
            error="ValueError",
        ),
        Row(
            "dntk.ntk(model, x, outputs=3)",
            "`outputs`=3: expected 'mean', 'each', 'full', 'sum' or an output's index from 0 to 2.",
            error="ValueError",
        ),
        Row("dntk.sketch.SparseSign(0)", "`dim` must be a positive integer, got 0.", error="ValueError"),
        Row(
            "dntk.sketch.SparseSign(64, seed=-1)",
            "`seed` must be an integer from 0 to 2^64 - 1, got -1.",
            error="ValueError",
        ),
        Row("dntk.distill.data.KMeans(2.5)", "`size` must be a positive integer, got 2.5.", error="ValueError"),
        Row(
            "dntk.distill.data.KMeans(99).select(phi)",
            "`size`=99 points are asked of 12: pass a size of at most 12.",
            error="ValueError",
        ),
        Row(
            "dntk.distill.data.Wasserstein(5, decays=(2, 2))",
            "`decays` must be two numbers from 0 to below 1, got (2, 2): (0.9, 0.999) for example.",
            error="ValueError",
        ),
        Row(
            "dntk.certify(phi, grads, confidence=99.9)",
            "`confidence` must be between 0 and 1, got 99.9: use for example 0.999.",
            error="ValueError",
        ),
        Row(
            "dntk.DistilledNTK(model, tolerance=5)",
            "`tolerance` must be a share between 0 and 1, got 5: use for example 0.05, or None.",
            error="ValueError",
        ),
    ),
    "Parts of a specification": (
        Row(
            "dntk.DistilledNTK(model, gradients=5)",
            "`gradients` is an int: expected an object such as dntk.distill.gradients.Solution(5), 'auto', or None.",
        ),
        Row(
            "dntk.DistilledNTK(model, gradients=dntk.distill.gradients.Solution)",
            "`gradients` is the class Solution: pass an instance, Solution(...). Expected an object such "
            "as dntk.distill.gradients.Solution(5), 'auto', or None.",
        ),
        Row(
            "dntk.DistilledNTK(model, gradients='solution')",
            "`gradients`='solution': expected an object such as dntk.distill.gradients.Solution(5), 'auto', or None.",
            error="ValueError",
        ),
        Row(
            "dntk.DistilledNTK(model, gradients=dntk.distill.data.Wasserstein(5))",
            "`gradients` is a dntk Wasserstein, which distils data: pass it as `data`. Expected an object "
            "such as dntk.distill.gradients.Solution(5), 'auto', or None.",
        ),
        Row(
            "dntk.DistilledNTK(model, data=500)",
            "`data` is an int: expected an object such as dntk.distill.data.KMeans(500), 'auto', or None.",
        ),
        Row(
            "dntk.DistilledNTK(model, data=dntk.distill.gradients.Solution(5))",
            "`data` is a dntk Solution, which distils gradients: pass it as `gradients`. Expected an "
            "object such as dntk.distill.data.KMeans(500), 'auto', or None.",
        ),
        Row(
            "dntk.DistilledNTK(model, sketch=4096)",
            "`sketch` is an int: expected a sketch such as dntk.sketch.SparseSign(4096), a plan of "
            "dntk.sketch.choose, 'auto', or None for all parameters.",
        ),
        Row(
            "dntk.DistilledNTK(model, sketch=dntk.sketch.Gaussian)",
            "`sketch` is the class Gaussian: pass an instance, Gaussian(...). Expected a sketch such as "
            "dntk.sketch.SparseSign(4096), a plan of dntk.sketch.choose, 'auto', or None for all "
            "parameters.",
        ),
    ),
    "Files": (
        Row("fit.save(5)", "`path` is an int: expected a path, as text or pathlib.Path."),
        Row(
            "dntk.DistilledNTK(model, data=None, ridge=1.0).fit(x, checkpoint=5)",
            "`checkpoint` is an int: expected a path, as text or pathlib.Path.",
        ),
        Row("dntk.load(None)", "`path` is missing (None): expected a path, as text or pathlib.Path."),
        Row(
            "dntk.load('nothing')",
            "there is no file nothing: expected a fit, as dntk.load(path) reads.",
            error="FileNotFoundError",
        ),
    ),
}
"""Bad input by topic."""
