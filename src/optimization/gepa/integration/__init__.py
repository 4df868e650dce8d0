"""Where does an optimisation leave its traces: MLflow, Opik, and RAGAS as its judge?"""
