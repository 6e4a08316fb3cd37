"""Distances on the earth, and postal codes by their longest known prefix."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouses.allocation import geography
from warehouses.allocation.geography import EARTH_RADIUS_KM, UNKNOWN, Area, Location, Point, PostalAreas

HALF_ROUND_KM = math.pi * EARTH_RADIUS_KM
SLACK_KM = 1e-3  # near the other side of the earth the formula keeps half of its digits, and a metre is none

SAO_PAULO, RIO = Point(-23.5505, -46.6333), Point(-22.9068, -43.1729)
CURITIBA, PORTO_ALEGRE = Point(-25.4284, -49.2733), Point(-30.0346, -51.2177)
MANAUS, LISBON = Point(-3.1190, -60.0217), Point(38.7223, -9.1393)

points = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))


# --- distances -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "known_km"),
    [
        (SAO_PAULO, RIO, 361),
        (SAO_PAULO, CURITIBA, 339),
        (SAO_PAULO, PORTO_ALEGRE, 853),
        (SAO_PAULO, MANAUS, 2_690),
        (SAO_PAULO, LISBON, 7_950),
        (Point(0, 0), Point(0, 1), 111.195),  # a degree of a great circle: 2 pi R / 360
        (Point(0, 179.5), Point(0, -179.5), 111.195),  # over the line where the date changes
        (Point(90, 0), Point(-90, 77), 20_015),
    ],
)
def test_known_distances_are_right_within_one_percent(one: Point, other: Point, known_km: float) -> None:
    assert geography.great_circle_km(one, other) == pytest.approx(known_km, rel=0.01)


def test_a_degree_is_right_to_the_metre() -> None:
    assert geography.great_circle_km(Point(0, 0), Point(1, 0)) == pytest.approx(111.195, abs=0.001)


@given(points)
def test_a_point_is_no_way_from_itself(point: Point) -> None:
    assert geography.great_circle_km(point, point) == 0


@given(points, points)
def test_the_way_back_is_as_long_and_at_most_half_round_the_earth(one: Point, other: Point) -> None:
    way_km = geography.great_circle_km(one, other)
    assert 0 <= way_km <= HALF_ROUND_KM
    assert geography.great_circle_km(other, one) == pytest.approx(way_km, abs=SLACK_KM)


@given(points, points, points)
def test_no_detour_is_shorter(one: Point, between: Point, other: Point) -> None:
    detour_km = geography.great_circle_km(one, between) + geography.great_circle_km(between, other)
    assert geography.great_circle_km(one, other) <= detour_km + SLACK_KM


@given(points)
def test_the_other_side_of_the_earth_is_half_round_it(point: Point) -> None:
    east = point.longitude - 180 if point.longitude > 0 else point.longitude + 180
    way_km = geography.great_circle_km(point, Point(-point.latitude, east))
    assert way_km == pytest.approx(HALF_ROUND_KM, abs=SLACK_KM)


# --- postal codes --------------------------------------------------------------------------------------------------


def area(prefix: str, *, country: str = "BR", is_region: bool = False) -> Area:
    return Area(country, prefix, SAO_PAULO, f"{country} {prefix}", "southeast", is_region)


BRAZIL = [area("01310100"), area("01310"), area("013"), area("0", is_region=True)]
PORTUGAL = [area("1000", country="PT"), area("1", country="PT", is_region=True)]
AREAS = PostalAreas([*BRAZIL, *PORTUGAL], home="BR")


@pytest.mark.parametrize(
    ("code", "name", "precision"),
    [
        ("01310-100", "BR 01310100", "exact"),
        ("01310100", "BR 01310100", "exact"),
        ("01310-10", "BR 01310", "prefix"),
        ("01310", "BR 01310", "exact"),
        ("01399-000", "BR 013", "prefix"),
        ("09999-999", "BR 0", "region"),
        ("0", "BR 0", "region"),  # the whole code, and yet no more than a region
        ("  01310 - 100 ", "BR 01310100", "exact"),
        ("BR 01310-100", "BR 01310100", "exact"),
        ("br-01310-100", "BR 01310100", "exact"),
        ("BR01310100", None, "unknown"),  # a country has something between it and the code
        ("PT 1000-001", "PT 1000", "prefix"),
        ("pt 1000001", "PT 1000", "prefix"),
        ("PT 1999", "PT 1", "region"),
        ("PT 2000", None, "unknown"),
        ("PT", None, "unknown"),
        ("PT ", None, "unknown"),
        ("1000-001", None, "unknown"),  # of Brazil, where there is none
        ("FR 01310-100", None, "unknown"),
        ("013101000", "BR 01310100", "prefix"),
        ("", None, "unknown"),
        (" - ", None, "unknown"),
        ("'; DROP TABLE", None, "unknown"),
        ("\x00", None, "unknown"),
        ("\u0660\u0661\u0663", None, "unknown"),  # digits, but of another script
        ("9" * 10_000, None, "unknown"),
    ],
)
def test_a_code_lies_where_its_longest_known_prefix_does(code: str, name: str | None, precision: str) -> None:
    found = AREAS.locate(code)
    assert (found.area.name if found.area else None, found.precision) == (name, precision)


def test_the_home_country_is_that_of_a_code_that_names_none() -> None:
    at_home_in_portugal = PostalAreas([*BRAZIL, *PORTUGAL], home="PT")
    assert at_home_in_portugal.locate("1000-001") == Location(PORTUGAL[0], "prefix")
    assert at_home_in_portugal.locate("BR 01310-100") == Location(BRAZIL[0], "exact")


@pytest.mark.parametrize("code", ["01310-100", "PT 1000-001", ""])
def test_without_areas_every_code_is_unknown(code: str) -> None:
    assert PostalAreas([], home="BR").locate(code) == UNKNOWN == Location(None, "unknown")


@pytest.mark.parametrize(
    ("code", "plain"),
    [("01310-100", "01310100"), ("sw1a 1aa", "SW1A1AA"), (" - ", ""), ("K1A-0b1", "K1A0B1"), ("", "")],
)
def test_a_code_in_plain_is_its_letters_and_digits(code: str, plain: str) -> None:
    assert geography.plain(code) == plain


# Each pair of districts is one of which the first begins the other.
BRITISH = [
    *("KW", "KW1", "KW15", "PA3", "PA32", "E1", "E17", "EC1", "EC1A", "EC1A 1BB", "B", "BA1"),
    *("GY", "GY1", "GY10", "JE2", "JE2 3", "IM1", "GIR"),
]


def british(code: str, *, country: str = "GB", home: str = "GB") -> tuple[str | None, str]:
    areas = PostalAreas([area(prefix, country=country) for prefix in BRITISH], home=home)
    found = areas.locate(code)
    return (found.area.prefix if found.area else None, found.precision)


@pytest.mark.parametrize(
    ("code", "prefix", "precision"),
    [
        ("KW1 5NS", "KW1", "prefix"),  # Wick, on the mainland; KW15 is in Orkney
        ("KW15NS", "KW1", "prefix"),
        ("kw1-5ns", "KW1", "prefix"),
        ("K W15 NS", "KW1", "prefix"),
        ("KW15 1NS", "KW15", "prefix"),
        ("KW151NS", "KW15", "prefix"),
        ("KW1", "KW1", "exact"),
        ("KW15", "KW15", "exact"),
        ("KW1 5", "KW1", "prefix"),
        ("KW1 5N", "KW1", "prefix"),
        ("KW155", "KW15", "prefix"),
        ("KW17 2SU", "KW", "prefix"),  # of a district that is not known, and not of KW1
        ("PA3 2SW", "PA3", "prefix"),  # the airport of Glasgow
        ("PA32 8XU", "PA32", "prefix"),
        ("E1 7HT", "E1", "prefix"),  # Whitechapel
        ("E17HT", "E1", "prefix"),
        ("E17 7HT", "E17", "prefix"),  # Walthamstow
        ("E17", "E17", "exact"),
        ("EC1A 1BB", "EC1A 1BB", "exact"),
        ("EC1A1BB", "EC1A 1BB", "exact"),
        ("EC1A 1BC", "EC1A", "prefix"),
        ("EC1V 9AA", "EC1", "prefix"),  # EC1V is a part of EC1
        ("EC2A 1AA", None, "unknown"),  # and no part of E
        ("B1 1AA", "B", "prefix"),
        ("BA11 1AA", None, "unknown"),  # neither in BA1 nor in B
        ("GIR 0AA", "GIR", "prefix"),
        ("BFPO 58", None, "unknown"),
        ("5NS", None, "unknown"),
        ("", None, "unknown"),
    ],
)
def test_a_british_code_is_in_its_own_district(code: str, prefix: str | None, precision: str) -> None:
    assert british(code) == (prefix, precision)
    assert british(f"GB {code}", home="BR") == (prefix, precision)


@pytest.mark.parametrize(
    ("code", "country", "prefix"),
    [
        ("GY1 1AA", "GG", "GY1"),
        ("GY10 1AA", "GG", "GY10"),
        ("GY101AA", "GG", "GY10"),
        ("GY9 1AA", "GG", "GY"),
        ("JE2 3QA", "JE", "JE2 3"),
        ("JE23QA", "JE", "JE2 3"),
        ("JE2 4QA", "JE", "JE2"),
        ("IM1 1AA", "IM", "IM1"),
        ("IM11AA", "IM", "IM1"),
    ],
)
def test_the_islands_write_their_codes_as_the_british_do(code: str, country: str, prefix: str) -> None:
    assert british(f"{country} {code}", country=country, home="GB")[0] == prefix


def test_control_as_a_row_of_letters_a_british_code_is_in_the_district_whose_digits_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(geography, "BRITISH", frozenset())

    assert british("KW1 5NS") == ("KW15", "prefix")


@pytest.mark.parametrize(
    ("country", "written", "prefix"),
    [
        ("BR", "01-310", "01310"),
        ("PT", "1000", "1000"),
        ("GB", "kw1", "KW1"),
        ("GB", "KW1 5", "KW1 5"),
        ("GB", "KW15", "KW15"),
        ("GB", "KW15NS", "KW1 5NS"),  # as rows from before this rule have it
        ("GB", "KW1 5NS", "KW1 5NS"),
        ("GB", "-", ""),
        ("BR", "-", ""),
    ],
)
def test_a_prefix_has_one_form(country: str, written: str, prefix: str) -> None:
    assert geography.prefix_of(country, written) == prefix


def test_areas_that_were_stored_without_the_space_are_found() -> None:
    areas = PostalAreas([area("KW15NS", country="GB"), area("KW15", country="GB")], home="GB")

    assert areas.locate("KW1 5NS").area == area("KW15NS", country="GB")
    assert areas.locate("KW1 5NT") == UNKNOWN


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("SP 01310-100", "BR 01310100"),
        ("sp-01310100", "BR 01310100"),
        ("ES 01310-100", "BR 01310100"),  # Espirito Santo, and Spain where the code is one of Spain
        ("BR SP 01310-100", "BR 01310100"),
        ("BR-ES-01.310-100", "BR 01310100"),
        ("ES 01310", "ES 01"),
        ("ES 01310-1000", "ES 01"),
        ("PT 1000-001", "PT 1000"),
        ("FR 01310-100", None),  # no state
    ],
)
def test_a_state_of_brazil_before_a_whole_code_is_no_country(code: str, name: str | None) -> None:
    areas = PostalAreas([*BRAZIL, *PORTUGAL, area("01", country="ES")], home="BR")

    found = areas.locate(code).area

    assert (found.name if found else None) == name


def test_elsewhere_two_letters_before_a_code_are_a_country() -> None:
    areas = PostalAreas([*BRAZIL, area("01", country="ES")], home="PT")

    assert areas.locate("ES 01310-100").area == area("01", country="ES")
    assert areas.locate("BR ES 01310-100").area == BRAZIL[0]


prefixes = st.text("0123", min_size=1, max_size=5)


@given(st.dictionaries(prefixes, st.booleans(), max_size=20), st.text("0123- ", max_size=7))
def test_a_look_up_says_what_trying_every_area_does(known: dict[str, bool], code: str) -> None:
    areas = [area(prefix, is_region=is_region) for prefix, is_region in known.items()]
    digits = code.replace("-", "").replace(" ", "")
    fitting = [area for area in areas if digits.startswith(area.prefix)]
    best = max(fitting, key=lambda area: len(area.prefix), default=None)
    if best is None:
        expected = UNKNOWN
    elif best.is_region:
        expected = Location(best, "region")
    else:
        expected = Location(best, "exact" if best.prefix == digits else "prefix")
    assert PostalAreas(areas, home="BR").locate(code) == expected


@given(st.text())
def test_no_text_is_too_odd_to_be_looked_up(text: str) -> None:
    assert AREAS.locate(text).precision in ("exact", "prefix", "region", "unknown")
