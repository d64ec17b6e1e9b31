"""The report: which figures and tables, their words, the page."""
