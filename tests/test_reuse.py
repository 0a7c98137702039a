"""What a stored feature depends on: whatever its function can reach, change it, and the values are computed anew.

Each case is a module's source with `K` in one place. It is run with one number and stored, then with another: what the store gives must be what the new code gives. The
version must move both ways and be the same again for the same source, in this process and in another with other hashes.
"""
import inspect
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from qtp.core.errors import ParameterError
from qtp.core.lake import Lake
from qtp.data.adjust import market_bars
from qtp.data.simulate import simulate_market
from qtp.features import alpha101, engine
from qtp.features.registry import REGISTRY, load_families, parse_specs
from qtp.features.store import FeatureStore, feature_version, untold

USES = "@feature(lookback=1)\ndef reused(close): return "      # how a case ends, where nothing else is said
CASES = {
    # code
    "constant": (f"{USES}close * K", ""),
    "parameter's default": ("@feature(lookback=1)\ndef reused(close, *, by=K): return close * by", ""),
    "inner function": ("@feature(lookback=1)\ndef reused(close):\n    def h(x): return x * K\n    return h(close)", ""),
    "what a try covers": ("def h(x):\n    if K == 2.0: raise ValueError\n    return x", "@feature(lookback=1)\ndef reused(close):\n"
                          "    try: return h(close)\n    except ValueError: return close * 2"),
    "other name read": ("A, B = 2.0, 3.0\nG = K\n@feature(lookback=1)\ndef reused(close): return close * (A if G == 2.0 else B)", ""),
    "helper": ("def h(x): return x * K", "h(close)"),
    "helper of a helper": ("def g(): return K\ndef h(x): return x * g()", "h(close)"),
    "helper's default": ("def h(x, k=K): return x * k", "h(close)"),
    "helper's keyword default": ("def h(x, *, k=K): return x * k", "h(close)"),
    "attribute of a function": ("def h(x): return x * h.k\nh.k = K", "h(close)"),
    "lambda in a dict": ("D = {'a': lambda x: x * K}", "D['a'](close)"),
    "which of two lambdas": ("L = [lambda x: x * 2, lambda x: x * 3]\nif K == 3.0: L.reverse()", "L[0](close)"),
    "closure": ("def of(k):\n    def h(x): return x * k\n    return h\nh = of(K)", "h(close)"),
    "which of two closures": ("def of(k):\n    def h(x): return x * k\n    return h\na, b = of(2.0), of(3.0)\nif K == 3.0: a, b = b, a", "a(close) + 2 * b(close)"),
    "mutual recursion": ("def a(x, n): return b(x, n - 1) if n else x\ndef b(x, n): return a(x * K, n - 1) if n else x", "a(close, 4)"),
    # what wraps
    "wrapper": ("def deco(f):\n    @wraps(f)\n    def g(*a): return f(*a) * K\n    return g\n@deco\ndef h(x): return x", "h(close)"),
    "wrapped": ("def deco(f):\n    @wraps(f)\n    def g(*a): return f(*a)\n    return g\n@deco\ndef h(x): return x * K", "h(close)"),
    "wrapper of the feature": ("def deco(f):\n    @wraps(f)\n    def g(*a): return f(*a) * K\n    return g\n@feature(lookback=1)\n@deco\ndef reused(close): return close", ""),
    "what a decorator closes over": ("def deco(k):\n    def of(f):\n        @wraps(f)\n        def g(*a): return f(*a) * k\n        return g\n"
                                     "    return of\n@deco(K)\ndef h(x): return x", "h(close)"),
    "decorator that is a class": ("class Deco:\n    def __init__(s, f): s.f = f\n    def __call__(s, x): return s.f(x) * K\n@Deco\ndef h(x): return x", "h(close)"),
    "partial's function": ("def h(x): return x * K\np = partial(h)", "p(close)"),
    "partial's argument": ("def h(x, k): return x * k\np = partial(h, k=K)", "p(close)"),
    "partial of a partial": ("def h(x, k): return x * k\np = partial(partial(h, k=K))", "p(close)"),
    "lru_cache": ("@lru_cache\ndef h(n): return K * n", "close * h(1)"),
    "what lru_cache reaches": ("def g(): return K\n@lru_cache(None)\ndef h(n): return g() * n", "close * h(1)"),
    "singledispatch": ("@singledispatch\ndef h(x): return x\n@h.register(pd.DataFrame)\ndef _(x): return x * K", "h(close)"),
    "context manager": ("@contextmanager\ndef h(): yield K\n@feature(lookback=1)\ndef reused(close):\n    with h() as k: return close * k", ""),
    "np.vectorize": ("h = np.vectorize(lambda x: x * K)", "close * 0 + h(close.to_numpy())"),
    # objects
    "attribute": ("class C:\n    def __init__(s, k): s.k = k\nc = C(K)", "close * c.k"),
    "attribute of an attribute": ("class C: pass\nc, c.d = C(), None\nc.d = C()\nc.d.k = K", "close * c.d.k"),
    "method": ("class C:\n    def f(s, x): return x * K\nc = C()", "c.f(close)"),
    "bound method": ("class C:\n    def __init__(s): s.k = K\n    def f(s, x): return x * s.k\nf = C().f", "f(close)"),
    "inherited method": ("class A:\n    def f(s, x): return x * K\nclass B(A): pass\nclass C(B): pass", "C().f(close)"),
    "overriding method": ("class A:\n    def f(s, x): return x * 2\nclass B(A): pass\nif K == 3.0: B.f = lambda s, x: x * 3", "B().f(close)"),
    "static method": ("class C:\n    @staticmethod\n    def f(x): return x * K", "C.f(close)"),
    "class method": ("class C:\n    @classmethod\n    def f(c, x): return x * K", "C.f(close)"),
    "class attribute": ("class C: k = K", "close * C.k"),
    "inherited class attribute": ("class A: k = K\nclass C(A): pass", "close * C.k"),
    "property": ("class C:\n    @property\n    def k(s): return K", "close * C().k"),
    "cached property": ("class C:\n    @cached_property\n    def k(s): return K\nc = C()", "close * c.k"),
    "operator of a class": ("class C:\n    def __call__(s, x): return x * K\nc = C()", "c(close)"),
    "metaclass": ("class M(type):\n    def __call__(c, x): return x * K\nclass C(metaclass=M): pass", "C(close)"),
    "descriptor": ("class D:\n    def __get__(s, o, c): return K\nclass C: k = D()", "close * C().k"),
    "slots": ("class C:\n    __slots__ = ('k', 'm')\nc = C()\nc.k = K", "close * c.k"),
    "object that refers to itself": ("class C: pass\nc = C()\nc.me, c.k = [c, {'c': c}], K", "close * c.me[0].k"),
    "classes that refer to each other": ("class A: pass\nclass B: a, k = A, K\nA.b = B", "close * A.b.a.b.k"),
    "hidden from pickle": ("class C:\n    def __init__(s): s.k = K\n    def __getstate__(s): return {}\n    def __reduce__(s): return C, ()\nc = C()", "close * c.k"),
    "dict of one's own": ("class C(dict): pass\nc = C(k=K)", "close * c['k']"),
    "float of one's own": ("class C(float): pass\nc = C(K)", "close * float(c)"),
    "frame of one's own": ("class C(pd.DataFrame): _metadata = ['k']\nc = C({'a': [1.0]})\nc.k = K", "close * c.k"),
    "array of one's own": ("class C(np.ndarray): pass\nc = np.array([1.0]).view(C)\nc.k = K", "close * c.k"),
    "dataclass": ("@dataclass\nclass C: k: float\nc = C(K)", "close * c.k"),
    "dataclass's default": ("@dataclass(frozen=True)\nclass C: k: float = K", "close * C().k"),
    "dataclass's factory": ("@dataclass\nclass C: k: list = field(default_factory=lambda: [K])", "close * C().k[0]"),
    "named tuple": ("class C(NamedTuple): k: float\nc = C(K)", "close * c.k"),
    "named tuple's default": ("class C(NamedTuple): k: float = K", "close * C().k"),
    "enum": ("class C(Enum): k = K", "close * C.k.value"),
    "enum's method": ("class C(Enum):\n    k = 1\n    def f(s, x): return x * K", "C.k.f(close)"),
    "member of an enum": ("class C(IntEnum):\n    a = 2\n    b = 3\nc = C(int(K))", "close * c"),
    "abstract class": ("class A(ABC):\n    @abstractmethod\n    def f(s, x): pass\nclass C(A):\n    def f(s, x): return x * K", "C().f(close)"),
    "generic class": ("T = TypeVar('T')\nclass C(Generic[T]):\n    def f(s, x: T) -> T: return x * K", "C().f(close)"),
    "order of bases": ("class A: pass\nclass B: pass\nclass C(*((A, B) if K == 2.0 else (B, A))): pass", "close * (2.0 if C.__mro__[1] is A else 3.0)"),
    "protocol": ("class P(Protocol):\n    def f(s, x): return x * K\nclass C(P): pass", "C().f(close)"),
    "namespace": ("c = types.SimpleNamespace(k=K)", "close * c.k"),
    "weak reference": ("class C: pass\nc = C()\nc.k = K\nr = weakref.ref(c)", "close * r().k"),
    "context variable": ("v = ContextVar('v')\nv.set(K)", "close * v.get()"),
    # data
    "list": ("G = [[K]]", "close * G[0][0]"),
    "list that holds itself": ("G = [K]\nG.append(G)", "close * G[1][1][0]"),
    "tuple": ("G = ((1, K),)", "close * G[0][1]"),
    "set": ("S = {K}", "close * sum(S)"),
    "set of text": ("S = {'a', 'b', 'c', str(K)}", "close * float(max(S - {'a', 'b', 'c'}))"),
    "set of functions": ("S = {lambda x: x * K}", "next(iter(S))(close)"),
    "which of two in a set": ("def f(): return 2.0\ndef g(): return 3.0\nS = {('a', f), ('b', g)} if K == 2.0 else {('a', g), ('b', f)}", "close * dict(S)['a']()"),
    "frozenset": ("S = frozenset({K, 1.0})", "close * max(S)"),
    "frozenset in a frozenset": ("S = frozenset({frozenset({K})})", "close * max(max(S))"),
    "dict's key": ("D = {K: 1}", "close * max(D)"),
    "order of a dict": ("D = {2.0: 1, 3.0: 1} if K == 2.0 else {3.0: 1, 2.0: 1}", "close * next(iter(D))"),
    "mapping proxy": ("D = types.MappingProxyType({'k': K})", "close * D['k']"),
    "default dict": ("D = defaultdict(lambda: K)", "close * D.default_factory()"),
    "ordered dict": ("D = OrderedDict(k=K)", "close * D['k']"),
    "counter": ("D = Counter({'k': K})", "close * D['k']"),
    "deque": ("D = deque([K], maxlen=3)", "close * D[0]"),
    "range": ("R = range(int(K))", "close * len(R)"),
    "slice": ("R = slice(int(K))", "close * R.stop"),
    "iterator": ("I = iter([1, K, 2])\nnext(I)", "close * copy(I).__next__()"),
    "bytes": ("B = bytes([int(K)])", "close * B[0]"),
    "bytearray": ("B = bytearray([int(K)])", "close * B[0]"),
    "array of the standard library": ("B = array('d', [K])", "close * B[0]"),
    "complex": ("B = complex(0, K)", "close * B.imag"),
    "true for one": ("B = True if K == 2.0 else 1", "close * (2.0 if B is True else 3.0)"),
    "minus zero": ("B = 0.0 if K == 2.0 else -0.0", "close * np.copysign(2.0, B)"),
    "fraction": ("B = Fraction(int(K), 7)", "close * float(B)"),
    "decimal": ("B = Decimal(str(K))", "close * float(B)"),
    "regex": ("R = re.compile('a' * int(K))", "close * len(R.pattern)"),
    "regex's flags": ("R = re.compile('a', 0 if K == 2.0 else re.I)", "close * (2.0 if R.match('A') is None else 3.0)"),
    "date": ("T = dt.date(2024, 1, int(K))", "close * T.day"),
    "datetime": ("T = dt.datetime(2024, 1, int(K), tzinfo=ZoneInfo('America/New_York'))", "close * T.day"),
    "time zone": ("T = ZoneInfo('UTC' if K == 2.0 else 'Asia/Tokyo')", "close * len(T.key)"),
    "timedelta": ("T = dt.timedelta(days=K)", "close * T.days"),
    "path": ("P = Path(str(K))", "close * float(P.name)"),
    "random state": ("R = np.random.default_rng(int(K))", "close * deepcopy(R).random()"),
    "random state of the standard library": ("R = random.Random(int(K))", "close * deepcopy(R).random()"),
    # numpy and pandas
    "numpy number": ("G = np.float64(K)", "close * G"),
    "numpy integer": ("G = np.int64(K)", "close * G"),
    "type of a numpy number": ("G = np.float32(.1) if K == 2.0 else np.float64(np.float32(.1))", "close * G.itemsize"),
    "numpy date": ("G = np.datetime64('2024-01-01', 'D' if K == 2.0 else 'M')", "close * len(str(G))"),
    "numpy type": ("G = np.dtype('f4' if K == 2.0 else 'f8')", "close * G.itemsize"),
    "ufunc": ("U = np.sqrt if K == 2.0 else np.cbrt", "U(close)"),
    "ufunc of scipy": ("U = special.erf if K == 2.0 else special.erfc", "close * U(1.0)"),
    "function of numpy": ("U = np.nanmin if K == 2.0 else np.nanmax", "close * U(np.array([2.0, 3.0]))"),
    "array": ("A = np.array([K])", "close * A[0]"),
    "shape of an array": ("A = np.ones((2, 3) if K == 2.0 else (3, 2))", "close * len(A)"),
    "array of objects": ("A = np.array([lambda: K], dtype=object)", "close * A[0]()"),
    "structured array": ("A = np.array([(1, K)], dtype=[('a', int), ('k', float)])", "close * A['k'][0]"),
    "masked array": ("A = np.ma.array([2.0, 3.0], mask=[K == 3.0, K == 2.0])", "close * A.sum()"),
    "part of an array": ("A = np.array([2.0, 3.0, 5.0])[int(K) - 2:]", "close * A[0]"),
    "Timestamp": ("T = pd.Timestamp(2020, 1, int(K))", "close * T.day"),
    "Timestamp's zone": ("T = pd.Timestamp(2020, 1, 1, tz='UTC' if K == 2.0 else 'Asia/Tokyo')", "close * (2.0 if T.utcoffset().seconds == 0 else 3.0)"),
    "Timedelta": ("T = pd.Timedelta(days=K)", "close * T.days"),
    "offset": ("T = pd.offsets.BDay(int(K))", "close * T.n"),
    "Series": ("G = pd.Series({'k': K})", "close * G['k']"),
    "name of a Series": ("G = pd.Series([1.0], name=K)", "close * G.name"),
    "index": ("G = pd.Index([K])", "close * G[0]"),
    "categories": ("G = pd.Categorical(['a'], categories=['a', 'b'] if K == 2.0 else ['b', 'a', 'c'])", "close * len(G.categories)"),
    "frame": ("G = pd.DataFrame({'k': [K], 'text': ['a']})", "close * G['k'].iloc[0]"),
    "frame of dates": ("G = pd.DataFrame({'k': pd.to_datetime(['2024-01-0' + str(int(K))])})", "close * G['k'].dt.day.iloc[0]"),
    # modules
    "module": ("m = types.ModuleType('mine')\nm.k = K", "close * m.k"),
    "module that is handed on": ("m = types.ModuleType('mine')\nm.k = K\ndef h(m): return m.k", "close * h(m)"),
    "module under another name": ("m = types.ModuleType('mine')\nm.k = K\n@feature(lookback=1)\ndef reused(close):\n    n = m\n    return close * n.k", ""),
    "module in a module": ("m = types.ModuleType('mine')\nm.n = types.ModuleType('mine.n')\nm.n.k = K", "close * m.n.k"),
    "module in a list": ("m = types.ModuleType('mine')\nm.k = K\nL = [m]", "close * L[0].k"),
    "import inside": ("m = sys.modules['mine_inside'] = types.ModuleType('mine_inside')\nm.k = K\n@feature(lookback=1)\ndef reused(close):\n"
                      "    from mine_inside import k\n    return close * k", ""),
    "lazy module of another package": ("import scipy\nG = K", "close * G * scipy.special.erf(1.0)"),
    "import of a module inside": ("m = sys.modules['mine_inside'] = types.ModuleType('mine_inside')\nm.k = K\n@feature(lookback=1)\n"
                                  "def reused(close):\n    import mine_inside as n\n    return close * n.k", ""),
    # numba
    "kernel": ("@njit\ndef h(x): return x * K", "close * h(1.0)"),
    "kernel of a kernel": ("@njit\ndef g(x): return x * K\n@njit\ndef h(x): return g(x)", "close * h(1.0)"),
    "kernel's constant": ("G = K\n@njit\ndef h(x): return x * G", "close * h(1.0)"),
    "kernel's options": ("@njit(error_model='python' if K == 2.0 else 'numpy')\ndef h(x): return 1 / x\n@feature(lookback=1)\ndef reused(close):\n"
                         "    try: return close * (3.0 if h(0.0) else 0)\n    except ZeroDivisionError: return close * 2.0", ""),
    "kernel's types": ("@njit('f4(f4)' if K == 2.0 else 'f8(f8)')\ndef h(x): return x / 3", "close * h(1.0)"),
    "vectorize": ("@vectorize\ndef h(x): return x * K", "close * h(1.0)"),
    "vectorize of a kernel": ("@njit\ndef g(x): return x * K\n@vectorize\ndef h(x): return g(x)", "close * h(1.0)"),
    "vectorize's types": ("@vectorize(['f4(f4)' if K == 2.0 else 'f8(f8)'])\ndef h(x): return x / 3", "close * float(h(np.float32(1.0)))"),
    "guvectorize": ("@guvectorize(['(f8[:], f8[:])'], '(n)->(n)')\ndef h(x, y):\n    for i in range(len(x)): y[i] = x[i] * K", "close * h(np.ones(1))[0]"),
}
UNTOLD = {   # what has a state that nobody can read
    "generator": ("G = (K for _ in range(99))", "close * next(G)", "a generator"),
    "frompyfunc": ("U = np.frompyfunc(lambda x: x * K, 1, 1)", "close * U(1.0)", "a ufunc"),
    "open file": ("F = open(os.devnull)", "close * (K + 0 * len(F.read()))", "a TextIOWrapper"),
    "local of a thread": ("L = threading.local()\nL.k = K", "close * L.k", "a _local"),
    "name that is data": ("G = K", "close * eval('G')", "`reused`"),
    "stencil": ("@stencil\ndef h(x): return x[0] * K", "close * h(np.ones(1))[0]", "a StencilFunc"),
    "parallel vectorize": ("@vectorize(['f8(f8)'], target='parallel')\ndef h(x): return x * K", "close * h(1.0)", "a ufunc"),
}
IMPORTS = """
import datetime as dt, os, random, re, sys, threading, types, weakref
from abc import ABC, abstractmethod
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy, deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from functools import cached_property, lru_cache, partial, singledispatch, wraps
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo
import numpy as np, pandas as pd
from numba import guvectorize, njit, stencil, vectorize
from scipy import special
from qtp.features.registry import feature
"""


