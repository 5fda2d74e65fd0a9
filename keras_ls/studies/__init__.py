"""The paper's studies: settings, trainings that resume, results as JSON, figures and a report."""

from keras_ls.reports.figures import save_figures
from keras_ls.reports.html_report import read_results, write_report
from keras_ls.reports.result import StudyResult
from keras_ls.studies.accuracy_study import AccuracyStudy
from keras_ls.studies.calibration_study import CalibrationStudy
from keras_ls.studies.diagnosis import Diagnosis, Verdict, diagnose
from keras_ls.studies.diagnosis_report import report_of
from keras_ls.studies.distillation_study import DistillationStudy
from keras_ls.studies.engine.store import Store
from keras_ls.studies.engine.study import SIZES
from keras_ls.studies.engine.training import Training
from keras_ls.studies.model_export import export_models
from keras_ls.studies.projection_study import ProjectionStudy
from keras_ls.studies.recalibration import Recalibration, logits_of
from keras_ls.studies.recalibration_report import compare, save_calibrator
from keras_ls.studies.teacher_outputs import load_teacher

__all__ = [
    "SIZES",
    "STUDIES",
    "AccuracyStudy",
    "CalibrationStudy",
    "Diagnosis",
    "DistillationStudy",
    "ProjectionStudy",
    "Recalibration",
    "Store",
    "StudyResult",
    "Training",
    "Verdict",
    "compare",
    "diagnose",
    "export_models",
    "load_teacher",
    "logits_of",
    "read_results",
    "report_of",
    "save_calibrator",
    "save_figures",
    "write_report",
]

STUDIES = {study.name: study for study in (AccuracyStudy, ProjectionStudy, CalibrationStudy, DistillationStudy)}
