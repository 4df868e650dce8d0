"""Do a query and its filters make sense, and what do they ask of the database?"""

from __future__ import annotations

from src.domain.reading import MAX_CHARACTERS
from src.errors import ContractViolation, nearest_names
from src.rag.corpus.labels import brand_named, region_named
from src.rag.documents import SourceType
from src.rag.retrieval_results import RetrievalFilters
from src.storage.rag_chunks import ChunkFilter

MAX_K = 100


def check_query(query: str) -> str:
    """The query without space around it. Raises ContractViolation for an empty, endless or half-decoded one."""
    found = query.strip()
    _check_encodable(found)
    if not any(character.isalnum() for character in found):
        raise ContractViolation('the query has no words; ask for example "Kisqali TRx in the northeast"')
    if len(found) > MAX_CHARACTERS:
        raise ContractViolation(f"the query has {len(found):,} characters; at most {MAX_CHARACTERS:,} are searched")
    return found


def check_k(k: int) -> int:
    """Number of chunks wanted. Raises ContractViolation outside 1 to 100."""
    if not 1 <= k <= MAX_K:
        raise ContractViolation(f"between 1 and {MAX_K} chunks can be asked for, not {k}")
    return k


def checked(filters: RetrievalFilters) -> RetrievalFilters:
    """The filters with names as the contract writes them, case ignored.

    Raises ContractViolation for an unknown brand, region or source type, with the nearest names, and for dates
    in the wrong order.
    """
    if filters.since and filters.until and filters.since > filters.until:
        raise ContractViolation(f"since {filters.since} is later than until {filters.until}")
    return RetrievalFilters(
        brand=None if filters.brand is None else brand_named(filters.brand),
        region=None if filters.region is None else region_named(filters.region),
        since=filters.since,
        until=filters.until,
        source_types=tuple(dict.fromkeys(map(_source_type, filters.source_types))),
    )


def chunk_filter(filters: RetrievalFilters) -> ChunkFilter:
    """As the database takes them."""
    return ChunkFilter(filters.brand, filters.region, filters.since, filters.until, filters.source_types)


def _check_encodable(query: str) -> None:
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise ContractViolation(
            f"character {error.start + 1} of the query is no text (half of a surrogate pair); type the query as UTF-8"
        ) from None


def _source_type(name: str) -> str:
    wanted = name.strip().lower().replace("-", "_")
    if wanted not in list(SourceType):
        raise ContractViolation(f"there is no document type '{name.strip()[:60]}'; {nearest_names(wanted, SourceType)}")
    return wanted
