"""Independent tasks on whatever computes them: this process, local processes, threads, or a cluster.

`workers`, here and wherever the package takes it, is an int >= 1, that many processes of this machine; or None, which
leaves the choice to ``joblib.parallel_config``, and is this process alone if nothing is said there.
"""

from __future__ import annotations

import pickle
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs

from coevo import _validation as check

__all__ = ["checked", "is_serial", "unordered"]

Key = TypeVar("Key")
Result = TypeVar("Result")


def checked(workers: Any) -> int | None:
    """Return `workers` if it is an int >= 1 or None."""
    return None if workers is None else check.integer("workers", workers, minimum=1)


def is_serial(workers: int | None) -> bool:
    """Return whether `unordered` calls its function in this process and thread, one task after the other."""
    return workers == 1 or (workers is None and effective_n_jobs(None) == 1)  # type: ignore[arg-type]  # the stubs know ints only


def unordered(
    function: Callable[..., Result], tasks: Iterable[tuple[Key, tuple[Any, ...]]], workers: int | None
) -> Generator[tuple[Key, Result], None, None]:
    """Call a function for each task and yield the results as they come.

    Parameters
    ----------
    function : called with the arguments of a task; unless the call is serial, all three must be picklable
    tasks : pairs of a key and the arguments; taken only a few more than there are workers ahead of the results
    workers : int >= 1 or None, see above

    Yields
    ------
    key, result : of each task, in whatever order they end

    Raises
    ------
    Exception
        What `function` raises, after the results of all tasks that ended before; the tasks under way are given up. An
        exception that cannot be pickled becomes a RuntimeError with its name and message.
    """
    if is_serial(workers):
        for key, arguments in tasks:
            yield key, function(*arguments)
        return
    pool = Parallel(
        n_jobs=workers,
        backend=None if workers is None else "loky",
        return_as="generator_unordered",
        batch_size=1,  # a task that has ended comes out at once
    )
    results: Any = pool(delayed(_attempt)(function, key, arguments) for key, arguments in tasks)
    try:
        for key, result, error, where in results:
            if error is not None:
                if error.__traceback__ is None:  # it came from another process
                    error.add_note(where)
                raise error
            yield key, result
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib's, that tasks are given up: this is what is meant
            results.close()


def _attempt(function: Callable[..., Any], key: Any, arguments: tuple[Any, ...]) -> tuple[Any, Any, Any, str]:
    """Call a function; return an exception as a value, because joblib drops the results that an exception overtakes."""
    try:
        return key, function(*arguments), None, ""
    except Exception as error:
        return key, None, _portable(error), traceback.format_exc()


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the class of the exception does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
