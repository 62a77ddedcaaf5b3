"""What `check_layer` found: rows of a table, failures with their likely causes."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastlayers.checking.causes import Cause


class CheckError(AssertionError):
    """A layer breaks its contract; `.report` has the details."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.title}\n{report.findings()}")
        self.report = report


@dataclass(frozen=True)
class Failure:
    """One breach of the contract.

    check      the name of the check that found it
    message    what came and what was expected
    cause      where it can be told: `cause.name`, and a sentence in `cause.hint`
    index      of the worst entry, where arrays differ; `got` and `expected` are the two values there
    """

    check: str
    message: str
    cause: Cause | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.check}: {self.message}"]
        if self.cause is not None:
            lines.append(f"    likely cause: {self.cause.name}. {self.cause.hint}")
        return "\n".join(lines)


@dataclass
class Row:
    """The outcome of one check. `unsettled` says why it could not decide; then it has not failed."""

    check: str
    note: str = ""
    unsettled: str = ""
    failures: list[Failure] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.failures:
            return "FAILED"
        return "not checked" if self.unsettled else "ok"

    def __str__(self) -> str:
        remark = self.failures[0].message.splitlines()[0] if self.failures else self.unsettled or self.note
        return f"{self.verdict:<11}  {remark}".rstrip()


@dataclass
class Report:
    """The outcome of `check_layer`; prints as a table."""

    title: str
    rows: list[Row]
    seconds: float

    @property
    def failures(self) -> list[Failure]:
        return [failure for row in self.rows for failure in row.failures]

    @property
    def ok(self) -> bool:
        return not self.failures

    def findings(self) -> str:
        """The failures, each with its likely cause."""
        return "\n".join(f"  {failure}".replace("\n", "\n  ") for failure in self.failures)

    def __str__(self) -> str:
        width = max((len(row.check) for row in self.rows), default=0)
        lines = [self.title, *(f"  {row.check:<{width}}  {row}" for row in self.rows)]
        if not self.ok:
            lines += ["", self.findings()]
        left = sum(row.verdict == "not checked" for row in self.rows)
        plural = "" if len(self.failures) == 1 else "s"
        verdict = f"{len(self.failures)} failure{plural}" if self.failures else "all is well"
        undecided = f", {left} not checked" if left else ""
        return "\n".join([*lines, f"{len(self.rows)} checks in {self.seconds:.2f} s: {verdict}{undecided}"])
