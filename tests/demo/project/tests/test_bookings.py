from bookings import merge_intervals


def test_overlapping_bookings_become_one():
    assert merge_intervals([[1, 3], [2, 6], [8, 10]]) == [[1, 6], [8, 10]]


def test_a_booking_inside_another_disappears():
    assert merge_intervals([[1, 10], [2, 3]]) == [[1, 10]]


def test_bookings_that_touch_become_one():
    assert merge_intervals([[1, 4], [4, 5]]) == [[1, 5]]
