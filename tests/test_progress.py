"""How far long calls are: events, rates, nesting, threads, interruptions, and the bar in a terminal."""

import contextlib
import io
import re
import threading
import time

import numpy as np
import pytest

import dntk
from dntk._progress import Task, _bar, task
from dntk.distill.data import FarthestPoint, Herding, KMeans, RPCholesky, TangentResidual
from dntk.distill.gradients import Krylov, LocalGlobal, Principal, Solution, Streaming
from tests.libraries import LIBRARIES
from tests.networks import mlp

NUMPY = next(library for library in LIBRARIES if library.id == "numpy")


def _points(n=24, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)


def _network():
    return mlp(NUMPY, (5, 12, 3))


def _events(call, interval=0.0):
    events = []
    with dntk.progress(events.append, interval=interval):
        call()
    return events


def _last(events, name):
    return [event for event in events if event.task == name][-1]


class TestEvents:
    def test_every_batch_of_a_long_call_is_told_in_order(self):
        events = _events(
            lambda: dntk.tangent_features(_network(), _points(), sketch=dntk.sketch.SparseSign(16), batch_size=10)
        )
        assert [(e.task, e.done, e.total, e.unit) for e in events if e.task == "tangent features"] == [
            ("tangent features", done, 24, "points") for done in (0, 10, 20, 24, 24)
        ]

    def test_rate_and_time_left_follow_from_what_this_run_did(self):
        event = dntk.ProgressEvent(
            task="t", parents=("fit",), done=50, total=90, unit="points", seconds=4.0, skipped=30
        )
        assert event.rate == 5.0
        assert event.seconds_left == 8.0
        assert str(event) == "fit: t 50 of 90 points, 5 points/s, 8 s left"

    def test_nothing_is_said_of_time_left_before_anything_is_done_or_without_a_total(self):
        assert dntk.ProgressEvent(task="t", parents=(), done=0, total=9, unit="u", seconds=1.0).seconds_left is None
        assert dntk.ProgressEvent(task="t", parents=(), done=5, total=None, unit="u", seconds=1.0).seconds_left is None

    def test_a_short_call_tells_nothing(self):
        assert _events(lambda: dntk.ntk(_network(), _points()), interval=30.0) == []

    def test_a_long_task_is_told_of_no_more_often_than_asked(self):
        def call():
            with task("slow", total=40) as bar:
                for _ in bar.over(range(40)):
                    time.sleep(0.005)

        events = _events(call, interval=0.05)
        gaps = np.diff([event.seconds for event in events[:-1]])
        assert 2 <= len(events) <= 40 * 0.05 / 0.05
        assert np.all(gaps >= 0.05)
        assert events[-1].done == 40


