"""Compiled functions of one's own, each behind the NumPy function that says what it computes.

    @fl.compiled_twin("my_package._kernels:softplus_forward")
    def softplus_forward(x):
        return np.logaddexp(x, 0)

A layer calls `softplus_forward` like any function. The compiled one is used once it has agreed with the NumPy one
on this machine, in this process, for calls that look alike: a *shape class*, see `CompiledTwin`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from fastlayers._kernels.arguments import prepare
from fastlayers.checks import real
from fastlayers.settings import current
from fastlayers.verdict import Key, Verdict, describe

P = ParamSpec("P")
R = TypeVar("R")
Arguments = tuple[Any, ...]

MOST_CLASSES = 1024  # of one twin; beyond, all are forgotten, and found out anew

_twins: weakref.WeakValueDictionary[str, CompiledTwin[..., Any]] = weakref.WeakValueDictionary()


def compiled_twin(
    compiled: str | Callable[..., Any], *, rtol: float | None = None, atol: float | None = None
) -> Callable[[Callable[P, R]], CompiledTwin[P, R]]:
    """Decorate a NumPy function with the compiled function that computes the same.

    compiled     an import path "package.module:name", looked up at the first call, or a callable
    rtol, atol   a result may differ from the NumPy one by atol + rtol · |NumPy result|, the one left out being 0;
                 without both, by 256 roundings of the largest number in that result, which suits sums

    See `CompiledTwin` for what both functions take and return, and for when which of them runs.
    """
    if isinstance(compiled, str):
        if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", compiled):
            raise ValueError(f'compiled_twin expects an import path "package.module:name", got {compiled!r}')
    elif not callable(compiled):
        raise TypeError(f"compiled_twin expects an import path or a callable, got {type(compiled).__name__}")
    rtol, atol = (
        None if bound is None else real("compiled_twin", name, bound)
        for name, bound in (("rtol", rtol), ("atol", atol))
    )
    return lambda reference: CompiledTwin(reference, compiled, rtol, atol)


def compiled_twins() -> list[CompiledTwin[..., Any]]:
    """All functions that `compiled_twin` has decorated and that are still there."""
    return list(_twins.values())


class CompiledTwin(Generic[P, R]):
    """A NumPy function and its compiled twin; called like the NumPy function.

    Both get the same arguments, by position. Arrays of float32, float64, integers or bools are C-contiguous,
    aligned, of native byte order and read-only; anything else is a number, str, bool, None or a tuple of
    such. Both return the same array or tuple of arrays: same shapes and dtypes, and values within the bound.

    A *shape class* is: the dtype and number of axes of each array; each size as one of 0, 1, 2…3, 4…7, 8…15, …, with
    multiples of 16 apart from other sizes (they leave no tail in a vector); the values of all that is not an array;
    and the instruction set that `fl.use` chooses. The first call of a class runs both functions. If they agree, the
    compiled one runs from then on, and its result is returned at once, so that equal calls give equal bits. If not
    (another value, shape or dtype, an exception, an input that was modified), NumPy runs for that class from then on,
    and a RuntimeWarning says why. Without the compiled function, NumPy runs.

    `fl.use(backend="reference")` runs NumPy; `fl.verifying()` runs both at every call, and VerificationError is raised
    where they disagree. Exceptions of the NumPy function are the caller's; so are those of the compiled one, in a
    class that has been verified.

    name          module and name of the NumPy function
    compiled      name of the compiled one
    verdicts      one for each shape class seen so far
    absent        why the compiled function cannot be imported, or ""
    comparisons   how many calls ran both functions
    """

    def __init__(
        self, reference: Callable[P, R], compiled: str | Callable[..., Any], rtol: float | None, atol: float | None
    ) -> None:
        self._reference: Callable[..., R] = reference
        self._signature = inspect.signature(reference)
        parameters = self._signature.parameters.values()
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"compiled_twin expects a function of positional parameters, got {parameter}")
        functools.update_wrapper(self, reference)
        self.name = f"{reference.__module__}.{reference.__qualname__}"
        self.compiled = compiled if isinstance(compiled, str) else _name_of(compiled)
        self.absent = ""
        self.comparisons = 0
        self._names = tuple(f"{self.name}: {parameter.name}" for parameter in parameters)  # as errors say them
        self._count = len(parameters)
        self._defaults = tuple(p.default for p in parameters if p.default is not p.empty)
        self._function = None if isinstance(compiled, str) else compiled
        self._bound = None if rtol is None and atol is None else (rtol or 0.0, atol or 0.0)
        self._verdicts: dict[Key, Verdict] = {}
        _twins[self.name] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        settings = current()
        if settings.verifying:
            return self._checked(args, kwargs)[1]
        if settings.backend == "reference":
            return self._reference(*args, **kwargs)
        if kwargs or len(args) != self._count:
            args = self._positional(args, kwargs)  # type: ignore[assignment]
        key, given = prepare(args, self._names, settings.isa)
        verdict = self._verdicts.get(key)
        if verdict is not None:
            result: R = verdict.function(*given)
            return result
        verdict, result = self._compared(key, given)
        if self._record(key, verdict) and verdict.state == "refused":
            warnings.warn(
                f"{self.name} runs in NumPy for {verdict.shape_class}, since {verdict.reason}",
                RuntimeWarning,
                stacklevel=2,
            )
        return result

    def verify(self, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        """Run both functions on these arguments now. Raises VerificationError where they disagree, and ImportError
        without the compiled one.
        """
        verdict, _ = self._checked(args, kwargs)
        if verdict.state == "absent":
            raise ImportError(f"{self.name}: {self.absent}")
        return verdict

    @property
    def verdicts(self) -> list[Verdict]:
        return list(self._verdicts.values())

    @property
    def state(self) -> str:
        """All that is known, in a line, or one for each shape class."""
        if self.absent:
            return f"absent: {self.absent}"
        return "\n".join(map(str, self.verdicts)) or "not yet called"

    def __repr__(self) -> str:
        return f"<{self.name}, compiled {self.compiled}>"

    def __reduce__(self) -> str:  # copied and pickled by name, as functions are
        return self.__qualname__  # type: ignore[attr-defined, no-any-return]

    # ---- arguments ----

    def _positional(self, args: Arguments, kwargs: dict[str, Any]) -> Arguments:
        """All arguments by position, with defaults."""
        missing = self._count - len(args)
        if not kwargs and 0 <= missing <= len(self._defaults):
            return args + self._defaults[len(self._defaults) - missing :]
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        return bound.args

    # ---- the two functions ----

    def _resolved(self) -> Callable[..., Any] | None:
        """The compiled function, or None, with the reason in `absent`: a warning unless its module just isn't there."""
        if self._function is None and not self.absent:
            module, _, name = self.compiled.partition(":")
            try:
                self._function = operator.attrgetter(name)(importlib.import_module(module))
            except Exception as error:  # whatever its module raises
                self.absent = f"{type(error).__name__}: {error}"
                if not (isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")):
                    text = f"{self.name} runs in NumPy, since {self.compiled} cannot be imported: {self.absent}"
                    warnings.warn(text, RuntimeWarning, stacklevel=4)
        return self._function

    def _compared(self, key: Key, given: Arguments) -> tuple[Verdict, R]:
        """Run both -> what came out, and the compiled result if they agree, else that of NumPy."""
        from fastlayers.trial import check_reference, reason, trial  # not above: it brings the tables of all ops

        self.comparisons += 1
        shape_class = describe(key)
        expected = self._reference(*given)
        check_reference(self.name, expected)
        compiled = self._resolved()
        if compiled is None:
            return Verdict("absent", shape_class, self._reference, self.absent), expected
        try:
            result, error = trial(self.compiled, compiled, given, expected, self._bound)
        except Exception as problem:  # a kernel that raises has failed like one that computes nonsense
            return Verdict("refused", shape_class, self._reference, reason(self.compiled, problem)), expected
        return Verdict("verified", shape_class, compiled, error=error), result

    def _checked(self, args: Arguments, kwargs: dict[str, Any]) -> tuple[Verdict, R]:
        """Run both, whatever is known; VerificationError if they disagree."""
        key, given = prepare(self._positional(args, kwargs), self._names, current().isa)
        verdict, result = self._compared(key, given)
        self._record(key, verdict)
        if verdict.state == "refused":
            from fastlayers.comparison import VerificationError

            raise VerificationError(f"{self.name}, {verdict.shape_class}: {verdict.reason}")
        return verdict, result

    def _record(self, key: Key, verdict: Verdict) -> bool:
        """Whether this is news. Of two threads that come first at once, one brings it; a refusal overrules."""
        if len(self._verdicts) >= MOST_CLASSES:
            self._verdicts.clear()
        known = self._verdicts.setdefault(key, verdict)
        if known.state == "verified" and verdict.state == "refused":
            self._verdicts[key] = verdict
            return True
        return known is verdict


def _name_of(function: Callable[..., Any]) -> str:
    """module:name of a function, as far as it has them."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    module = getattr(function, "__module__", None)
    return f"{module}:{name}" if module else str(name)
