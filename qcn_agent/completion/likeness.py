"""Whether two lines are as good as equal: edit distance within a share of their length."""

SHARE = 0.05


def is_like(one: str, other: str, share: float = SHARE) -> bool:
    """Whether at most max(1, share of the longer one) characters differ, blanks around aside.

    Very short lines must be equal: one character is too much of them.
    """
    left, right = one.strip(), other.strip()
    if left == right:
        return True
    longest = max(len(left), len(right))
    return longest >= 8 and is_within(left, right, max(1, int(share * longest)))


def is_telling(line: str) -> bool:
    """Whether finding a line elsewhere means anything: not a bracket or two, nor a decorator, which come again."""
    bare = line.strip()
    return len(bare) > 2 and not bare.startswith("@")


def is_within(one: str, other: str, most: int) -> bool:
    """Whether the edit distance (insert, delete, replace) is at most `most`; O(length x most)."""
    if abs(len(one) - len(other)) > most:
        return False
    row = {j: j for j in range(min(most, len(other)) + 1)}
    for i, char in enumerate(one, 1):
        new: dict[int, int] = {}
        for j in range(max(0, i - most), min(len(other), i + most) + 1):
            if j == 0:
                new[0] = i
                continue
            replaced = row.get(j - 1, most + 1) + (char != other[j - 1])
            new[j] = min(replaced, row.get(j, most + 1) + 1, new.get(j - 1, most + 1) + 1)
        if not new or min(new.values()) > most:
            return False
        row = new
    return row.get(len(other), most + 1) <= most
