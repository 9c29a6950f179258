"""The dashboard: `cxrlab.tui.app.run_tui` opens it; imports nothing by itself."""
