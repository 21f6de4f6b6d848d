"""Reports of studies and searches: tables, figures, pages and views.

Everything here reads stored records (`ibml.records`) and returns text, bytes or specifications.
Nothing reads from MLflow or writes a file, and the same records give the same bytes.
"""
