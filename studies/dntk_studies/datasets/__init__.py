"""Real data: the digits that install with dntk's dependencies, and loaders of sets that are fetched or given."""

from dntk_studies.datasets._cifar10 import cifar10
from dntk_studies.datasets._digits import digits, shifted_digits
from dntk_studies.datasets._fashion_mnist import fashion_mnist
from dntk_studies.datasets._image_folder import image_folder
from dntk_studies.datasets.base import Dataset, Split

__all__ = ["Dataset", "Split", "cifar10", "digits", "fashion_mnist", "image_folder", "shifted_digits"]
