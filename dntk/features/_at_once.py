"""Whether features that are read chunk by chunk may be in memory all at once."""

_REMEDY = (
    "What reads them in chunks: dntk.solve.ridge of more points than features, distill.gradients.Streaming, and of "
    "more points than features of all outputs, Principal, Krylov and Solution; distill.data.RPCholesky, FarthestPoint, "
    "Leverage and KMeans, dntk.certify. Or choose points first, phi[indices], "
    "or allow more, dntk.StoredFeatures(path, memory_limit=...)"
)


def require_room(what: str, nbytes: int, limit: int) -> None:
    """Raise ``MemoryError`` where features take more than is allowed, with what reads them in chunks."""
    if nbytes > limit:
        msg = (
            f"{what} take {nbytes:,} bytes at once, {limit:,} are allowed, and this step needs all of them in "
            f"memory. {_REMEDY}."
        )
        raise MemoryError(msg)