class TestCalls:
    @pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum"])
    def test_a_kernel_ends_with_all_its_pairs(self, outputs):
        for other in (None, _points(7)):
            events = _events(lambda other=other: dntk.ntk(_network(), _points(), other, outputs=outputs, batch_size=5))
            last = _last(events, "kernel")
            assert last.done == last.total

    @pytest.mark.parametrize("outputs", ["mean", "each", "full"])
    def test_a_product_and_a_diagonal_end_with_all_their_passes(self, outputs):
        operator = dntk.NTKOperator(_network(), _points(), outputs=outputs, batch_size=5)
        events = _events(lambda: (operator @ np.ones(operator.shape[:-1], np.float32), operator.diagonal()))
        for name in ("product", "diagonal"):
            assert _last(events, name).done == _last(events, name).total

    def test_a_report_ends_with_its_page_and_tells_what_it_measures_inside(self, tmp_path):
        fit = dntk.DistilledNTK(_network(), data=RPCholesky(9), gradients=None).fit(_points())
        events = _events(lambda: fit.report(tmp_path / "report.html", x=_points(7, seed=1)))
        assert (_last(events, "report").done, _last(events, "report").total) == (2, 2)
        assert _last(events, "page").parents == ("report",)
        assert [event.done for event in events if event.task == "page"] == [*range(10), 9]
        assert {event.parents[:1] for event in events if event.task == "tangent features"} == {("report",)}

    @pytest.mark.parametrize("selector", [RPCholesky(9), Herding(9), FarthestPoint(9), KMeans(9)], ids=repr)
    def test_selectors_end_with_all_their_points(self, selector):
        phi = dntk.tangent_features(_network(), _points(), sketch=None)
        events = _events(lambda: selector.select(phi))
        assert events[-1].done == events[-1].total == 9

    @pytest.mark.parametrize(
        "distiller", [Solution(4), Krylov(4), Krylov(4, per_output=True), Principal(4), LocalGlobal(size=4)], ids=repr
    )
    def test_distillers_of_gradients_end_with_all_they_do(self, distiller):
        phi = dntk.tangent_features(_network(), _points(), sketch=None)
        events = _events(lambda: distiller.distill(phi, np.ones((24, 3), np.float32)))
        assert events
        assert all(_last(events, name).done == _last(events, name).total for name in {e.task for e in events})

    @pytest.mark.parametrize(
        "call",
        [
            lambda phi, y: dntk.solve.ridge(phi, y),
            lambda phi, y: dntk.solve.ridge(phi, y, ridge=1.0),
            lambda phi, y: dntk.solve.ridge_path(phi, y, ridges=(0.1, 1.0)),
            lambda phi, y: dntk.solve.gaussian_process(phi, y),
            lambda phi, y: dntk.solve.kernel_ridge(phi.kernel(outputs="each"), y, ridge=1.0),
            lambda phi, _: dntk.spectrum.eigenvalues(phi),
            lambda phi, _: dntk.spectrum.eigenvalues(phi.kernel()),
            lambda phi, _: dntk.spectrum.effective_dimension(phi.kernel(), 1.0),
            lambda phi, _: dntk.spectrum.truncation_rank(phi),
            lambda phi, _: dntk.spectrum.mean_eigenpairs(phi, 3),
            lambda phi, _: phi.kernel(),
            lambda phi, _: dntk.attribution.smoother.smoother(phi.values, 1.0),
            lambda phi, _: dntk.attribution.smoother.smoother(phi.values[:, :, :5], 1.0),
            lambda *_: dntk.sketch.choose(_network(), error=0.05, n=24),
        ],
        ids=lambda _: "",
    )
    def test_what_is_one_long_product_or_decomposition_is_a_task_that_ends(self, call):
        phi = dntk.tangent_features(_network(), _points(), sketch=None)
        events = _events(lambda: call(phi, np.linspace(-1, 1, 72, dtype=np.float32).reshape(24, 3)))
        assert events
        assert all(_last(events, name).done == _last(events, name).total for name in {e.task for e in events})

    def test_streams_and_statistics_count_their_chunks(self):
        phi = dntk.tangent_features(_network(), _points(), sketch=None)
        y = np.ones((24, 3), np.float32)
        chunks = [(phi[a:b], y[a:b]) for a, b in ((0, 10), (10, 20), (20, 24))]
        assert _last(_events(lambda: Streaming(4).stream(chunks)), "streamed gradients").done == 3
        arrays = [(part.values, targets) for part, targets in chunks]
        assert _last(_events(lambda: dntk.solve.accumulate(arrays)), "statistics").done == 3

    def test_statistics_that_go_on_from_a_checkpoint_do_not_count_it_in_their_rate(self, tmp_path):
        rng = np.random.default_rng(0)
        chunks = [(rng.normal(size=(6, 4)), rng.normal(size=(6, 2))) for _ in range(3)]
        dntk.solve.accumulate(chunks[:2], checkpoint=tmp_path / "c")
        last = _last(_events(lambda: dntk.solve.accumulate(chunks, checkpoint=tmp_path / "c")), "statistics")
        assert (last.done, last.skipped) == (3, 2)

    def test_objectives_count_their_steps(self):
        objective = TangentResidual(4, steps=3, sketch=None, limits=(-9.0, 9.0))
        last = _last(_events(lambda: objective.distill(_network(), _points())), "descent")
        assert (last.done, last.total, last.unit) == (4, 4, "steps")

    def test_a_fit_tells_its_stages_with_the_features_inside(self):
        events = _events(lambda: dntk.DistilledNTK(_network(), gradients=Solution(4), sketch=None).fit(_points()))
        stages = [e.task for e in events if e.parents == ("fit",) and e.unit == "stage" and e.done == 0]
        assert stages == ["data", "features", "ridge", "gradients", "spectrum"]
        assert _last(events, "tangent features").parents[:2] == ("fit", "features")
        assert (_last(events, "fit").done, _last(events, "fit").total) == (6, 6)

    def test_stages_of_a_fit_are_told_of_however_short_they_are(self):
        events = _events(
            lambda: dntk.DistilledNTK(_network(), gradients=Solution(4), sketch=None).fit(_points()), interval=30.0
        )
        assert [e.task for e in events] == ["data", "features", "ridge", "gradients", "spectrum"]

    def test_what_a_fit_is_asked_tells_how_far_it_is(self):
        fit = dntk.DistilledNTK(_network(), gradients=Solution(4), sketch=None).fit(_points())
        asked = {
            "prediction": lambda: fit.predict(_points(6)),
            "queries": lambda: (fit.query(_points(6)), fit.trust(_points(6)), fit.uncertainty(_points(6))),
            "outputs": lambda: fit.fidelity(_points(6)),
            "certificate": lambda: fit.certificate,
        }
        for name, call in asked.items():
            last = _last(_events(call), name)
            assert last.done == last.total, name


