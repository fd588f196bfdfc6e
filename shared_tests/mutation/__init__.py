"""Small systematic edits of the component files, and whether their own tests notice.

`nox -s mutation` runs it. `edits` finds the edits of a file, `selection` the tests of a file,
`runner` tries an edit in a fork of a process that has imported the framework, and `__main__`
samples, keeps the outcomes and reports. `equivalent.toml` names the edits that change nothing
that a test could see, each with its reason.
"""
