"""scikit-learn estimators: distilled kernel regression and tangent features in pipelines, searches and validation."""

from dntk.sklearn.classifier import DistilledNTKClassifier
from dntk.sklearn.feature_map import TangentFeatureMap
from dntk.sklearn.regressor import DistilledNTKRegressor

__all__ = ["DistilledNTKClassifier", "DistilledNTKRegressor", "TangentFeatureMap"]
