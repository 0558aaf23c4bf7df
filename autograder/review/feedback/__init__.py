"""What students see of their results: `nbgrader generate_feedback`'s pages, and the same as Markdown and JSON.

`content` decides what is shown, `page`, `markdown` and `json_form` say it in a form each, `exporter` is what nbgrader
calls, `generate` is the command's part.
"""