def declare(case, number):
    "Run a case's source as a module of its own; its specs."
    source, use = case[:2]
    REGISTRY.pop("reused", None)
    module = sys.modules["mine_reused"] = type(sys)("mine_reused")
    text = source if "def reused" in source else f"{source}\n{use if 'def reused' in use else USES + use}"
    exec(IMPORTS + text.replace("K", str(number)), vars(module))
    return parse_specs(["reused"])


@pytest.fixture(scope="module")
def bars(): return market_bars(simulate_market(n_assets=3, start="2021-01-04", end="2021-03-30", seed=1)).iloc[:20]


@pytest.fixture
def store(tmp_path): return FeatureStore(Lake(tmp_path))


@pytest.fixture(autouse=True)
def forget():
    yield
    REGISTRY.pop("reused", None)


@pytest.mark.parametrize("name", CASES)
def test_changed_is_computed_anew(name, bars, store):
    versions = []
    for number in (2.0, 3.0):
        specs = declare(CASES[name], number)
        versions.append(feature_version(specs[0]))
        found = engine.materialize(specs, bars, normalise=None, store=store, dtype="float64").raw
        np.testing.assert_array_equal(found, engine.materialize(declare(CASES[name], number), bars, normalise=None, dtype="float64").raw)
    assert None not in versions and versions[0] != versions[1]
    assert feature_version(declare(CASES[name], 2.0)[0]) == versions[0]


