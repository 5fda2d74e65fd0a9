"""What studies, `keras-ls calibrate` and `diagnose` report: results as JSON, tables, intervals, figures, HTML."""
