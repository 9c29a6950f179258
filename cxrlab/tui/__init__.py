"""The dashboard: `cxrlab.tui.app.run_tui` opens it; imports nothing by itself."""

import os

# How often a second Textual paints at most, which it asks when it is imported. With its own 60,
# what a key asks for waits up to 17 ms where something else has just been painted.
os.environ.setdefault("TEXTUAL_FPS", "120")
