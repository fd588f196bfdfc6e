"""Small systematic edits of a package's files, and whether the tests behind them notice.

`edits` finds the edits of a file, `runner` tries an edit in a fork of a process that has imported
the framework, and `__main__` samples, keeps the outcomes and reports. The project registers the
module that names the tests of a file, and the file of edits that change nothing that a test could
see, each with its reason.
"""