class TestScope:
    def test_threads_do_not_hear_each_other(self):
        heard = {}

        def work(name, seed):
            heard[name] = _events(lambda: dntk.ntk(_network(), _points(seed=seed), batch_size=5 + seed))

        threads = [threading.Thread(target=work, args=(name, name)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        alone = {
            name: _events(lambda name=name: dntk.ntk(_network(), _points(), batch_size=5 + name)) for name in heard
        }
        assert {n: [e.done for e in heard[n]] for n in heard} == {n: [e.done for e in alone[n]] for n in alone}
        assert all(event.parents == () for events in heard.values() for event in events if event.task == "kernel")

    def test_the_inner_callback_takes_the_place_of_the_outer_one(self):
        outer, inner = [], []
        with dntk.progress(outer.append, interval=0):
            with dntk.progress(inner.append, interval=0):
                dntk.ntk(_network(), _points(3))
            with dntk.progress(None):
                dntk.ntk(_network(), _points(3))
        assert inner
        assert not outer

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("stop")])
    def test_what_a_callback_raises_ends_the_call_and_leaves_no_task_behind(self, error):
        def stop(event):
            if event.done:
                raise error

        with pytest.raises(type(error) if isinstance(error, Exception) else error), dntk.progress(stop, interval=0):
            dntk.tangent_features(_network(), _points(), sketch=None, batch_size=5)
        assert all(
            event.parents == () for event in _events(lambda: dntk.ntk(_network(), _points(3))) if event.unit == "pairs"
        )

    def test_a_callback_that_cannot_be_called_is_refused(self):
        with pytest.raises(TypeError, match="`callback` is a int: pass a function"), dntk.progress(3):
            pass


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestBar:
    @pytest.fixture
    def terminal(self, monkeypatch):
        monkeypatch.setattr(_bar, "PATIENCE", 0.05)
        monkeypatch.setattr(_bar, "_PERIOD", 0.01)
        monkeypatch.delenv("DNTK_PROGRESS", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        return _Terminal()

    def _slow(self, seconds=0.4):
        with task("outer", total=2, unit="stages"), task("inner", total=20, unit="points") as bar:
            for _ in bar.over(range(20)):
                time.sleep(seconds / 20)

    def _interrupted(self):
        with task("long", total=9) as bar:
            bar.advance()
            time.sleep(0.4)
            raise KeyboardInterrupt

    def test_a_long_call_shows_its_tasks_with_rate_and_time_left_and_takes_them_away(self, terminal):
        with contextlib.redirect_stderr(terminal):
            self._slow(1.0)  # the first bar imports rich
        shown = terminal.getvalue()
        assert "outer" in shown
        assert re.search(r"inner .* of 20 points, [\d.e+]+ points/s, [\d.]+ s left", shown)
        assert _bar._BAR.call is None
        assert shown.endswith("\x1b[2K")  # its lines are erased

    def test_a_short_call_shows_nothing(self, terminal):
        with contextlib.redirect_stderr(terminal):
            with task("short", total=1):
                pass
            time.sleep(0.1)
        assert terminal.getvalue() == ""

    def test_an_interrupted_call_takes_its_bar_away(self, terminal):
        with contextlib.redirect_stderr(terminal):
            with pytest.raises(KeyboardInterrupt):
                self._interrupted()
            before = terminal.getvalue()
            time.sleep(0.1)
        assert _bar._BAR.call is None
        assert "long" in before
        assert terminal.getvalue() == before

    def test_one_of_two_calls_in_threads_has_the_bar(self, terminal):
        other = threading.Thread(target=self._slow)
        with contextlib.redirect_stderr(terminal), task("first", total=9):
            other.start()
            other.join()
        assert "first" in terminal.getvalue()
        assert "inner" not in terminal.getvalue()

    @pytest.mark.parametrize("how", ["environment", "nobody", "callback"])
    def test_it_is_not_shown_where_it_is_not_wanted(self, terminal, monkeypatch, how):
        if how == "environment":
            monkeypatch.setenv("DNTK_PROGRESS", "0")
        quiet = {"nobody": dntk.progress(None), "callback": dntk.progress(lambda _: None)}
        with contextlib.redirect_stderr(terminal), quiet.get(how, contextlib.nullcontext()):
            self._slow()
        assert terminal.getvalue() == ""

    @pytest.mark.parametrize("closed", [False, True])
    @pytest.mark.usefixtures("terminal")
    def test_streams_that_are_no_terminals_get_nothing(self, closed):
        stream = io.StringIO()
        if closed:
            stream.close()
        with contextlib.redirect_stderr(stream):
            self._slow()
        assert closed or stream.getvalue() == ""

    def test_a_terminal_that_breaks_does_not_end_the_call(self, terminal, monkeypatch):
        def broken(_):
            raise OSError

        monkeypatch.setattr(terminal, "write", broken)
        with contextlib.redirect_stderr(terminal):
            self._slow()
        assert _bar._BAR.call is None


def test_a_task_that_nobody_listens_to_costs_next_to_nothing():
    """A call that goes through a network takes milliseconds, of which 20 µs are less than a hundredth."""

    def once():
        began = time.perf_counter()
        with task("t", total=1) as bar:
            for _ in bar.spans(1, 1):
                pass
        return time.perf_counter() - began

    with dntk.checking(False):
        assert min(once() for _ in range(200)) < 2e-5


def test_a_task_is_a_value_of_its_own_without_a_parent():
    made = Task("t", None, "steps", None)
    made.skip(2)
    made.advance(3)
    assert (made.event().done, made.event().skipped, made.event().parents) == (5, 2, ())
