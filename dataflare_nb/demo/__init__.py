"""The main job on real data: a year of flights through WebAssembly and windows to a result."""
