"""Does a layer keep its contract? `check_layer` finds out, and says what is likely to be wrong."""

from fastlayers.checking.causes import HINTS, Cause
from fastlayers.checking.report import CheckError, Failure, Report, Row
from fastlayers.checking.suite import CHECKS, check_layer

__all__ = ["CHECKS", "HINTS", "Cause", "CheckError", "Failure", "Report", "Row", "check_layer"]
