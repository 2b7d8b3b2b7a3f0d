"""The estimators need scikit-learn, and are not imported where it is missing."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("sklearn") else ["test_*.py"]
