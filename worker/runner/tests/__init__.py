"""Unit tests of the runner: `python -m unittest` in worker/runner. Whole processes are tested by
worker/tests/python_pool.rs."""
