"""The book: pages of MyST from sources, guides and what was measured, which Sphinx builds."""
