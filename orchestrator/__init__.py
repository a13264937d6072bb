"""From a grid's specification to its comparison: plan, run, store, track, report."""
