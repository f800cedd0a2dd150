"""Bookings of a meeting room, as [start, end] hours."""


def merge_intervals(intervals):
    """Merge overlapping intervals."""
    result = []
    for start, end in sorted(intervals):
        if result and start < result[-1][1]:
            result[-1][1] = max(result[-1][1], end)
        else:
            result.append([start, end])
    return result
