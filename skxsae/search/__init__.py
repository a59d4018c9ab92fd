"""Search that says why: over sparse codes here, or exported to a search engine."""

from skxsae.search._concept_index import ConceptIndex
from skxsae.search._files import read_codes, write_codes

__all__ = ["ConceptIndex", "read_codes", "write_codes"]
