"""What is done to embeddings by way of concepts."""

from skxsae.interventions._steering import steer

__all__ = ["steer"]
