"""How far a long call is: told to a callback, or drawn as a bar in a terminal."""

from dntk._progress._event import ProgressEvent
from dntk._progress._task import Task, progress, task

__all__ = ["ProgressEvent", "Task", "progress", "task"]
