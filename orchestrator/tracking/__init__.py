"""The parts of the MLflow mirror."""
