"""Small systematic edits of the component files, and whether their own tests notice.

`edits` finds the edits of a file, `runner` tries an edit in a fork of a process that has imported
the framework, and `__main__` samples, keeps the outcomes and reports. The project registers the
module that names the tests of a file, and the file of edits that change nothing that a test could
see, each with its reason.
"""