@pytest.mark.parametrize("name", UNTOLD)
def test_what_cannot_be_told_is_computed_each_time(name, bars, store, monkeypatch):
    monkeypatch.setattr("qtp.features.store._WARNED", set())
    specs, calls = declare(UNTOLD[name], 2.0), []
    what = UNTOLD[name][2] + ("" if UNTOLD[name][2] == "`reused`" else " in `reused`")
    assert feature_version(specs[0]) is None and untold(specs[0].function) == [what]
    monkeypatch.setattr(engine, "_put", lambda cubes, k, values, members: calls.append(len(values)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3): engine.materialize([*specs, "simple_return"], bars, normalise=None, store=store, on_error="skip")
    said = [str(w.message) for w in said if "reused" in str(w.message)]
    assert len(said) == 1 and said[0].startswith(f"reused: reaches {what}, which may change without showing it (1 such),"), said
    assert len(calls) == 3 + 1               # this one each time, the other once


def own_names():
    load_families()
    return [n for n, f in sorted(REGISTRY.items()) if f.function.__module__.startswith("qtp.")]


def test_nothing_of_the_library_is_untold():
    known = {}
    versions = {s.label: feature_version(s, known) for s in parse_specs(own_names())}
    assert len(versions) >= 374 and None not in versions.values() and len({*versions.values()}) == len(versions)


def test_a_decorator_of_the_library_counts(monkeypatch):
    names = [n for n in own_names() if REGISTRY[n].function.__module__ == alpha101.__name__]
    lifted = [f for f in vars(alpha101).values() if inspect.isfunction(f) and f.__code__.co_name == "lifted"]
    before = [feature_version(s) for s in parse_specs(names)]
    for f in lifted: monkeypatch.setattr(f, "__code__", f.__code__.replace(co_consts=(*f.__code__.co_consts, "changed")))
    moved = [v != feature_version(s) for s, v in zip(parse_specs(names), before)]
    assert len(lifted) > 20 and [n for n, m in zip(names, moved) if not m] == ["alpha041", "vwap_proxy"]       # which use no operator


def test_a_registered_neighbour_changes_nothing():
    specs = parse_specs(["market_beta", "stochastic_k", "mom"])
    before = [feature_version(s) for s in specs]
    declare(CASES["constant"], 2.0)
    assert [feature_version(s) for s in specs] == before


def test_normaliser(bars, store, monkeypatch):
    def both(): return engine.materialize(["log_return", "simple_return"], bars, store=store).normalised
    both()
    changed = engine.NORMALISE["rank"]
    monkeypatch.setitem(engine.NORMALISE, "rank", lambda values, members: changed(values, members) * 2)
    np.testing.assert_array_equal(both(), engine.materialize(["log_return", "simple_return"], bars).normalised)
    calls, put = [], engine._put
    monkeypatch.setattr(engine, "_put", lambda *args: (calls.append(args[1]), put(*args)))
    both()
    engine.materialize(["log_return", "simple_return"], bars, normalise=None, store=store)        # raw values do not depend on it
    assert calls == []


def versions_by_name():
    registered = {s.label: feature_version(s) for s in parse_specs(own_names())}
    return registered | {name: feature_version(declare(case, 3.0)[0]) for name, case in CASES.items()}


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_another_process_finds_the_same(seed):
    done = subprocess.run([sys.executable, __file__], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True, check=True)
    here, there = versions_by_name(), json.loads(done.stdout.splitlines()[-1])
    assert len(here) > 374 + len(CASES) - 1 and [n for n in here if here[n] != there[n]] == []


def test_a_store_has_a_name(tmp_path):
    for name in ("", None, "My set", "../up"):
        with pytest.raises(ParameterError, match="expected lower-case letters, digits and underscores"): FeatureStore(Lake(tmp_path), name)


if __name__ == "__main__": print(json.dumps(versions_by_name()))
