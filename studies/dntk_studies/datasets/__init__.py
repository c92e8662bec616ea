"""Real data: the digits that install with dntk's dependencies, and loaders of sets that are fetched or given."""

from dntk_studies.datasets.base import Dataset as Dataset
from dntk_studies.datasets.base import Split as Split
from dntk_studies.datasets.cifar10 import cifar10 as cifar10
from dntk_studies.datasets.digits import digits as digits
from dntk_studies.datasets.fashion_mnist import fashion_mnist as fashion_mnist
from dntk_studies.datasets.image_folder import image_folder as image_folder

__all__ = ["Dataset", "Split", "cifar10", "digits", "fashion_mnist", "image_folder"]
