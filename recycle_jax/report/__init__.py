"""Reports: tables, drift and survival plots, filmstrips, video, and one self-contained HTML page.

`build.build_report` does all of it from a result file's content; the other modules are its parts.
"""

from recycle_jax.extras import require

for _module in ("jinja2", "matplotlib", "PIL", "scipy"):
    require(_module, extra="report")
