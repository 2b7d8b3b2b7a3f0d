"""The doctor: a model is run on a batch and looked at for the classic mistakes."""

from gatework.checkup.examination import doctor
from gatework.checkup.report import Finding, Report

__all__ = ["Finding", "Report", "doctor"]
