"""`import qtp` is nearly free, and the shortcuts lead where they say."""
import subprocess
import sys

HEAVY = ("pandas", "numpy", "mlflow", "lightgbm", "torch", "sklearn", "matplotlib", "numba")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_loads_nothing_heavy():
    assert python(f"import qtp, sys; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_audit_and_feature_need_numpy_and_pandas_alone():
    extra = ("mlflow", "lightgbm", "sklearn", "matplotlib", "numba", "pydantic", "deltalake")
    assert python(f"from qtp import audit, feature; import sys; print([m for m in {extra} if m in sys.modules])") == "[]"


def test_every_shortcut_is_callable():
    import qtp
    assert [name for name in qtp.__all__ if not callable(getattr(qtp, name))] == []


def test_backtest_is_a_function_and_a_package():
    assert python("import qtp.backtest.metrics, qtp; print(callable(qtp.backtest), qtp.backtest.metrics.__name__)") == "True qtp.backtest.metrics"


def test_unknown_name():
    assert "no attribute 'materialise'" in python("import qtp\ntry: qtp.materialise\nexcept AttributeError as e: print(e)")
