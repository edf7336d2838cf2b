"""Reports: tables, drift and survival plots, filmstrips, video, and one self-contained HTML page.

`build.build_report` does all of it from a result file's content; the other modules are its parts.
"""
